"""A budget of fields for users' keys: a key beyond it travels in one flattened field and costs no field of its own.

Each new field is a change of the cluster's state, made while the document waits: thousands of distinct keys would
hold a sink up for minutes. Keys that cannot be fields at all (``_id``, blank, very long) travel there from the first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from observability import catalog
from observability.relay.steps.own_keys import ADDED
from observability.store.elasticsearch_templates import ALIASES
from observability.store.extra_keys import EXTRA, pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["KeyBudget"]

_STRUCTURED = frozenset({"error_detail"})
"""Fields that are flattened already."""
_AIRFLOWS = frozenset(
    {"dag_id", "task_id", "run_id", "try_number", "map_index", "ti_id", "filename", "lineno", "loc", "logger"}
)
_FIELD = re.compile(r"[^\W_][\w@/-]{0,99}(?:\.[^\W_][\w@/-]{0,99}){0,7}")
_MOST_CHANGES = 32
"""So many documents of one batch may bring new fields: each of them waits for a change of the cluster's state."""


class KeyBudget:
    """The keys of log lines that are fields of their own; ``most`` beside those that the templates declare."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._fields = {*catalog.FIELDS, *ADDED, *ALIASES, *_AIRFLOWS, *_STRUCTURED} - {EXTRA}
        self._guard = _guard_of(self._fields)

    def packed(self, lines: bytes, documents: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        """Those of ``documents`` that have keys beyond the budget, by their place, without these as fields.

        ``lines`` is what they were made of, for one look at all of it; empty where that is not at hand.
        """
        if lines and self._guard.search(lines) is None and not _nested(lines):
            return
        changes = 0
        for place, document in enumerate(documents):
            if (self._guard.search(document) is None and document.find(b'{"', 1) < 0) or document[:1] != b"{":
                continue
            try:
                fields = orjson.loads(document)
            except orjson.JSONDecodeError:
                continue
            left = self._left
            extra = {
                key: value for key, value in fields.items() if not self._is_field(key, value, changes < _MOST_CHANGES)
            }
            changes += self._left < left
            if extra:
                kept = {key: value for key, value in fields.items() if key not in extra}
                yield place, orjson.dumps({**kept, EXTRA: pack(extra)})

    def _is_field(self, key: str, value: Any, may_be_new: bool) -> bool:
        if key in _STRUCTURED:
            return isinstance(value, dict) or (isinstance(value, list) and all(isinstance(one, dict) for one in value))
        names = list(_paths(key, value, 0))
        if not names or not all(name in self._fields or _FIELD.fullmatch(name) for name in names):
            return False
        fresh = set(names) - self._fields
        if fresh and (len(fresh) > self._left or not may_be_new):
            return False
        if fresh:
            self._left -= len(fresh)
            self._fields |= fresh
            self._guard = _guard_of(self._fields)
        return True


def _nested(lines: bytes) -> bool:
    """True where more objects begin than lines do; braces in texts are counted only where they may be objects."""
    begun = lines.count(b"\n{") + 1
    return lines.count(b"{") > begun and lines.count(b'{"') > begun


def _paths(key: str, value: Any, depth: int) -> Iterator[str]:
    """The names under which Elasticsearch would keep a value: an object has one for each key in it."""
    if isinstance(value, list):
        nested = [one for one in value if isinstance(one, (dict, list))]
        if not nested:
            yield key
        for one in nested:
            yield from _paths(key, one, depth + 1)
    elif not isinstance(value, dict):
        yield key
    elif depth > 6 or not value:  # noqa: PLR2004 - deeper is no field for anybody
        yield "\0" if value else key
    else:
        for name, item in value.items():
            yield from _paths(f"{key}.{name}", item, depth + 1)


def _guard_of(fields: set[str]) -> re.Pattern[bytes]:
    """Finds a key that is none of ``fields``; what is spelled with an escape is none."""
    return re.compile(rb',[ \t\r]*"(?!' + _trie(sorted(fields)).encode() + rb'")[^"\\]*(?:\\[^":]*)*"[ \t\r]*:')


def _trie(words: list[str]) -> str:
    """A pattern of exactly these words, which are in order, that looks at each letter once."""
    if words == [""]:
        return ""
    ends = words[0] == ""
    by_letter: dict[str, list[str]] = {}
    for word in words[ends:]:
        by_letter.setdefault(word[0], []).append(word[1:])
    parts = [re.escape(letter) + _trie(rest) for letter, rest in by_letter.items()]
    return f"(?:{'|'.join(parts)})" + ("?" if ends else "") if len(parts) > 1 or ends else parts[0]
