"""The events by which the watcher tells the rest of Contrail what it found and decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability.events import Identity, TaskFailed
from observability.runbooks import runbook_page
from observability.timestamps import utc
from observability.watch.facts import late_assets
from observability.watch.notify.titles import title_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.events import Event
    from observability.watch.facts import Fact
    from observability.watch.incidents import Incident

__all__ = ["incident_event", "task_outcome"]


def task_outcome(fact: Fact, begun: Mapping[str, Any]) -> TaskFailed:
    """A task's failure that only the watcher saw; ``begun`` is what was known when the attempt began."""
    about = {**begun, **fact.about}
    return TaskFailed(
        identity=Identity(
            dag_id=fact.dag_id,
            task_id=fact.task_id,
            run_id=fact.run_id,
            try_number=fact.try_number,
            map_index=fact.map_index,
            iteration=fact.iteration,
            loop_id=fact.loop_id,
            region_id=fact.region_id,
            ti_id=fact.ti_id,
            operator=about.get("operator"),
            owner=about.get("owner"),
            run_type=about.get("run_type"),
            tags=tuple(about["tags"]) if about.get("tags") else None,
            team=about.get("team"),
            trace_id=about.get("trace_id"),
        ),
        time=utc(fact.time),
        cause=fact.cause,
        reason=fact.reason,
        provider="relay+reconciler" if "relay" in fact.provider else "reconciler",
        error_type=fact.evidence.get("error.type"),
        error_message=fact.evidence.get("error.message"),
        stack_trace=fact.evidence.get("error.stack_trace"),
        fingerprint=fact.evidence.get("error.fingerprint"),
        frame=fact.evidence.get("error.frame"),
        duration_ns=fact.evidence.get("event.duration"),
        exit_code=fact.evidence.get("process.exit_code"),
        signal=fact.evidence.get("airflow.signal"),
        peak_rss=fact.evidence.get("airflow.peak_rss"),
        memory_limit=fact.evidence.get("airflow.memory_limit"),
    )


def incident_event(kind: Any, one: Incident, now: float) -> Event:
    """The event of ``kind`` about an incident as it stands now."""
    made: Event = kind(
        identity=Identity(dag_id=one.dag_id, run_id=one.run_id, task_id=one.task_id, owner=one.about.get("owner")),
        time=utc(now),
        discriminator=f"{one.id}:{one.level}",
        incident_id=one.id,
        incident_key=one.key,
        incident_state=one.state,
        incident_title=title_of(one),
        severity=one.severity,
        count=one.count,
        reason=one.reason,
        cause=one.cause,
        age_ns=int((now - one.first_seen) * 1e9),
        fingerprint=one.evidence.get("error.fingerprint"),
        asset=late_assets(one.evidence) or None,
        runbook=one.evidence.get("incident.runbook") or runbook_page(one.kind, one.cause),
    )
    return made
