"""The failed runs of a DAG as incidents: one that fails while the one before is broken is a part of its incident."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from observability.durations import lasting
from observability.watch.grouping import repaired
from observability.watch.incidents import Incident
from observability.watch.replayed_notices import Sent, held_until, notification
from observability.watch.runs import RunMark, date_of_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from observability.watch.rules.config import AlertingConfig
    from observability.watch.run_times import RunTimes

__all__ = ["RUN_FAILED", "Failure", "failures_of", "sent_of"]

RUN_FAILED = "run failed"
"""The rule of a notification about failed runs."""


@dataclass(slots=True)
class Failure:
    """An incident of failed runs: from when until when it was open, and when people were notified of it."""

    incident: Incident
    runs: dict[str, float] = field(default_factory=dict)
    """The time at which each of its runs failed."""
    ended: float | None = None
    notified_at: float | None = None


def failures_of(
    rules: AlertingConfig,
    runs: Sequence[RunTimes],
    about: Mapping[str, Any],
    until: float,
    marks: Mapping[str, Mapping[str, tuple[str, float]]],
) -> list[Failure]:
    """The failures of a DAG whose runs are given, the oldest first.

    ``marks`` gives the logical date and the partition of the runs whose id does not say them, by measure and run.
    """
    found: list[Failure] = []
    live: Failure | None = None
    ended = [one for one in runs if one.ended is not None and one.ended <= until]
    # A failure is notified a moment after it, a success at once: of one moment the success comes first.
    for run in sorted(ended, key=lambda one: (float(one.ended or 0), one.succeeded is False)):
        end, mark = float(run.ended or 0), _mark(run, marks)
        if run.succeeded is False:
            if live is None:
                live = Failure(_incident(run, about))
                found.append(live)
            live.runs[run.run_id] = end
            broken = {**live.incident.runs, run.run_id: {**mark.as_json(), "failed": end, "failed_tasks": []}}
            live.incident = replace(live.incident, runs=broken)
        elif run.succeeded and live is not None:
            live.incident = repaired(live.incident, mark, end)
            if not live.incident.runs:
                live.ended, live = end, None
    for one in found:
        one.notified_at = _notified_at(rules, one, until)
    return found


def sent_of(rules: AlertingConfig, failures: Sequence[Failure]) -> Iterator[Sent]:
    """The notifications about failures."""
    for one in failures:
        if one.notified_at is None:
            continue
        yield notification(rules, "opened", one.incident, one.notified_at)
        if one.ended is not None:
            why = f"a run succeeded {lasting(one.ended - one.incident.first_seen)} later"
            yield notification(rules, "resolved", replace(one.incident, reason=why), one.ended)


def _notified_at(rules: AlertingConfig, one: Failure, until: float) -> float | None:
    now = one.incident.first_seen
    while now <= until and (one.ended is None or now < one.ended):
        if (wakes := held_until(rules, one.incident, now, notified=False)) <= now:
            return now
        now = wakes
    return None


def _mark(run: RunTimes, marks: Mapping[str, Mapping[str, tuple[str, float]]]) -> RunMark:
    kind = run.run_id.partition("__")[0]
    dates, keys = marks.get("logical_date", {}), marks.get("partition", {})
    date = dates[run.run_id][1] if run.run_id in dates else date_of_run(run.run_id)
    partition = keys[run.run_id][0] if run.run_id in keys else None
    return RunMark(run.run_id, kind, date, run.begun, partition, catches_up=not run.ordinary)


def _incident(run: RunTimes, about: Mapping[str, Any]) -> Incident:
    end = float(run.ended or 0)
    return Incident(
        id="", key="", state="open", kind="run", severity="error", reason=f"run {run.run_id} failed", certainty=3,
        first_seen=end, last_seen=end, cause="app", dag_id=run.dag_id, run_id=run.run_id, about=dict(about),
        subject=RUN_FAILED,
    )  # fmt: skip
