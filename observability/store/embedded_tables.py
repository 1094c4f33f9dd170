"""Tables counted by SQLite itself: no document leaves the database."""

from __future__ import annotations

from array import array
from datetime import date, datetime, time, timezone
from typing import TYPE_CHECKING, Any

from observability.store.tables import PERCENTILES, percentile, spread

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from observability.store.questions import Ask, Table

__all__ = ["add_percentiles", "midnight_before", "statement", "table_of"]

_DAY_S = 86_400

_SQL = {
    "count": "count(*)",
    "sum": "sum({})",
    "average": "avg({})",
    "max": "max({})",
    "min": "min({})",
    "unique": "count(distinct {})",
    **{name: f"{name}({{}})" for name in PERCENTILES},
}


def add_percentiles(connection: sqlite3.Connection) -> None:
    """Teach SQLite the percentiles, which it does not have."""
    for name, share in PERCENTILES.items():
        connection.create_aggregate(name, 1, _kind(share))


def statement(
    ask: Ask, document: str, field: Callable[[str], str], holds: Callable[[str, int], str]
) -> tuple[str, str, list[Any]]:
    """Columns, conditions and their values.

    ``field`` says where in ``document`` a field's value is, ``holds`` that it is one of so many values.
    """
    keys = [_stretch(ask.bucket_s)] if ask.bucket_s else []
    keys += [field(name) for name in ask.by]
    answers = [_answer(aggregate, field(name) if name else "") for aggregate, name in ask.measures]
    conditions = [f"{field(name)} is not null" for name in ask.by]
    if ask.measures[0][0] == "last":
        conditions.append(f"{field(ask.measures[0][1])} is not null")
    conditions += [_lacks(document, name) for name in ask.without]
    values: list[Any] = []
    for name, wanted in ask.where.items():
        conditions.append(holds(name, len(wanted)))
        values += wanted
    if ask.dags is not None:
        homeless = f" or {field('airflow.dag_id')} is null" if ask.homeless else ""
        conditions.append(f"({field('airflow.dag_id')} in ({_marks(ask.dags)}){homeless})")
        values += ask.dags
    return ", ".join([*keys, *answers]), " and ".join(conditions), values


def midnight_before(ask: Ask) -> datetime | None:
    """The begin (UTC) of the day in which a table of whole days ends; None for another table, or one of that day."""
    today = datetime.combine(ask.until.astimezone(timezone.utc), time(), timezone.utc)
    is_of_days = ask.bucket_s == _DAY_S and ask.since.timestamp() % _DAY_S == 0
    return today if is_of_days and ask.since < today else None


def table_of(rows: list[Any], ask: Ask) -> Table:
    """The table in the rows of :func:`statement`."""
    first = 1 if ask.bucket_s else 0
    width = first + len(ask.by)
    count = len(ask.measures)
    if ask.bucket_s == _DAY_S:
        starts = {day: _epoch_s(day) for day in {row[0] for row in rows}}
        table = {(starts[row[0]], *map(str, row[1:width])): row[width : width + count] for row in rows}
    else:
        table = {(*row[:first], *map(str, row[first:width])): row[width : width + count] for row in rows}
    if not width and all(value in {None, 0} for value in table[()]):
        return {}
    return spread(table, ask)


def _stretch(bucket_s: int) -> str:
    """The start of the stretch of a row's time in seconds; of a day its date, which stands in the text of a time."""
    if bucket_s == _DAY_S:
        return "substr(r.at, 1, 10)"
    return f"cast(strftime('%s', r.at) as integer) / {bucket_s} * {bucket_s}"


def _epoch_s(day: str) -> int:
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * _DAY_S


def _answer(aggregate: str, measured: str) -> str:
    """SQLite takes a bare column from the row that has the one maximum, which is how ``last`` is found."""
    return f"{measured}, max(r.at)" if aggregate == "last" else _SQL[aggregate].format(measured)


def _lacks(document: str, name: str) -> str:
    """A key stands in the text as it is, and a quote in a value does not: so the text need not be taken apart."""
    return f"instr({document}, '\"{name}\":') = 0"


def _marks(values: tuple[Any, ...]) -> str:
    return ", ".join("?" * len(values))


def _kind(share: float) -> type:
    class Percentile:
        """Gathers the values of one group."""

        def __init__(self) -> None:
            self._values = array("d")

        def step(self, value: float | None) -> None:
            if value is not None:
                self._values.append(value)

        def finalize(self) -> float | None:
            return percentile(self._values, share) if self._values else None

    return Percentile
