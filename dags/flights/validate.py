"""Say which rows may go on, and for each that may not, the rule that it broke.

Two passes: a value that is not of its column's type, then pandera's rules over the rest, all of them
(lazily). A row is counted under the first rule that it breaks, so rules add up to rejected rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

__all__ = ["REJECT_COLUMNS", "TooManyRejectedError", "refuse_too_many", "rejects", "validate"]

REJECT_COLUMNS = ("source_table", "rule", "record")
"""Columns of a frame of rejects: the table, the rule that the row broke, the row as JSON text."""

_LARGEST = 2**53
_KIND = {"Int64": "integer", "float64": "number", "datetime": "time"}
_AIRPORTS = ("EWR", "JFK", "LGA")


class TooManyRejectedError(ValueError):
    """So much of a day's data is bad that the day must not be published."""

    contrail_cause = "data"


def _between(low: float, high: float, name: str) -> pa.Check:
    return pa.Check(lambda values: values.between(low, high), name=f"{name}_in_range", ignore_na=True)


def _number(kind: str, name: str, low: float, high: float, *, nullable: bool = False) -> pa.Column:
    return pa.Column(kind, _between(low, high, name), nullable=nullable)


def _exactly(number: int) -> pa.Column:
    return pa.Column("Int64", pa.Check(lambda values: values == number, name="date_is_of_the_day"))


def _text(name: str, pattern: str, *, nullable: bool = False) -> pa.Column:
    check = pa.Check(lambda values: values.str.fullmatch(pattern), name=f"{name}_well_formed", ignore_na=True)
    return pa.Column("str", check, nullable=nullable)


def _airport() -> pa.Column:
    return pa.Column("str", pa.Check(lambda values: values.isin(_AIRPORTS), name="origin_is_known"))


def _flights(day: date, carriers: Collection[str]) -> pa.DataFrameSchema:
    known = pa.Check(lambda values: values.isin(list(carriers)), name="carrier_is_known")
    return pa.DataFrameSchema(
        {
            **{name: _exactly(getattr(day, name)) for name in ("year", "month", "day")},
            "dep_time": _number("Int64", "dep_time", 0, 2400, nullable=True),
            "sched_dep_time": _number("Int64", "sched_dep_time", 0, 2400),
            "dep_delay": _number("Int64", "dep_delay", -180, 2880, nullable=True),
            "arr_time": _number("Int64", "arr_time", 0, 2400, nullable=True),
            "sched_arr_time": _number("Int64", "sched_arr_time", 0, 2400),
            "arr_delay": _number("Int64", "arr_delay", -180, 2880, nullable=True),
            "carrier": pa.Column("str", known),
            "flight": _number("Int64", "flight", 1, 9999),
            "tailnum": _text("tailnum", "[A-Z0-9]{2,6}", nullable=True),
            "origin": _airport(),
            "dest": _text("dest", "[A-Z]{3}"),
            "air_time": _number("Int64", "air_time", 1, 1440, nullable=True),
            "distance": _number("Int64", "distance", 1, 12_500),
            "hour": _number("Int64", "hour", 0, 24),
            "minute": _number("Int64", "minute", 0, 59),
            "time_hour": pa.Column("datetime64[us, UTC]"),
        },
        unique=["carrier", "flight", "origin", "sched_dep_time"],
        report_duplicates="exclude_first",
    )


def _weather(_day: date, _carriers: Collection[str]) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(
        {
            "origin": _airport(),
            "hour": _number("Int64", "hour", 0, 23),
            "temp": _number("float64", "temp", -40, 130, nullable=True),
            "dewp": _number("float64", "dewp", -60, 100, nullable=True),
            "humid": _number("float64", "humid", 0, 100, nullable=True),
            "wind_dir": _number("float64", "wind_dir", 0, 360, nullable=True),
            "wind_speed": _number("float64", "wind_speed", 0, 200, nullable=True),
            "wind_gust": _number("float64", "wind_gust", 0, 250, nullable=True),
            "precip": _number("float64", "precip", 0, 15, nullable=True),
            "pressure": _number("float64", "pressure", 870, 1090, nullable=True),
            "visib": _number("float64", "visib", 0, 100, nullable=True),
            "time_hour": pa.Column("datetime64[us, UTC]"),
        },
        unique=["origin", "time_hour"],
        report_duplicates="exclude_first",
    )


