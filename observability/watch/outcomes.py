"""The outcomes of deadlines: which were due, and which of them were kept, as the ledger remembers them.

One row of the history for each occasion (a run, or a day): ``deadline_due``, with the name of the deadline as its
subject, the due time, and one of the values below. ``contrail deadlines list`` reads them; the events that are made of
them fill the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from observability.events import DeadlineKept, DeadlineUpcoming, Identity
from observability.timestamps import iso, utc
from observability.watch.ledger import pending_events as pending
from observability.watch.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.events import Event
    from observability.watch.deadline_state import Standing
    from observability.watch.rules.deadline import Deadline

__all__ = ["KEPT", "MISSED", "UPCOMING", "Outcome", "Outcomes", "outcomes"]

UPCOMING, MISSED, KEPT = -1.0, 0.0, 1.0
_TABLE = schema.history
_MEASURE = "deadline_due"
_KNOWN_MOST = 200_000
_MOVED = 0.05
_FEWEST_S = 60.0
"""A forecast is emitted again when its end has moved by this share of what is left, and not more often than this."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An occasion on which a deadline was due: ``state`` is UPCOMING, MISSED or KEPT."""

    name: str
    dag_id: str
    occasion: str
    due: float
    state: float


class Outcomes:
    """Writes outcomes down, each once; what is known of them is kept in mind between two looks."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], float] = {}
        self._foreseen: dict[tuple[str, str, str], tuple[float, float, str]] = {}
        self.looked: float | None = None
        """The time of the last look: a run that ended since then has an outcome that is yet to be written."""

    def note(self, connection: Connection, deadline: Deadline, one: Standing, now: float) -> bool:
        """Write the state of an occasion down where it is new, and have it emitted; True if it is newly missed."""
        if not one.occasion:
            return False
        if len(self._known) > _KNOWN_MOST:
            self._known.clear()
        key = (deadline.name, one.dag_id or "", one.occasion)
        state = _state_of(one)
        known = self._known[key] if key in self._known else self._read(connection, key)
        is_news = known is None or (known == UPCOMING and state != UPCOMING)
        if is_news:
            self._write(connection, key, one.due, state, new=known is None)
            if state == KEPT:
                done = f"done at {iso(float(one.ended or one.due), 'seconds')}"
                pending.add(connection, _event(DeadlineKept, deadline, one, done), now)
        self._known[key] = state if known in {None, UPCOMING} else float(known)
        if state == UPCOMING and self._is_news(key, one, now, new=known is None):
            pending.add(connection, _event(DeadlineUpcoming, deadline, one, one.reason, at=now), now)
        return is_news and state == MISSED

    def _is_news(self, key: tuple[str, str, str], one: Standing, now: float, *, new: bool) -> bool:
        """True for an occasion that is new, for one that is at risk now, and for one whose expected end has moved."""
        if one.expected is None:
            return new
        before = self._foreseen.get(key)
        if before is not None and before[2] == one.state:
            if now - before[0] < _FEWEST_S:
                return False
            if abs(one.expected - before[1]) < _MOVED * max(_FEWEST_S, one.expected - now):
                return False
        self._foreseen[key] = (now, one.expected, one.state)
        if len(self._foreseen) > _KNOWN_MOST:
            self._foreseen.clear()
        return True

    @staticmethod
    def _read(connection: Connection, key: tuple[str, str, str]) -> float | None:
        return connection.execute(select(_TABLE.c.value).where(*_where(key))).scalar()

    @staticmethod
    def _write(connection: Connection, key: tuple[str, str, str], due: float, state: float, *, new: bool) -> None:
        if not new:
            connection.execute(update(_TABLE).where(*_where(key)).values(value=state, time=due))
            return
        name, dag_id, occasion = key
        row = {"subject": name, "dag_id": dag_id, "occasion": occasion, "time": due, "value": state}
        connection.execute(insert(_TABLE).values(measure=_MEASURE, **row))


def _state_of(one: Standing) -> float:
    if one.state in {"upcoming", "near"}:
        return UPCOMING
    return KEPT if one.state == "kept" and (one.ended is None or one.ended <= one.due) else MISSED


def _where(key: tuple[str, str, str]) -> tuple[Any, ...]:
    name, dag_id, occasion = key
    same = (_TABLE.c.subject == name, _TABLE.c.dag_id == dag_id, _TABLE.c.occasion == occasion)
    return (_TABLE.c.measure == _MEASURE, *same)


def _event(kind: Any, deadline: Deadline, one: Standing, reason: str, at: float | None = None) -> Event:
    """The event of an occasion; ``at`` tells one renewal from the next."""
    parts = (deadline.name, one.occasion, *(() if at is None else (str(int(at)),)))
    forecast: dict[str, Any] = {}
    if at is not None and one.expected is not None:
        forecast = {"expected": utc(one.expected), "chance": one.chance}
    if at is not None and one.band is not None:
        names = ("likely_from", "likely_until", "earliest", "latest")
        forecast |= dict(zip(names, map(utc, one.band), strict=True))
    made: Event = kind(
        identity=Identity(
            dag_id=one.dag_id,
            run_id=one.run_id or (one.foreseen_run if one.dag_id else None),
            task_id=one.task_id,
            owner=deadline.owner,
            partition_key=one.partition,
        ),
        time=None if at is None else utc(at),
        discriminator="|".join(parts),
        deadline=deadline.name,
        occasion=one.occasion,
        due=utc(one.due),
        reason=reason,
        asset=deadline.assets,
        **forecast,
    )
    return made


def outcomes(connection: Connection, since: float) -> list[Outcome]:
    """The occasions that were due since a moment, and those to come, by their time."""
    columns = (_TABLE.c.subject, _TABLE.c.dag_id, _TABLE.c.occasion, _TABLE.c.time, _TABLE.c.value)
    asked = select(*columns).where(_TABLE.c.measure == _MEASURE, _TABLE.c.time >= since).order_by(_TABLE.c.time)
    return [Outcome(*row) for row in connection.execute(asked)]
