"""The cluster policies that attach the shared callbacks to every task that Airflow parses.

Airflow finds them by the entry point group ``airflow.policy``. Runs need no callbacks: the listener sees
them begin and end in the scheduler, at once, and without the parse of the DAG file that a callback costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.policies import hookimpl

from observability import callbacks
from observability.airflow.preload import preload
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
_MAKE_IT_RUN = ("on_execute_callback", "on_success_callback")
"""With one of these Airflow sends an empty operator to a worker, which it passes over without."""


@hookimpl(trylast=True)
def task_policy(task: Any) -> None:
    """Put our callbacks before the task's own, which stay; doing it again changes nothing.

    An empty operator, which Airflow does not run, is not made to run. Comes after the policies of others
    (``airflow_local_settings``, other packages), so that callbacks which they set stand beside ours too.
    """
    with contained("policy"):
        passed_over = _is_passed_over(task)
        for kind, ours in _ATTACHED.items():
            theirs = _as_list(getattr(task, kind, None))
            if ours not in theirs and not (passed_over and kind in _MAKE_IT_RUN):
                setattr(task, kind, [ours, *theirs])


@hookimpl
def dag_policy(dag: Any) -> None:
    """Have deferred tasks end on a worker, as Airflow refuses ``end_from_trigger`` where there are listeners."""
    with contained("policy"):
        for task in dag.tasks:
            if getattr(task, "end_from_trigger", False):
                task.end_from_trigger = False


def _is_passed_over(task: Any) -> bool:
    """Airflow's ``TaskInstance.is_task_schedulable``, the other way round."""
    if not getattr(task, "inherits_from_empty_operator", False):
        return False
    return not (task.on_execute_callback or task.on_success_callback or task.outlets or task.inlets)


def _as_list(given: Callable[..., Any] | Sequence[Callable[..., Any]] | None) -> list[Callable[..., Any]]:
    if given is None:
        return []
    return [given] if callable(given) else list(given)


preload()  # Airflow imports its policies when it starts: in the parent of every task process
