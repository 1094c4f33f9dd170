"""A platform of a trial's own: the variables of its processes, and its commands."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["clean_environment", "contrail", "variables"]


def clean_environment() -> dict[str, str]:
    """The caller's variables without Airflow's and ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CONTRAIL_"))}


def variables(folder: Path, home: Path, *, port: int, statsd: str) -> dict[str, str]:
    """Return the variables of a platform at ``home``, whose ``dags`` and ``rules.yaml`` stand in ``folder``."""
    return {
        "CONTRAIL_HOME": str(home),
        "CONTRAIL_CORE__HOME": str(home),
        "CONTRAIL_AIRFLOW__PORT": str(port),
        "CONTRAIL_AIRFLOW__DAGS_FOLDER": str(folder / "dags"),
        "CONTRAIL_AIRFLOW__PARALLELISM": "3",
        "CONTRAIL_RELAY__STATSD_PORT": statsd,
        "CONTRAIL_STATSD__PORT": statsd,
        "CONTRAIL_WATCH__RULES_FILE": str(folder / "rules.yaml"),
    }


def contrail(
    *arguments: str,
    env: dict[str, str],
    python: Path | str = sys.executable,
    timeout_s: float = 120,
    check: bool = True,
) -> str:
    """The output of a command. Raises ``RuntimeError`` with what it said where it failed, if ``check``."""
    command = [python, "-m", "observability.cli", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode:
        raise RuntimeError(f"contrail {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
