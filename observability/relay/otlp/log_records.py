"""Documents of logs and events as LogRecords, encoded.

A record's time is the line's ``offset``: its time in ns, and more than that of the line above it, so that receivers
that sort by time keep the order of the file. ``log.record.uid`` is the document's id, the same on every resend.
"""

from __future__ import annotations

import re
import struct
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from observability.relay.otlp import ids
from observability.relay.otlp.line_form import ATTRIBUTE, HEAD_BYTES, UID, LineForm, text_behind
from observability.relay.otlp.line_shapes import LineShapes
from observability.relay.otlp.wire import VARINTS, delimited, value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from observability.relay.otlp.attributes import Attributes
    from observability.relay.sinks.sink import Batch

__all__ = ["SEVERITIES", "LogRecords"]

SEVERITIES = {
    "trace": 1,
    "debug": 5,
    "info": 9,
    "warning": 13,
    "warn": 13,
    "error": 17,
    "exception": 17,
    "critical": 21,
}
_PLACES = ("@timestamp", "timestamp", "trace.id", "log_id", "message", "log.level", "event.kind", "event.sequence")
"""Fields whose meaning stands elsewhere in the record."""
_PLACED = frozenset({"offset", "level", "event", "event.action", *_PLACES})
"""Fields that a line read by its shape may have nowhere but where :func:`splice` puts them."""
_REMEMBERED_MOST = 1024
_MANY = 64
"""Lines of one batch from which on it is worth while to look for their shapes."""
_time = struct.Struct("<BQ").pack
_LATEST = 2**64 - 1
_OPENING = re.compile(rb'"level":"([a-z]{1,20})","event":"')


class _File(NamedTuple):
    """The part of a record that all lines of a file have; ``trace`` is for those that name none."""

    common: bytes
    span: bytes
    trace: bytes


