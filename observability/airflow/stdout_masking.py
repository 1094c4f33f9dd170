"""Masking of task lines that a component repeats on its stdout: LocalExecutor makes it so, whatever is configured.

Where a component's stdout is kept as its log, each line of a task would stand there a second time. Airflow does not
mask it there, so it passes our mask on the way, or ``[airflow] task_logs_to_stdout = false`` leaves it out.
"""

from __future__ import annotations

import sys
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

import structlog

from observability.redact import structlog_processor
from observability.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["mask_echo", "mask_echo_where_loaded"]

_SUPERVISORS = (
    ("airflow.sdk.execution_time.supervisor", "ActivitySubprocess"),
    ("airflow.sdk.execution_time.callback_supervisor", "CallbackSubprocess"),
)
"""Loggers of the supervisors of a task and of a callback, which write down its lines."""


def mask_echo() -> None:
    """Mask what tasks say on the component's stdout, or stop it where it is not wanted; again changes nothing."""
    wanted = get_settings().airflow.task_logs_to_stdout
    for module_name, name in _SUPERVISORS:
        try:
            module = import_module(module_name)
            supervisor = getattr(module, name)
        except (ImportError, AttributeError):
            continue  # an Airflow that has none of this kind
        _mask_logger(module)
        if not wanted and not hasattr(supervisor.__init__, "__wrapped__"):
            supervisor.__init__ = _quiet(supervisor.__init__)


def mask_echo_where_loaded() -> None:
    """:func:`mask_echo` in a process that supervises tasks and has its logging ready; nothing in any other."""
    if _SUPERVISORS[0][0] in sys.modules and structlog.is_configured():
        mask_echo()


def _mask_logger(module: Any) -> None:
    """Give the logger through which a supervisor repeats its task's lines our step, before the one that writes."""
    theirs = getattr(module, "log", None)
    steps = getattr(theirs, "_processors", None) or structlog.get_config()["processors"]
    if theirs is None or structlog_processor in steps:
        return
    keys = dict(getattr(theirs, "_context", {}))
    module.log = structlog.wrap_logger(None, processors=[*steps[:-1], structlog_processor, steps[-1]], **keys)


def _quiet(theirs: Callable[..., None]) -> Callable[..., None]:
    @wraps(theirs)
    def begin(self: Any, *arguments: Any, **options: Any) -> None:
        theirs(self, *arguments, **options)
        self.subprocess_logs_to_stdout = False

    return begin
