"""Times at which a DAG was not meant to run: paused, draining, or gone from Airflow. They count for no deadline."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from observability.watch.ledger.database import read_cursor, write_cursor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection

__all__ = ["Pauses"]

_CURSOR = "pauses"
_KEPT_S = 90 * 86_400.0


class Pauses:
    """The pauses of each DAG, as the ledger remembers them; ``dags`` None: nothing is known of the DAGs now."""

    def __init__(self, connection: Connection, dags: Mapping[str, Mapping[str, Any]] | None, now: float) -> None:
        remembered = read_cursor(connection, _CURSOR)
        self._spans: dict[str, list[list[Any]]] = dict(remembered or {})
        self._dags = dags
        if dags is not None and self._follow(dags, now, 0.0 if remembered is None else now):
            write_cursor(connection, _CURSOR, self._spans)
        elif dags is not None and remembered is None:
            write_cursor(connection, _CURSOR, {})

    def starts_nothing(self, dag_id: str) -> str:
        """The reason why Airflow begins no run of the DAG on purpose; empty: it begins some, or nothing is known."""
        if self._dags is None:
            return ""
        if (about := self._dags.get(dag_id)) is None:
            return "Airflow no longer has the DAG"
        return "the DAG is paused" if about.get("paused") else "the DAG is draining" if about.get("draining") else ""

    def stands_still(self, dag_id: str) -> str:
        """The reason why not even a run that has begun goes on; a DAG that drains ends what it has begun."""
        why = self.starts_nothing(dag_id)
        return "" if "draining" in why else why

    def within(self, dag_id: str, start: float, end: float, *, draining: bool = True) -> float:
        """Seconds between two moments in which the DAG was paused, or draining."""
        spans = (one for one in self._spans.get(dag_id, ()) if draining or one[2] == "paused")
        overlaps = (min(end, end if last is None else last) - max(start, first) for first, last, _ in spans)
        return float(sum(max(0.0, overlap) for overlap in overlaps))

    def moment_after(self, dag_id: str, start: float, seconds: float, *, draining: bool = True) -> float:
        """The moment at which so many seconds have gone by since ``start`` without the pauses; ``inf`` for never."""
        at, left = start, seconds
        for first, last, word in self._spans.get(dag_id, ()):
            if not (draining or word == "paused") or (last is not None and last <= at):
                continue
            if at + left <= first:
                break
            left -= max(0.0, first - at)
            if last is None:
                return inf
            at = float(last)
        return at + left

    def covers(self, dag_id: str, moment: float) -> bool:
        """True if the DAG was paused, or draining, at a moment."""
        return bool(self.idle_at(dag_id, moment))

    def idle_at(self, dag_id: str, moment: float) -> str:
        """``paused`` or ``draining`` where the DAG was so at a moment, else empty."""
        spans = self._spans.get(dag_id, ())
        found = (str(word) for first, last, word in spans if first <= moment and (last is None or moment < last))
        return next(found, "")

    def changes(self, dag_id: str) -> list[float]:
        """The moments at which the DAG was paused or unpaused."""
        return [moment for span in self._spans.get(dag_id, ()) for moment in span[:2] if moment is not None]

    def _follow(self, dags: Mapping[str, Mapping[str, Any]], now: float, begun: float) -> bool:
        """Note which DAGs are paused now; whether something has changed."""
        changed = False
        for dag_id, about in dags.items():
            spans = self._spans.get(dag_id, [])
            open_span = spans[-1] if spans and spans[-1][1] is None else None
            idle = next((word for word in ("paused", "draining") if about.get(word)), "")
            if idle == (open_span[2] if open_span else ""):
                continue
            changed = True
            spans = [*spans[:-1], [open_span[0], now, open_span[2]]] if open_span else spans
            kept = [span for span in spans if span[1] > now - _KEPT_S]
            self._spans[dag_id] = [*kept, [begun, None, idle]] if idle else kept
        for dag_id in [name for name in self._spans if name not in dags]:
            del self._spans[dag_id]
            changed = True
        return changed
