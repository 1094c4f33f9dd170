"""Put a day into the warehouse: its flights, its statistics and its quarantine, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flights.warehouse import DELAYS, FLIGHTS, QUARANTINE, transaction

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd

__all__ = ["load_day"]


def load_day(
    warehouse: sa.Engine, day: date, flights: pd.DataFrame, delays: pd.DataFrame, rejected: pd.DataFrame
) -> int:
    """Replace what the warehouse has of ``day``; loading the same frames twice changes nothing.

    Answers with the number of flights that the warehouse has of that day afterwards.
    """
    quarantine = rejected.reset_index(drop=True).reset_index(names="position")
    with transaction(warehouse) as connection:
        for table, frame in ((FLIGHTS, flights), (DELAYS, delays), (QUARANTINE, quarantine)):
            connection.execute(sa.delete(table).where(table.c.flight_date == day))
            if len(frame):
                connection.execute(sa.insert(table), _records(table, frame, day))
        stored = sa.select(sa.func.count()).select_from(FLIGHTS).where(FLIGHTS.c.flight_date == day)
        return int(connection.scalar(stored) or 0)


def _records(table: sa.Table, frame: pd.DataFrame, day: date) -> list[dict[str, Any]]:
    names = [column.name for column in table.columns if column.name != "flight_date"]
    plain = frame[names].astype(object)
    return [{**record, "flight_date": day} for record in plain.where(plain.notna(), None).to_dict(orient="records")]
