"""Fields as attributes, by the names that OpenTelemetry has for them; what came before is not encoded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability.relay.otlp.wire import delimited, key_of, value, varint

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAMES", "OF_RESOURCE", "Attributes"]

NAMES = {
    "error.type": "exception.type",
    "error.message": "exception.message",
    "error.stack_trace": "exception.stacktrace",
    "logger": "log.logger",
}
"""Fields that OpenTelemetry's semantic conventions call otherwise; ``log.logger`` is ECS's name."""
OF_RESOURCE = frozenset({"host.name", "service.environment", "service.name"})
"""Fields that a resource holds; one that says otherwise than the resource stays with the record."""
_KEYS_MOST = 1024
_TEXTS_MOST = 4096
_INT64_MOST = 2**63 - 1
_NOT_MAPPED = -1
_SHORT = 100
"""The characters of a value that is remembered with its name: those of ids and file names, not of texts."""


class Attributes:
    """Encodes attributes for a resource that holds the fields ``resource`` already."""

    def __init__(self, resource: Mapping[str, str]) -> None:
        self._resource = resource
        self._keys: dict[str, bytes] = {}
        self._texts: dict[tuple[str, str | int], bytes] = {}
        self._numbers: dict[tuple[str, int], bytes] = {}

    def encode(self, tag: bytes, fields: Mapping[str, Any]) -> bytes:
        """Every field as a KeyValue behind ``tag``, but those that are None or that the resource holds."""
        texts = self._texts
        found: list[bytes] = []
        for name, content in fields.items():
            kind = content.__class__
            if kind is str:
                one = texts.get((name, content))
                if one is None:
                    one = self._text(name, content)
                if one:
                    found += (tag, one)
            elif kind is int and 0 <= content <= _INT64_MOST:
                number = varint(content)
                size = len(number)
                found += (tag, self._numbers.get((name, size)) or self.before_number(name, size), number)
            elif kind is int and content == _NOT_MAPPED:
                found += (tag, texts.get((name, content)) or self._not_mapped(name))
            elif content is not None:
                found += (tag, self._any(name, content))
        return b"".join(found)

    def _text(self, name: str, content: str) -> bytes:
        """A text as KeyValue with its length; nothing for what the resource says."""
        if name in OF_RESOURCE and self._resource.get(name) == content:
            return b""
        made = self._any(name, content)
        if len(content) <= _SHORT:
            if len(self._texts) >= _TEXTS_MOST:
                self._texts.clear()
            self._texts[name, content] = made
        return made

    def _not_mapped(self, name: str) -> bytes:
        """The index of a task that is not mapped, which most spans and records have."""
        made = self._texts[name, _NOT_MAPPED] = self._any(name, _NOT_MAPPED)
        return made

    def _any(self, name: str, content: Any) -> bytes:
        """Any value as KeyValue with its length."""
        return delimited(b"", self._key(name) + delimited(b"\x12", value(content)))

    def before_number(self, name: str, size: int) -> bytes:
        """The part of a KeyValue, with its length, before a number that takes ``size`` bytes."""
        key = self._key(name)
        made = varint(len(key) + 3 + size) + key + b"\x12" + varint(1 + size) + b"\x18"
        if len(self._numbers) < _KEYS_MOST:
            self._numbers[name, size] = made
        return made

    def _key(self, name: str) -> bytes:
        key = self._keys.get(name)
        if key is None:
            key = key_of(NAMES.get(name, name))
            if len(self._keys) < _KEYS_MOST:
                self._keys[name] = key
        return key
