"""Whether a component repeats on its stdout what its tasks say: LocalExecutor makes it so, whatever is configured.

Where a component's stdout is kept as its log, each line of a task would be stored twice, and the second time without
the mask of the task's own log.
"""

from __future__ import annotations

from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

from observability.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["stop_echo"]

_SUPERVISORS = (
    ("airflow.sdk.execution_time.supervisor", "ActivitySubprocess"),
    ("airflow.sdk.execution_time.callback_supervisor", "CallbackSubprocess"),
)
"""What watches over a task, and over a callback, and writes down what it says."""


def stop_echo() -> None:
    """Let tasks speak in their own logs only, unless ``[airflow] task_logs_to_stdout``; again changes nothing."""
    if get_settings().airflow.task_logs_to_stdout:
        return
    for module, name in _SUPERVISORS:
        try:
            supervisor = getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue  # an Airflow that has none of this kind
        if not hasattr(supervisor.__init__, "__wrapped__"):
            supervisor.__init__ = _quiet(supervisor.__init__)


def _quiet(theirs: Callable[..., None]) -> Callable[..., None]:
    @wraps(theirs)
    def begin(self: Any, *arguments: Any, **options: Any) -> None:
        theirs(self, *arguments, **options)
        self.subprocess_logs_to_stdout = False

    return begin
