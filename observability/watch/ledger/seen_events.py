"""Events that were heard already: the journal and the store give the same ones, in either order, hours apart.

What the fact itself distinguishes (attempts, runs, measures) may be applied twice without harm: those are left out
while they are fresh in memory. Of everything else the ids stand in the ledger, for as long as they can come again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from observability.watch.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection

    from observability.watch.facts import Fact

__all__ = ["SeenEvents"]

_IN_MIND = 50_000
_AT_ONCE = 500
"""Most ids in one question: SQLite takes 999 values."""
_KEYED = {"task", "run"}


class SeenEvents:
    """The ids of one watcher; what :meth:`fresh` learns counts once :meth:`settle` is called."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._new: dict[str, None] = {}

    def fresh(self, connection: Connection, facts: Iterable[Fact], now: float) -> list[Fact]:
        """The facts whose events were not heard before, in their order."""
        asked = [fact for fact in facts if not fact.event_id or self._is_new(fact.event_id)]
        weighty = [fact.event_id for fact in asked if fact.event_id and _must_stand(fact)]
        stored = self._stored(connection, weighty)
        found = [fact for fact in asked if fact.event_id not in stored]
        self._new |= dict.fromkeys(fact.event_id for fact in found if fact.event_id)
        rows = [{"id": one, "time": now} for one in dict.fromkeys(weighty) if one not in stored]
        if rows:
            connection.execute(insert(schema.seen), rows)
        return found

    def settle(self) -> None:
        """The transaction stands."""
        self._known.update(self._new)
        self._new.clear()
        while len(self._known) > _IN_MIND:
            self._known.popitem(last=False)

    def unsettle(self) -> None:
        """The transaction did not stand."""
        self._new.clear()

    @staticmethod
    def forget(connection: Connection, before: float) -> None:
        """Delete the ids of what was heard before then."""
        connection.execute(delete(schema.seen).where(schema.seen.c.time < before))

    def _is_new(self, event_id: str) -> bool:
        """True if it was not heard; asking makes it heard, for two of one batch are one."""
        if event_id in self._known or event_id in self._new:
            return False
        self._new[event_id] = None
        return True

    @staticmethod
    def _stored(connection: Connection, ids: list[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), _AT_ONCE):
            asked = select(schema.seen.c.id).where(schema.seen.c.id.in_(ids[start : start + _AT_ONCE]))
            found.update(connection.execute(asked).scalars())
        return found


def _must_stand(fact: Fact) -> bool:
    return fact.status != "noted" and fact.kind not in _KEYED
