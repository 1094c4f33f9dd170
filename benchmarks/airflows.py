"""Airflows of other versions than this environment's, each with this checkout in an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

__all__ = ["PRE_RELEASES", "MissingError", "python_of"]

PRE_RELEASES = {
    "3.4": (
        "apache-airflow>=3.4.0b2,<3.5",
        "apache-airflow-core>=3.4.0b2,<3.5",
        "apache-airflow-task-sdk>=1.4.0b2,<1.5",
    )
}
"""Airflows of which there is no final release yet: each package has to be named for a resolver to take a beta."""
_ROOT = Path(__file__).parents[1]


class MissingError(RuntimeError):
    """An environment that cannot be made here; the message says why."""


def python_of(airflow: str) -> Path:
    """The interpreter of an environment with that Airflow (``3.4``) and this checkout. Raises :class:`MissingError`.

    It is this process's own where the version is the same. Another one is made by uv once, below the user's cache.
    """
    if version("apache-airflow").startswith(f"{airflow}."):
        return Path(sys.executable)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    checkout = blake2b(str(_ROOT).encode(), digest_size=4).hexdigest()
    folder = cache / "contrail" / f"airflow-{airflow}-{checkout}"
    if not (folder / "made").exists():
        _make(folder, PRE_RELEASES.get(airflow, (f"apache-airflow=={airflow}.*",)))
    return folder / "bin" / "python"


def _make(folder: Path, airflow: tuple[str, ...]) -> None:
    if (uv := shutil.which("uv")) is None:
        raise MissingError("another Airflow is installed by uv: pip install uv")
    subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, folder], check=True)
    done = subprocess.run(
        [uv, "pip", "install", "-q", *airflow, "-e", f"{_ROOT}[demo]"], env={**os.environ, "VIRTUAL_ENV": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise MissingError(f"uv could not install {', '.join(airflow)}: {done.stderr[-1000:]}")
    (folder / "made").touch()
