"""The time of a line: its own, or that of the entry that it continues.

Only a date at the start of a line is the line's own. A date anywhere else, and one that cannot be the time at which
a line of this file was written (a row's, say), is data. ``offset``, by which the lines of one attempt are sorted
across its files, is the line's time in ns, but always more than that of the line above it: within a file the order is
that of its bytes, also where a clock was set back (:func:`after`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from observability.timestamps import iso, utc

if TYPE_CHECKING:
    from observability.relay.sources.files.tailed_file import TailedFile

__all__ = [
    "ANSI",
    "CONTINUED_BYTES",
    "START",
    "TOP_BYTES",
    "Around",
    "Entry",
    "Times",
    "after",
    "level_of",
    "origin_of",
    "second_of",
    "text_time",
    "time_in",
]

START = b'{"timestamp":"'
CONTINUED_BYTES = 65_536
"""A line that far behind the last date is no part of that entry any more."""
TOP_BYTES = 2 * CONTINUED_BYTES
"""So far down the first date of a file is looked for, which the lines above it share."""
ANSI = re.compile(r"\x1b\[[0-9;]*m")
_DATE = re.compile(
    r"\s?\[?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?\d*(?: ?(Z|[+-]\d\d:?\d\d)(?!\d))?", re.ASCII
)
_SECOND = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.")
_LEVEL = re.compile(
    r"\[(debug|info|warning|error|critical) *\]|\[(DEBUG|INFO|WARNING|ERROR|CRITICAL)\]"
    r"|[} ](DEBUG|INFO|WARNING|ERROR|CRITICAL) - |\b(DEBUG|INFO|WARNING|ERROR|CRITICAL):"
    r'|^\{"timestamp":"[^"]*","level":"(debug|info|warning|error|critical)"'
)
_NEW_ENTRY = re.compile(r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL):|\[(?:debug|info|warning|error|critical) *\]")
_FIRST_BYTES = b" \t\r\x0b\x0c[{\x1b0123456789DIWEC"
"""With what a line begins that may begin an entry."""
_HEAD_BYTES = 200
_DAY_NS = 86_400 * 10**9
_EARLIEST, _LATEST = 631_152_000, 7_258_118_400
"""1990 to 2200, in s: nothing before or after it is the time of a line."""
_TEN_DIGITS = 1_000_000_000
"""2001, in s: before it a time has fewer digits."""


class Entry(NamedTuple):
    """The time of a line as text and in ns since 1970, its first byte, its level, and whether the time is its own."""

    when: str
    ns: int
    start: int
    level: str
    own: bool = False


OwnTime = Callable[[bytes, "TailedFile"], tuple[tuple[str, int] | None, str]]


class Around:
    """The surroundings of a stretch of a file: here nothing."""

    def before(self) -> bytes:
        """Up to :data:`CONTINUED_BYTES` before the stretch."""
        return b""

    def top(self) -> bytes:
        """The first :data:`TOP_BYTES` of the file."""
        return b""


class Times:
    """The times of the lines of one chunk, which begins at byte ``offset`` of ``file``.

    ``around`` gives what stands in the file around the chunk; it is asked only where the chunk begins inside an entry,
    or above every date. ``own`` gives a line's own time and level.
    """

    def __init__(self, file: TailedFile, chunk: bytes, offset: int, around: Around, own: OwnTime) -> None:
        self._own = own
        self._file = file
        self._chunk = chunk
        self._offset = offset
        self._around = around
        self._entry: Entry | None = None
        self._expected = -1
        self._first: Entry | None = None

    def dated(self, when: tuple[str, int], line: bytes, start: int, level: str) -> Entry:
        """The entry that a line with a time of its own begins."""
        self._entry = Entry(*when, start, level, own=True)
        self._expected = start + len(line) + 1
        return self._entry

    def undated(self, line: bytes, start: int) -> Entry:
        """The entry that a line without a time of its own belongs to, seen from that line."""
        entry = _level_entry(line, start, self._file)
        if entry is None:
            entry = self._entry if self._follows(start) else self._found_before(start)
        self._entry, self._expected = entry, start + len(line) + 1
        if entry is None and self._first is not None:
            return self._first._replace(start=start)
        if entry is not None and 0 <= start - entry.start <= CONTINUED_BYTES:
            return entry._replace(start=start, own=False)
        return _read_at(self._file, start, "info")

    def _below(self, start: int) -> Entry:
        """The time of the lines above everything dated: that of the first line below them, so far as it is there."""
        text = self._around.top()[start:] or self._chunk[start - self._offset : TOP_BYTES - self._offset]
        for line in text.split(b"\n"):
            when = self._own(line, self._file)[0] if line and line[0] in _FIRST_BYTES else None
            if when is not None:
                return Entry(*when, start, "info")
        return _read_at(self._file, start, "info")

    def _follows(self, start: int) -> bool:
        """Tell whether nothing but blank lines stands between the line that was last asked about and byte ``start``."""
        if self._expected < 0 or start < self._expected:
            return False
        between = self._chunk[self._expected - self._offset : start - self._offset]
        return not between or between.isspace()

    def _found_before(self, start: int) -> Entry | None:
        """The last line before byte ``start`` that begins an entry."""
        at = start - self._offset
        seen = self._chunk[max(0, at - CONTINUED_BYTES) : at]
        if len(seen) < CONTINUED_BYTES and self._offset:
            seen = self._around.before()[-(CONTINUED_BYTES - len(seen)) :] + seen
        base = start - len(seen)
        end = len(seen)
        while end > 0:
            begin = seen.rfind(b"\n", 0, end - 1) + 1
            if (begin or base == 0) and seen[begin] in _FIRST_BYTES:
                line = seen[begin : end - 1]
                when, level = self._own(line, self._file)
                if when is not None:
                    return Entry(*when, base + begin, level, own=True)
                if (entry := _level_entry(line, base + begin, self._file)) is not None:
                    return entry
            end = begin
        if base == 0:
            self._first = self._below(start)
        return None


def time_in(text: str, file: TailedFile | None = None) -> tuple[str, int] | None:
    """The time at the start of ``text`` (UTC as text, ns since 1970); None where there is none that can be a line's."""
    match = _DATE.match(text)
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone in (None, "Z") else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        when = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0'):0<6}{zone}").astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    if not _EARLIEST <= when.timestamp() < _LATEST or not _can_be(_ns(when), file):
        return None
    return _utc(when), _ns(when)


