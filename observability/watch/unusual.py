"""Judge what is unlike usual: durations, rows, rejected rows, the delay of a start, the age of an asset, failures.

Each is learned from its own past, without settings. A reason names the band that was expected and what taught it.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Literal, TypeAlias
from zoneinfo import ZoneInfo

from observability.durations import lasting
from observability.watch.baseline import Past, usual_band
from observability.watch.deadline_state import Standing
from observability.watch.decompose import calendar
from observability.watch.due_within import last_within, longer_than
from observability.watch.failure_rates import usual_failures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from observability.watch.baseline import Band
    from observability.watch.deadline_state import Look
    from observability.watch.rules.deadline import Deadline

__all__ = ["asset_staler", "fails_more", "loads_of", "slow_from", "slower_runs", "starts_later", "usual_gap"]

_Value: TypeAlias = "tuple[float, float, str]"
"""The time, the value and the occasion of a measure."""
_LATELY = 10
"""The last runs whose failures are counted."""
_NO_BAND_IS_SO_NARROW = 1.2
"""A run that takes less than so many times the typical is not slow, and no band is learned for it."""
_ALIKE = 4
"""The last runs on such a weekday, or in such an hour, that are looked at for what is typical."""
_LEAST_LATE_S = 60.0
"""A start that is delayed by less is on time, whatever is usual."""


def slower_runs(look: Look, deadline: Deadline, dag_id: str) -> Iterator[tuple[Standing, float]]:
    """The runs that take longer than usual for such a day, each with what is usual for it in seconds."""
    spans = look.known.spans(dag_id, "runs", look.now, 0.0, look.since)
    durations = look.known.usual("duration", dag_id, "") if spans else ()
    for span in spans:
        lasts = (span[3] if span[3] is not None else look.now) - span[2]
        limit = _usual_longest(deadline, _known_before(durations, span[2]), span[2], lasts)
        if limit is not None:
            for one in longer_than(look, deadline, dag_id, span, limit, "the usual "):
                yield one, limit


def slow_from(look: Look, deadline: Deadline, dag_id: str, begun: float, lasts: float) -> tuple[float, float] | None:
    """The seconds before which a run that began then is not called slow, and the longest that is usual for it.

    None while too little is known, or where a run that ``lasts`` so long is too short to be called slow.
    """
    known = _known_before(look.known.usual("duration", dag_id, ""), begun)
    limit = _usual_longest(deadline, known, begun, lasts)
    return None if limit is None else (_least_slow(deadline, known, begun), limit)


def _known_before(durations: Sequence[_Value], begun: float) -> list[_Value]:
    return [one for one in durations if one[0] < begun]


def _least_slow(deadline: Deadline, known: Sequence[_Value], begun: float) -> float:
    return _NO_BAND_IS_SO_NARROW * _typical(known, begun, deadline)


def _usual_longest(deadline: Deadline, known: Sequence[_Value], begun: float, lasts: float) -> float | None:
    if len(known) < deadline.history_least or lasts < _least_slow(deadline, known, begun):
        return None
    past = tuple(Past(time, value, not run.startswith("backfill__")) for time, value, run in known)
    usual = _band(past, begun, deadline.slower_than_usual, deadline)
    return None if usual is None else usual.high


def _typical(known: Sequence[_Value], at: float, deadline: Deadline) -> float:
    """The lowest of the medians that are typical for a time: of late, on such a weekday, and in such an hour."""
    moment_of = calendar(ZoneInfo(deadline.timezone), frozenset(deadline.holidays))
    here = moment_of(at)
    weekday: list[float] = []
    hour: list[float] = []
    for time, value, _ in reversed(known):
        moment = moment_of(time)
        if len(weekday) < _ALIKE and moment.weekday == here.weekday:
            weekday.append(value)
        if len(hour) < _ALIKE and moment.hour == here.hour:
            hour.append(value)
        if len(weekday) == len(hour) == _ALIKE:
            break
    groups = ([value for _, value, _ in known[-20:]], [value for _, value, _ in known[-_ALIKE:]], weekday, hour)
    return min(median(group) for group in groups if group)


def loads_of(look: Look, deadline: Deadline, dag_id: str) -> Iterator[Standing]:
    """The last load of each step: its rows against the least or the usual, its rejected rows against the usual."""
    measure = "rows" if deadline.rejects_above_usual is None else "rejects"
    newest = {one[0]: one for one in look.known.last_loads(measure, dag_id, look.now)}
    for subject, when, value, occasion in newest.values():
        task_id, _, step = subject.partition(":")
        if not fnmatchcase(task_id, deadline.task or "*") or not fnmatchcase(step, deadline.step):
            continue
        if reason := _unusual_load(look, deadline, (measure, dag_id, subject), when, value, occasion):
            wrote = "wrote" if measure == "rows" else "rejected"
            yield Standing(
                "missed", dag_id, when, f"step {step} of {task_id} {wrote} {value:.0f} rows: {reason}", None, task_id
            )


def _unusual_load(  # noqa: PLR0913, PLR0917 - what there is to know of a load
    look: Look, deadline: Deadline, about: tuple[str, str, str], when: float, value: float, occasion: str
) -> str:
    if deadline.rows_at_least is not None:
        return f"at least {deadline.rows_at_least} are expected" if value < deadline.rows_at_least else ""
    width = deadline.rows_unlike_usual if deadline.rejects_above_usual is None else deadline.rejects_above_usual
    usual = None if width is None else _usual_of(look, deadline, width, about, when, occasion)
    if usual is None or usual.holds(value) or (about[0] == "rejects" and value <= _most_by_chance(usual)):
        return ""
    return f"{usual.low:.0f} to {usual.high:.0f} are usual, learned from {usual.why}"


def _most_by_chance(usual: Band) -> float:
    """The most rejected rows that are usual: where few are expected, their number varies by itself (Poisson)."""
    return max(usual.high, usual.expected + 4 * math.sqrt(usual.expected + 1) + 2)


def starts_later(look: Look, deadline: Deadline, dag_id: str) -> Iterator[Standing]:
    """The newest run, where it began later after its time than usual."""
    last = look.known.last_loads("start_delay", dag_id, look.now)
    for _, when, delay, occasion in last[-1:]:
        about = ("start_delay", dag_id, "")
        usual = _usual_of(look, deadline, deadline.starts_later_than_usual, about, when, occasion)
        if usual is not None and delay > max(usual.high, _LEAST_LATE_S):
            reason = (
                f"run {occasion} began {lasting(delay)} after its time: "
                f"up to {lasting(usual.high)} is usual, learned from {usual.why}"
            )
            yield Standing("missed", dag_id, when, reason)


def asset_staler(look: Look, deadline: Deadline) -> Iterator[Standing]:
    """An asset whose last update is longer ago than is usual from one update to the next."""
    usual, last = _usual_gap(look, deadline)
    if usual is not None:
        why = f"{lasting(usual.high)} from one update to the next is the longest usual, learned from {usual.why}"
        yield from last_within(look, deadline, None, last, usual.high, f"{deadline.asset} has not been updated", why)


def usual_gap(look: Look, deadline: Deadline) -> float | None:
    """The longest time that is usual from the last update of an asset to the next; None while too little is known."""
    usual, _ = _usual_gap(look, deadline)
    return None if usual is None else usual.high


def _usual_gap(look: Look, deadline: Deadline) -> tuple[Band | None, float]:
    updates = [when for when, _, _ in look.known.usual("asset", "", str(deadline.asset))]
    if not updates:
        return None, 0.0
    gaps = tuple(Past(before, after - before) for before, after in pairwise(updates) if after > before)
    return _band(gaps, updates[-1], deadline.staler_than_usual, deadline), updates[-1]


def fails_more(look: Look, deadline: Deadline, dag_id: str) -> Iterator[Standing]:
    """A DAG of whose last runs more have failed than usual."""
    ends = look.known.usual("outcome", dag_id, "")
    failed = [good == 0 for _, good, _ in ends]
    lately, before = failed[-_LATELY:], failed[:-_LATELY]
    if len(before) < max(deadline.history_least, _LATELY):
        return
    width = deadline.fails_more_than_usual
    usual = usual_failures(len(before), sum(before), len(lately), None if width is True else width)
    if sum(lately) > usual.high:
        reason = (
            f"{sum(lately)} of the last {len(lately)} runs failed: up to {usual.high:.0f} are usual, "
            f"learned from {usual.why}"
        )
        yield Standing("missed", dag_id, ends[-1][0], reason)


def _usual_of(  # noqa: PLR0913, PLR0917 - the rule, what it is about, and when
    look: Look,
    deadline: Deadline,
    width: float | Literal[True] | None,
    about: tuple[str, str, str],
    at: float,
    before: str = "",
) -> Band | None:
    """The usual band of a measure of a DAG's subject at a time. Backfills are not learned from."""
    past = tuple(
        Past(time, value, not occasion.startswith("backfill__"))
        for time, value, occasion in look.known.usual(*about, before=before)
    )
    return _band(past, at, width, deadline)


def _band(past: tuple[Past, ...], at: float, width: float | Literal[True] | None, deadline: Deadline) -> Band | None:
    deviations, holidays = None if width is True else width, frozenset(deadline.holidays)
    return _learned(past, at, deviations, deadline.history_least, holidays, deadline.timezone)


@lru_cache(maxsize=1000)
def _learned(  # noqa: PLR0913, PLR0917 - what a band depends on
    past: tuple[Past, ...], at: float, deviations: float | None, least: int, holidays: frozenset[date], zone: str
) -> Band | None:
    """A band is asked for each second, and learned again only when the past has grown."""
    return usual_band(past, at, deviations=deviations, least=least, holidays=holidays, zone=ZoneInfo(zone))
