"""KQL, as far as our boards write it, to Elasticsearch's query language.

Understood: ``field : value``, ``field : (a or b)``, ``field : *``, ``< <= > >=``, ``and``, ``or``, ``not``,
parentheses.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["KqlError", "fields", "to_query"]

Query = dict[str, Any]
_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(<=|>=|[<>():*])|([^\s():<>"*]+))')
_RANGE = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


class KqlError(ValueError):
    """A text that is no KQL, or more of it than is understood here."""


def to_query(text: str) -> Query:
    """The query that Kibana would send for ``text``. Raises :class:`KqlError`."""
    if not text.strip():
        return {"match_all": {}}
    parser = _Parser(text)
    query = parser.disjunction()
    if parser.peek() is not None:
        raise KqlError(f"{text!r} goes on with {parser.peek()!r} where it should end")
    return query


def fields(text: str) -> set[str]:
    """Every field that ``text`` names. Raises :class:`KqlError`."""
    found: set[str] = set()

    def walk(query: Any) -> None:
        if isinstance(query, list):
            for part in query:
                walk(part)
        elif isinstance(query, dict):
            for kind, inner in query.items():
                if kind in {"match_phrase", "range"}:
                    found.update(inner)
                elif kind == "exists":
                    found.add(inner["field"])
                else:
                    walk(inner)

    walk(to_query(text))
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, bool]] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                raise KqlError(f"{text!r} cannot be read from character {position}")
            quoted, sign, word = match.groups()
            self._tokens.append((quoted, True) if quoted is not None else (sign or word, False))
            position = match.end()

    def peek(self) -> str | None:
        return self._tokens[0][0] if self._tokens else None

    def _take(self, expected: str = "") -> str:
        if not self._tokens or (expected and self._tokens[0][0] != expected):
            raise KqlError(f"{self._text!r} lacks {expected or 'a word'!r} before {self.peek()!r}")
        return self._tokens.pop(0)[0]

    def _keyword(self, word: str) -> bool:
        if self._tokens and not self._tokens[0][1] and self._tokens[0][0].lower() == word:
            self._tokens.pop(0)
            return True
        return False

    def disjunction(self) -> Query:
        parts = [self._conjunction()]
        while self._keyword("or"):
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else {"bool": {"should": parts, "minimum_should_match": 1}}

    def _conjunction(self) -> Query:
        parts = [self._single()]
        while self._keyword("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else {"bool": {"filter": parts}}

    def _single(self) -> Query:
        if self._keyword("not"):
            return {"bool": {"must_not": [self._single()]}}
        if self.peek() == "(":
            self._take("(")
            inner = self.disjunction()
            self._take(")")
            return inner
        return self._comparison(self._take())

    def _comparison(self, field: str) -> Query:
        sign = self._take()
        if sign in _RANGE:
            return {"range": {field: {_RANGE[sign]: self._take()}}}
        if sign != ":":
            raise KqlError(f"{self._text!r}: {field} is followed by {sign!r}, not by ':' or a comparison")
        if self.peek() != "(":
            return self._match(field)
        self._take("(")
        parts = [self._match(field)]
        while self._keyword("or"):
            parts.append(self._match(field))
        self._take(")")
        return {"bool": {"should": parts, "minimum_should_match": 1}}

    def _match(self, field: str) -> Query:
        value = self._take()
        return {"exists": {"field": field}} if value == "*" else {"match_phrase": {field: value}}
