"""The last words of Airflow's supervisor: how the process of a task ended that did not report itself.

Only its own lines count. They have the logger ``task``, the level that it uses and whole numbers; and they lack the
``filename`` and the ids that the lines of the task's own process have, so that a task cannot speak them by logging.
Of those ids Airflow 3.4 gives its supervisor's lines ``ti_id`` as well.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Ending", "ending_of", "is_of_task"]

_LOGGER, _FILE = "task", "supervisor.py"
_BOUND = ("try_number", "task_id")
"""Keys that Airflow binds to each line of a task's own process, whatever logger or keys the task chooses."""
_PLACED = ("filename", "lineno")
"""Keys that say where a line was logged: those of the supervisor of Airflow 3.4, which has ``ti_id``, lack them."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RUNNER_FAILED = (125, 126)
"""With what ``_fork_main`` of Airflow's supervisor leaves when the runner, not the task, raised."""
_ENDED_STATES = (None, "failed", "success", "skipped", "restarting")
"""States to which a person, or what cleared the task, can have brought it while it ran."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of the process: a cause of the catalogue, a sentence, the signal and the exit code (negative for one)."""

    cause: str
    reason: str
    signal: str | None = None
    exit_code: int | None = None


def ending_of(line: Mapping[str, Any]) -> Ending | None:
    """The ending that a line of a task's log tells of; None for every line that is no such word of the supervisor."""
    said = line.get("event")
    if line.get("logger") != _LOGGER or line.get("filename", _FILE) != _FILE or not isinstance(said, str):
        return None
    if is_of_task(line):
        return None
    for start, levels, read in _WORDS:
        if said.startswith(start) and line.get("level") in levels:
            return read(line)
    return None


def is_of_task(line: Mapping[str, Any]) -> bool:
    """True where the task's own process printed or logged this line of its log."""
    if str(line.get("logger")).startswith("task.std") or any(name in line for name in _BOUND):
        return True
    if "ti_id" not in line:
        return False
    return _UUID.fullmatch(str(line["ti_id"])) is None or any(name in line for name in _PLACED)


def _by_signal(line: Mapping[str, Any]) -> Ending | None:
    number: Any = line.get("signal")
    if not _is_whole(number):
        return None
    name = line.get("signal_name") or _name_of(abs(number))
    return Ending("killed", f"the process was ended by {name}", str(name), -abs(number))


def _by_exit_code(line: Mapping[str, Any]) -> Ending | None:
    code = line.get("exit_code")
    if not _is_whole(code):
        return None
    if code in _RUNNER_FAILED:
        reason = f"Airflow's task runner failed itself (exit code {code}): its traceback is in the log of the worker"
    else:
        reason = f"the process left with exit code {code} and no report"
    return Ending("killed", reason, exit_code=code)


def _by_server(line: Mapping[str, Any]) -> Ending:
    detail = line.get("detail")
    state = detail.get("current_state") if isinstance(detail, dict) else None
    if state == "removed":
        return Ending("import", "Airflow ended the task: the DAG no longer has it")
    if state in _ENDED_STATES:
        return Ending("cancelled", f"Airflow ended the task: its state had become {state or 'unknown'}")
    return Ending("lost_heartbeat", f"Airflow no longer counted on this attempt: its state had become {state}")


def _by_segfault(_line: Mapping[str, Any]) -> Ending:
    return Ending("killed", "the process crashed: segmentation fault", "SIGSEGV", -signal.SIGSEGV)


def _is_whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and abs(number) < 1 << 31


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_WORDS = (
    ("Process terminated by signal", {"error", "critical"}, _by_signal),
    ("Process exited abnormally", {"warning"}, _by_exit_code),
    ("Server indicated the task shouldn't be running anymore", {"error"}, _by_server),
    ("\n********", {"critical"}, _by_segfault),
)
