"""The memory of spans that are not closed yet, in ``<home>/otlp-spans.db``, so that a restart forgets none.

All of it follows from the journal, and is committed before a span is sent: a batch that is read again after a crash
finds what it found the first time, and makes the same spans. Should the file be lost, spans begin where their last
event says, and an attempt that ends twice is sent twice.

A span's key begins with that of its run, so that the spans of a run lie side by side on the disk.
"""

from __future__ import annotations

import sqlite3
import time
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from observability.contain import count_loss
from observability.owner_only_files import make_file, make_folder
from observability.write_ahead import write_ahead

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Link", "OpenSpan", "OpenSpans", "open_spans"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (run BLOB PRIMARY KEY, trace BLOB NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spans_of_runs (span BLOB PRIMARY KEY, start INTEGER NOT NULL, ended TEXT,
seen INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events_of_spans (span BLOB, fact TEXT, document BLOB NOT NULL, PRIMARY KEY (span, fact))
WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (run BLOB, trace BLOB, span BLOB, seen INTEGER NOT NULL,
PRIMARY KEY (run, trace, span)) WITHOUT ROWID;
"""
_KEEP_S = 30 * 86_400
_PRUNE_EVERY_S = 3600.0
_PRUNE_MOST = 20_000
_LOAD_MOST = 500
"""Parameters of one statement; SQLite takes at least 999."""
_EVENTS_MOST = 128
"""OpenTelemetry's own limit of a span's events; those beyond are counted in it."""
_LINKS_MOST = 128
_RUNS_MOST = 4096
_NEW: tuple[int, None] = (0, None)


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
    """The memory of one relay; used by one thread. Raises ``sqlite3.Error`` where the file cannot be used.

    Changes are made in memory, and written by :meth:`commit`.
    """

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        make_file(path)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            write_ahead(self._database)
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error:
            self._database.close()
            raise
        self._prune_at = 0.0
        self._ask = self._database.execute
        self.undo()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def commit(self) -> None:
        """Write the changes of one batch."""
        now = int(time.time())
        spans = sorted((span, *self._spans[span], now) for span in self._changed)
        write = self._database.executemany
        self._ask("BEGIN IMMEDIATE")
        try:
            write("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", [(run, trace, now) for run, trace in self._new_runs])
            write("INSERT OR REPLACE INTO spans_of_runs VALUES (?, ?, ?, ?)", spans)
            write("INSERT OR IGNORE INTO events_of_spans VALUES (?, ?, ?)", self._new_events)
            write("INSERT OR IGNORE INTO links VALUES (?, ?, ?, ?)", [(*link, now) for link in self._new_links])
            self._ask("COMMIT")
        finally:
            self.undo()

    def undo(self) -> None:
        """Forget the changes of one batch, and what was read for it."""
        if self._database.in_transaction:
            self._ask("ROLLBACK")
        self._traces: dict[bytes, bytes] = {}
        self._spans: dict[bytes, tuple[int, str | None]] = {}
        self._events: dict[bytes, dict[str, bytes]] = {}
        self._changed: set[bytes] = set()
        self._new_runs: list[tuple[bytes, bytes]] = []
        self._new_events: list[tuple[bytes, str, bytes]] = []
        self._new_links: list[tuple[bytes, bytes, bytes]] = []

    def load(self, spans: Iterable[bytes]) -> None:
        """Read what is known of many spans at once."""
        wanted = iter({span for span in spans if span not in self._spans})
        while some := list(islice(wanted, _LOAD_MOST)):
            places = ",".join("?" * len(some))
            found = self._ask(f"SELECT span, start, ended FROM spans_of_runs WHERE span IN ({places})", some)  # noqa: S608 - question marks
            self._spans.update(dict.fromkeys(some, _NEW))
            for span, start, ended in found:
                self._spans[span] = start, ended
            known = [span for span in some if self._spans[span] is not _NEW]
            self._events.update((span, {}) for span in some if self._spans[span] is _NEW)
            self._load_events(known)

    def trace(self, run: bytes) -> bytes:
        """The trace of a run, b"" where it is not known."""
        if run not in self._traces:
            if len(self._traces) >= _RUNS_MOST:
                self._traces = dict(self._new_runs)
            found = self._ask("SELECT trace FROM runs WHERE run = ?", (run,)).fetchone()
            self._traces[run] = found[0] if found else b""
        return self._traces[run]

    def note_run(self, run: bytes, trace: bytes) -> None:
        """Remember the trace of a run; a run that was cleared has another than before."""
        self._traces[run] = trace
        self._new_runs.append((run, trace))

    def note_start(self, span: bytes, start: int) -> None:
        """Remember the earliest beginning of a span that is not closed."""
        known, ended = self._known(span)
        if ended is None and (not known or start < known):
            self._keep(span, start, None)

    def add_event(self, span: bytes, fact: str, document: bytes) -> None:
        """Keep an event for a span that is not closed; what comes after its end is a log record only."""
        known = self._known(span)
        if known is _NEW:
            self._keep(span, 0, None)
        if known[1] is None and fact not in (events := self._events[span]):
            events[fact] = document if len(events) < _EVENTS_MOST else b""
            self._new_events.append((span, fact, events[fact]))

    def end(self, span: bytes, fact: str, *, begun: bool = False) -> OpenSpan | None:
        """Close a span by the event ``fact``; None where another event has closed it before.

        With ``begun``, None as well where nothing was seen of its beginning.
        """
        start, ended = self._known(span)
        if ended is not None and ended != fact:
            return None
        if ended is None and begun and not start:
            return None
        if ended is None:
            self._keep(span, start, fact)
        found = self._events[span]
        kept = [document for _, document in sorted(found.items()) if document]
        return OpenSpan(start, kept, len(found) - len(kept))

    def add_link(self, run: bytes, link: Link) -> None:
        """Remember that a run was begun by the span ``link``."""
        self._new_links.append((run, *link))

    def links(self, run: bytes) -> list[Link]:
        """The spans that began a run."""
        found = self._ask("SELECT trace, span FROM links WHERE run = ? LIMIT ?", (run, _LINKS_MOST))
        all_links = {Link(trace, span) for trace, span in found}
        all_links.update(Link(trace, span) for other, trace, span in self._new_links if other == run)
        return sorted(all_links)[:_LINKS_MOST]

    def prune(self) -> None:
        """Forget, a part at a time, what nothing was heard of for 30 days."""
        if time.monotonic() < self._prune_at:
            return
        before = int(time.time()) - _KEEP_S
        old = self._ask("SELECT span FROM spans_of_runs WHERE seen < ? LIMIT ?", (before, _PRUNE_MOST)).fetchall()
        self._ask("BEGIN IMMEDIATE")
        self._database.executemany("DELETE FROM events_of_spans WHERE span = ?", old)
        self._database.executemany("DELETE FROM spans_of_runs WHERE span = ?", old)
        self._ask("DELETE FROM runs WHERE seen < ?", (before,))
        self._ask("DELETE FROM links WHERE seen < ?", (before,))
        self._ask("COMMIT")
        if len(old) < _PRUNE_MOST:
            self._prune_at = time.monotonic() + _PRUNE_EVERY_S

    def _known(self, span: bytes) -> tuple[int, str | None]:
        """Beginning and end of a span."""
        if span not in self._spans:
            self.load([span])
        return self._spans[span]

    def _keep(self, span: bytes, start: int, ended: str | None) -> None:
        self._spans[span] = start, ended
        self._changed.add(span)

    def _load_events(self, spans: list[bytes]) -> None:
        self._events.update((span, {}) for span in spans)
        if spans:
            places = ",".join("?" * len(spans))
            sql = f"SELECT span, fact, document FROM events_of_spans WHERE span IN ({places})"  # noqa: S608 - question marks
            for span, fact, document in self._ask(sql, spans):
                self._events[span][fact] = document


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
