"""The way to one sink: its own thread, its own cursors, one simple loop of read, send, checkpoint.

What several files have to say is sent together, where the sink can take that, and noted by one commit.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from array import array
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from observability.contain import contained, count_loss, own_fault
from observability.relay.delivery_stats import DeliveryStats
from observability.relay.left_alone import LeftAlone
from observability.relay.pending_batch import PendingBatch, send_together
from observability.relay.poison import find_poison, without
from observability.relay.refusals import send_as_text
from observability.relay.retry import error_wait, waits
from observability.relay.set_aside import SetAside
from observability.relay.sinks.sink import Batch, SendResult, SinkUnavailable
from observability.relay.sources.files.registry import is_final
from observability.relay.sources.files.tail import Chunk, Cursor, Failed, Replaced, read

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from observability.relay.checkpoint import Checkpoint
    from observability.relay.dead_letters import DeadLetters
    from observability.relay.sinks.sink import Sink
    from observability.relay.sources.files.registry import FileRegistry
    from observability.relay.sources.files.tailed_file import TailedFile

__all__ = ["SinkWorker"]

_LONGEST_REST_S = 5.0
_ERRORS = (SinkUnavailable, sqlite3.DatabaseError, OSError)
_EVERYTHING = 1 << 61
_WHOLLY_REFUSED_MOST = 3
"""A batch all of whose documents fail so often is passed over, if the sink took another one meanwhile."""
_STILL_S = 5.0
_PAST_S = 60.0
_PAST_ROUND_S = 1.0
_PAST_FILES = 50
"""A round ends after a second with the past, and at least so many files of it, so that what is new need not wait."""
_TIDY_EVERY_S = 86_400.0
_TIDY_AFTER_S = 30 * 86_400.0
"""A file that is gone for so long does not come back; its 200 bytes in the checkpoint can go as well."""


class _Past:
    """The time that a round has spent on files that are not written any more."""

    def __init__(self) -> None:
        self._files = 0
        self._now = time.time()
        self._until = time.monotonic() + _PAST_ROUND_S

    def has_had_its_turn(self, file: TailedFile) -> bool:
        """Count a file that was read, and tell whether the round should begin anew with what is written now."""
        if self._now - file.changed <= _PAST_S:
            return False
        self._files += 1
        return self._files > _PAST_FILES and time.monotonic() > self._until


class SinkWorker(threading.Thread):
    """Carries what ``registry`` finds to one sink, until :meth:`stop`.

    ``open_ends`` gives the sink and its checkpoint and may raise :class:`SinkUnavailable`; it is called in the
    worker's own thread. ``datasets`` limits what is carried to some files, ``only`` to chunks in which it is found.
    Work is followed by ``rest`` times as long a rest.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        name: str,
        open_ends: Callable[[], tuple[Sink, Checkpoint, bool]],
        registry: Callable[[], FileRegistry],
        dead_letters: DeadLetters,
        *,
        batch_bytes: int,
        poll_s: float,
        datasets: frozenset[str] | None = None,
        only: re.Pattern[bytes] | None = None,
        aside: SetAside | None = None,
        say: Callable[[str], None] = lambda _text: None,
        rest: float = 0.0,
    ) -> None:
        super().__init__(name=f"relay-{name}", daemon=True)
        self.stats = DeliveryStats(name)
        self.wake = threading.Event()
        self._open_ends = open_ends
        self._registry = registry
        self._dead_letters = dead_letters
        self._batch_bytes = batch_bytes
        self._poll_s = poll_s
        self._rest = rest
        self._datasets = datasets
        self._only = only
        self._aside = aside or SetAside(None, name)
        self._say = say
        self._cursors: dict[str, Cursor] = {}
        self._left_alone = LeftAlone()
        self._noted: dict[str, int] = {}
        self._met: dict[str, tuple[int, int]] = {}
        self._refused: dict[bytes, tuple[int, int]] = {}
        self._delivered = 0
        self._under_way: dict[str, int] = {}
        self._checked: dict[str, int] = {}
        self._tidy_at = time.monotonic()
        self._stopping = threading.Event()
        self._checkpoint: Checkpoint | None = None
        self.tried = threading.Event()
        """True if the ends were opened, or could not be."""
        self.finished: array[int] | None = None
        """The stamps, in order, of files that it had read to their end when it began; None while that is not known."""
        self.idle_since = -1
        """The round of the registry after which there was nothing left to send."""

    def stop(self) -> None:
        """End after the batch that is in flight."""
        self._stopping.set()
        self.wake.set()

    def position(self, file: TailedFile) -> int:
        """Up to where ``file`` is acknowledged; -1 while that is not known."""
        if not self._carries(file):
            return file.size
        cursor = self._cursors.get(file.identity)
        return -1 if cursor is None else cursor.offset

    def taken(self, file: TailedFile) -> int:
        """Up to where ``file`` was read, whether or not that is acknowledged; -1 where nothing of it is under way."""
        return self._under_way.get(file.identity, -1)

    def recall(self, identity: str) -> Cursor | None:
        """The cursor kept for an identity, at its start where there is none; None while that is not known."""
        checkpoint = self._checkpoint
        return None if checkpoint is None else checkpoint.cursor(identity)

    def lost(self, file: TailedFile, number: int, reason: str) -> None:
        """Count ``number`` bytes that can no longer be read."""
        count_loss(f"relay.{self.stats.sink}", f"bytes {reason}", number)
        self.stats.add([(file.stream.dataset, "dropped", 1)])
        self._say(f"{self.stats.sink}: {number} bytes of {file.stream.name} are lost: {reason}")

    def dropped(self, file: TailedFile, number: int, reason: str) -> None:
        """Count ``number`` records of ``file`` that were given up."""
        if number and self._carries(file):
            self.stats.add([(file.stream.dataset, "dropped", number)])
            self._say(f"{self.stats.sink}: {number} {reason} of {file.stream.name} are given up")

    def count_dead_letters(self) -> None:
        """Take over how many there are on disk: a replay in another process may have sent some."""
        self.stats.dead_letters = self._dead_letters.letters

    def run(self) -> None:
        """Carry until stopped; what goes wrong is waited out, never fatal."""
        intervals = waits()
        while not self._stopping.is_set():
            well = False
            with contained(f"relay.{self.stats.sink}"):
                self._run_until_trouble()
                well = True
            if not well and self.stats.ill("it fails by a fault of ours; see the log of the relay"):
                self._say(f"{self.stats.sink}: fails by a fault of ours, will go on trying; please report it")
            self._pause(next(intervals))

    def _run_until_trouble(self) -> None:
        try:
            self._run_open()
        except _ERRORS as error:
            self._trouble(error)

    def _run_open(self) -> None:
        sink, checkpoint, atomic = self._open_ends()
        self._cursors.clear()
        self._noted.clear()
        self._checkpoint = checkpoint
        try:
            self.finished = array("q", sorted(checkpoint.finished()))
            self.tried.set()
            for (stream, result), number in checkpoint.counts().items():
                self.stats.totals[stream, result] = number
            self._say(f"{self.stats.sink}: ready")
            while not self._stopping.is_set():
                looked, began = self._registry().round, time.monotonic()
                if not self._round(sink, checkpoint, atomic=atomic):
                    self.idle_since = looked
                    self.wake.wait(self._poll_s)
                elif self._rest:
                    self._pause(min(self._rest * (time.monotonic() - began), _LONGEST_REST_S))
                self.wake.clear()
        finally:
            self._checkpoint = None
            checkpoint.close()
            sink.close()

    def _round(self, sink: Sink, checkpoint: Checkpoint, *, atomic: bool) -> bool:
        moved = False
        groups: dict[str, PendingBatch] = {}
        files = [file for file in self._registry().files if self._carries(file)]
        files.sort(key=_changed, reverse=True)  # what happens now goes before what is history
        past = _Past()
        for file in files:
            if self._stopping.is_set():
                return moved
            chunk = self._next(checkpoint, file)
            if chunk is None:
                continue
            moved = True
            self._under_way[file.identity] = chunk.cursor.offset
            group = groups.setdefault(file.stream.dataset, PendingBatch())
            group.add(file, self._cursors[file.identity], chunk)
            if group.size >= self._batch_bytes or not sink.gathers:
                self._try_to_deliver(sink, checkpoint, groups.pop(file.stream.dataset), atomic=atomic)
            if past.has_had_its_turn(file):
                break
        for group in groups.values():
            self._try_to_deliver(sink, checkpoint, group, atomic=atomic)
        self._note_finished(checkpoint, files)
        self._forget({file.identity for file in files})
        if not moved:
            self._tidy(sink, checkpoint)
        return moved

    def _next(self, checkpoint: Checkpoint, file: TailedFile) -> Chunk | None:
        """The next chunk of a file, None where there is none now; a file at which we fail holds up no other."""
        try:
            cursor = self._cursor(checkpoint, file)
            if file in self._left_alone or (cursor.offset >= file.size and self._is_the_one(file, cursor)):
                return None
            return self._read(checkpoint, file, cursor)
        except _ERRORS:
            raise
        except Exception as error:
            if not own_fault(f"relay.{self.stats.sink}", error):
                raise
            self._strike([file], error)
            return None

    def _try_to_deliver(self, sink: Sink, checkpoint: Checkpoint, group: PendingBatch, *, atomic: bool) -> None:
        try:
            self._deliver(sink, checkpoint, group, atomic=atomic)
            self._delivered += 1
        except _ERRORS:
            raise
        except Exception as error:
            if not own_fault(f"relay.{self.stats.sink}", error):
                raise
            checkpoint.undo()
            for file, _, _ in group.taken:
                self._under_way.pop(file.identity, None)
            self._strike([file for file, _, _ in group.taken], error)

    def _strike(self, files: list[TailedFile], error: Exception) -> None:
        """Leave files at which we failed alone for a while, and in the end until they change."""
        for file in files:
            cursor = self._cursors.get(file.identity)
            offset = cursor.offset if cursor else 0
            times, last = self._left_alone.strike(file, offset)
            if times == 1:
                count_loss(f"relay.{self.stats.sink}", f"held up by {type(error).__name__}")
                self._say(f"{self.stats.sink}: fails at {file.stream.name} ({type(error).__name__}); please report it")
            if last:
                self.lost(file, file.size - offset, f"left alone after {type(error).__name__}")

    def _pass_over(self, dataset: str, failed: list[Failed], counts: Counter[str]) -> None:
        """Count and keep aside what we failed at ourselves."""
        if not failed:
            return
        counts["emitted"] += len(failed)
        counts["dropped"] += len(failed)
        self._aside.write(failed)
        for error, number in Counter(type(one.error).__name__ for one in failed).items():
            count_loss(f"relay.{self.stats.sink}", f"passed over at {error}", number)
        self._say(
            f"{self.stats.sink}: passed over {len(failed)} records of {dataset} at which it fails; see set-aside/"
        )

    def _tidy(self, sink: Sink, checkpoint: Checkpoint) -> None:
        """A little of the housekeeping, when there is nothing else to do."""
        sink.prune()
        if time.monotonic() >= self._tidy_at and not checkpoint.forget(self._registry().is_gone, _TIDY_AFTER_S):
            self._tidy_at = time.monotonic() + _TIDY_EVERY_S

    def _read(self, checkpoint: Checkpoint, file: TailedFile, cursor: Cursor) -> Chunk | None:
        try:
            seen = file.seen[1]
            chunk = read(file, cursor, self._batch_bytes, final=is_final(file), only=self._only)
            self._checked[file.identity] = seen
            if not file.stream.prefix:
                self._met[file.identity] = (file.device, file.inode)
            return chunk
        except Replaced:
            self._start_again(checkpoint, file, cursor)
        except FileNotFoundError:
            self._registry().suspect(file)
        except OSError as error:
            self._left_alone.rest(file)
            self._say(f"cannot read {file.path}: {error.strerror}; correct its permissions; it is tried again")
        return None

    def _deliver(self, sink: Sink, checkpoint: Checkpoint, group: PendingBatch, *, atomic: bool) -> None:
        emitted = sum(len(chunk.spliced.ids) for _, _, chunk in group.taken)
        damaged = sum(chunk.damaged for _, _, chunk in group.taken)
        counts: Counter[str] = Counter(emitted=emitted + damaged, dropped=damaged)
        dataset = group.taken[0][0].stream.dataset
        self._pass_over(dataset, [one for _, _, chunk in group.taken for one in chunk.failed], counts)
        if damaged:
            count_loss(f"relay.{self.stats.sink}", "damaged journal record", damaged)
        if emitted:
            if not atomic:
                checkpoint.sending(group.ends())
            self._send(sink, checkpoint, group.batches(), counts)
        moves = group.moves()
        added = [(dataset, result, number) for result, number in counts.items() if number]
        checkpoint.save([(file.stream.name, cursor) for file, cursor in moves], added, self._finished(moves))
        self._cursors.update((cursor.identity, cursor) for _, cursor in moves)
        for file, _ in moves:
            self._under_way.pop(file.identity, None)
        self.stats.add(added)
        self.stats.remark = sink.remark
        if self.stats.well():
            self._say(f"{self.stats.sink}: takes records again")

    def _finished(self, moves: list[tuple[TailedFile, Cursor]]) -> list[tuple[str, int]]:
        """The files that are now read to their end, as far as the registry has seen them."""
        found = []
        for file, cursor in moves:
            size, stamp = file.seen
            if cursor.offset == size and not cursor.part:
                self._noted[cursor.identity] = stamp
                found.append((cursor.identity, stamp))
        return found

    def _note_finished(self, checkpoint: Checkpoint, files: list[TailedFile]) -> None:
        """Note the ends of files that have been still for a while and were not noted with their last batch."""
        now = time.time()
        moves = [
            (file, cursor)
            for file in files
            if now - file.changed > _STILL_S
            and (cursor := self._cursors.get(file.identity)) is not None
            and cursor.offset == file.size
            and self._noted.get(file.identity) != file.seen[1]
        ]
        if moves and (finished := self._finished(moves)):
            checkpoint.save([(file.stream.name, cursor) for file, cursor in moves], (), finished)

    def _send(self, sink: Sink, checkpoint: Checkpoint, batches: list[Batch], counts: Counter[str]) -> None:
        answer, batches = self._until_answered(sink, checkpoint, batches, counts)
        counts["stored"] += answer.stored
        counts["duplicate"] += answer.duplicates
        counts["dropped"] += answer.dropped
        began = checkpoint.began
        refused = [one for one in answer.rejected if one.written is None or one.written >= began]
        if history := len(answer.rejected) - len(refused):
            self._leave_out(batches[0].dataset, history, counts)
        dead = send_as_text(sink, batches, refused, counts)
        if dead and any(batch.resent for batch in batches):
            known = {letter["id"] for letter in self._dead_letters.read()}
            counts["duplicate"] += sum(letter["id"] in known for letter in dead)
            dead = [letter for letter in dead if letter["id"] not in known]
        if dead:
            counts["rejected"] += len(dead)
            counts["dropped"] += self._dead_letters.write(dead)
        taken, why = counts["stored"] + counts["duplicate"], dead[-1]["reason"] if dead else ""
        if batches and (news := self.stats.judged(batches[0].dataset, taken, len(dead), why)):
            self._say(f"{self.stats.sink}: {news}")

    def _leave_out(self, dataset: str, number: int, counts: Counter[str]) -> None:
        """Count records from before the first start that the service does not take for their age: not a loss."""
        counts["emitted"] -= number
        counts["history"] += number
        if not self.stats.totals[dataset, "history"]:
            self._say(
                f"{self.stats.sink}: leaves out records of {dataset} from before the relay's first start, because it"
                " takes none so old; they are counted as history"
            )

    def _until_answered(
        self, sink: Sink, checkpoint: Checkpoint, batches: list[Batch], counts: Counter[str]
    ) -> tuple[SendResult, list[Batch]]:
        """The answer, and the batches that it is about: those given, without what we fail at ourselves."""
        intervals = waits()
        while True:
            try:
                return send_together(sink, batches), batches
            except SinkUnavailable as error:
                checkpoint.undo()
                self._trouble(error)
                if self._stopping.is_set():
                    raise
                self._pause(error_wait(error.retry_after_s, intervals))
                if self._stopping.is_set():
                    raise
                batches = [replace(batch, resent=True) for batch in batches]
            except _ERRORS:
                raise
            except Exception as error:
                if not own_fault(f"relay.{self.stats.sink}", error):
                    raise
                checkpoint.undo()
                batches = self._without_poison(sink, checkpoint, batches, error, counts)
                if not batches:
                    return SendResult(0), []

    def _without_poison(
        self, sink: Sink, checkpoint: Checkpoint, batches: list[Batch], error: Exception, counts: Counter[str]
    ) -> list[Batch]:
        """The batches without the documents that the sink fails at. Raises ``error`` where it may be at fault alone."""
        poison = find_poison(lambda some: send_together(sink, some), checkpoint.undo, batches)
        kept = without(batches, poison)
        if not kept:
            times, delivered = self._refused.get(batches[0].ids[0], (0, self._delivered))
            if times + 1 < _WHOLLY_REFUSED_MOST or self._delivered == delivered:
                self._refused[batches[0].ids[0]] = times + 1, delivered
                raise error
            del self._refused[batches[0].ids[0]]
        failed = [
            Failed(batch.source, -1, document, poison[key])
            for batch in batches
            for key, document in zip(batch.ids, batch.documents, strict=True)
            if key in poison
        ]
        self._pass_over(batches[0].dataset, failed, counts)
        counts["emitted"] -= len(failed)  # they were counted when they were read
        return kept

    def _start_again(self, checkpoint: Checkpoint, file: TailedFile, cursor: Cursor) -> None:
        """Another file has the name: a journal is read anew, a log is known again by its content."""
        if cursor.offset and (not file.stream.prefix or (file.origin_ns and file.size < cursor.offset)):
            fresh = Cursor(file.identity, sending=max(cursor.offset, file.size))
            checkpoint.save([(file.stream.name, fresh)])
            self._cursors[file.identity] = fresh
        self._registry().suspect(file)

    def _cursor(self, checkpoint: Checkpoint, file: TailedFile) -> Cursor:
        cursor = self._cursors.get(file.identity)
        if cursor is None:
            cursor = checkpoint.cursor(file.identity, file.origin_ns / 1e9)
            if cursor.sending > _EVERYTHING or (file.ids and not cursor.offset):
                latest = checkpoint.cursor(file.ids).latest if file.ids else cursor.latest
                cursor = replace(cursor, sending=file.size, latest=latest)
            self._cursors[file.identity] = cursor
        return cursor

    def _forget(self, known: set[str]) -> None:
        for identity in [identity for identity in self._cursors if identity not in known]:
            del self._cursors[identity]
            self._noted.pop(identity, None)
            self._met.pop(identity, None)
            self._checked.pop(identity, None)

    def _is_the_one(self, file: TailedFile, cursor: Cursor) -> bool:
        """Tell whether the cursor was set in this very file: one of the same name, inode and size may be another."""
        if not file.stream.prefix and self._met.get(file.identity) != (file.device, file.inode):
            return False
        return cursor.offset <= file.size and self._checked.get(file.identity) == file.seen[1]

    def _carries(self, file: TailedFile) -> bool:
        return self._datasets is None or file.stream.dataset in self._datasets

    def _trouble(self, error: Exception) -> None:
        self.tried.set()
        why = str(error)
        if isinstance(error, sqlite3.DatabaseError):
            why = f"its checkpoint cannot be written: {why}; free space on the disk of the home, or make it writable"
        if self.stats.ill(why):
            self._say(f"{self.stats.sink}: does not take records, will go on trying: {why}")

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)


def _changed(file: TailedFile) -> float:
    return file.changed
