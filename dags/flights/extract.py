"""Read one day out of the source's CSV files, block by block: memory does not grow with the file.

A source is a folder (or bucket prefix) holding ``flights``, ``weather``, ``planes`` and ``airlines``, each as
``.csv``, ``.csv.gz`` or ``.csv.zip``. Values stay the text that they are: what is wrong with one is for
:mod:`flights.validate` to say, so nothing is lost here.
"""

from __future__ import annotations

import gzip
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COLUMNS", "Extracted", "NoRowsError", "SourceError", "read"]

COLUMNS: dict[str, tuple[str, ...]] = {
    "flights": (
        "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay",
        "carrier", "flight", "tailnum", "origin", "dest", "air_time", "distance", "hour", "minute", "time_hour",
    ),
    "weather": (
        "origin", "year", "month", "day", "hour", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust",
        "precip", "pressure", "visib", "time_hour",
    ),
    "planes": ("tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "speed", "engine"),
    "airlines": ("carrier", "name"),
}  # fmt: skip
"""The columns that each table must have; others are reported and left out."""

_BLOCK_BYTES = 1 << 20
_DATE = ("year", "month", "day")


class SourceError(RuntimeError):
    """A source that cannot be read; the message names the path, the reason and the remedy."""

    contrail_cause = "dependency"


class NoRowsError(LookupError):
    """A source that has no row of a day that it should cover."""

    contrail_cause = "data"


@dataclass(frozen=True, slots=True)
class Extracted:
    """The rows of one table as text, the lines that have another number of columns, and the file's header."""

    rows: pa.Table
    malformed: list[str]
    columns: tuple[str, ...]

    def __len__(self) -> int:
        """Every row of the source that belongs to the day, readable or not."""
        return len(self.rows) + len(self.malformed)


def read(source: Any, table: str, day: date | None = None) -> Extracted:
    """The rows of ``table`` in the folder ``source`` (a path object) that belong to ``day``; all without a day.

    A row whose date cannot be read belongs to the day of the file's first row that has one, so that
    each row of a file belongs to exactly one day. Raises :class:`SourceError`.
    """
    path = _find(source, table)
    malformed: list[str] = []
    with _opened(path) as stream:
        reader = _reader(stream, path, table, malformed)
        columns = tuple(reader.schema.names)
        chosen = _Chosen(day, COLUMNS[table])
        try:
            for batch in reader:
                chosen.add(batch)
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise SourceError(
                f"{path} cannot be read to its end: {error}; replace the file and run the day again"
            ) from error
    return Extracted(chosen.table(), [line for line in malformed if chosen.owns(line, table)], columns)


class _Chosen:
    """The rows of one day, picked out of batches."""

    def __init__(self, day: date | None, columns: tuple[str, ...]) -> None:
        self._day = day
        self._columns = list(columns)
        self._first: date | None = None
        self._batches: list[pa.RecordBatch] = []
        self._undated: list[pa.RecordBatch] = []

    def add(self, batch: pa.RecordBatch) -> None:
        rows = batch.select(self._columns)
        if self._day is None:
            self._batches.append(rows)
            return
        keys = pc.binary_join_element_wise(
            *(batch[name] for name in _DATE), "-", null_handling="replace", null_replacement="?"
        )
        encoded = keys.dictionary_encode()
        days = [_date(key) for key in encoded.dictionary.to_pylist()]
        self._first = self._first or next((day for day in days if day), None)
        self._pick(rows, encoded, [day == self._day for day in days], self._batches)
        if self._first in (None, self._day):
            self._pick(rows, encoded, [day is None for day in days], self._undated)

    @staticmethod
    def _pick(
        rows: pa.RecordBatch, encoded: pa.DictionaryArray, wanted: list[bool], into: list[pa.RecordBatch]
    ) -> None:
        if any(wanted):
            into.append(rows.filter(pa.array(wanted).take(encoded.indices)))

    def owns(self, line: str, table: str) -> bool:
        """Whether a line with too many or too few columns belongs to the day, as far as it can be read."""
        if self._day is None:
            return True
        names, parts = COLUMNS[table], line.split(",")
        found = _date("-".join(parts[names.index(name)] if names.index(name) < len(parts) else "?" for name in _DATE))
        return (found or self._first or self._day) == self._day

    def table(self) -> pa.Table:
        undated = self._undated if self._first in (None, self._day) else []
        schema = pa.schema([(name, pa.string()) for name in self._columns])
        return pa.Table.from_batches([*self._batches, *undated], schema=schema)


@lru_cache(maxsize=4096)
def _date(key: str) -> date | None:
    try:
        year, month, day = key.split("-")
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def _reader(stream: Any, path: Any, table: str, malformed: list[str]) -> csv.CSVStreamingReader:
    def keep(row: csv.InvalidRow) -> str:
        malformed.append(row.text)
        return "skip"

    try:
        reader = csv.open_csv(
            stream,
            read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=csv.ParseOptions(invalid_row_handler=keep),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(COLUMNS[table], pa.string()),
                null_values=["NA", ""],
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise SourceError(
            f"{path} is no readable CSV file: {error}; replace it, or correct the Variable flights_source"
        ) from error
    if missing := [name for name in COLUMNS[table] if name not in reader.schema.names]:
        raise SourceError(f"{path} lacks the columns {', '.join(missing)}: mend its header or the system that wrote it")
    return reader


def _find(source: Any, table: str) -> Any:
    paths = [source / f"{table}{suffix}" for suffix in (".csv", ".csv.gz", ".csv.zip")]
    try:
        if found := next((path for path in paths if path.exists()), None):
            return found
    except OSError as error:
        raise SourceError(
            f"{source} cannot be looked into: {error}; grant access to it, or correct flights_source"
        ) from error
    raise SourceError(
        f"there is no {table}.csv (nor .gz, .zip) in {source}: put it there, or correct the Variable flights_source"
    )


@contextmanager
def _opened(path: Any) -> Iterator[Any]:
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(path.open("rb"))
            if path.name.endswith(".gz"):
                stream = stack.enter_context(gzip.open(stream))
            elif path.name.endswith(".zip"):
                archive = stack.enter_context(zipfile.ZipFile(stream))
                stream = stack.enter_context(archive.open(archive.namelist()[0]))
        except (OSError, zipfile.BadZipFile, IndexError) as error:
            raise SourceError(f"{path} cannot be opened: {error}; grant access to it, or replace it") from error
        yield stream
