"""Log lines become documents: the file's prefix, the line's place and its time, then the line as it stands.

A line as Airflow writes it (``{"timestamp":"2026-01-31T12:00:00.000000Z",…}``) is not parsed. Any other
line, and one that already holds a key of ours, is made into a document by :func:`rewrite`: JSON keeps its
keys (ours are renamed ``extra.<key>``), anything else becomes the text of ``event``. A line whose document
would be larger than a sink takes becomes several documents, ``log.part`` 0, 1, …; their texts joined are the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from observability.relay.sources.files.fingerprint import document_id
from observability.relay.steps.line_time import (
    ANSI,
    Around,
    Entry,
    Times,
    after,
    level_of,
    origin_of,
    second_of,
    text_time,
    time_in,
)
from observability.relay.steps.own_keys import is_unusual, stored_name

if TYPE_CHECKING:
    from observability.relay.sources.files.tailed_file import TailedFile

__all__ = [
    "MOST_LINE_BYTES",
    "PIECE_BYTES",
    "EncodedLines",
    "add_pieces",
    "entry_of",
    "origin_of",
    "repair",
    "splice",
    "whole_end",
]

MOST_LINE_BYTES = 917_504
"""A longer line is split: with its prefix it would be more than CloudWatch takes (1,048,550 bytes)."""
PIECE_BYTES = 131_072
"""A piece of a long line; six times as much where each of its bytes has to be escaped."""
_MOST_DOCUMENT_BYTES = 1_000_000
_AT = b',"@timestamp":'
_DIGITS = tuple(b"%03d" % number for number in range(1000))
_STAMP_NS = 1000
"""A line's time has 16 digits, of microseconds; the three behind them keep the lines of one microsecond in order."""
_NOTHING = Around()
_TIME_KEYS = ("timestamp", "@timestamp", "time", "ts")
_SPLICED = re.compile(rb'"offset":(\d+),"@timestamp":("[^"]{27}"),')


@dataclass(slots=True)
class EncodedLines:
    """Documents of a stretch of one file and their ids; ``rewritten`` took the slow path, ``split`` were too long.

    ``latest`` is the ``offset`` of the last one.
    """

    ids: list[bytes] = field(default_factory=list)
    documents: list[bytes] = field(default_factory=list)
    rewritten: int = 0
    split: int = 0
    latest: int = 0

    def extend(self, other: EncodedLines) -> None:
        """Take in the documents of what follows."""
        self.ids += other.ids
        self.documents += other.documents
        self.rewritten += other.rewritten
        self.split += other.split
        self.latest = other.latest


def splice(file: TailedFile, chunk: bytes, offset: int, around: Around = _NOTHING, latest: int = 0) -> EncodedLines:
    """The documents of ``chunk``, whole lines that begin at byte ``offset`` of ``file``.

    ``around`` gives what stands around the chunk, for lines that continue an entry there; ``latest`` is the ``offset``
    of the last document before it, 0 where there is none.
    """
    out = EncodedLines()
    times = Times(file, chunk, offset, around, _own_time)
    identity, here = b"%b-%%d" % (file.id_prefix).encode(), offset
    prefix = file.stream.prefix + b'"offset":'
    guard = is_unusual if is_unusual(chunk) else None
    text = chunk if chunk.isascii() else None
    add_id, add_document = out.ids.append, out.documents.append
    head = seconds = b""  # most lines are of the second of the line before
    stamp, number = _taken_apart(latest)
    for line in chunk.split(b"\n"):
        if line[:34] != head:
            head, seconds = line[:34], second_of(line[:34], file)
        if (
            seconds
            and line[40:43] == b'Z",'
            and line[-1] == 125  # noqa: PLR2004 - a closing brace
            and len(line) <= MOST_LINE_BYTES
            and (micros := line[34:40]).isdigit()
            and (guard is None or not guard(line))
            and (text is not None or _is_utf8(line))
        ):
            own = seconds + micros
            if own > stamp:  # both have 16 digits
                stamp, number = own, 0
            elif number < _STAMP_NS - 1:
                number += 1
            else:
                stamp, number = b"%d" % (int(stamp) + 1), 0
            add_id(identity % here)
            add_document(b"".join((prefix, stamp, _DIGITS[number], _AT, line[13:42], b",", line[1:])))
        elif line and not line.isspace():
            out.latest = int(stamp) * _STAMP_NS + number
            _slow(out, file, line, here, times)
            stamp, number = _taken_apart(out.latest)
        here += len(line) + 1
    out.latest = int(stamp) * _STAMP_NS + number
    return out


