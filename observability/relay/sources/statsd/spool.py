"""Keep what the StatsD socket received in the open interval on disk until it is added up.

One file per interval, ``<when it began, ns>-<process>-<number>.datagrams``, of checksummed records: the gauges as
the interval found them, the datagrams of each round of receiving, and at the end the moment and the relay's own
numbers. It goes once the interval's series are in the metric journal; one that is found at the start is of an
interval that was killed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from observability.contain import count_loss
from observability.regular_files import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["End", "Interval", "StatsdSpool"]

_HEADER = struct.Struct("<4sBII")
_MAGIC = b"\x00\xf1CR"
_GAUGES, _DATAGRAMS, _END = range(3)
_numbers = itertools.count()


class End(NamedTuple):
    """The end of an interval, and the relay's own numbers in it."""

    when: float
    own: list[Any]


@dataclass(slots=True)
class Interval:
    """An interval that was killed: who had begun it, and what its file holds."""

    path: Path
    name: str
    process: int
    changed: float
    host: str = ""
    gauges: list[Any] = field(default_factory=list)
    rounds: list[memoryview] = field(default_factory=list)
    end: End | None = None


class StatsdSpool:
    """The file of the open interval in ``folder``; without one, and where the disk takes none, intervals do without.

    ``host`` is kept with it: a container that starts again on the same disk has another name.
    """

    def __init__(self, folder: Path | None, host: str = "") -> None:
        self.folder = folder
        self.host = host
        self.size = 0
        self.why = ""
        self._descriptor = -1
        self._path: Path | None = None

    def begin(self, gauges: list[Any]) -> str:
        """Open the file of a new interval, delete that of the one before, whose series are on disk; the new name."""
        name = f"{time.time_ns()}-{os.getpid()}-{next(_numbers)}"
        before = self._path
        self.close()
        if self.folder is not None:
            self._open(self.folder / f"{name}.datagrams")
            self._append(_GAUGES, orjson.dumps([self.host, gauges]))
        if before is not None:
            _delete(before)
        return name

    def keep(self, datagrams: bytes) -> None:
        """Put what one round received on disk, by one write."""
        self._append(_DATAGRAMS, datagrams)

    def end(self, when: float, own: list[Any]) -> None:
        """Note that the series are about to be written, under this moment and with the relay's own numbers."""
        if not self._append(_END, orjson.dumps([when, own])) and self._path is not None:
            _delete(self._path)  # else a kill while they are written would let them be written again

    def close(self) -> None:
        """Leave the file of the interval to the next relay."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._path, self.size = -1, None, 0

    def orphans(self) -> Iterator[Interval]:
        """The intervals that were killed, oldest first; one that cannot be read is counted and left."""
        if self.folder is None:
            return
        for path in sorted(self.folder.glob("*.datagrams"), key=_began):
            try:
                found = _read(path)
            except OSError:
                count_loss("relay.statsd", "unreadable spool")
                continue
            except (ValueError, TypeError):
                self.set_aside(path)
                continue
            yield found

    def set_aside(self, path: Path) -> None:
        """Keep a file that is not to be read again for whoever looks into it, and count it."""
        count_loss("relay.statsd", "unreadable spool")
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(".unreadable"))

    def seal(self, orphan: Interval) -> bool:
        """Note that the orphan's series are about to be written; False where the disk is full."""
        if orphan.end is not None:
            return True
        orphan.end = End(min(orphan.changed, time.time()), [])
        content = orjson.dumps(list(orphan.end))
        record = _header(_END, content) + content
        try:
            with orphan.path.open("ab", buffering=0) as file:
                return file.write(record) == len(record)
        except OSError:
            return False

    def forget(self, orphan: Interval) -> None:
        """Delete an orphan whose series are on disk."""
        _delete(orphan.path)

    def _open(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor, self._path, self.why = os.open(path, flags, 0o600), path, ""
        except OSError as error:
            self.why = error.strerror or str(error)

    def _append(self, kind: int, content: bytes) -> bool:
        if self._descriptor < 0:
            return False
        header = _header(kind, content)
        try:
            written = os.writev(self._descriptor, (header, content))
        except OSError as error:
            self.why = error.strerror or str(error)
            return False
        self.size += written
        whole = written == len(header) + len(content)
        if not whole:
            self.why = "no space left for all of it"
        return whole


def _header(kind: int, content: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, kind, len(content), zlib.crc32(content, kind))


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):  # what stays is known by its end, and not written again
        path.unlink()


def _began(path: Path) -> tuple[int, str]:
    first = path.name.partition("-")[0]
    return int(first) if first.isdigit() else 0, path.name


def _read(path: Path) -> Interval:
    name = path.name.removesuffix(".datagrams")
    process = name.split("-")[1] if name.count("-") == 2 else ""  # noqa: PLR2004 - as begin() names it
    found = Interval(path, name, int(process) if process.isdigit() else 0, path.stat().st_mtime)
    for kind, content in _records(read_regular(path)):
        if kind == _DATAGRAMS:
            found.rounds.append(content)
        elif kind == _GAUGES:
            host, gauges = orjson.loads(content)
            found.host, found.gauges = str(host), [_gauge(*one) for one in gauges]
        elif kind == _END:
            when, own = orjson.loads(content)
            found.end = End(float(when), [_own(*one) for one in own])
    return found


def _gauge(key: list[Any], value: float) -> list[Any]:
    name, kind, tags = key
    return [[str(name), str(kind), [(str(tag), str(text)) for tag, text in tags]], float(value)]


def _own(name: str, kind: str, value: float, tags: dict[str, str]) -> list[Any]:
    return [str(name), str(kind), float(value), {str(tag): str(text) for tag, text in tags.items()}]


def _records(content: bytes) -> Iterator[tuple[int, memoryview]]:
    """Kind and content of each whole record; a stretch that holds none is counted as one."""
    view = memoryview(content)
    at, sound = 0, True
    while at < len(content):
        record = _record(view, at)
        if record is not None:
            yield record
            at, sound = at + _HEADER.size + len(record[1]), True
            continue
        if sound:
            count_loss("relay.statsd", "damaged spool record")
        sound = False
        following = content.find(_MAGIC, at + 1)
        at = len(content) if following < 0 else following


def _record(view: memoryview, at: int) -> tuple[int, memoryview] | None:
    if len(view) - at < _HEADER.size:
        return None
    magic, kind, size, checksum = _HEADER.unpack_from(view, at)
    found = view[at + _HEADER.size : at + _HEADER.size + size]
    if magic != _MAGIC or len(found) != size or zlib.crc32(found, kind) != checksum:
        return None
    return kind, found
