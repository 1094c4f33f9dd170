"""Any record as one line of JSON: what JSON cannot say becomes text, and nothing raises."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

import orjson

from observability.contain import text_of

__all__ = ["to_json", "to_line"]

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY
_LINE = _OPTIONS | orjson.OPT_APPEND_NEWLINE
_DEEPEST = 12
_LARGEST_INT = 2**63


def to_json(record: dict[str, Any]) -> bytes:
    """``record`` as a JSON object without newline; at the usual cost of orjson when it holds only what JSON knows."""
    try:
        return orjson.dumps(record, _as_json, _OPTIONS)
    except orjson.JSONEncodeError:
        return orjson.dumps(_plain(record, 0), option=_OPTIONS)


def to_line(record: dict[str, Any]) -> bytes:
    """:func:`to_json` with the newline that ends a line of a file."""
    try:
        return orjson.dumps(record, _as_json, _LINE)
    except orjson.JSONEncodeError:
        return orjson.dumps(_plain(record, 0), option=_LINE)


def _as_json(value: Any) -> Any:
    """A value in place of one that orjson does not know: a set as a list, the rest as text."""
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    return _valid(text_of(value))


def _valid(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any, depth: int) -> Any:
    """``value`` as something that certainly becomes JSON: bounded in depth, valid Unicode, 64-bit numbers."""
    if value is None or isinstance(value, bool) or (type(value) is datetime and value.tzinfo is timezone.utc):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is int and -_LARGEST_INT <= value < _LARGEST_INT:
        return value
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        return _collection(value, depth + 1) if depth < _DEEPEST else f"<{type(value).__name__} too deep to be shown>"
    return _as_json(value)


def _collection(value: Any, depth: int) -> Any:
    items = list(value.items()) if isinstance(value, dict) else list(value)
    if isinstance(value, dict):
        return {_valid(text_of(key)): _plain(item, depth) for key, item in items}
    return [_plain(item, depth) for item in items]
