"""Counting documents while they are read, for a store that cannot count: what is held is bounded, and no document is.

A row holds a number for each measure. Only percentiles and the number of different values need every value.
"""

from __future__ import annotations

from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from observability.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.store.questions import Key, Measures

__all__ = ["MOST_ROWS", "Tallies", "check_rows"]

MOST_ROWS = 100_000
MOST_BYTES = 64 * 1024 * 1024
_ROW, _MEASURE, _VALUE, _NUMBER = 400, 120, 120, 8
"""Bytes that a row, a measure of it, a text and a number take at the most, beside their text."""
_REMEDY = "choose a shorter time, or one DAG"


class Tallies:
    """The rows so far. Raises ``StoreError`` when they need more than ``MOST_ROWS`` or ``MOST_BYTES``."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        self._rows: dict[Key, list[Any]] = {}
        self._documents = 0
        self._bytes = 0

    def add(self, key: Key, when: str, values: list[Any]) -> None:
        """Count a document into the row of ``key``: a value for each measure, None where it has none."""
        self._documents += 1
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = [None] * len(self._measures)
            self._bytes += _ROW + _MEASURE * len(row) + 4 * sum(len(part) for part in key if isinstance(part, str))
            check_rows(len(self._rows), f"CloudWatch cannot answer: after {self._documents} documents")
        for number, ((aggregate, _), value) in enumerate(zip(self._measures, values, strict=True)):
            if value is not None:
                with suppress(TypeError):  # a value of another type than its field's is nobody's number
                    row[number] = self._taken(aggregate, row[number], when, value)
        if self._bytes > MOST_BYTES:
            raise StoreError(
                f"CloudWatch cannot answer: after {self._documents} documents (up to {when}) the numbers to remember"
                f" take more than {MOST_BYTES >> 20} MiB, so the rest was not read; {_REMEDY}"
            )

    def rows(self, percentiles: dict[str, Any]) -> Iterator[tuple[Key, tuple[Any, ...]]]:
        """Each row with its answers; ``percentiles`` has a function of the values for each percentile's name."""
        for key, row in self._rows.items():
            yield (
                key,
                tuple(
                    None if state is None else _answer(aggregate, state, percentiles)
                    for (aggregate, _), state in zip(self._measures, row, strict=True)
                ),
            )

    def _taken(self, aggregate: str, state: Any, when: str, value: Any) -> Any:
        """The state of a measure after one more value; what it takes more than before is added up."""
        if aggregate == "last":
            value = (when, value)
        if aggregate in _FOLDED:
            folded = _FOLDED[aggregate](state, value)
            self._bytes += _text_bytes(folded) - _text_bytes(state)
            return folded
        if aggregate == "unique":
            state = set() if state is None else state
            if value not in state:
                state.add(value)
                self._bytes += _VALUE + _text_bytes(value)
            return state
        state = array("d") if state is None else state
        state.append(value)
        self._bytes += _NUMBER
        return state


def check_rows(number: int, about: str) -> None:
    """Raise ``StoreError`` where a table has more rows than anybody can look at."""
    if number > MOST_ROWS:
        raise StoreError(f"{about}: the table has more than {MOST_ROWS} rows, so the rest was not read; {_REMEDY}")


def _answer(aggregate: str, state: Any, percentiles: dict[str, Any]) -> Any:
    if aggregate == "average":
        return state[1] / state[0]
    if aggregate == "last":
        return state[1]
    if aggregate == "unique":
        return len(state)
    return percentiles[aggregate](state) if aggregate in percentiles else state


def _text_bytes(state: Any) -> int:
    """The most bytes that a text takes, also as part of a pair."""
    text = state[-1] if isinstance(state, tuple) else state
    return 4 * len(text) if isinstance(text, str) else 0


_FOLDED: dict[str, Callable[[Any, Any], Any]] = {
    "count": lambda state, _: (state or 0) + 1,
    "sum": lambda state, value: value if state is None else state + value,
    "average": lambda state, value: (1, value) if state is None else (state[0] + 1, state[1] + value),
    "max": lambda state, value: value if state is None else max(state, value),
    "min": lambda state, value: value if state is None else min(state, value),
    "last": lambda state, value: value if state is None else max(state, value),
}
"""The measure after one more value; None is before the first."""
