"""The protocol of a store, and the choice between stores."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, get_args

from observability.errors import StoreError
from observability.option_types import Backend
from observability.store.questions import Position, Query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.events import Document
    from observability.settings import Settings
    from observability.store.questions import Ask, Table

__all__ = ["Position", "Query", "Readable", "Store", "StoreError", "open_store"]


class Readable(Protocol):
    """The two questions that pages ask."""

    def documents(self, query: Query) -> Iterator[Document]:
        """The matching documents, streamed. Raises :class:`StoreError`."""

    def table(self, ask: Ask) -> Table:
        """One number for each combination of fields and stretch of time. Raises :class:`StoreError`."""


class Store(Readable, Protocol):
    """The questions; every backend passes the same tests."""

    def follow(self, query: Query, *, poll_s: float = 0.5) -> Iterator[Document]:
        """The matching documents, and those that arrive later, until the caller stops."""

    def arrivals(self, query: Query, position: Position) -> Iterator[Document]:
        """The matching documents in the order in which they arrived, after ``position``, which moves with them.

        An empty position is the beginning, as far back as ``query.since``. A document may be given twice, by
        calls that follow each other; none that is younger than ``query.since`` is left out, however late it came.
        """

    def count(self, query: Query, by: str | None = None) -> dict[str, int]:
        """Count the matches by the value of the field ``by``; under ``""`` where none is given."""

    def series(self) -> int:
        """Count the metric series (name and tags) that the store holds."""

    def health(self) -> str | None:
        """None when the store answers, else what is wrong with it and the remedy."""

    def close(self) -> None:
        """Let go of files and connections."""


def open_store(settings: Settings) -> Store:
    """The store that ``[store] backend`` names: the module of that name beside this one, imported here and not before.

    Raises :class:`StoreError` where ``option_types.Backend`` does not list it.
    """
    name, known = settings.store.backend, get_args(Backend)
    if name not in known:
        raise StoreError(f"[store] backend is {name!r}; it must be one of {', '.join(known)}")
    store: Store = import_module(f"observability.store.{name}").open_store(settings)
    return store
