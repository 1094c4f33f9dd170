"""Find what waits for a person: a task for an answer, a run that another DAG triggered for its own DAG's unpausing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability.durations import lasting
from observability.watch.facts import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.watch.sources.api import AirflowApi

__all__ = ["behind_pause", "questions", "triggered", "unanswered"]

_WAITING = {"awaiting_input", "deferred"}
"""The states of a task that waits for an answer, since Airflow 3.3 and before it."""
_SHOWN = 120
_QUESTIONS = "/dags/~/dagRuns/~/hitlDetails"


def questions(api: AirflowApi) -> Iterator[dict[str, Any]]:
    """The questions that people have not answered, as the API says it."""
    asked = {"response_received": "false", "order_by": "created_at"}
    first = api.get(_QUESTIONS, limit=1, **asked)
    if isinstance(first, dict) and "hitl_details" not in first:
        return
    if first is not None and first["hitl_details"]:
        yield from api.pages(_QUESTIONS, "hitl_details", **asked)


def unanswered(detail: dict[str, Any], now: float) -> Iterator[tuple[dict[str, Any], float, str]]:
    """The task that waits for an answer: its row, for how many seconds, and a sentence; nothing where none waits."""
    one = detail.get("task_instance")
    if not isinstance(one, dict) or one.get("state") not in _WAITING:
        return
    waited = now - seconds(str(detail["created_at"]))
    subject = " ".join(str(detail.get("subject") or "a question").split())[:_SHOWN]
    options = ", ".join(map(str, detail.get("options") or ()))[:_SHOWN]
    who = ", ".join(str(user.get("name")) for user in detail.get("assigned_users") or () if isinstance(user, dict))
    words = f'nobody{f" of {who}" if who else ""} has answered "{subject}"' + (f" ({options})" if options else "")
    yield one, waited, f"{words} for {lasting(waited)}"


def triggered(api: AirflowApi) -> Iterator[dict[str, Any]]:
    """The queued runs that a task of another DAG triggered."""
    for run in api.pages("/dags/~/dagRuns", "dag_runs", state=["queued"], order_by="run_after"):
        if run.get("triggered_by") == "operator":
            yield run


def behind_pause(
    run: dict[str, Any], dags: dict[str, dict[str, Any]], now: float
) -> Iterator[tuple[dict[str, Any], float, str]]:
    """A queued run whose own DAG is paused, so that it never begins: as :func:`unanswered` gives a task."""
    if dags.get(str(run["dag_id"]), {}).get("paused"):
        waited = now - seconds(str(run.get("queued_at") or run["run_after"]))
        yield run, waited, f"another DAG triggered it {lasting(waited)} ago, and its own DAG is paused"
