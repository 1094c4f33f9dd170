"""The cluster policies that attach the shared callbacks to every task that Airflow parses.

Airflow finds them by the entry point group ``airflow.policy``. Runs need no callbacks: the listener sees
them begin and end in the scheduler, at once, and without the parse of the DAG file that a callback costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.policies import hookimpl

from observability import callbacks
from observability.contain import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["dag_policy", "task_policy"]

_ATTACHED = {
    "on_execute_callback": callbacks.on_execute,
    "on_success_callback": callbacks.on_success,
    "on_failure_callback": callbacks.on_failure,
    "on_retry_callback": callbacks.on_retry,
    "on_skipped_callback": callbacks.on_skipped,
}


@hookimpl
def task_policy(task: Any) -> None:
    """Put our callbacks before the task's own, which stay; doing it again changes nothing."""
    with contained("policy"):
        for kind, ours in _ATTACHED.items():
            theirs = _as_list(getattr(task, kind, None))
            if ours not in theirs:
                setattr(task, kind, [ours, *theirs])


@hookimpl
def dag_policy(dag: Any) -> None:
    """Have deferred tasks end on a worker, as Airflow refuses ``end_from_trigger`` where there are listeners."""
    with contained("policy"):
        for task in dag.tasks:
            if getattr(task, "end_from_trigger", False):
                task.end_from_trigger = False


def _as_list(given: Callable[..., Any] | Sequence[Callable[..., Any]] | None) -> list[Callable[..., Any]]:
    if given is None:
        return []
    return [given] if callable(given) else list(given)
