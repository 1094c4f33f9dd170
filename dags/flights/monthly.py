"""A month of the warehouse's flights as Parquet; needs pyarrow, not pandas."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from flights.warehouse import FLIGHTS, transaction

__all__ = ["carriers_of", "flights_of", "write"]


def carriers_of(warehouse: sa.Engine, month: str) -> list[str]:
    """The carriers that flew in ``month`` (YYYY-MM), in order."""
    query = sa.select(FLIGHTS.c.carrier).distinct().where(_in(month)).order_by(FLIGHTS.c.carrier)
    with transaction(warehouse) as connection:
        return list(connection.scalars(query))


def flights_of(warehouse: sa.Engine, month: str, carrier: str) -> pa.Table:
    """A carrier's flights in ``month``, in the order of the warehouse's key."""
    query = sa.select(FLIGHTS).where(_in(month), FLIGHTS.c.carrier == carrier).order_by(*FLIGHTS.primary_key)
    with transaction(warehouse) as connection:
        return pa.Table.from_pylist([dict(row) for row in connection.execute(query).mappings()], schema=_SCHEMA)


def write(folder: Any, carrier: str, rows: pa.Table) -> None:
    """Write ``rows`` to ``<folder>/<carrier>.parquet``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{carrier}.parquet").open("wb") as stream:
        pq.write_table(rows, stream)


def _in(month: str) -> sa.ColumnElement[bool]:
    first = date.fromisoformat(f"{month}-01")
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return sa.and_(FLIGHTS.c.flight_date >= first, FLIGHTS.c.flight_date < after)


_TYPES: dict[type[Any], pa.DataType] = {
    sa.Date: pa.date32(),
    sa.DateTime: pa.timestamp("us", tz="UTC"),
    sa.Integer: pa.int64(),
    sa.Float: pa.float64(),
}
_SCHEMA = pa.schema([(column.name, _TYPES.get(type(column.type), pa.string())) for column in FLIGHTS.columns])