def _planes(_day: date, _carriers: Collection[str]) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(
        {
            "tailnum": _text("tailnum", "[A-Z0-9]{2,6}"),
            "year": _number("Int64", "year", 1903, 2100, nullable=True),
            "engines": _number("Int64", "engines", 1, 8),
            "seats": _number("Int64", "seats", 1, 900),
        },
        unique=["tailnum"],
        report_duplicates="exclude_first",
    )


def _airlines(_day: date, _carriers: Collection[str]) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(
        {"carrier": _text("carrier", "[A-Z0-9]{2}"), "name": pa.Column("str")}, unique=["carrier"]
    )


_SCHEMAS = {"flights": _flights, "weather": _weather, "planes": _planes, "airlines": _airlines}


def validate(
    table: str, text: pd.DataFrame, day: date, carriers: Collection[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the rows of ``table`` (text, as extracted) into those that keep every rule, typed, and the rejects.

    ``carriers`` are the keys that a flight's carrier must be one of. Both frames together have as many
    rows as ``text``; the second has :data:`REJECT_COLUMNS`.
    """
    schema = _SCHEMAS[table](day, carriers)
    text = text.reset_index(drop=True)
    typed, broken = _typed(text, schema)
    try:
        schema.validate(typed.drop(index=broken.index), lazy=True)
    except SchemaErrors as errors:
        broken = pd.concat([broken, _broken(errors.failure_cases)])
    return typed.drop(index=broken.index), rejects(table, text.loc[broken.index], broken)


def rejects(table: str, text: pd.DataFrame, rules: pd.Series) -> pd.DataFrame:
    """Rows on their way to quarantine; ``rules`` has the index of ``text``."""
    records = text.to_json(orient="records", lines=True).splitlines() if len(text) else []
    return pd.DataFrame(
        {"source_table": table, "rule": rules.to_numpy(), "record": records}, columns=list(REJECT_COLUMNS)
    )


def refuse_too_many(table: str, rows: int, rejected: int, most: float) -> None:
    """Raise :class:`TooManyRejectedError` when more than the share ``most`` of the rows was rejected."""
    if rejected > rows * most:
        raise TooManyRejectedError(
            f"{rejected} of {rows} rows of {table} were rejected, more than {most:.0%}: nothing was loaded; "
            "look at the source, or allow more by the run's param max_rejected"
        )


def _typed(text: pd.DataFrame, schema: pa.DataFrameSchema) -> tuple[pd.DataFrame, pd.Series]:
    typed, broken = text.astype("str"), pd.Series(dtype="str", index=text.index[:0])
    for name in text.columns:
        torn = text.index[text[name].str.contains("\ufffd", regex=False, na=False)].difference(broken.index)
        broken = pd.concat([broken, pd.Series("text_is_utf8", index=torn)])
        cut = text.index[text[name].str.contains("\0", regex=False, na=False)].difference(broken.index)
        broken = pd.concat([broken, pd.Series("text_has_no_nul", index=cut)])  # PostgreSQL takes none
    for name, column in schema.columns.items():
        kind = str(column.dtype)
        if kind[:8] not in _KIND:
            continue
        if kind.startswith("datetime"):
            values = pd.to_datetime(text[name], errors="coerce", utc=True, format="ISO8601").astype(
                "datetime64[us, UTC]"
            )
        else:
            values = pd.to_numeric(text[name], errors="coerce")
            values = values.where(values.abs() < _LARGEST)
            values = (values.where(values % 1 == 0) if kind == "Int64" else values).astype(kind)
        lost = text.index[text[name].notna() & values.isna()].difference(broken.index)
        broken = pd.concat([broken, pd.Series(f"{name}_is_{_KIND[kind[:8]]}", index=lost)])
        typed[name] = values
    return typed, broken


def _broken(cases: pd.DataFrame) -> pd.Series:
    """The first rule that each row broke, by the row's index, from pandera's failure cases."""
    unplaced = cases[cases["index"].isna()]
    if len(unplaced):
        raise TypeError(f"a rule could not be applied: {unplaced.iloc[0]['check']}: {unplaced.iloc[0]['failure_case']}")
    names = cases["check"].where(cases["check"] != "not_nullable", cases["column"].astype("str") + "_is_there")
    names = names.where(names != "multiple_fields_uniqueness", "key_is_unique").where(
        names != "field_uniqueness", "key_is_unique"
    )
    return names.groupby(cases["index"].astype("int64")).first()
