"""The files to read now: found, known again after a rotation, held until sent, let go.

A file is known by device and inode while it lives and by its identity for ever; what begins alike is told
apart by generation. Only files with something to send, or that changed lately, are kept in memory; of those that
every reader has read, eight bytes each.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from observability.contain import count_loss, own_fault
from observability.relay.sources.files.airflow_logs import looks_like_a_log, printable
from observability.relay.sources.files.fingerprint import HEAD_BYTES, first_line, identify
from observability.relay.sources.files.finished import FinishedFiles
from observability.relay.sources.files.recognition import generation_of, is_rewritten, is_that, known_by_name
from observability.relay.sources.files.scanner import DirectoryScanner, Entry
from observability.relay.sources.files.tailed_file import READ_FLAGS, TailedFile, stamp_of
from observability.relay.steps.line_time import origin_of

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator, Sequence

    from observability.relay.sources.files.spool import Spool
    from observability.relay.sources.files.tail import Cursor
    from observability.relay.sources.files.tailed_file import Stream

__all__ = ["FileRegistry", "Reader", "Source"]

_IDLE_S = 60.0
_IDLE_WHEN_FULL_S = 2.0
_ABANDONED_S = 600.0
"""A first or last line without newline is taken as it is when its file has been still for so long."""
_COPY_GRACE_S = 10.0
_SENT_AT_ONCE_S = 2.0
_MOST_ACTIVE = 2_000
_MOST_UNKNOWN = 20
_STUCK_S = 5.0
_WATCH_SHARE = 20


@dataclass(slots=True)
class _Missing:
    """A file that has gone with something unread in it, and when that is lost: after a while and a whole sweep."""

    file: TailedFile
    deadline: float
    sweeps: int


class Reader(Protocol):
    """The readers of the files, with a cursor in each."""

    def position(self, file: TailedFile) -> int:
        """Up to where ``file`` is acknowledged; -1 while that is not known."""

    def taken(self, file: TailedFile) -> int:
        """Up to where ``file`` was read, whether or not that is acknowledged; -1 where that is not known."""

    def recall(self, identity: str) -> Cursor | None:
        """The cursor kept for an identity, at its start where there is none; None while that is not known."""

    def lost(self, file: TailedFile, number: int, reason: str) -> None:
        """``number`` bytes of ``file`` can no longer be read."""


class Source:
    """A folder and what its files are; ``spooled`` ones are held against deletion."""

    def __init__(self, root: Path, stream_of: Callable[[str], Stream | None], spool: Spool | None = None) -> None:
        self.folder = DirectoryScanner(root)
        self.stream_of = stream_of
        self.spool = spool


class FileRegistry:
    """The files of ``sources`` as of the last :meth:`refresh`, in ``files``."""

    def __init__(self, sources: Sequence[Source], readers: Sequence[Reader], *, history_s: float = 0.0) -> None:
        self._history_s = history_s
        self.files: tuple[TailedFile, ...] = ()
        self.round = 0
        self.unreadable: dict[str, str] = {}
        self.unknown: dict[str, None] = {}
        """Some of the files that look like a log and are called like none that Airflow writes by its own template."""
        self._unknown = FinishedFiles()
        self._history = FinishedFiles()
        self._failed_at: set[str] = set()
        self._sources = sources
        self._readers = readers
        self._active: dict[tuple[int, int], TailedFile] = {}
        self._source_of: dict[tuple[int, int], Source] = {}
        self._by_identity: dict[str, TailedFile] = {}
        self._finished = FinishedFiles()
        self._missing: dict[str, _Missing] = {}
        self._adopted = False
        self._left_out = self._crowded = False
        self._moved = time.monotonic()
        self._watch_due = 0.0

    def refresh(self, *, whole: bool = False) -> bool:
        """Look at the folders again; True when every file there is has been seen and taken in.

        With ``whole`` the sweeps are made to their end, as far as there is room for what they find.
        """
        if not self._adopted:
            self._adopted = True
            self._adopt()
        if len(self._active) < _MOST_ACTIVE:
            self._moved = time.monotonic()
        self._make_up_for()
        before = [source.folder.sweeps for source in self._sources]
        for source in self._sources:
            stuck = time.monotonic() - self._moved > _STUCK_S
            for entry in source.folder.look(self._has_room, whole=whole, wait=not stuck):
                with self._alone(entry.path):
                    self._see(source, entry)
        self._watch()
        self._give_up()
        self._retire()
        self._hold()
        self.files = tuple(self._active.values())
        self.round += 1
        now = [source.folder.sweeps for source in self._sources]
        self._finished.prune(now)
        self._unknown.prune(now)
        self._history.prune(now)
        return all(map(int.__gt__, now, before)) and not (self._left_out or self._crowded)

    def wake(self) -> None:
        """Look at everything that changed lately in the next round, however lately it was looked at."""
        for source in self._sources:
            source.folder.wake()

    def remember(self, stamps: array[int]) -> None:
        """Take over from an earlier process the stamps, in order, of what every reader had read to its end."""
        self._finished = FinishedFiles(stamps)

    def is_done(self, found: os.stat_result) -> bool:
        """True if every reader has read all of a file, which was then let go."""
        return self._finished.holds(stamp_of(found))

    def is_gone(self, identity: str, name: str) -> bool:
        """True if there is nothing to read under this first name, nor anything of this identity in the works."""
        if identity in self._by_identity or identity in self._missing:
            return False
        return not any((source.folder.root / name).exists() for source in self._sources)

    def discard(self, file: TailedFile) -> None:
        """Let go of a file, whether or not it was read."""
        self._drop(file)
        self.files = tuple(self._active.values())

    def replace_by(self, file: TailedFile, kept: Path) -> int:
        """Read ``kept``, what thinning left of ``file``, in its stead; the bytes it has."""
        source = self._source_of[file.device, file.inode]
        found = kept.stat()
        self._drop(file)
        self._take_in_kept(source, file.stream, kept, found)
        self.files = tuple(self._active.values())
        return found.st_size

    def suspect(self, file: TailedFile) -> None:
        """Find out anew what ``file`` is: its content is not what a cursor says."""
        file.size = -1

    @property
    def swept(self) -> bool:
        """True if every folder was looked through to its end at least once."""
        return all(source.folder.sweeps for source in self._sources)

    @property
    def unknown_files(self) -> int:
        """Count the files that look like a log and fit no template that we know."""
        return len(self._unknown)

    @contextlib.contextmanager
    def _alone(self, path: str) -> Iterator[None]:
        """One file, at which we may fail without failing at the others; it is counted once and named by the doctor."""
        try:
            yield
        except OSError as error:
            self.unreadable[path] = error.strerror or str(error)
        except Exception as error:
            if not own_fault("relay.registry", error):
                raise
            self.unreadable[path] = f"Contrail fails at it ({type(error).__name__}); please report it"
            if path not in self._failed_at and len(self._failed_at) < _MOST_ACTIVE:
                self._failed_at.add(path)
                count_loss("relay.registry", f"file passed over at {type(error).__name__}")

    def _adopt(self) -> None:
        for source in self._sources:
            if source.spool is not None:
                for name, link, found in source.spool.held():
                    with self._alone(str(link)):
                        self._adopt_one(source, source.spool, name, link, found)

    def _adopt_one(self, source: Source, spool: Spool, name: str, link: Path, found: os.stat_result) -> None:
        stream = source.stream_of(name)
        if self._finished.holds(stamp_of(found)):
            spool.drop(link)
        elif stream is not None and ".kept" in link.name:
            self._take_in_kept(source, stream, link, found)
        elif stream is not None and not link.name.endswith(".new"):
            file = self._admit(source, stream, link, found)
            if file is not None:
                file.spooled = link
                file.gone = found.st_nlink == 1

    def _take_in_kept(self, source: Source, stream: Stream, kept: Path, found: os.stat_result) -> None:
        identity, origin = kept.name.partition(".kept")[0].split("-")
        key = (found.st_dev, found.st_ino)
        own = identify(stream.name, b"kept " + identity.encode())
        file = TailedFile(stream, kept, *key, own, int(origin), gone=True, spooled=kept, ids=identity)
        file.look(found)
        self._active[key] = file
        self._source_of[key] = source
        self._by_identity[own] = file

    def _see(self, source: Source, entry: Entry) -> None:
        found = entry.stat
        key = (found.st_dev, found.st_ino)
        file = self._active.get(key)
        if file is not None and 0 <= file.size <= found.st_size and not is_rewritten(file, entry):
            if str(file.path) != entry.path:
                file.path = Path(entry.path)
            file.gone, file.sighted = False, self.round
            file.look(found)
            return
        if file is None and self._finished.holds(stamp_of(found)):
            return
        stream = source.stream_of(os.path.relpath(entry.path, source.folder.root))
        if stream is None:
            self._note_unknown(source, entry.path)
            return
        if file is None and self._is_history(source, stream, entry):
            return
        if file is not None:
            self._replace(key, file, found)
        if len(self._active) >= _MOST_ACTIVE and time.time() - found.st_mtime > _IDLE_S:
            self._crowded = True
            return
        self._admit(source, stream, Path(entry.path), found)

    def _is_history(self, source: Source, stream: Stream, entry: Entry) -> bool:
        """Tell whether a file is left out for its age. One that a reader has begun is not, however old it is."""
        found = entry.stat
        if source.spool is None or not 0 < self._history_s < time.time() - found.st_mtime:
            return False
        if self._history.holds(stamp_of(found)):
            return True
        descriptor = os.open(entry.path, READ_FLAGS)
        try:
            line = first_line(descriptor)
            head = os.pread(descriptor, HEAD_BYTES, 0) if line is None else line
        finally:
            os.close(descriptor)
        cursors = self._recall(identify(stream.name, head))
        if None in cursors:  # it is looked at again once the readers know their cursors
            self._left_out = True
            return True
        if any(cursor.offset for cursor in cursors if cursor):
            return False
        self._history.add(stamp_of(found))
        return True

    def _note_unknown(self, source: Source, path: str) -> None:
        name = os.path.relpath(path, source.folder.root)
        if source.spool is None or not looks_like_a_log(name):
            return
        self._unknown.add(hash(path))
        if len(self.unknown) < _MOST_UNKNOWN:
            self.unknown[printable(path)] = None

    def _admit(self, source: Source, stream: Stream, path: Path, found: os.stat_result) -> TailedFile | None:
        key = (found.st_dev, found.st_ino)
        try:
            file = self._open(stream, path, found)
        except OSError as error:
            self.unreadable[str(path)] = error.strerror or str(error)
            return None
        self.unreadable.pop(str(path), None)
        if file is None or not self._is_best(file):
            return None
        file.sighted = self.round
        self._active[key] = file
        self._source_of[key] = source
        self._by_identity[file.identity] = file
        self._missing.pop(file.identity, None)
        return file

    def _open(self, stream: Stream, path: Path, found: os.stat_result) -> TailedFile | None:
        if found.st_size == 0:
            return None
        if not stream.prefix:
            return known_by_name(stream, path, found)
        descriptor = os.open(path, READ_FLAGS)
        try:
            if not is_that(descriptor, found):
                return None
            line = first_line(descriptor)
            if line is None:
                if time.time() - found.st_mtime < _ABANDONED_S:
                    return None
                line = os.pread(descriptor, HEAD_BYTES, 0)
            origin = origin_of(line)
            generation = generation_of(stream, line, descriptor, None if origin else self._by_identity, self._recall)
            if generation is None:
                self._left_out = True
                return None
        finally:
            os.close(descriptor)
        identity = identify(stream.name, line, generation)
        file = TailedFile(stream, path, found.st_dev, found.st_ino, identity, origin, generation=generation)
        file.look(found)
        return file

    def _recall(self, identity: str) -> list[Cursor | None]:
        return [reader.recall(identity) for reader in self._readers]

    def _is_best(self, file: TailedFile) -> bool:
        other = self._by_identity.get(file.identity)
        if other is None or (other.device, other.inode) == (file.device, file.inode):
            return True
        if other.size >= file.size:
            return False
        self._drop(other)
        return True

    def _replace(self, key: tuple[int, int], file: TailedFile, found: os.stat_result) -> None:
        if file.size > found.st_size and self._behind(file):
            self._note_missing(key, file)
        else:
            self._source_of[key].folder.sweep_soon()
        self._drop(file)

    def _note_missing(self, key: tuple[int, int], file: TailedFile) -> None:
        folder = self._source_of[key].folder
        sweeps = folder.sweeps + (1 if folder.sweep_soon() else 2)  # one under way may have passed the copy by
        self._missing[file.identity] = _Missing(file, time.monotonic() + _COPY_GRACE_S, sweeps)

    def _has_room(self) -> bool:
        """True if more of the past may be taken in, False if only what is fresh."""
        return len(self._active) < _MOST_ACTIVE

    def _make_up_for(self) -> None:
        """Sweep for what was left out in the round before, now that it may be taken in."""
        if self._left_out or (self._crowded and len(self._active) < _MOST_ACTIVE // 2):
            for source in self._sources:
                source.folder.sweep_soon()
            self._crowded = False
        self._left_out = False

    def _watch(self) -> None:
        """Look at the files that no folder has shown in this round."""
        began = time.monotonic()
        if began < self._watch_due:
            return
        for key, file in list(self._active.items()):
            if file.sighted != self.round:
                self._look_for(key, file)
        self._watch_due = time.monotonic() + _WATCH_SHARE * (time.monotonic() - began)

    def _look_for(self, key: tuple[int, int], file: TailedFile) -> None:
        if file.size < 0:
            with contextlib.suppress(OSError):
                self._see(self._source_of[key], Entry(str(file.path), file.path.stat()))
            return
        try:
            found = file.readable.stat()
        except OSError:
            found = None
        if found is not None and (found.st_dev, found.st_ino) == key and found.st_size:
            file.gone = file.spooled is not None and found.st_nlink == 1
            if found.st_size >= file.size:
                file.look(found)
            return
        if self._behind(file):
            self._note_missing(key, file)
        self._drop(file)

    def _give_up(self) -> None:
        """Tell what is lost: what no reader has read of a file that is nowhere any more."""
        for identity, missing in list(self._missing.items()):
            is_swept = all(source.folder.sweeps >= missing.sweeps for source in self._sources)
            if time.monotonic() < missing.deadline or not is_swept:
                continue
            ends = {reader: self._read_to(reader, missing.file) for reader in self._readers}
            read = {reader: end for reader, end in ends.items() if end is not None}
            if read.keys() != ends.keys():
                continue
            del self._missing[identity]
            for reader, end in read.items():
                if end < missing.file.size:
                    reader.lost(missing.file, missing.file.size - end, "deleted or truncated before it was sent")

    @staticmethod
    def _read_to(reader: Reader, file: TailedFile) -> int | None:
        """Up to where a reader has a file that it may have forgotten; None while that is not known."""
        if (known := max(reader.position(file), reader.taken(file))) >= 0:
            return known
        cursor = reader.recall(file.identity)
        return None if cursor is None else cursor.offset

    def _hold(self) -> None:
        """Give a second name to what is being written, and to what is not sent at once."""
        now, clock = time.time(), time.monotonic()
        for key, file in list(self._active.items()):
            spool = self._source_of[key].spool
            if spool is None or file.spooled is not None or file.unspoolable:
                continue
            if now - file.changed < _IDLE_S or (clock - file.known_since > _SENT_AT_ONCE_S and self._behind(file)):
                spool.hold(file)

    def _retire(self) -> None:
        now = time.time()
        idle_s = _IDLE_S if len(self._active) < _MOST_ACTIVE // 2 else _IDLE_WHEN_FULL_S
        for file in list(self._active.values()):
            if now - file.changed > idle_s and not self._behind(file):
                self._finished.add(file.seen[1])
                self._moved = time.monotonic()
                self._drop(file)

    def _behind(self, file: TailedFile) -> bool:
        return any(reader.position(file) < file.size for reader in self._readers)

    def _drop(self, file: TailedFile) -> None:
        key = (file.device, file.inode)
        source = self._source_of.pop(key, None)
        if self._active.get(key) is file:
            del self._active[key]
        if self._by_identity.get(file.identity) is file:
            del self._by_identity[file.identity]
        if source is not None and source.spool is not None:
            source.spool.release(file)


def is_final(file: TailedFile) -> bool:
    """True if a last line without newline will get none any more."""
    still = time.time() - file.changed
    return still > _ABANDONED_S or (file.gone and still > _COPY_GRACE_S)
