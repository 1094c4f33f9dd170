"""Airflow Variables, for a process that has no Airflow: ``python -m observability.airflow.variables <key>``."""

from __future__ import annotations

import subprocess
import sys

__all__ = ["ask"]

_TIMEOUT_S = 60


def ask(key: str) -> str:
    """The Variable ``key``, asked in another process. Raises LookupError naming it and the remedy."""
    command = [sys.executable, "-m", "observability.airflow.variables", key]
    try:
        asked = subprocess.run(command, capture_output=True, check=False, timeout=_TIMEOUT_S)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired:
        raise LookupError(
            f"Airflow did not hand out Variable {key!r} within {_TIMEOUT_S} s; is its database up?"
        ) from None
    if asked.returncode != 0:
        raise LookupError(f"there is no Airflow Variable {key!r}; set it with `airflow variables set`")
    return asked.stdout.decode().rstrip("\n").rpartition("\n")[2]


def main() -> None:
    """Print the Variable that the command line names; status 1 where there is none."""
    from airflow.models.variable import Variable

    found = Variable.get(sys.argv[1], default_var=None)
    if found is None:
        sys.exit(1)
    print(found)  # noqa: T201 - the answer to the process that asked


if __name__ == "__main__":
    main()