def origin_of(line: bytes) -> int:
    """Time of a file's first line in ns, 0 where it has none."""
    found = time_in(_head(line))
    return 0 if found is None else found[1]


def second_of(head: bytes, file: TailedFile) -> bytes:
    """The time in ``{"timestamp":"2026-01-31T12:00:00.`` as ten digits (s since 1970); empty where there is none."""
    found = _seconds(head) if head.startswith(START) else -1
    return b"%d" % found if found >= _TEN_DIGITS and _can_be(found * 10**9, file) else b""


def after(latest: int, entry: Entry) -> int:
    """The ``offset`` of a line of ``entry`` below a line of the ``offset`` ``latest`` (0: it is the first).

    A line without a time of its own follows the line above it at once.
    """
    return max(latest + 1, entry.ns if entry.own or not latest else 0)


def level_of(line: bytes) -> str | None:
    """The level that a line of text names, or one of Airflow's that is torn or too long; None where it names none."""
    found = _LEVEL.search(ANSI.sub("", line[:_HEAD_BYTES].decode("utf-8", "replace")))
    return next(filter(None, found.groups())).lower() if found else None


def text_time(line: bytes, file: TailedFile) -> tuple[tuple[str, int] | None, str]:
    """The time at the start of a line of text (or of torn JSON) and its level."""
    return time_in(_head(line), file), level_of(line) or "info"


def _level_entry(line: bytes, start: int, file: TailedFile) -> Entry | None:
    """The entry of a line that begins one with its level, as uvicorn's do: it was written when it was read."""
    if _NEW_ENTRY.match(_head(line)) is None:
        return None
    return _read_at(file, start, level_of(line) or "info")


def _read_at(file: TailedFile, start: int, level: str) -> Entry:
    changed = utc(file.changed)
    return Entry(_utc(changed), _ns(changed), start, level)


def _head(line: bytes) -> str:
    at = len(START) if line.startswith(START) else 0
    return ANSI.sub("", line[at : at + _HEAD_BYTES].decode("utf-8", "replace"))


@lru_cache(maxsize=4096)
def _seconds(head: bytes) -> int:
    if _SECOND.fullmatch(head, len(START)) is None:
        return -1
    try:
        found = int(datetime.fromisoformat(f"{head[len(START) : -1].decode()}+00:00").timestamp())
    except ValueError:
        return -1
    return found if _EARLIEST <= found < _LATEST else -1


def _can_be(ns: int, file: TailedFile | None) -> bool:
    """Tell whether a line of ``file`` can have been written at that time, give or take a day."""
    if file is None:
        return True
    if file.origin_ns and ns < file.origin_ns - _DAY_NS:
        return False
    return not file.changed or ns < file.changed * 1e9 + _DAY_NS


def _ns(when: datetime) -> int:
    return (int(when.timestamp()) * 1_000_000 + when.microsecond) * 1000


def _utc(when: datetime) -> str:
    return iso(when, "microseconds")
