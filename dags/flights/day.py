"""One day on its way through the stages, each of them measured; what lies between two stages is a folder of Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pandas as pd

from flights import load, transform, validate
from flights.extract import COLUMNS, NoRowsError, read
from flights.stage import load_frame, open_folder, save
from observability import measure

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

__all__ = ["Day"]

_DAILY = ("flights", "weather")


@dataclass(frozen=True, slots=True)
class Day:
    """A logical day and the folder (or bucket prefix) in which its stages leave their frames."""

    date: date
    location: str

    @classmethod
    def of(cls, logical_date: datetime | None, output: str) -> Day:
        """The day that a run is about. Raises ValueError for a run without logical date."""
        if logical_date is None:
            raise ValueError(
                "this run has no logical date, so it is about no day: trigger it again with one, such as 2013-07-04"
            )
        return cls(logical_date.date(), f"{output.rstrip('/')}/staging/{logical_date:%Y-%m-%d}")

    @classmethod
    def at(cls, location: str) -> Day:
        """The day whose frames lie at ``location``."""
        return cls(date.fromisoformat(location.rsplit("/", 1)[-1]), location)

    @property
    def _folder(self) -> Any:
        return open_folder(self.location)

    def extract(self, source: str) -> None:
        """Stage the day's rows of each table in ``source``, as text, and the lines that are no rows."""
        malformed = []
        for table in COLUMNS:
            with measure("extract", table=table) as step:
                found = read(open_folder(source), table, self.date if table in _DAILY else None)
                if not len(found) and table == "flights":
                    raise NoRowsError(
                        f"{source} has no flights of {self.date}: run a day that it covers, or add the data"
                    )
                step.columns(found.columns, COLUMNS[table])
                step.input(found)
                save(self._folder, table, step.output(found.rows))
                for rule, lines in (("columns_are_complete", found.malformed), ("quotes_end_values", found.misquoted)):
                    if lines:
                        step.rejected(len(lines), rule=rule)
                    text = pd.DataFrame({"line": lines}, dtype="str")
                    malformed.append(validate.rejects(table, text, pd.Series(rule, index=text.index)))
        save(self._folder, "malformed", pd.concat(malformed))

    def validate(self, *, most_rejected: float) -> None:
        """Stage the rows that keep every rule, and the rejects with the rule that they broke."""
        carriers = list(load_frame(self._folder, "airlines")["carrier"].dropna())
        rejected = [load_frame(self._folder, "malformed")]
        for table in COLUMNS:
            with measure("validate", table=table) as step:
                text = step.input(load_frame(self._folder, table))
                good, bad = validate.validate(table, text, self.date, carriers)
                if table == "flights":
                    validate.refuse_too_many(table, len(text), len(bad), most_rejected)
                for rule, number in bad["rule"].value_counts().items():
                    step.rejected(number, rule=str(rule))
                save(self._folder, f"{table}.valid", step.output(good))
                rejected.append(bad)
        save(self._folder, "rejected", pd.concat(rejected))

    def transform(self) -> None:
        """Stage the flights with their weather and plane, and the delays by carrier, origin and hour."""
        with measure("transform", table="flights") as step:
            flights = step.input(load_frame(self._folder, "flights.valid"))
            weather, planes = load_frame(self._folder, "weather.valid"), load_frame(self._folder, "planes.valid")
            save(self._folder, "enriched", step.output(transform.enrich(flights, weather, planes)))
        save(self._folder, "delays", transform.delay_statistics(flights))

    def load(self, warehouse: sa.Engine) -> str:
        """Replace the day in ``warehouse``; answer with the day's report."""
        with measure("load", table="flights") as step:
            flights = step.input(load_frame(self._folder, "enriched"))
            delays, rejected = load_frame(self._folder, "delays"), load_frame(self._folder, "rejected")
            step.output(load.load_day(warehouse, self.date, flights, delays, rejected))
            step.watermark(flights["time_hour"].max())
        return self._report(delays, rejected)

    def _report(self, delays: pd.DataFrame, rejected: pd.DataFrame) -> str:
        carriers = (
            delays.groupby("carrier")[["flights", "cancelled", "late"]].sum().sort_values("late", ascending=False)
        )
        rows = [f"| {name} | {row.flights} | {row.cancelled} | {row.late} |" for name, row in carriers.iterrows()]
        broken = [f"- {rule}: {number}" for rule, number in rejected["rule"].value_counts().items()] or ["- none"]
        head = ["| carrier | flights | cancelled | late |", "|---|---:|---:|---:|"]
        return "\n".join([f"# Flights of {self.date}", "", *head, *rows, "", "Rejected rows by rule:", *broken])
