"""Protobuf as OTLP needs it: attributes and values as bytes, without an object for each.

The generated classes cost four times as much per log record (docs/decisions/0015-otlp-encoder.md); tests compare
what is written here with what they read.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VARINTS", "attribute", "attributes", "delimited", "key_of", "value", "varint"]

_SHORT = 16_384
_MIDDLING = 2_097_152
"""Numbers below it are two bytes, and three."""
_INT64: Final = 2**63
_UINT64: Final = 2**64 - 1
_DEEPEST = 32
"""A value nested deeper than this is written as text: receivers give up at 100 nested messages, three a level."""
_pack_double = struct.Struct("<Bd").pack


def varint(number: int) -> bytes:
    """A number of up to 64 bits as protobuf writes it."""
    if 0 <= number < _SHORT:
        return VARINTS[number]
    if 0 <= number < _MIDDLING:
        return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    return _varint(number & _UINT64)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


VARINTS: Final = tuple(_varint(number) for number in range(_SHORT))
"""The varints of small numbers; nearly all lengths are among them."""


def delimited(tag: bytes, content: bytes) -> bytes:
    """A field of bytes, text or a message, with its length."""
    return b"".join((tag, varint(len(content)), content))


def key_of(name: str) -> bytes:
    """The ``key`` of a KeyValue."""
    return delimited(b"\x0a", name.encode("utf-8", "replace"))


def attributes(tag: bytes, fields: Mapping[str, Any]) -> bytes:
    """Every field as a KeyValue behind ``tag``; without those that are None."""
    return b"".join(attribute(tag, name, content) for name, content in fields.items() if content is not None)


def attribute(tag: bytes, name: str, content: Any) -> bytes:
    """A KeyValue behind ``tag``."""
    return delimited(tag, key_of(name) + delimited(b"\x12", value(content)))


def value(content: Any, depth: int = 0) -> bytes:  # noqa: PLR0911 - one for each kind of JSON
    """A JSON value as AnyValue; a whole number that does not fit into 64 bits is a text, so that no digit is lost."""
    kind = content.__class__
    if kind is str:
        return delimited(b"\x0a", content.encode("utf-8", "replace"))
    if kind is bool:
        return b"\x10\x01" if content else b"\x10\x00"
    if kind is int:
        if -_INT64 <= content < _INT64:
            return b"\x18" + varint(content)
        return delimited(b"\x0a", b"%d" % content)
    if kind is float:
        return _pack_double(0x21, content)
    if content is None:
        return b""
    if depth >= _DEEPEST:
        return delimited(b"\x0a", str(content).encode("utf-8", "replace"))
    if kind is dict:
        return delimited(b"\x32", b"".join(_member(name, inner, depth) for name, inner in content.items()))
    return delimited(b"\x2a", b"".join(delimited(b"\x0a", value(inner, depth + 1)) for inner in content))


def _member(name: Any, content: Any, depth: int) -> bytes:
    return delimited(b"\x0a", key_of(str(name)) + delimited(b"\x12", value(content, depth + 1)))
