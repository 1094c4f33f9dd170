"""Documents of logs and events as LogRecords, encoded.

A record's time is the line's ``offset``: its time in ns, and more than that of the line above it, so that receivers
that sort by time keep the order of the file. ``log.record.uid`` is the document's id, the same on every resend.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import orjson

from observability.relay.otlp import ids
from observability.relay.otlp.wire import VARINTS, attributes, delimited, key_of, value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from observability.relay.sinks.sink import Batch

__all__ = ["NAMES", "OF_RESOURCE", "SEVERITIES", "LogRecords"]

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
NAMES = {
    "error.type": "exception.type",
    "error.message": "exception.message",
    "error.stack_trace": "exception.stacktrace",
    "logger": "log.logger",
}
"""Fields that OpenTelemetry's semantic conventions call otherwise; ``log.logger`` is ECS's name."""
OF_RESOURCE = frozenset({"host.name", "service.environment", "service.name"})
"""Fields that a resource holds; one that says otherwise than the resource stays with the record."""
_PLACES = ("@timestamp", "timestamp", "trace.id", "log_id", "message", "log.level", "event.kind", "event.sequence")
"""Fields whose meaning stands elsewhere in the record."""
_REMEMBERED_MOST = 1024
_PAIRS_MOST = 4096
_SHORT = 100
"""The characters of a value that is remembered with its name: those of ids and file names, not of texts."""
_TAG = b"\x32"
"""``attributes`` of a LogRecord."""
_UID = key_of("log.record.uid")
_time = struct.Struct("<BQ").pack
_LATEST = 2**64 - 1


class LogRecords:
    """Encodes documents; ``trace_of`` gives the trace of a run by its fields, b"" where it is not known."""

    def __init__(self, resource: Mapping[str, str], trace_of: Callable[[Mapping[str, Any]], bytes]) -> None:
        self._resource = resource
        self._trace_of = trace_of
        self._keys: dict[str, bytes] = {}
        self._pairs: dict[tuple[str, type, str | int], bytes] = {}
        self._levels: dict[str, bytes] = {}
        self._prefixes: dict[bytes, tuple[bytes, bytes, dict[str, Any]]] = {}

    def encode(self, batch: Batch) -> list[bytes | str]:
        """One record for each document of ``batch``; the reason as text for one that is not JSON."""
        out: list[bytes | str] = []
        common, span, about = self._common(batch.prefix)
        trace = self._trace_of(about) if span else b""
        cut = len(batch.prefix)
        for key, document in zip(batch.ids, batch.documents, strict=True):
            is_spliced = cut and document.startswith(batch.prefix)
            try:
                fields = orjson.loads(b"{" + document[cut:] if is_spliced else document)
            except orjson.JSONDecodeError as error:
                out.append(f"not JSON: {error}")
                continue
            if is_spliced:
                out.append(self._record(key, fields, common, ids.trace_in(fields) or trace, span))
            else:
                own = ids.attempt_span(fields) or b""
                own_trace = ids.trace_in(fields) or (self._trace_of(fields) if "airflow.run_id" in fields else b"")
                out.append(self._record(key, fields, b"", own_trace, own))
        return out

    def _common(self, prefix: bytes) -> tuple[bytes, bytes, dict[str, Any]]:
        """The attributes that all lines of a file have, the span that they belong to, and what they are about."""
        if not prefix:
            return b"", b"", {}
        found = self._prefixes.get(prefix)
        if found is None:
            fields = orjson.loads(prefix.rstrip(b",") + b"}")
            told = {name: one for name, one in fields.items() if name not in _PLACES and not self._is_told(name, one)}
            found = attributes(_TAG, told), ids.attempt_span(fields) or b"", fields
            if len(self._prefixes) >= _REMEMBERED_MOST:
                self._prefixes.clear()
            self._prefixes[prefix] = found
        return found

    def _record(self, key: bytes, fields: dict[str, Any], common: bytes, trace: bytes, span: bytes) -> bytes:
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
        parts = [_time(9, when), self._level(level)]
        if text is not None:
            parts.append(delimited(b"\x2a", value(text)))
        parts += (common, delimited(_TAG, _UID + delimited(b"\x12", delimited(b"\x0a", key))))
        self._add_rest(parts, fields)
        if trace:
            parts += (b"\x4a\x10", trace, b"\x52\x08" if span else b"", span)
        parts.append(name)
        return delimited(b"\x12", b"".join(parts))

    def _add_rest(self, parts: list[bytes], fields: dict[str, Any]) -> None:
        """Add what a record says beside its text, as attributes; most of it is what the line before said."""
        pairs = self._pairs
        for name, content in fields.items():
            kind = content.__class__
            if kind is str or kind is int:
                found = pairs.get((name, kind, content))
                if found is None:
                    found = self._pair(name, content)
                    if kind is int or len(content) <= _SHORT:
                        if len(pairs) >= _PAIRS_MOST:
                            pairs.clear()
                        pairs[name, kind, content] = found
                parts.append(found)
            elif content is not None:
                parts.append(self._pair(name, content))

    def _pair(self, name: str, content: Any) -> bytes:
        """One attribute; nothing for what the resource says."""
        if name in OF_RESOURCE and self._is_told(name, content):
            return b""
        key = self._keys.get(name)
        if key is None:
            key = key_of(NAMES.get(name, name))
            if len(self._keys) < _REMEMBERED_MOST:
                self._keys[name] = key
        return delimited(_TAG, key + delimited(b"\x12", value(content)))

    def _is_told(self, name: str, content: Any) -> bool:
        """True for a field that the resource holds with this very value."""
        return self._resource.get(name) == content if name in OF_RESOURCE else False

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
