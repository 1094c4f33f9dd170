"""A record by the form of its line: what the line before had is compared as bytes, and only the rest is encoded."""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from observability.relay.otlp.wire import VARINTS, key_of, varint

if TYPE_CHECKING:
    from collections.abc import Iterable

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
_BACKSLASH = 92
_NO_COUNTER = b"\n"
"""No line begins so."""
_DIGITS_MOST = 18
"""A number of so many digits fits into 64 bits."""
_TEXTS = 1024
_VARINTS = len(VARINTS)
_TIME_BYTES = 9
_time = struct.Struct("<BQ").pack


class LineForm:
    """Lines of one file that begin with ``prefix`` and ``opening``, have ids of one length, and are of one shape.

    ``opening`` are the members before the text, ``level`` is the level in it, encoded.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what lines of a form have in common
        self, attributes: Attributes, prefix: bytes, opening: bytes, level: bytes, id_size: int, shape: Shape
    ) -> None:
        self._attributes = attributes
        self._prefix, self._opening, self._id_size, self._shape = prefix, opening, id_size, shape
        self._common = level + shape.encoded + _before_id(id_size)
        self._counter, self._before_count = _NO_COUNTER, [b""]

    def take(self, pairs: Iterable[tuple[bytes, bytes]], out: list[bytes]) -> tuple[bytes, bytes] | None:
        """Add the records of ``pairs`` (id and document), with tag and length, up to the first of another form.

        Answers that one, None where there is none. Most lines go through here without another call of a function of
        ours, which would cost more than what it does; and a slice is compared in half the time of ``startswith``.
        """
        prefix, opening, id_size, common = self._prefix, self._opening, self._id_size, self._common
        head, end = self._shape.head, self._shape.end
        level_at = len(prefix) + HEAD_BYTES
        text_at, when_at, skip, cut = level_at + len(opening), len(prefix) + _OFFSET, 1 + len(head), len(end)
        when_ends, least = when_at + _OFFSET_BYTES, len(common) + id_size + _TIME_BYTES
        for pair in pairs:
            key, document = pair
            if len(key) != id_size or document[level_at:text_at] != opening:
                return pair
            quote = document.find(b'"', text_at)
            text = document[text_at:quote]
            if _BACKSLASH in text:
                text, quote = text_behind(document, text_at)
            own_at = quote + skip
            if document[quote + 1 : own_at] != head or document[-cut:] != end or not document.startswith(prefix):
                return pair
            own = document[own_at:-cut]
            counted = own[len(self._counter) :]
            if own.startswith(self._counter) and counted.isdigit() and counted >= b"1" and len(counted) <= _DIGITS_MOST:
                number = varint(int(counted))  # no zero stands before its other digits
                own = self._before_count[len(number)] + number
            elif own or own_at + cut != len(document):
                encoded = self._encoded(own)
                if encoded is None:
                    return pair
                own = encoded
            size = len(text)
            before = _BEFORE_TEXT[size] if size < _TEXTS else _before_text(size)
            size += least + len(before) + len(own)
            whole = VARINTS[size] if size < _VARINTS else varint(size)
            when = _time(9, int(document[when_at:when_ends]))
            out.append(b"".join((b"\x12", whole, common, key, when, before, text, own)))
        return None

    def _encoded(self, members: bytes) -> bytes | None:
        """The attributes of members that only this line has, ``,"name":value…``; None where they cannot be read."""
        if members[:1] != b",":  # the last number of the head goes on
            return None
        try:
            fields = orjson.loads(b"{%b}" % members[1:])
        except orjson.JSONDecodeError:
            return None
        if not self._shape.names.isdisjoint(fields):
            return None
        if len(fields) == 1:
            self._count_on(members, *fields.items())
        return self._attributes.encode(ATTRIBUTE, fields)

    def _count_on(self, members: bytes, field: tuple[str, Any]) -> None:
        """Remember what stands before the only number of a line: most lines that follow differ in that alone."""
        name, number = field
        if number.__class__ is int and members.endswith(digits := b"%d" % number):
            self._counter = members[: -len(digits)]
            self._before_count = [ATTRIBUTE + self._attributes.before_number(name, size) for size in range(11)]


def text_behind(document: bytes, start: int) -> tuple[bytes, int]:
    """The text of JSON that begins at byte ``start``, behind its quote, and where its other quote is; -1 for none."""
    match = _TEXT.match(document, start)
    if match is None:
        return b"", -1
    try:
        return orjson.loads(document[start - 1 : match.end()]).encode("utf-8", "replace"), match.end() - 1
    except orjson.JSONDecodeError:
        return b"", -1


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


_BEFORE_TEXT: Final = tuple(map(_before_text, range(_TEXTS)))
