"""A record by the form of its line: what the line before had is compared as bytes, and only the rest is encoded."""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from typing import TYPE_CHECKING

import orjson

from observability.relay.otlp.wire import key_of, varint

if TYPE_CHECKING:
    from observability.relay.otlp.attributes import Attributes
    from observability.relay.otlp.line_shapes import Shape

__all__ = ["ATTRIBUTE", "HEAD_BYTES", "UID", "LineForm", "text_behind"]

ATTRIBUTE = b"\x32"
"""``attributes`` of a LogRecord."""
UID = key_of("log.record.uid")
HEAD_BYTES = 114
"""The bytes of ``"offset":…,"@timestamp":"…","timestamp":"…",`` before the level, as :func:`splice` writes them."""
_OFFSET, _OFFSET_BYTES = len(b'"offset":'), 19
_TEXT = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*"')
_COMMA = 44
_TIME_BYTES = 9
_time = struct.Struct("<BQ").pack


class LineForm:
    """Lines of one file that begin with ``prefix`` and ``opening``, have ids of one length, and are of one shape.

    ``opening`` are the members before the text, ``level`` is the level in it, encoded.
    """

    __slots__ = (
        "_attributes", "_common", "_cut", "_end", "_head", "_id_size", "_least", "_level_at", "_names", "_offset_at",
        "_opening", "_prefix", "_skip", "_text_at",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913, PLR0917 - what lines of a form have in common
        self, attributes: Attributes, prefix: bytes, opening: bytes, level: bytes, id_size: int, shape: Shape
    ) -> None:
        self._attributes = attributes
        self._prefix, self._opening, self._id_size = prefix, opening, id_size
        self._head, self._end, self._names = shape.head, shape.end, shape.names
        self._skip, self._cut = 1 + len(shape.head), len(shape.end)
        self._offset_at = len(prefix) + _OFFSET
        self._level_at = len(prefix) + HEAD_BYTES
        self._text_at = self._level_at + len(opening)
        self._common = level + shape.encoded + _before_id(id_size)
        self._least = len(self._common) + id_size + _TIME_BYTES

    def record(self, key: bytes, document: bytes) -> bytes | None:
        """The record of a document, with its tag and length; None for one of another form."""
        if not document.startswith(self._opening, self._level_at) or len(key) != self._id_size:
            return None
        text_at = self._text_at
        quote = document.find(b'"', text_at)
        text = document[text_at:quote]
        if b"\\" in text:
            text, quote = text_behind(document, text_at)
        start, stop = quote + self._skip, len(document) - self._cut
        if (
            start > stop
            or not document.startswith(self._head, quote + 1)
            or not document.endswith(self._end)
            or not document.startswith(self._prefix)
        ):
            return None
        more = b""
        if start < stop:
            if document[start] != _COMMA:  # the last number of the head goes on
                return None
            try:
                fields = orjson.loads(b"{%b}" % document[start + 1 : stop])
            except orjson.JSONDecodeError:
                return None
            if not self._names.isdisjoint(fields):
                return None
            more = self._attributes.encode(ATTRIBUTE, fields)
        size, at = len(text), self._offset_at
        before, when = _before_text(size), int(document[at : at + _OFFSET_BYTES])
        whole = varint(self._least + len(before) + size + len(more))
        return b"".join((b"\x12", whole, self._common, key, _time(9, when), before, text, more))


def text_behind(document: bytes, start: int) -> tuple[bytes, int]:
    """The text of JSON that begins at byte ``start``, behind its quote, and where its other quote is; -1 for none."""
    match = _TEXT.match(document, start)
    if match is None:
        return b"", -1
    try:
        return orjson.loads(document[start - 1 : match.end()]).encode("utf-8", "replace"), match.end() - 1
    except orjson.JSONDecodeError:
        return b"", -1


@lru_cache(maxsize=1024)
def _before_text(size: int) -> bytes:
    """The bytes before a text of so many bytes that is the body of a record."""
    inner = b"\x0a" + varint(size)
    return b"\x2a" + varint(len(inner) + size) + inner


@lru_cache(maxsize=64)
def _before_id(size: int) -> bytes:
    """The bytes before an id of so many bytes, as an attribute."""
    inner = b"\x0a" + varint(size)
    member = UID + b"\x12" + varint(len(inner) + size) + inner
    return ATTRIBUTE + varint(len(member) + size) + member