class LogRecords:
    """Encodes documents; ``trace_of`` gives the trace of a run by its fields, b"" where it is not known."""

    def __init__(self, encoder: Attributes, trace_of: Callable[[Mapping[str, Any]], bytes]) -> None:
        self._attributes = encoder
        self._trace_of = trace_of
        self._levels: dict[str, bytes] = {}
        self._prefixes: dict[bytes, tuple[bytes, bytes, dict[str, Any]]] = {}

    def encode(self, batch: Batch, refused: dict[bytes, str]) -> list[bytes]:
        """One record for each document of ``batch``; b"" for one that is not JSON, and the reason in ``refused``."""
        common, span, about = self._common(batch.prefix)
        file = _File(common, span, self._trace_of(about) if span else b"")
        if batch.prefix and len(batch.ids) >= _MANY:
            return self._by_form(batch, file, refused)
        return [
            self._one(key, document, batch.prefix, file, refused)
            for key, document in zip(batch.ids, batch.documents, strict=True)
        ]

    def _by_form(self, batch: Batch, file: _File, refused: dict[bytes, str]) -> list[bytes]:
        """The records of many lines of a file; a line of no known form is read as a whole."""
        out: list[bytes] = []
        shapes = LineShapes(lambda fields: self._shape_of(fields, file), _PLACED)
        pairs = zip(batch.ids, batch.documents, strict=True)
        left = next(pairs, None)
        while left is not None:
            form = self._form(shapes, *left, batch.prefix)
            after = form.take(chain((left,), pairs), out) if form else left
            if after is left:
                out.append(self._one(*left, batch.prefix, file, refused))
                after = next(pairs, None)
            left = after
        return out

    def _form(self, shapes: LineShapes, key: bytes, document: bytes, prefix: bytes) -> LineForm | None:
        """The form of lines like this one; None where their shape is not known yet."""
        match = _OPENING.match(document, len(prefix) + HEAD_BYTES) if document.startswith(prefix) else None
        quote = text_behind(document, match.end())[1] if match else -1
        if match is None or quote < 0:
            return None
        shape = shapes.of(document, quote + 1)
        if shape is None:
            shapes.learn(document[quote + 1 : -1])
            return None
        level = self._level(match[1].decode())
        return LineForm(self._attributes, prefix, match[0], level, len(key), shape)

    def _shape_of(self, fields: dict[str, Any], file: _File) -> bytes | None:
        """The attributes and the trace of lines that say ``fields``; None where one of them is no attribute."""
        own_trace = ids.trace_in(fields)
        own = {name: content for name, content in fields.items() if name != "trace.id"}
        if not _PLACED.isdisjoint(own):
            return None
        return file.common + self._attributes.encode(ATTRIBUTE, own) + _context(own_trace or file.trace, file.span)

    def _one(self, key: bytes, document: bytes, prefix: bytes, file: _File, refused: dict[bytes, str]) -> bytes:
        """The record of one document, read as a whole."""
        is_spliced = prefix and document.startswith(prefix)
        try:
            fields = orjson.loads(b"{" + document[len(prefix) :] if is_spliced else document)
        except orjson.JSONDecodeError as error:
            refused[key] = f"not JSON: {error}"
            return b""
        if is_spliced:
            return self._record(key, fields, file.common, _context(ids.trace_in(fields) or file.trace, file.span))
        trace = ids.trace_in(fields) or (self._trace_of(fields) if "airflow.run_id" in fields else b"")
        return self._record(key, fields, b"", _context(trace, ids.attempt_span(fields) or b""))

    def _common(self, prefix: bytes) -> tuple[bytes, bytes, dict[str, Any]]:
        """The attributes that all lines of a file have, the span that they belong to, and what they are about."""
        if not prefix:
            return b"", b"", {}
        found = self._prefixes.get(prefix)
        if found is None:
            fields = orjson.loads(prefix.rstrip(b",") + b"}")
            own = {name: one for name, one in fields.items() if name not in _PLACES}
            found = self._attributes.encode(ATTRIBUTE, own), ids.attempt_span(fields) or b"", fields
            if len(self._prefixes) >= _REMEMBERED_MOST:
                self._prefixes.clear()
            self._prefixes[prefix] = found
        return found

    def _record(self, key: bytes, fields: dict[str, Any], common: bytes, context: bytes) -> bytes:
        """One record, with its tag and length."""
        when = fields.pop("offset", None)
        if when.__class__ is not int or not 0 <= when <= _LATEST:
            when = ids.nanoseconds_of(fields.get("@timestamp"))
        level, text, name = fields.pop("level", None), fields.pop("event", None), b""
        if text is None:  # an event of ours, which has ECS's words
            level, text = level or fields.get("log.level"), fields.get("message")
            if (action := fields.get("event.action")) is not None:
                name = delimited(b"\x62", str(action).encode("utf-8", "replace"))
            fields.pop("event.id", None)
        for place in _PLACES:
            fields.pop(place, None)
        body = delimited(b"\x2a", value(text)) if text is not None else b""
        uid = delimited(ATTRIBUTE, UID + delimited(b"\x12", delimited(b"\x0a", key)))
        rest = self._attributes.encode(ATTRIBUTE, fields)
        return delimited(
            b"\x12", b"".join((_time(9, when), self._level(level), body, common, uid, rest, context, name))
        )

    def _level(self, level: Any) -> bytes:
        if level is None:
            return b""
        word = str(level)
        found = self._levels.get(word)
        if found is None:
            number = SEVERITIES.get(word.lower(), 0)
            found = (b"\x10" + VARINTS[number] if number else b"") + delimited(b"\x1a", word.encode("utf-8", "replace"))
            if len(self._levels) < _REMEMBERED_MOST:
                self._levels[word] = found
        return found


def _context(trace: bytes, span: bytes) -> bytes:
    """Trace and span of a record; a span without its trace is not said."""
    if not trace:
        return b""
    return b"\x4a\x10" + trace + (b"\x52\x08" + span if span else b"")
