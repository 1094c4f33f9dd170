"""The shape of a line: the members of its JSON that stand in each line of one place in the code.

A line of Airflow's log has a dozen members, of which most are those of the line before: ids, logger, file and line
number. The members before and behind those that change are compared as bytes and encoded once. JSON is read from left
to right, so what begins with whole members that were read before, and goes on with whole members, means the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LineShapes", "Shape"]

_PLACE = ("logger", "filename", "lineno")
_SHAPES_MOST = 16
_LEARNT_MOST = 256
"""So many lines of a batch are compared at most: a log without repetition is not to cost more than without shapes."""
_COMMA = 44


class Shape(NamedTuple):
    """Members that lines begin with (``head``) and end with (``end``, with the brace), and what they make of a record.

    ``names`` are those that a line of this shape may not have besides.
    """

    head: bytes
    end: bytes
    names: frozenset[str]
    encoded: bytes

    def fits(self, document: bytes, start: int) -> bool:
        """True for a document whose members behind its text begin at ``start`` and are of this shape."""
        begin, stop = start + len(self.head), len(document) - len(self.end)
        fits = begin <= stop and document.startswith(self.head, start) and document.endswith(self.end)
        return fits and (begin == stop or document[begin] == _COMMA)


class LineShapes:
    """The shapes in one batch of a file's lines; ``encode`` gives the record's part that members make, or None.

    A member named in ``placed`` makes a line one of no shape.
    """

    def __init__(self, encode: Callable[[dict[str, Any]], bytes | None], placed: frozenset[str]) -> None:
        self._encode = encode
        self._placed = placed
        self._shapes: dict[tuple[Any, ...], Shape] = {}
        self._before: dict[tuple[Any, ...], list[bytes]] = {}
        self._left = _LEARNT_MOST

    def of(self, document: bytes, start: int) -> Shape | None:
        """The shape of a document whose members behind its text begin at ``start``; None where it is not known."""
        return next((shape for shape in self._shapes.values() if shape.fits(document, start)), None)

    def learn(self, members: bytes) -> None:
        """Compare the members of a line, ``,"name":value,…``, with those of the line before from the same place."""
        if self._left <= 0 or members[:1] != b",":
            return
        self._left -= 1
        try:
            fields = orjson.loads(b"{%b}" % members[1:])
        except orjson.JSONDecodeError:
            return
        parts = [b"," + orjson.dumps({name: content})[1:-1] for name, content in fields.items()]
        if b"".join(parts) != members:
            return  # written otherwise than orjson does: where a member ends is not known
        place = (*(str(fields.get(name)) for name in _PLACE), *fields)
        before = self._before.get(place)
        self._before[place] = parts
        if before is None or (place not in self._shapes and len(self._shapes) >= _SHAPES_MOST):
            return
        changed = [at for at, (one, other) in enumerate(zip(parts, before, strict=True)) if one != other]
        first, last = (changed[0], changed[-1] + 1) if changed else (len(parts), len(parts))
        names = list(fields)
        kept = {name: fields[name] for name in names[:first] + names[last:]}
        if (encoded := self._encode(kept)) is not None:
            head, end = b"".join(parts[:first]), b"".join(parts[last:]) + b"}"
            self._shapes[place] = Shape(head, end, frozenset(kept) | self._placed, encoded)
