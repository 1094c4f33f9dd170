"""The days of a table that are over, counted once for all readers of this process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from observability.store.questions import Table

__all__ = ["PastDays"]

_ROWS_MOST = 40_000
"""About 200 bytes each; a table of 14 days of 1,000 DAGs has 14,000."""


class PastDays:
    """Tables by question, the one that was asked for longest ago first; ``most`` rows in all. Any thread may ask."""

    def __init__(self, most: int = _ROWS_MOST) -> None:
        self._most = most
        self._tables: dict[Hashable, tuple[Any, Table]] = {}
        self._lock = threading.Lock()

    def table(self, question: Hashable, mark: Any, count: Callable[[], Table]) -> Table:
        """The answer to ``question``, which ``count`` gives unless ``mark`` is the one of the last time.

        The caller reads the mark before it counts, and changes nothing in the table.
        """
        with self._lock:
            found = self._tables.pop(question, None)
            if found is not None and found[0] == mark:
                self._tables[question] = found
                return found[1]
        table = _shared(count())
        with self._lock:
            self._tables.pop(question, None)
            if len(table) <= self._most:
                self._tables[question] = (mark, table)
            rows = sum(len(one) for _, one in self._tables.values())
            while rows > self._most:
                rows -= len(self._tables.pop(next(iter(self._tables)))[1])
        return table


def _shared(table: Table) -> Table:
    """``table`` with one text for each name: SQLite makes one for each row."""
    names: dict[Any, Any] = {}
    return {tuple(names.setdefault(part, part) for part in key): values for key, values in table.items()}
