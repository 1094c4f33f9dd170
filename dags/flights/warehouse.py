"""The warehouse: its tables, and the engine behind the Airflow Connection ``warehouse``.

SQLite and PostgreSQL through the same code. A SQLite Connection has the file as its host; a PostgreSQL
one is as Airflow's provider has it, and its extra may name another driver as ``sqlalchemy_scheme``.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DELAYS", "FLIGHTS", "QUARANTINE", "WarehouseError", "connect", "engine", "transaction"]

_METADATA = sa.MetaData()
_LOCK = 7_205_759_403
"""Key of the PostgreSQL advisory lock under which tables are made."""


class WarehouseError(RuntimeError):
    """A warehouse that cannot be used; the message names the Connection, the reason and the remedy."""

    contrail_cause = "dependency"


class _Connection(Protocol):
    conn_type: str | None
    host: str | None
    port: int | None
    schema: str | None
    login: str | None
    password: str | None

    @property
    def extra_dejson(self) -> dict[str, Any]: ...


FLIGHTS = sa.Table(
    "flights",
    _METADATA,
    sa.Column("flight_date", sa.Date, primary_key=True),
    sa.Column("carrier", sa.String(2), primary_key=True),
    sa.Column("flight", sa.Integer, primary_key=True),
    sa.Column("origin", sa.String(3), primary_key=True),
    sa.Column("sched_dep_time", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.Integer) for name in ("dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay")),
    sa.Column("tailnum", sa.String(6)),
    sa.Column("dest", sa.String(3)),
    *(sa.Column(name, sa.Integer) for name in ("air_time", "distance", "hour", "minute")),
    sa.Column("time_hour", sa.DateTime(timezone=True)),
    *(sa.Column(name, sa.Float) for name in ("temp", "wind_speed", "precip", "visib")),
    sa.Column("plane_year", sa.Integer),
    sa.Column("plane_manufacturer", sa.Text),
    sa.Column("plane_model", sa.Text),
    sa.Column("plane_seats", sa.Integer),
)
DELAYS = sa.Table(
    "delay_statistics",
    _METADATA,
    sa.Column("flight_date", sa.Date, primary_key=True),
    sa.Column("carrier", sa.String(2), primary_key=True),
    sa.Column("origin", sa.String(3), primary_key=True),
    sa.Column("hour", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.Integer, nullable=False) for name in ("flights", "cancelled", "late")),
    *(sa.Column(name, sa.Float) for name in ("mean_dep_delay", "mean_arr_delay", "max_arr_delay")),
)
QUARANTINE = sa.Table(
    "quarantine",
    _METADATA,
    sa.Column("flight_date", sa.Date, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("source_table", sa.String(32), nullable=False),
    sa.Column("rule", sa.String(64), nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)


def engine(connection: _Connection) -> sa.Engine:
    """The engine for an Airflow Connection. Raises :class:`WarehouseError` for a kind that is not supported."""
    if connection.conn_type == "sqlite":
        path = Path(connection.host or connection.schema or "")
        if not path.is_absolute():
            raise WarehouseError(
                f"the Connection warehouse names the file {str(path)!r}: give an absolute path as its host"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return sa.create_engine(sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": 60})
    if connection.conn_type in ("postgres", "postgresql"):
        driver = connection.extra_dejson.get("sqlalchemy_scheme", "postgresql+psycopg2")
        url = sa.URL.create(
            driver, connection.login, connection.password, connection.host, connection.port, connection.schema or None
        )
        return sa.create_engine(url)
    raise WarehouseError(f"the Connection warehouse is of type {connection.conn_type!r}: make it sqlite or postgres")


def connect() -> sa.Engine:
    """The engine behind the Airflow Connection ``warehouse``. Raises :class:`WarehouseError`."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return engine(BaseHook.get_connection("warehouse"))
    except AirflowNotFoundException as error:
        raise WarehouseError(
            "there is no Connection warehouse: "
            "airflow connections add warehouse --conn-type sqlite --conn-host /path/of/warehouse.db"
        ) from error


@contextmanager
def transaction(warehouse: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction in which the tables exist; commits at the end, rolls back when the block raises."""
    with warehouse.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        for table in _METADATA.sorted_tables:
            connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
        yield connection
