"""Tell of which Airflow on this host a process is: of the relay's own, whose ``AIRFLOW_HOME`` it shares, or of another.

Airflow gives its processes titles, and a title stands over the environment. Then what it has open tells, the
environment of those that it started or was started by, and the folder in which it runs.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from observability.airflow_options import airflow_home
from observability.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_of_ours"]

_ANCESTORS_MOST = 5


def is_of_ours(process: psutil.Process) -> bool | None:
    """True for a process of the relay's own Airflow, False for another's, None where nothing tells."""
    for evidence in (_by_environment, _by_open_files, _by_children, _by_parents, _by_folder):
        with suppress(psutil.Error):
            if (found := evidence(process)) is not None:
                return found
    return None


def _by_environment(process: psutil.Process) -> bool | None:
    environ = process.environ()
    if home := environ.get("AIRFLOW_HOME"):
        return _is_home(home)
    return _is_home(str(Path(environ["HOME"]) / "airflow")) if environ.get("HOME") else None


def _by_open_files(process: psutil.Process) -> bool | None:
    """Each process that has told of an event has a journal open; a scheduler may have SQLite's file in its home."""
    files = [Path(one.path) for one in process.open_files()]
    journals = {file.parent for file in files if file.suffix == ".journal"}
    if journals:
        return get_settings().journal_directory.resolve() in journals
    return True if any(file.is_relative_to(airflow_home().resolve()) for file in files) else None


def _by_children(process: psutil.Process) -> bool | None:
    """A program that it has started has its environment, and no title yet."""
    return _by_any(process.children(recursive=True))


def _by_parents(process: psutil.Process) -> bool | None:
    return _by_any(process.parents()[:_ANCESTORS_MOST])


def _by_any(relatives: Iterable[psutil.Process]) -> bool | None:
    """By the nearest that names a home: a shell's ``HOME`` says nothing of what it starts."""
    for one in relatives:
        with suppress(psutil.Error):
            if home := one.environ().get("AIRFLOW_HOME"):
                return _is_home(home)
    return None


def _by_folder(process: psutil.Process) -> bool | None:
    return True if Path(process.cwd()).is_relative_to(airflow_home().resolve()) else None


def _is_home(named: str) -> bool:
    return Path(named).expanduser() == airflow_home()
