"""Log lines become documents: the file's prefix, the line's place and its time, then the line as it stands.

A line as Airflow writes it (``{"timestamp":"2026-01-31T12:00:00.000000Z",…}``) is not parsed. Any other
line, and one that already holds a key of ours, is made into a document by :func:`rewrite`: JSON keeps its
keys (ours are renamed ``extra.<key>``), anything else becomes the text of ``event``. A line longer than
``MOST_LINE_BYTES`` becomes several documents, ``log.part`` 0, 1, …; their texts joined are the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import orjson

from observability.relay.steps.identify import document_id

if TYPE_CHECKING:
    from observability.relay.sources.file import TailedFile

__all__ = ["MOST_LINE_BYTES", "Spliced", "origin_of", "repair", "rewrite", "splice"]

MOST_LINE_BYTES = 1_048_576
"""A longer line is split; half of it is the least that a bulk request of a small server takes."""

_START = b'{"timestamp":"'
_TIMESTAMP_END = 42
"""Where ``{"timestamp":"2026-01-31T12:00:00.000000Z"`` ends."""
_OURS = re.compile(
    rb',"(?:offset|@timestamp|log_id|airflow\.[a-z_]+|host\.name|service\.(?:name|environment)|log\.(?:file\.path|part))":'
)
_RESERVED = {
    "offset",
    "@timestamp",
    "log_id",
    "host.name",
    "service.name",
    "service.environment",
    "log.file.path",
    "log.part",
}
_TIME = re.compile(r"\[?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?\d*(Z|[+-]\d\d:?\d\d)?")
_LEVEL = re.compile(
    r"\[(debug|info|warning|error|critical) *\]"
    r"|[} ](DEBUG|INFO|WARNING|ERROR|CRITICAL) - |\b(DEBUG|INFO|WARNING|ERROR|CRITICAL):"
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(slots=True)
class Spliced:
    """Documents of a stretch of one file and their ids; ``rewritten`` took the slow path, ``split`` were too long."""

    ids: list[bytes] = field(default_factory=list)
    documents: list[bytes] = field(default_factory=list)
    rewritten: int = 0
    split: int = 0


def splice(file: TailedFile, chunk: bytes, offset: int) -> Spliced:
    """The documents of ``chunk``, whole lines that begin at byte ``offset`` of ``file``."""
    out = Spliced()
    prefix = file.stream.prefix
    identity, here, origin = b"%b-%%d" % (file.ids or file.identity).encode(), offset, file.origin_ns
    body = prefix.replace(b"%", b"%%") + b'"offset":%d,"@timestamp":%b,%b'
    guard = _OURS.search if _OURS.search(chunk) else None
    text = chunk if chunk.isascii() else None
    add_id, add_document = out.ids.append, out.documents.append
    for line in chunk.split(b"\n"):
        if (
            line[:14] == _START
            and line[40:43] == b'Z",'
            and line[-1] == 125  # noqa: PLR2004 - a closing brace
            and len(line) <= MOST_LINE_BYTES
            and (guard is None or not guard(line))
            and (text is not None or _is_utf8(line))
        ):
            add_id(identity % here)
            add_document(body % (origin + here, line[13:_TIMESTAMP_END], line[1:]))
        elif line and not line.isspace():
            _slow(out, file, line, here)
        here += len(line) + 1
    return out


def rewrite(file: TailedFile, line: bytes, offset: int, part: int | None = None) -> bytes:
    """The document of a line that cannot be spliced."""
    fields = _fields(line) if part is None else None
    if fields is None:
        fields = _text_fields(line, file)
    when = _when(fields, file)
    level = fields.get("level")
    own: dict[str, Any] = {"offset": file.origin_ns + offset, "@timestamp": when, "timestamp": when}
    if part is not None:
        own["log.part"] = part
    rest = {_free(key): value for key, value in fields.items() if key not in ("timestamp", "level")}
    own["level"] = level.lower() if isinstance(level, str) else "info"
    return file.stream.prefix + orjson.dumps({**own, **rest}, option=orjson.OPT_NON_STR_KEYS)[1:]


def repair(document: bytes, prefix: bytes) -> bytes | None:
    """A spliced document that is no JSON (a torn line) as one whose ``event`` is the line; None where it is sound."""
    try:
        orjson.loads(document)
        return None
    except orjson.JSONDecodeError:
        pass
    match = re.match(rb'"offset":(\d+),"@timestamp":("[^"]{27}"),', document[len(prefix) :])
    if match is None:
        return None
    line = b"{" + document[len(prefix) + match.end() :]
    fields = {"level": "info", "event": line.decode("utf-8", "replace")}
    return prefix + match[0] + b'"timestamp":' + match[2] + b"," + orjson.dumps(fields)[1:]


def origin_of(line: bytes) -> int:
    """Time of a file's first line in ns, 0 where it has none."""
    match = _TIME.search(line[: _TIMESTAMP_END + 8].decode("utf-8", "replace"))
    if match is None:
        return 0
    when = datetime.fromisoformat(_iso(match).replace("Z", "+00:00"))
    return (int(when.timestamp()) * 1_000_000 + when.microsecond) * 1000


def _slow(out: Spliced, file: TailedFile, line: bytes, offset: int) -> None:
    out.rewritten += 1
    if len(line) <= MOST_LINE_BYTES:
        out.ids.append(document_id(file.ids or file.identity, offset))
        out.documents.append(rewrite(file, line, offset))
        return
    out.split += 1
    start = part = 0
    while start < len(line):
        end = whole_end(line, start + MOST_LINE_BYTES)
        add_part(out, file, line[start:end], offset + start, part)
        start, part = end, part + 1


def add_part(out: Spliced, file: TailedFile, piece: bytes, offset: int, part: int) -> None:
    """Add one piece of a line that is too long for one document."""
    out.ids.append(document_id(file.ids or file.identity, offset))
    out.documents.append(rewrite(file, piece, offset, part))


def whole_end(line: bytes, end: int) -> int:
    """The last offset up to ``end`` that does not cut a UTF-8 character."""
    if end >= len(line):
        return len(line)
    for back in range(4):
        if line[end - back] & 0xC0 != 0x80:  # noqa: PLR2004 - no continuation byte
            return end - back
    return end


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


def _text_fields(line: bytes, file: TailedFile) -> dict[str, Any]:
    text = _ANSI.sub("", line.decode("utf-8", "replace").rstrip("\r"))
    head = text[:200]
    found = _TIME.search(head)
    level = _LEVEL.search(head)
    when = _iso(found) if found else _mtime(file)
    return {"timestamp": when, "level": next(filter(None, level.groups())) if level else "info", "event": text}


def _when(fields: dict[str, Any], file: TailedFile) -> str:
    for key in ("timestamp", "@timestamp", "time", "ts"):
        match = _TIME.match(value) if isinstance(value := fields.get(key), str) else None
        if match:
            return _iso(match)
    return _mtime(file)


def _iso(match: re.Match[str]) -> str:
    day, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone in (None, "Z") else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        when = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0'):0<6}{zone}")
    except ValueError:
        return "1970-01-01T00:00:00.000000Z"
    return _utc(when)


def _mtime(file: TailedFile) -> str:
    return _utc(datetime.fromtimestamp(file.changed, timezone.utc))


def _utc(when: datetime) -> str:
    return when.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _free(key: str) -> str:
    return f"extra.{key}" if key in _RESERVED or key.startswith("airflow.") else key
