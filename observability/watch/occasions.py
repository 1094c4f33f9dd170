"""Tell occasions apart on which one run or attempt fails: it fails, is well, and fails again.

A person may set a run to failed, to success and to failed, as often as they like; a run that was cleared may exceed its
time again. Airflow keeps one row of it, so that the times of the facts say which is the newest.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from observability.watch.facts import Fact
    from observability.watch.incidents import Incident

__all__ = ["RunEnds", "folds", "is_another", "is_older", "is_past"]

_CLOCKS_AGREE_S = 60.0
"""Nothing distinguishes what hosts saw whose clocks differ by more than this; the doctor says so."""
_SAME_S = 0.01
"""Every source takes the time of a failure from Airflow's row, to the microsecond or the millisecond."""
_MOST = 10_000


def is_another(known: Fact, fact: Fact, incident: Incident | None) -> bool:
    """Tell whether ``fact`` is a later failure of the run or attempt of ``known``, which ``incident`` was about.

    Of an attempt only a person makes another one: its own sources may disagree about when it ended.
    """
    by_hand = fact.cause == "cancelled"
    if fact.status != "firing" or known.status not in {"firing", "resolved"} or fact.time <= known.time + _SAME_S:
        return False
    if fact.kind != "run" and not (fact.kind == "task" and by_hand):
        return False
    if incident is None:
        return True
    if incident.live:  # a failed task speaks for its run
        return fact.kind == incident.kind == "run" and "cleared" in incident.runs.get(str(fact.run_id), {})
    return incident.resolved_at is None or fact.time > incident.resolved_at - _CLOCKS_AGREE_S


def is_older(fact: Fact, incident: Incident) -> bool:
    """True if what went well did so before this went wrong: news from another host may be an hour late."""
    return fact.time < incident.first_seen - _CLOCKS_AGREE_S


def folds(last: Incident, fact: Fact) -> bool:
    """A run's failure says nothing new while its incident is live, or when that was resolved after it."""
    if last.live and last.kind == "stuck":
        return False  # that it waited is another thing than that it failed
    return last.live or (last.resolved_at is not None and last.resolved_at >= fact.time)


def is_past(known: Fact, fact: Fact) -> bool:
    """True if a run has been well (``known``) since it failed so."""
    return fact.kind == "run" and known.status == "resolved" and fact.time <= known.time + _SAME_S


class RunEnds:
    """The last ends of runs, to distinguish the news of one from a look at Airflow that is older than a failure."""

    def __init__(self) -> None:
        """Nothing is known of any run yet."""
        self._heard_failed: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._succeeded: OrderedDict[tuple[str, str], float] = OrderedDict()

    def fails(self, fact: Fact, now: float) -> None:
        """Note when a failure was heard of."""
        _note(self._heard_failed, _run(fact), now)

    def succeeds(self, fact: Fact, known: Fact | None) -> bool:
        """Note a success; False where it is told once more, after a later failure (``known``) of the same run."""
        told = self._succeeded.get(_run(fact))
        _note(self._succeeded, _run(fact), fact.time)
        fails_since = known is not None and known.status == "firing" and known.time > fact.time + _SAME_S
        return not (fails_since and told is not None and abs(told - fact.time) <= _SAME_S)

    def is_overtaken(self, fact: Fact) -> bool:
        """True if a look, which began at the time of ``fact``, saw a run before its last failure was heard of."""
        return fact.time < self._heard_failed.get(_run(fact), fact.time)


def _run(fact: Fact) -> tuple[str, str]:
    return str(fact.dag_id), str(fact.run_id)


def _note(kept: OrderedDict[tuple[str, str], float], run: tuple[str, str], moment: float) -> None:
    kept[run] = moment
    kept.move_to_end(run)
    if len(kept) > _MOST:
        kept.popitem(last=False)
