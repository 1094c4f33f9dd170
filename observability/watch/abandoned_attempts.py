"""Attempts that Airflow ran again, and of whose end nobody had said anything.

Their process, its supervisor and often their scheduler were killed together: there are no last words, and Airflow gives
the task its next number without calling the attempt failed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from observability.events import Identity, TaskRetried
from observability.timestamps import utc

if TYPE_CHECKING:
    from observability.watch.facts import Fact

__all__ = ["Unended"]

_MOST = 10_000
_WHY = "Airflow ran the task again; how this attempt ended was never said: its process and supervisor ended at once"


class Unended:
    """The newest attempt of each task instance that began and has not ended, as far as is known; the newest kept."""

    def __init__(self) -> None:
        self._begun: OrderedDict[tuple[str | None, str | None, str | None, int], Fact] = OrderedDict()
        self._reported: OrderedDict[str, None] = OrderedDict()

    def begin(self, fact: Fact) -> tuple[str, TaskRetried] | None:
        """An attempt began. The key and event of the one before it, where nothing is known of its end.

        In a task loop an iteration has no number that tells which came before it: nothing is said of those.
        """
        if fact.loop_key is not None or fact.try_number is None:
            return None
        before = self._begun.get(_place(fact))
        if before is not None and (before.try_number or 0) >= fact.try_number:
            return None
        self._begun[_place(fact)] = fact
        self._begun.move_to_end(_place(fact))
        if len(self._begun) > _MOST:
            self._begun.popitem(last=False)
        if before is None:
            return None
        self._reported[before.key] = None
        if len(self._reported) > _MOST:
            self._reported.popitem(last=False)
        return before.key, _run_again(before, fact.time)

    def end(self, fact: Fact) -> bool:
        """Somebody said how an attempt ended; True if :meth:`begin` has said so in their place."""
        known = self._begun.get(_place(fact))
        if known is not None and known.try_number == fact.try_number:
            del self._begun[_place(fact)]
        return self._reported.pop(fact.key, self) is None


def _place(fact: Fact) -> tuple[str | None, str | None, str | None, int]:
    return fact.dag_id, fact.run_id, fact.task_id, fact.map_index


def _run_again(fact: Fact, until: float) -> TaskRetried:
    about = fact.about
    return TaskRetried(
        identity=Identity(
            dag_id=fact.dag_id, run_id=fact.run_id, task_id=fact.task_id, map_index=fact.map_index,
            try_number=fact.try_number, operator=about.get("operator"), owner=about.get("owner"),
            run_type=about.get("run_type"), tags=tuple(about["tags"]) if about.get("tags") else None,
            team=about.get("team"), trace_id=about.get("trace_id"),
        ),
        time=utc(until),
        cause="lost_heartbeat",
        reason=_WHY,
        provider="watcher",
    )  # fmt: skip