def _taken_apart(latest: int) -> tuple[bytes, int]:
    """An ``offset`` as 16 digits and the number behind them."""
    return b"%016d" % (latest // _STAMP_NS), latest % _STAMP_NS


def add_pieces(  # noqa: PLR0913, PLR0917 - a place in a file
    out: EncodedLines,
    file: TailedFile,
    line: bytes,
    offset: int,
    entry: Entry,
    part: int = 0,
    stop: int | None = None,
) -> tuple[int, int]:
    """Add pieces of a line that is too long for one document, from ``part`` on; the line belongs to ``entry``.

    With ``stop``, only whole pieces are added, and none that ends behind it. ``out.latest`` has to be that of the
    document before them. Returns the bytes taken and the next part.
    """
    out.rewritten += 1
    out.split += part == 0
    start = 0
    while start < len(line) if stop is None else start + PIECE_BYTES <= stop:
        end = whole_end(line, start + PIECE_BYTES)
        fields = {"level": entry.level, "event": line[start:end].decode("utf-8", "replace")}
        out.ids.append(document_id(file.id_prefix, offset + start))
        out.latest = after(out.latest, entry)
        out.documents.append(_document(file, entry, out.latest, fields, part))
        start, part = end, part + 1
    return start, part


def entry_of(file: TailedFile, line: bytes, start: int, around: Around) -> Entry:
    """The entry that a line belongs to, of which ``line`` is at least the beginning."""
    return _entry_of(None, line, start, Times(file, line, start, around, _own_time), file)


def repair(document: bytes, prefix: bytes) -> bytes | None:
    """A document that a sink refused as one whose ``event`` is the text of the line; None where it is that already."""
    match = _SPLICED.match(document, len(prefix))
    if match is None or not document.startswith(prefix):
        return None
    try:
        if set(orjson.loads(b"{" + document[match.end() :])) == {"timestamp", "level", "event"}:
            return None
    except orjson.JSONDecodeError:
        pass
    fields = {"level": "info", "event": (b"{" + document[match.end() :]).decode("utf-8", "replace")}
    return prefix + match[0] + b'"timestamp":' + match[2] + b"," + orjson.dumps(fields)[1:]


def whole_end(line: bytes, end: int) -> int:
    """The last offset up to ``end`` that does not cut a UTF-8 character."""
    if end >= len(line):
        return len(line)
    for back in range(4):
        if line[end - back] & 0xC0 != 0x80:  # noqa: PLR2004 - no continuation byte
            return end - back
    return end


def _slow(out: EncodedLines, file: TailedFile, line: bytes, offset: int, times: Times) -> None:
    fields = _fields(line) if len(line) <= MOST_LINE_BYTES else None
    entry = _entry_of(fields, line, offset, times, file)
    place = after(out.latest, entry)
    document = None
    if len(line) <= MOST_LINE_BYTES:
        document = _json_document(file, entry, place, fields) if fields is not None else None
        if document is None:
            document = _document(file, entry, place, _text_fields(line, entry))
    if document is None or len(document) > _MOST_DOCUMENT_BYTES:
        add_pieces(out, file, line, offset, entry)
        return
    out.latest = place
    out.rewritten += 1
    out.ids.append(document_id(file.id_prefix, offset))
    out.documents.append(document)


def _entry_of(fields: dict[str, Any] | None, line: bytes, offset: int, times: Times, file: TailedFile) -> Entry:
    when, level = _json_time(fields, file) if fields is not None else text_time(line, file)
    if when is not None:
        return times.dated(when, line, offset, level)
    entry = times.undated(line, offset)
    return entry._replace(level=level) if fields is not None or level_of(line) else entry


def _own_time(line: bytes, file: TailedFile) -> tuple[tuple[str, int] | None, str]:
    fields = _fields(line) if len(line) <= MOST_LINE_BYTES else None
    return _json_time(fields, file) if fields is not None else text_time(line, file)


def _json_time(fields: dict[str, Any], file: TailedFile) -> tuple[tuple[str, int] | None, str]:
    level = str(named).lower() if isinstance(named := fields.get("level"), str) else "info"
    dates = (time_in(value, file) for key in _TIME_KEYS if isinstance(value := fields.get(key), str))
    return next(filter(None, dates), None), level


def _json_document(file: TailedFile, entry: Entry, place: int, fields: dict[str, Any]) -> bytes | None:
    """The document of a line of JSON; None where it is nested too deep to be written again."""
    own_time = fields.get("timestamp")
    rest = {stored_name(key, value): value for key, value in fields.items() if key not in ("timestamp", "level")}
    if own_time is not None and (not isinstance(own_time, str) or time_in(own_time, file) is None):
        rest["extra.timestamp"] = own_time
    if (own_level := fields.get("level")) is not None and not isinstance(own_level, str):
        rest["extra.level"] = own_level
    try:
        return _document(file, entry, place, {"level": entry.level, **rest})
    except TypeError:
        return None


def _document(file: TailedFile, entry: Entry, place: int, fields: dict[str, Any], part: int | None = None) -> bytes:
    own: dict[str, Any] = {"offset": place, "@timestamp": entry.when, "timestamp": entry.when}
    if part is not None:
        own["log.part"] = part
    return file.stream.prefix + orjson.dumps({**own, **fields})[1:]


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fields(line: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(line if _is_utf8(line) else line.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _text_fields(line: bytes, entry: Entry) -> dict[str, Any]:
    text = ANSI.sub("", line.decode("utf-8", "replace").rstrip("\r"))
    return {"level": entry.level, "event": text}
