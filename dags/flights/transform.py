"""Join a day's flights with the weather at their hour and the plane that flew, and count the delays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["delay_statistics", "enrich"]

_WEATHER = ["temp", "wind_speed", "precip", "visib"]
_PLANE = {"year": "plane_year", "manufacturer": "plane_manufacturer", "model": "plane_model", "seats": "plane_seats"}
_LATE_MINUTES = 15
"""A flight that arrives this late counts as delayed (US Bureau of Transportation Statistics)."""


def enrich(flights: pd.DataFrame, weather: pd.DataFrame, planes: pd.DataFrame) -> pd.DataFrame:
    """Each flight once, with the weather of its origin at its hour and its plane, where they are known."""
    by_hour = weather[["origin", "time_hour", *_WEATHER]]
    by_tail = planes[["tailnum", *_PLANE]].rename(columns=_PLANE)
    return flights.merge(by_hour, on=["origin", "time_hour"], how="left", validate="many_to_one").merge(
        by_tail, on="tailnum", how="left", validate="many_to_one"
    )


def delay_statistics(flights: pd.DataFrame) -> pd.DataFrame:
    """Flights, cancellations and delays (minutes) by carrier, origin and scheduled hour."""
    marked = flights.assign(
        cancelled=flights["dep_time"].isna(),
        late=flights["arr_delay"].ge(_LATE_MINUTES).fillna(value=False),
        dep_delay=flights["dep_delay"].astype("float64"),
        arr_delay=flights["arr_delay"].astype("float64"),
    )
    return (
        marked.groupby(["carrier", "origin", "hour"], as_index=False)
        .agg(
            flights=("flight", "size"),
            cancelled=("cancelled", "sum"),
            late=("late", "sum"),
            mean_dep_delay=("dep_delay", "mean"),
            mean_arr_delay=("arr_delay", "mean"),
            max_arr_delay=("arr_delay", "max"),
        )
        .astype({"cancelled": "int64", "late": "int64"})
    )
