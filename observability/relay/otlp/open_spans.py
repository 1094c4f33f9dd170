"""The memory of spans that are not closed yet, in ``<home>/otlp-spans.db``, so that a restart forgets none.

All of it follows from the journal, and is committed before a span is sent: a batch that is read again after a crash
finds what it found the first time, and makes the same spans. Should the file be lost, spans begin where their last
event says, and an attempt that ends twice is sent twice.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, NamedTuple

from observability.contain import count_loss
from observability.owner_only_files import make_file, make_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Link", "OpenSpan", "OpenSpans", "open_spans"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (run BLOB PRIMARY KEY, trace BLOB NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spans (span BLOB PRIMARY KEY, start INTEGER NOT NULL, ended TEXT, seen INTEGER NOT NULL)
WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (span BLOB, fact TEXT, document BLOB NOT NULL, PRIMARY KEY (span, fact))
WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (run BLOB, trace BLOB, span BLOB, seen INTEGER NOT NULL,
PRIMARY KEY (run, trace, span)) WITHOUT ROWID;
"""
_KEEP_S = 30 * 86_400
_PRUNE_EVERY_S = 3600.0
_PRUNE_MOST = 20_000
_EVENTS_MOST = 128
"""OpenTelemetry's own limit of a span's events; those beyond are counted in it."""
_LINKS_MOST = 128


class OpenSpan(NamedTuple):
    """A span at its end: its beginning in ns (0: not known), its events, and those that found no room."""

    start: int
    events: list[bytes]
    dropped: int


class Link(NamedTuple):
    """A span of another trace."""

    trace: bytes
    span: bytes


class OpenSpans:
    """The memory of one relay; used by one thread. Raises ``sqlite3.Error`` where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        make_file(path)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error:
            self._database.close()
            raise
        self._prune_at = 0.0
        self._ask = self._database.execute

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def begin(self) -> None:
        """Begin the changes of one batch."""
        if not self._database.in_transaction:
            self._ask("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Keep the changes of one batch."""
        if self._database.in_transaction:
            self._ask("COMMIT")

    def undo(self) -> None:
        """Forget the changes of one batch."""
        if self._database.in_transaction:
            self._ask("ROLLBACK")

    def trace(self, run: bytes) -> bytes:
        """The trace of a run, b"" where it is not known."""
        found = self._ask("SELECT trace FROM runs WHERE run = ?", (run,)).fetchone()
        return found[0] if found else b""

    def note_run(self, run: bytes, trace: bytes) -> None:
        """Remember the trace of a run; a run that was cleared has another than before."""
        self._ask(
            "INSERT INTO runs VALUES (?, ?, ?) ON CONFLICT (run) DO UPDATE SET trace = excluded.trace,"
            " seen = excluded.seen WHERE trace <> excluded.trace",
            (run, trace, int(time.time())),
        )

    def note_start(self, span: bytes, start: int) -> None:
        """Remember the earliest beginning of a span that is not closed."""
        self._ask(
            "INSERT INTO spans VALUES (?, ?, NULL, ?) ON CONFLICT (span) DO UPDATE SET start = excluded.start"
            " WHERE ended IS NULL AND (start = 0 OR start > excluded.start)",
            (span, start, int(time.time())),
        )

    def add_event(self, span: bytes, fact: str, document: bytes) -> None:
        """Keep an event for a span that is not closed; what comes after its end is a log record only."""
        self._ask("INSERT OR IGNORE INTO spans VALUES (?, 0, NULL, ?)", (span, int(time.time())))
        if self._ask("SELECT ended FROM spans WHERE span = ?", (span,)).fetchone()[0] is None:
            full = self._ask(
                "SELECT 1 FROM events WHERE span = ? LIMIT 1 OFFSET ?", (span, _EVENTS_MOST - 1)
            ).fetchone()
            self._ask("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", (span, fact, b"" if full else document))

    def end(self, span: bytes, fact: str, *, begun: bool = False) -> OpenSpan | None:
        """Close a span by the event ``fact``; None where another event has closed it before.

        With ``begun``, None as well where nothing was seen of its beginning.
        """
        start, ended = self._ask("SELECT start, ended FROM spans WHERE span = ?", (span,)).fetchone() or (0, None)
        if ended is not None and ended != fact:
            return None
        if ended is None and begun and not start:
            return None
        if ended is None:
            self._ask(
                "INSERT INTO spans VALUES (?, ?, ?, ?) ON CONFLICT (span) DO UPDATE SET ended = excluded.ended",
                (span, start, fact, int(time.time())),
            )
        found = [one for (one,) in self._ask("SELECT document FROM events WHERE span = ?", (span,))]
        kept = [one for one in found if one]
        return OpenSpan(start, kept, len(found) - len(kept))

    def add_link(self, run: bytes, link: Link) -> None:
        """Remember that a run was begun by the span ``link``."""
        self._ask("INSERT OR IGNORE INTO links VALUES (?, ?, ?, ?)", (run, *link, int(time.time())))

    def links(self, run: bytes) -> list[Link]:
        """The spans that began a run."""
        found = self._ask("SELECT trace, span FROM links WHERE run = ? LIMIT ?", (run, _LINKS_MOST))
        return [Link(trace, span) for trace, span in found]

    def prune(self) -> None:
        """Forget, a part at a time, what nothing was heard of for 30 days."""
        if time.monotonic() < self._prune_at:
            return
        before = int(time.time()) - _KEEP_S
        gone = [one for (one,) in self._ask("SELECT span FROM spans WHERE seen < ? LIMIT ?", (before, _PRUNE_MOST))]
        self.begin()
        for span in gone:
            self._ask("DELETE FROM events WHERE span = ?", (span,))
            self._ask("DELETE FROM spans WHERE span = ?", (span,))
        self._ask("DELETE FROM runs WHERE seen < ?", (before,))
        self._ask("DELETE FROM links WHERE seen < ?", (before,))
        self.commit()
        if len(gone) < _PRUNE_MOST:
            self._prune_at = time.monotonic() + _PRUNE_EVERY_S


def open_spans(path: Path) -> OpenSpans:
    """The memory in ``path``; a file that is not a database is put aside as ``*.unreadable``, and a new one begun."""
    try:
        return OpenSpans(path)
    except sqlite3.OperationalError:  # locked, or a disk that refuses: it may be well later
        raise
    except sqlite3.DatabaseError:
        count_loss("relay.otlp", "memory of open spans that cannot be read")
        path.replace(path.with_name(f"{path.name}.unreadable"))
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        return OpenSpans(path)
