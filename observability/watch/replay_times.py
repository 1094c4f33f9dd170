"""The moments at which the state of a deadline can change, so that a replay looks then and at no other time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from observability.watch.clock import clock_days_since
from observability.watch.deadline_state import Look
from observability.watch.due_by_clock import START_WARNING_S
from observability.watch.unusual import slow_from, usual_gap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from observability.watch.clock import ClockDay
    from observability.watch.known_then import KnownThen
    from observability.watch.pauses import Pauses
    from observability.watch.replay_failures import Failure
    from observability.watch.rules.deadline import Deadline
    from observability.watch.run_times import RunTimes

__all__ = ["changes_of", "judged_of", "moments_of"]

_ROUNDING_S = 1e-6
"""A look so much later is not before the moment by the rounding of sums that are made in another order."""
_LOOKS = 12
"""Moments in a run at which its forecast is asked for."""
_MEASURES = {
    "rows_at_least": "rows", "rows_unlike_usual": "rows", "rejects_above_usual": "rejects",
    "starts_later_than_usual": "start_delay",
}  # fmt: skip


def moments_of(
    deadline: Deadline, known: KnownThen, dags: Sequence[str], pauses: Pauses, span: tuple[float, float]
) -> list[float]:
    """The moments at which people may be warned of a miss, or it is one, in order."""
    found = set(_moments(deadline, known, dags, pauses, span))
    found.update(moment for dag_id in dags for moment in pauses.changes(dag_id))
    return sorted(one for one in found if span[0] <= one <= span[1])


def _moments(
    deadline: Deadline, known: KnownThen, dags: Sequence[str], pauses: Pauses, span: tuple[float, float]
) -> Iterator[float]:
    if deadline.clock is not None:
        yield from _of_days(deadline, known, dags, span)
    elif deadline.run_finishes_within is not None:
        yield from _of_runs(deadline, known, dags, pauses, span)
    elif deadline.task_finishes_within is not None:
        limit = deadline.task_finishes_within
        for begin, end in known.all_attempts(dags, deadline.task):
            yield from _if_before(end, begin + limit * deadline.warn, begin + limit)
    elif deadline.asset is not None:
        yield from _of_asset(deadline, known, pauses, span)
    else:
        for dag_id in dags:
            yield from _of_dag(deadline, known, dag_id, pauses, span)


def _of_dag(
    deadline: Deadline, known: KnownThen, dag_id: str, pauses: Pauses, span: tuple[float, float]
) -> Iterator[float]:
    if deadline.slower_than_usual is not None:
        yield from _slower(deadline, known, dag_id, pauses, span)
    elif deadline.success_within is not None:
        yield from _after_each(known.all_successes(dag_id), deadline.success_within, deadline, pauses, dag_id, span)
    else:
        yield from _values(deadline, known, dag_id)


def _values(deadline: Deadline, known: KnownThen, dag_id: str) -> Sequence[float]:
    """The times of the values that are judged as they come."""
    if deadline.fails_more_than_usual is not None:
        return known.all_ends(dag_id)
    return known.all_times(_MEASURES[deadline.condition], dag_id)


def _of_days(deadline: Deadline, known: KnownThen, dags: Sequence[str], span: tuple[float, float]) -> Iterator[float]:
    for day in _days(deadline, span):
        lasts = START_WARNING_S if deadline.starts_by is not None else day.due - day.begins
        share = day.due - lasts * (1 - deadline.warn)
        yield from (share, day.due) if deadline.warn < 1 else (day.due,)
        if deadline.warn < 1 and "warn" not in deadline.model_fields_set and deadline.starts_by is None:
            for dag_id in dags:
                of_day = known.all_runs(dag_id, day.begins, day.due)
                for run in of_day[-1:]:
                    yield from _forecasts(run, max(share, run.begun), day.due)


def _days(deadline: Deadline, span: tuple[float, float]) -> list[ClockDay]:
    return clock_days_since(
        str(deadline.clock), deadline.timezone, deadline.days, *span, since=deadline.day_begins,
        holidays=deadline.holidays,
    )  # fmt: skip


def _of_runs(
    deadline: Deadline, known: KnownThen, dags: Sequence[str], pauses: Pauses, span: tuple[float, float]
) -> Iterator[float]:
    limit = float(deadline.run_finishes_within or 0)
    for dag_id in dags:
        for run in known.all_runs(dag_id, *span):
            share, due = _share_and_due(deadline, pauses, dag_id, run.begun, limit, draining=False)
            yield from _if_before(run.ended, share, due)
            if deadline.warn < 1 and "warn" not in deadline.model_fields_set:
                yield from _forecasts(run, share, due)


def _if_before(end: float | None, share: float, due: float) -> Iterator[float]:
    """The moments of a warning and of a miss, for what had not ended by then."""
    yield from (moment for moment in (share, due) if end is None or moment < end)


def _forecasts(run: RunTimes, share: float, due: float) -> Iterator[float]:
    """Moments in a run that goes on beyond ``share``; what is done by then is not forecast, which costs too much."""
    if run.ended is not None and run.ended <= share:
        return
    until = due if run.ended is None else min(run.ended, due)
    yield from (run.begun + (until - run.begun) * (number - 0.02) / _LOOKS for number in range(1, _LOOKS + 1))


def _slower(
    deadline: Deadline, known: KnownThen, dag_id: str, pauses: Pauses, span: tuple[float, float]
) -> Iterator[float]:
    for run in known.all_runs(dag_id, *span):
        lasts = (span[1] if run.ended is None else run.ended) - run.begun
        known.now = run.begun
        look = Look(known, run.begun, run.begun, pauses, (dag_id,), None, {})
        if found := slow_from(look, deadline, dag_id, run.begun, lasts):
            least, limit = run.begun + found[0] + _ROUNDING_S, found[1]
            share, due = _share_and_due(deadline, pauses, dag_id, run.begun, limit, draining=False)
            yield from _if_before(run.ended, max(share, least), max(due, least))


def _after_each(  # noqa: PLR0913, PLR0917 - the rule, and what it is about
    moments: Sequence[float], within: float, deadline: Deadline, pauses: Pauses, dag_id: str, span: tuple[float, float]
) -> Iterator[float]:
    """The moments at which what must happen again so soon has not, after each time that it did."""
    for number, last in enumerate((span[0], *moments)):
        after = moments[number] if number < len(moments) else None
        yield from _if_before(after, *_share_and_due(deadline, pauses, dag_id, last, within, draining=True))


def _share_and_due(  # noqa: PLR0913 - the rule, and what it is about
    deadline: Deadline, pauses: Pauses, dag_id: str, begun: float, limit: float, *, draining: bool
) -> tuple[float, float]:
    """The moments of a warning and of a miss of what has ``limit`` seconds, without the pauses of its DAG."""
    share = pauses.moment_after(dag_id, begun, limit * deadline.warn, draining=draining)
    due = pauses.moment_after(dag_id, begun, limit, draining=draining)
    return share + _ROUNDING_S, due if due == begun + limit else due + _ROUNDING_S


def _of_asset(deadline: Deadline, known: KnownThen, pauses: Pauses, span: tuple[float, float]) -> Iterator[float]:
    uri = str(deadline.asset)
    if deadline.staler_than_usual is not None:
        updates = known.all_updates(uri)
        for number, last in enumerate(updates):
            known.now = last
            if (limit := usual_gap(Look(known, last, last, pauses, (), None, {}), deadline)) is not None:
                after = updates[number + 1] if number + 1 < len(updates) else None
                yield from _if_before(after, last + limit * deadline.warn, last + limit)
        return
    within = float(deadline.fresh_within or 0)
    for moments in known.all_partitions(uri).values() if deadline.partition else [known.all_updates(uri)]:
        yield from _after_each(moments, within, deadline, pauses, "", span)


def changes_of(
    deadline: Deadline,
    known: KnownThen,
    dags: Sequence[str],
    pauses: Pauses,
    failures: Mapping[str, Sequence[Failure]],
) -> list[float]:
    """The moments at which something happens that may end what is open, in order."""
    found: set[float] = set()
    for dag_id in dags:
        found.update(known.all_begins(dag_id), known.all_ends(dag_id), pauses.changes(dag_id))
        found.update(moment for one in failures.get(dag_id, ()) for moment in (one.notified_at, one.ended) if moment)
    if deadline.task or any(part.task for part in deadline.parts):
        found.update(end for _, end in known.all_attempts(dags, "*") if end is not None)
    for uri in deadline.assets or ():
        found.update(known.all_updates(uri))
    return sorted(found)


def judged_of(
    deadline: Deadline, known: KnownThen, dags: Sequence[str], pauses: Pauses, span: tuple[float, float]
) -> int | None:
    """The number of occasions that were judged; None for days, which the looks count."""
    first, last = span
    condition = deadline.condition
    if deadline.clock is not None:
        return None
    if condition in {"run_finishes_within", "slower_than_usual"}:
        least = deadline.history_least if condition == "slower_than_usual" else 0
        begun = [(dag_id, one.begun) for dag_id in dags for one in known.all_runs(dag_id, *span)]
        return sum(known.successes_before(dag_id, begin) >= least for dag_id, begin in begun)
    moments: list[float] = []
    if condition == "task_finishes_within":
        moments = [begin for begin, _ in known.all_attempts(dags, deadline.task)]
    elif deadline.asset is not None:
        moments = [*known.all_updates(deadline.asset)]
    for dag_id in dags if deadline.asset is None and condition != "task_finishes_within" else ():
        if (within := deadline.success_within) is not None:
            ends = known.all_successes(dag_id)
            moments += [end + within + pauses.within(dag_id, end, end + within) for end in ends]
        else:
            moments += _values(deadline, known, dag_id)
    return sum(first <= one <= last for one in moments)
