"""The critical path of a run: the chain of attempts, and the waits between them, that decided when it ended."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from observability.watch.facts import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.airflow.ui.pages.attempts import Attempt

__all__ = ["Leg", "Wait", "critical_path", "waits_of"]

_WAITS_MOST = 100
"""The attempts of a run up to which each wait is looked for: it is compared with all others."""
_SLACK_S = 0.5
"""A task may begin so much before the end of the one above it: two processes wrote the times."""


@dataclass(frozen=True, slots=True)
class Leg:
    """An attempt of the chain, and how long it waited after the one before it: for a slot, a retry, the scheduler."""

    attempt: Attempt
    waited_ms: float
    took_ms: float


@dataclass(frozen=True, slots=True)
class Wait:
    """The time before an attempt in which nothing kept it but what it waited for; ``since`` in s since 1970."""

    since: float
    why: str


@dataclass(frozen=True, slots=True)
class _Span:
    began: float
    ended: float
    attempt: Attempt

    @property
    def instance(self) -> tuple[object, ...]:
        return self.attempt.task_id, self.attempt.map_index, self.attempt.iteration


def critical_path(attempts: list[Attempt], downstream: Mapping[str, frozenset[str]], now: float) -> list[Leg]:
    """The chain from the first attempt to the one that ended last, or runs at ``now`` (in s since 1970).

    An attempt was waited for by a later try of the same instance, or by a task below it. Where the graph does not know
    a task, any attempt that ended before it began may have been.
    """
    spans = sorted((_span(one, now) for one in attempts), key=lambda one: one.ended)
    if not spans:
        return []
    above = _above(downstream)
    chain = [spans[-1]]
    while (found := _before(chain[-1], spans, above)) is not None:
        chain.append(found)
    chain.reverse()
    waits = [0.0, *(max(0.0, later.began - earlier.ended) for earlier, later in itertools.pairwise(chain))]
    return [
        Leg(one.attempt, wait * 1000, (one.ended - one.began) * 1000) for one, wait in zip(chain, waits, strict=True)
    ]


def waits_of(
    attempts: list[Attempt], downstream: Mapping[str, frozenset[str]], run_began: str | None
) -> list[Wait | None]:
    """The wait before each attempt: since the try before it, the last task above it, or the begin of the run.

    None where the graph does not know the task, and for all where there are too many.
    """
    if len(attempts) > _WAITS_MOST:
        return [None] * len(attempts)
    above = _above(downstream)
    spans = sorted((_span(one) for one in attempts), key=lambda one: one.ended)
    begin = seconds(run_began) if run_began else None
    return [_wait(_span(one), spans, above, begin) for one in attempts]


def _wait(one: _Span, spans: list[_Span], above: Mapping[str, set[str]], begin: float | None) -> Wait | None:
    known = above.get(one.attempt.task_id)
    before = _before(one, spans, above)
    if before is not None and before.instance == one.instance:
        return Wait(before.ended, "its retry")
    if known is None:
        return None
    since = before.ended if before is not None else None if known else begin
    return None if since is None or since >= one.began else Wait(since, "the scheduler and a slot")


def _span(attempt: Attempt, now: float | None = None) -> _Span:
    """The time of an attempt; of one that runs until ``now``, where that is given."""
    ended = seconds(attempt.ended)
    began = seconds(attempt.started) if attempt.started else ended - (attempt.duration_ms or 0.0) / 1000
    if attempt.state == "running" and now is not None:
        ended = max(now, ended)
    return _Span(min(began, ended), ended, attempt)


def _above(downstream: Mapping[str, frozenset[str]]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {task: set() for task in downstream}
    for task, below in downstream.items():
        for one in below:
            found.setdefault(one, set()).add(task)
    return found


def _before(later: _Span, spans: list[_Span], above: Mapping[str, set[str]]) -> _Span | None:
    """The span that ``later`` waited for: the try before it, else the last one of a task above it."""
    earlier = [one for one in spans if one.began < later.began and one.ended <= later.began + _SLACK_S]
    tries = [one for one in earlier if one.instance == later.instance]
    if tries:
        return max(tries, key=lambda one: one.attempt.try_number)
    known = above.get(later.attempt.task_id)
    return next((one for one in reversed(earlier) if known is None or one.attempt.task_id in known), None)
