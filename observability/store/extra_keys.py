"""Keys of log lines that get no field of their own, kept whole and searchable in one flattened field.

``airflow.extra`` is ``{key: value}``. A key that no flattened field can have (blank, too long, with a NUL or a dot at
its end) stands there as ``odd_<hash>: {"key": …, "value": …}``. :func:`unpack` gives all of them back.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any

import orjson

__all__ = ["EXTRA", "pack", "unpack"]

EXTRA = "airflow.extra"
_PLAIN = re.compile(r"[^\s\0.](?:[^\0]{0,253}[^\s\0.])?")
_ODD = re.compile(r"odd_[0-9a-f]{16}")
_DEEPEST = 12


def pack(keys: dict[str, Any]) -> dict[str, Any]:
    """The content of the flattened field for these keys."""
    return _packed(keys, 0)


def unpack(document: dict[str, Any]) -> dict[str, Any]:
    """A stored document with the keys that :func:`pack` took out of it."""
    extra = document.get(EXTRA)
    if not isinstance(extra, dict):
        return document
    own = {name: value for name, value in document.items() if name != EXTRA}
    return own | {name: value for name, value in _unpacked(extra).items() if name not in own}


def _packed(keys: dict[str, Any], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in keys.items():
        kept = _value(value, depth + 1)
        if _PLAIN.fullmatch(key) and ".." not in key and not _ODD.fullmatch(key):
            found[key] = kept
        else:
            name = f"odd_{blake2b(key.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"
            found[name] = {"key": key, "value": kept}
    return found


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, (dict, list)) and depth > _DEEPEST:
        try:
            return orjson.dumps(value).decode()
        except TypeError:
            return "<nested too deep to be kept>"
    if isinstance(value, dict):
        return _packed(value, depth)
    if isinstance(value, list):
        return [_value(item, depth + 1) for item in value]
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    if not isinstance(value, dict):
        return value
    return dict(
        (item["key"], _unpacked(item["value"])) if _ODD.fullmatch(name) else (name, _unpacked(item))
        for name, item in value.items()
    )
