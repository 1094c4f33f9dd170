"""One look at Airflow's API: its questions, and what each part of it knows from the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability.events import (
    Identity,
)
from observability.timestamps import iso
from observability.watch.facts import SEEN, Fact, observed, seconds
from observability.watch.sources.airflow_api.rows import (
    dag_version,
    is_about,
    loop_of,
    mapping,
    sound,
)
from observability.watch.sources.api import path_of
from observability.watch.sources.carried_out import may_be_done
from observability.watch.sources.isolation import Questions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from observability.events import Event
    from observability.watch.rules.config import Thresholds
    from observability.watch.sources.api import AirflowApi


__all__ = ["Look", "seen"]

_EVENTS_BEFORE_S = 120.0
_TELLING_EVENTS = (
    "heartbeat timeout", "state mismatch", "stuck in queued tries exceeded", "fail task", "patch_task_instance",
    "patch_task_group_instances", "patch_dag_run", "bulk_task_instances", "bulk_dag_runs",
)  # fmt: skip


class Look:
    """Asks on behalf of every part of a look; what one part finds out, the later ones read here."""

    def __init__(self, api: AirflowApi, thresholds: Callable[[], Thresholds], environment: str) -> None:
        """``thresholds`` answers the limits of the rules in force."""
        self.api, self.thresholds, self.environment = api, thresholds, environment
        self.questions = Questions()
        self.dags: dict[str, dict[str, Any]] = {}
        self.known: Callable[[str], Fact | None] = lambda _key: None
        self.until = 0.0
        self.cut = False
        """True where the time of the look ended before all failures were looked into."""
        self.explained: set[tuple[str, str]] = set()
        """The runs of which a failed task was seen in this look."""
        self.answered_at = 0.0
        """The time of the last answer to the look before, by its clock: a long look at a slow server is no absence."""
        self.scheduler_dozes = False
        self.last_beat: float | None = None
        """The newest heartbeat of a scheduler that dozes, by Airflow's clock; None where there is none."""
        self._events_of: dict[tuple[str, str] | None, list[dict[str, Any]]] = {}
        self._done: dict[Any, bool] = {}
        self._events_since = 0.0

    def ask_events_since(self, since: float) -> None:
        """Ask Airflow's event log anew, from a while before ``since``; each answer serves the whole look."""
        self._events_of, self._done, self._events_since = {}, {}, since - _EVENTS_BEFORE_S

    def one(self, about: str, found: Callable[[], Iterable[Fact]]) -> list[Fact]:
        """The facts about one row of a listing; none where the row cannot be understood."""
        return self.questions.row(about, lambda: [one for fact in found() for one in sound(fact)], [])

    def are_whole(self, rows: list[dict[str, Any]], name: str) -> bool:
        """True if each row says what it is about: only then a thing that is not listed is gone. Else it is counted."""
        odd = next((one for one in rows if not isinstance(one.get(name), str)), None)
        if odd is not None:
            self.questions.note(f"a row without {name}", TypeError(f"{name} is {str(odd.get(name))[:50]}"))
        return odd is None

    def identity(self, one: dict[str, Any]) -> Identity:
        """The subject of an answer of the API: an attempt, a run or a DAG."""
        known = self.dags.get(one["dag_id"], {})
        return Identity(
            dag_id=one["dag_id"],
            run_id=one.get("dag_run_id"),
            task_id=one.get("task_id"),
            map_index=one.get("map_index") if one.get("task_id") else None,
            **loop_of(one),
            try_number=one.get("try_number"),
            operator=one.get("operator_name"),
            pool=one.get("pool") if one.get("task_id") else None,
            run_type=one.get("run_type"),
            logical_date=one.get("logical_date"),
            partition_key=one.get("partition_key"),
            bundle_version=one.get("bundle_version"),
            dag_version=dag_version(one),
            owner=known.get("owner"),
            tags=tuple(known["tags"]) if known.get("tags") else None,
        )

    def about(self, dag_id: str | None, **more: Any) -> dict[str, Any]:
        """Return what rules match by: owner, tags and environment of a DAG, each where it is known."""
        known = self.dags.get(dag_id or "", {})
        about = {name: known.get(name) for name in ("owner", "tags", "env")} | {"env": self.environment} | more
        return {name: value for name, value in about.items() if value}

    def details(self, dag_id: str) -> dict[str, Any] | None:
        """A DAG's details, None where Airflow has no such DAG."""
        return mapping(self.api.once(path_of("dags", dag_id, "details")))

    def events(self, one: dict[str, Any]) -> list[dict[str, Any]]:
        """Airflow's event log about an attempt, or the run that it belongs to."""
        asked: dict[str, Any] = {"included_events": list(_TELLING_EVENTS), "order_by": "event_log_id"}
        run: tuple[str, str] | None = (one["dag_id"], one["dag_run_id"])
        if one.get("end_date") and seconds(one["end_date"]) > self._events_since:
            run = None  # one request tells of all that ended lately
            asked["after"] = iso(self._events_since)
        else:
            asked |= {"dag_id": one["dag_id"], "run_id": one["dag_run_id"]}
        if run not in self._events_of:
            self._events_of[run] = list(self.api.pages("/eventLogs", "event_logs", **asked))
        return [event for event in self._events_of[run] if is_about(event, one) and self._may_be_done(event)]

    def _may_be_done(self, event: dict[str, Any]) -> bool:
        """False for a request of a person that Airflow refused; it is asked once in a look."""
        number = event.get("event_log_id")
        if number not in self._done:
            self._done[number] = may_be_done(self.api, event)
        return self._done[number]


def seen(look: Look, event: Event, now: float, evidence: dict[str, Any] | None = None) -> Fact:
    """The fact of an event that this look saw itself."""
    dag_id = event.identity.dag_id if event.identity else None
    return observed(event, time=now, certainty=SEEN, evidence=evidence, about=look.about(dag_id))
