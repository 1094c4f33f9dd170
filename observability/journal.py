r"""Facts on disk: an append-only file per data stream, one checksummed line per record.

A line is ``<crc32 of the document, 8 hex digits> <document as JSON>\n``, written by one ``write(2)`` to a
file opened with ``O_APPEND``: writers in any number of processes need no lock, and a record for which
:meth:`Journal.append` returned survives the death of its process. Files are named
``<dataset>-<UTC day>-<number>.journal``.
"""

from __future__ import annotations

import errno
import os
import re
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from observability.errors import JournalError
from observability.owner_only_files import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Frame", "Journal", "JournalError", "frame", "frames"]

_START = re.compile(rb"[0-9a-f]{8} \{")
_OF_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_HEADER = 9
"""Bytes before the document: eight hex digits and a space."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A stretch of a journal: the document in it, or None where what stands there is no whole record.

    ``start`` and ``end`` are byte offsets within the buffer that was read.
    """

    start: int
    end: int
    document: bytes | None


class Journal:
    """A folder of journal files that this process appends to; safe across threads and forks."""

    def __init__(self, directory: Path, *, max_file_bytes: int = 67_108_864, fsync: bool = False) -> None:
        self.directory = directory
        self._max_file_bytes = max_file_bytes
        self._fsync = fsync
        self._open: dict[str, _File] = {}

    def append(self, dataset: str, document: bytes) -> None:
        """Write one JSON document (an object on one line) to the stream of ``dataset``.

        Raises :class:`JournalError` when it is not on disk whole (disk full, folder gone).
        """
        record = frame(document)
        name = dataset
        try:
            file = self._file(dataset)
            name = file.name
            written = os.write(file.descriptor, record)
            if self._fsync:
                os.fsync(file.descriptor)
        except OSError as error:
            if error.errno not in _OF_SPACE:
                self._let_go(dataset)
            what = (
                f"cannot write event to {self.directory / name}: {error.strerror}; free disk space or make it writable"
            )
            raise JournalError(error.errno, what) from error
        if written != len(record):
            raise JournalError(
                f"only {written} of {len(record)} bytes fitted into {self.directory / name}: free disk space"
            )

    def ready(self, dataset: str) -> None:
        """Open the file of ``dataset`` now, for children that are about to be forked. Raises OSError."""
        self._file(dataset)

    def close(self) -> None:
        """Close the files; the next append opens them again."""
        while self._open:
            _, file = self._open.popitem()
            if file.status() is not None:
                os.close(file.descriptor)

    def _let_go(self, dataset: str) -> None:
        """Close a file that fails: when its file system is back, it may be another one."""
        file = self._open.pop(dataset, None)
        if file and file.status() is not None:
            os.close(file.descriptor)

    def _file(self, dataset: str) -> _File:
        day = time.strftime("%Y%m%d", time.gmtime())
        file = self._open.get(dataset)
        status = file.status() if file else None
        if file and status and status.st_nlink and status.st_size < self._max_file_bytes and file.day == day:
            return file
        fresh = self._next(dataset, day)
        self._open[dataset] = fresh
        if file and status:
            os.close(file.descriptor)
        return fresh

    def _next(self, dataset: str, day: str) -> _File:
        """The first file of the day that is not full, opened."""
        make_folder(self.directory)
        number = 0
        while self._is_full(path := self.directory / f"{dataset}-{day}-{number:03d}.journal"):
            number += 1
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        status = os.fstat(descriptor)
        return _File(path.name, day, descriptor, status.st_dev, status.st_ino)

    def _is_full(self, path: Path) -> bool:
        try:
            return path.stat().st_size >= self._max_file_bytes
        except FileNotFoundError:
            return False


@dataclass(frozen=True, slots=True)
class _File:
    """An open file, known by device and inode: its descriptor may be closed, and its number reused, behind our back."""

    name: str
    day: str
    descriptor: int
    device: int
    inode: int

    def status(self) -> os.stat_result | None:
        """The file's status, None where the descriptor is no longer ours."""
        try:
            status = os.fstat(self.descriptor)
        except OSError:
            return None
        return status if (status.st_dev, status.st_ino) == (self.device, self.inode) else None


def frame(document: bytes) -> bytes:
    """One record as it stands in the file."""
    return b"%08x %b\n" % (zlib.crc32(document), document)


def frames(buffer: bytes) -> Iterator[Frame]:
    """The records in ``buffer``, which starts at the start of a line, in order.

    What follows the last newline is left for the next read. A damaged line yields a frame without
    document for the damaged part, and any whole record that starts inside it: a write cut short by a
    full disk costs that one record, not its neighbour.
    """
    start = 0
    while (newline := buffer.find(b"\n", start)) >= 0:
        line = buffer[start:newline]
        if (document := _document(line)) is not None:
            yield Frame(start, newline + 1, document)
        elif line:
            yield from _salvage(line, start)
        start = newline + 1


def _document(line: bytes) -> bytes | None:
    if len(line) <= _HEADER or line[8:10] != b" {":
        return None
    document = line[_HEADER:]
    return document if line[:8] == b"%08x" % zlib.crc32(document) else None


def _salvage(line: bytes, base: int) -> Iterator[Frame]:
    for match in _START.finditer(line, 1):
        if (document := _document(line[match.start() :])) is not None:
            yield Frame(base, base + match.start(), None)
            yield Frame(base + match.start(), base + len(line) + 1, document)
            return
    yield Frame(base, base + len(line) + 1, None)
