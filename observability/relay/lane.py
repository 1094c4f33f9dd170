"""The way to one sink: its own thread, its own cursors, one simple loop of read, send, checkpoint."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from observability.contain import contained, count_loss
from observability.relay.accounts import Account, Waiting
from observability.relay.ahead import Ahead
from observability.relay.inventory import is_final
from observability.relay.sinks.sink import Answer, Batch, Rejected, SinkUnavailable
from observability.relay.steps.splice import repair
from observability.relay.tail import Cursor, Replaced, Stretch

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

    from observability.relay.checkpoint import Checkpoint
    from observability.relay.deadletters import DeadLetters, Letter
    from observability.relay.inventory import Inventory
    from observability.relay.sinks.sink import Sink
    from observability.relay.sources.file import TailedFile

__all__ = ["Lane"]

_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 1.5
"""So the first document after an outage goes out within two seconds, at under 90 requests a minute."""
_ERRORS = (SinkUnavailable, sqlite3.DatabaseError, OSError)
_EVERYTHING = 1 << 61
_SKIP_S = 30.0


class Lane(threading.Thread):
    """Carries what ``inventory`` finds to one sink, until :meth:`stop`.

    ``open_ends`` gives the sink and its checkpoint and may raise :class:`SinkUnavailable`; it is called in the
    lane's own thread. ``datasets`` limits what is carried to some files, ``only`` to stretches in which it is found.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        name: str,
        open_ends: Callable[[], tuple[Sink, Checkpoint, bool]],
        inventory: Callable[[], Inventory],
        dead_letters: DeadLetters,
        *,
        batch_bytes: int,
        poll_s: float,
        datasets: frozenset[str] | None = None,
        only: re.Pattern[bytes] | None = None,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        super().__init__(name=f"relay-{name}", daemon=True)
        self.account = Account(name)
        self.wake = threading.Event()
        self._open_ends = open_ends
        self._inventory = inventory
        self._dead_letters = dead_letters
        self._batch_bytes = batch_bytes
        self._poll_s = poll_s
        self._datasets = datasets
        self._only = only
        self._say = say
        self._cursors: dict[str, Cursor] = {}
        self._behind_since: dict[str, float] = {}
        self._skipped: dict[str, float] = {}
        self._ahead = Ahead()
        self._stopping = threading.Event()
        self._checkpoint: Checkpoint | None = None
        self.idle_since = -1
        """The round of the inventory after which there was nothing left to send."""

    def stop(self) -> None:
        """End after the batch that is in the air."""
        self._stopping.set()
        self.wake.set()

    def position(self, file: TailedFile) -> int:
        """Up to where ``file`` is answered for; -1 while that is not known."""
        if not self._carries(file):
            return file.size
        cursor = self._cursors.get(file.identity)
        return -1 if cursor is None else cursor.offset

    def recall(self, identity: str) -> Cursor | None:
        """The cursor kept for an identity, at its start where there is none; None while that is not known."""
        checkpoint = self._checkpoint
        return None if checkpoint is None else checkpoint.cursor(identity)

    def lost(self, file: TailedFile, number: int, reason: str) -> None:
        """Count ``number`` bytes that can no longer be read."""
        count_loss(f"relay.{self.account.sink}", f"bytes {reason}", number)
        self.account.add([(file.stream.dataset, "dropped", 1)])
        self._say(f"{self.account.sink}: {number} bytes of {file.stream.name} are lost: {reason}")

    def dropped(self, file: TailedFile, number: int, reason: str) -> None:
        """Count ``number`` records of ``file`` that were given up."""
        if number and self._carries(file):
            self.account.add([(file.stream.dataset, "dropped", number)])
            self._say(f"{self.account.sink}: {number} {reason} of {file.stream.name} are given up")

    def run(self) -> None:
        """Carry until stopped; what goes wrong is waited out, never fatal."""
        waits = _waits()
        while not self._stopping.is_set():
            with contained(f"relay.{self.account.sink}"):
                self._run_until_trouble()
            self._pause(next(waits))

    def _run_until_trouble(self) -> None:
        try:
            self._run_open()
        except _ERRORS as error:
            self._trouble(error)

    def _run_open(self) -> None:
        sink, checkpoint, atomic = self._open_ends()
        self._cursors.clear()
        self._checkpoint = checkpoint
        try:
            for (stream, result), number in checkpoint.counts().items():
                self.account.totals[stream, result] = number
            self._say(f"{self.account.sink}: ready")
            while not self._stopping.is_set():
                looked = self._inventory().round
                if not self._round(sink, checkpoint, atomic=atomic):
                    self.idle_since = looked
                    self.wake.wait(self._poll_s)
                self.wake.clear()
        finally:
            self._checkpoint = None
            checkpoint.close()
            sink.close()

    def _round(self, sink: Sink, checkpoint: Checkpoint, *, atomic: bool) -> bool:
        moved = False
        waiting: dict[str, Waiting] = {}
        now = time.time()
        known = set()
        for file in self._inventory().files:
            if self._stopping.is_set():
                break
            if not self._carries(file):
                continue
            known.add(file.identity)
            cursor = self._cursor(checkpoint, file)
            if (
                cursor.offset < file.size
                and self._may(file)
                and self._advance(sink, checkpoint, file, cursor, atomic=atomic)
            ):
                moved = True
            self._measure(file, waiting, now)
        self.account.waiting = waiting
        self._forget(known)
        if (prune := getattr(sink, "prune", None)) is not None and not moved:
            prune()
        return moved

    def _advance(self, sink: Sink, checkpoint: Checkpoint, file: TailedFile, cursor: Cursor, *, atomic: bool) -> bool:
        try:
            stretch = self._ahead.read(file, cursor, self._batch_bytes, final=is_final(file), only=self._only)
        except Replaced:
            self._start_again(checkpoint, file, cursor)
            return False
        except FileNotFoundError:
            self._inventory().suspect(file)
            return False
        except OSError as error:
            self._skipped[file.identity] = time.monotonic() + _SKIP_S
            self._say(f"cannot read {file.path}: {error.strerror}; correct its permissions; it is tried again")
            return False
        if stretch is None:
            return False
        self._deliver(sink, checkpoint, file, cursor, stretch, atomic=atomic)
        return True

    def _deliver(  # noqa: PLR0913 - one step of the loop
        self, sink: Sink, checkpoint: Checkpoint, file: TailedFile, cursor: Cursor, stretch: Stretch, *, atomic: bool
    ) -> None:
        counts: Counter[str] = Counter(emitted=len(stretch.spliced.ids) + stretch.damaged, dropped=stretch.damaged)
        if stretch.damaged:
            count_loss(f"relay.{self.account.sink}", "damaged journal record", stretch.damaged)
        if stretch.spliced.ids:
            if not atomic:
                checkpoint.sending(file.stream.name, cursor, stretch.cursor.offset)
            batch = _batch(file, stretch, resent=cursor.offset < cursor.sending)
            self._send(sink, checkpoint, batch, counts)
        done = replace(stretch.cursor, sending=cursor.sending if cursor.sending > stretch.cursor.offset else 0)
        books = [(file.stream.dataset, result, number) for result, number in counts.items() if number]
        checkpoint.save(file.stream.name, done, books)
        self._cursors[file.identity] = done
        self.account.add(books)
        if self.account.well():
            self._say(f"{self.account.sink}: takes records again")

    def _send(self, sink: Sink, checkpoint: Checkpoint, batch: Batch, counts: Counter[str]) -> None:
        answer = self._until_answered(sink, checkpoint, batch)
        counts["stored"] += answer.stored
        counts["duplicate"] += answer.duplicates
        dead: list[Letter] = []
        for refused in answer.rejected:
            mended = repair(batch.documents[refused.index], batch.prefix)
            if mended is not None:
                one = replace(batch, ids=[batch.ids[refused.index]], documents=[mended])
                again = sink.send(one)
                counts["stored"] += again.stored
                counts["duplicate"] += again.duplicates
                if not again.rejected:
                    continue
            dead.append(_letter(batch, refused))
        if batch.resent and dead:
            known = {letter["id"] for letter in self._dead_letters.read()}
            counts["duplicate"] += sum(letter["id"] in known for letter in dead)
            dead = [letter for letter in dead if letter["id"] not in known]
        if dead:
            counts["rejected"] += len(dead)
            counts["dropped"] += self._dead_letters.write(dead)
            self.account.dead_letters = self._dead_letters.letters

    def _until_answered(self, sink: Sink, checkpoint: Checkpoint, batch: Batch) -> Answer:
        waits = _waits()
        while True:
            try:
                return sink.send(batch)
            except SinkUnavailable as error:
                checkpoint.undo()
                self._trouble(error)
                if self._stopping.is_set():
                    raise
                self._pause(error_wait(error.retry_after_s, waits))
                if self._stopping.is_set():
                    raise
                batch = replace(batch, resent=True)

    def _start_again(self, checkpoint: Checkpoint, file: TailedFile, cursor: Cursor) -> None:
        if cursor.offset and (file.origin_ns or not file.stream.prefix):
            fresh = Cursor(file.identity, sending=max(cursor.offset, file.size))
            checkpoint.save(file.stream.name, fresh)
            self._cursors[file.identity] = fresh
        self._inventory().suspect(file)

    def _cursor(self, checkpoint: Checkpoint, file: TailedFile) -> Cursor:
        cursor = self._cursors.get(file.identity)
        if cursor is None:
            cursor = checkpoint.cursor(file.identity, file.origin_ns / 1e9)
            if cursor.sending > _EVERYTHING or (file.ids and not cursor.offset):
                cursor = replace(cursor, sending=file.size)
            self._cursors[file.identity] = cursor
        return cursor

    def _measure(self, file: TailedFile, waiting: dict[str, Waiting], now: float) -> None:
        left = file.size - self._cursors[file.identity].offset
        if left <= 0:
            self._behind_since.pop(file.identity, None)
            return
        since = self._behind_since.setdefault(file.identity, min(now, file.changed))
        waits = waiting.setdefault(file.stream.dataset, Waiting())
        waits.bytes += left
        waits.since = since if waits.since is None else min(waits.since, since)

    def _forget(self, known: set[str]) -> None:
        for identity in [identity for identity in self._cursors if identity not in known]:
            del self._cursors[identity]
            self._behind_since.pop(identity, None)

    def _may(self, file: TailedFile) -> bool:
        return not self._skipped or self._skipped.get(file.identity, 0.0) < time.monotonic()

    def _carries(self, file: TailedFile) -> bool:
        return self._datasets is None or file.stream.dataset in self._datasets

    def _trouble(self, error: Exception) -> None:
        if self.account.ill(str(error)):
            self._say(f"{self.account.sink}: does not take records, will go on trying: {error}")

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)


def error_wait(wished_s: float | None, waits: Iterator[float]) -> float:
    """How long to wait before the next try: what the service wished, else the next of ``waits``."""
    return next(waits) if wished_s is None else max(wished_s, _FIRST_WAIT_S)


def _waits() -> Iterator[float]:
    longest = _FIRST_WAIT_S
    while True:
        yield longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        longest = min(longest * 2, _LONGEST_WAIT_S)


def _batch(file: TailedFile, stretch: Stretch, *, resent: bool) -> Batch:
    return Batch(
        file.stream.dataset, file.stream.name, file.stream.group,
        stretch.spliced.ids, stretch.spliced.documents, resent, file.stream.prefix,
    )  # fmt: skip


def _letter(batch: Batch, refused: Rejected) -> Letter:
    return {
        "reason": refused.reason,
        "dataset": batch.dataset,
        "id": batch.ids[refused.index].decode(),
        "source": batch.source,
        "group": batch.group,
        "document": batch.documents[refused.index].decode("utf-8", "replace"),
    }
