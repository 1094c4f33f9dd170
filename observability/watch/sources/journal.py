"""The journal as a source: what callbacks, listener and relay wrote down, read with a cursor kept in the ledger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from observability.contain import count_loss
from observability.journal import frames
from observability.regular_files import is_regular, open_regular
from observability.watch.facts import Fact, from_document

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["JournalSource"]

_CHUNK_BYTES = 1_048_576
_RECENT_S = 300.0
_OWN = ("incident.", "notification.")


class JournalSource:
    """Reads the streams in which facts stand; :meth:`read` can be repeated, for the caller keeps the cursor."""

    def __init__(self, directory: Path, datasets: tuple[str, ...] = ("etl.event", "contrail.alert")) -> None:
        self._directory = directory
        self._datasets = datasets

    def read(self, cursor: dict[str, int] | None) -> tuple[list[Fact], dict[str, int], bool]:
        """Facts after ``cursor``, the next cursor, and whether there is more.

        Without a cursor it begins with the files that were written to lately; :func:`facts.from_document` tells
        the time of each fact, so that the caller can leave out what is history.
        """
        files = self._files()
        if cursor is None:
            recent = time.time() - _RECENT_S
            cursor = {path.name: path.stat().st_size for path in files if path.stat().st_mtime < recent}
        seen = {path.name: cursor.get(path.name, 0) for path in files}
        facts: list[Fact] = []
        for path in files:
            grown, seen[path.name] = _facts(path, seen[path.name])
            facts += grown
            if len(facts) >= 1000:  # noqa: PLR2004 - a transaction's worth
                return facts, seen, True
        return facts, seen, False

    def has_grown(self, cursor: dict[str, int]) -> bool:
        """True if there is anything after ``cursor``."""
        return any(path.stat().st_size > cursor.get(path.name, 0) for path in self._files())

    def _files(self) -> list[Path]:
        found = [path for dataset in self._datasets for path in self._directory.glob(f"{dataset}-*.journal")]
        return sorted(filter(is_regular, found), key=lambda path: path.name)


def _facts(path: Path, start: int) -> tuple[list[Fact], int]:
    try:
        if path.stat().st_size <= start:
            return [], start
        with open_regular(path, follow=False) as file:
            file.seek(start)
            buffer = file.read(_CHUNK_BYTES)
    except OSError:  # it was deleted since the folder was listed
        return [], start
    found, end = [], start
    for frame in frames(buffer):
        end = start + frame.end
        fact = None
        try:
            fact = from_document(_document(frame.document)) if frame.document is not None else None
        except (KeyError, TypeError, ValueError) as error:  # a record that is whole, and says nothing that we know
            count_loss("watch.journal", type(error).__name__)
        if fact is not None:
            found.append(fact)
    if end == start and len(buffer) == _CHUNK_BYTES:  # one line longer than a chunk is no record of ours
        return [], start + buffer.rfind(b"\n") + 1 if b"\n" in buffer else start + len(buffer)
    return found, end


def _document(raw: bytes) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(raw.replace(rb"\u0000", b""))  # no database takes a NUL
    return {} if str(document.get("event.action", "")).startswith(_OWN) else document
