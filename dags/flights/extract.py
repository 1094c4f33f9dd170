"""Read one day out of the source's CSV files, block by block: memory does not grow with the file.

A source is a folder (or bucket prefix) holding ``flights``, ``weather``, ``planes`` and ``airlines``, each as
``.csv``, ``.csv.gz`` or ``.csv.zip``. Values stay the text that they are: what is wrong with one is for
:mod:`flights.validate` to say, so nothing is lost here.

``NA`` is a missing value, as R writes it, except in a column of codes or names, where it is the code ``NA``.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zipfile
import zlib
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

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

_NA_IS_TEXT = frozenset({"carrier", "name", "origin", "dest", "type", "manufacturer", "model", "engine"})
"""Columns in which NA is a value: an airline's or airport's code, or a name."""

_BLOCK_BYTES = 1 << 19
_LONGEST_LINE = 1 << 24
_LONGEST_QUOTED = 1 << 16
"""A quoted value that does not end within so many bytes has lost its closing quote."""
_QUOTED = re.compile(rb'(?:(?<=[,\r\n])|\A)"[^"]*(?:""[^"]*)*("?)')
"""A quoted value from its opening quote, which stands at the start of a field, to its closing one (RFC 4180)."""
_ENDS = {b"", b",", b"\r", b"\n"}
"""The bytes that may follow a closing quote."""
_DATE = ("year", "month", "day")
_UNKNOWN = pa.scalar("?", pa.string())
_UNREADABLE = (pa.ArrowInvalid, OSError, EOFError, zlib.error, zipfile.BadZipFile)


class SourceError(RuntimeError):
    """A source that cannot be read; the message names the path, the reason and the remedy."""

    contrail_cause = "dependency"


class NoRowsError(LookupError):
    """A source that has no row of a day that it should cover."""

    contrail_cause = "data"


@dataclass(frozen=True, slots=True)
class Extracted:
    """The rows of one table as text, the lines that are no rows, and the file's header.

    ``malformed`` lines have another number of columns; in ``misquoted`` ones text follows a closing quote.
    """

    rows: pa.Table
    malformed: list[str]
    misquoted: list[str]
    columns: tuple[str, ...]

    def __len__(self) -> int:
        """Every row of the source that belongs to the day, readable or not."""
        return len(self.rows) + len(self.malformed) + len(self.misquoted)


def read(source: Any, table: str, day: date | None = None) -> Extracted:
    """The rows of ``table`` in the folder ``source`` (a path object) that belong to ``day``; all without a day.

    A row whose date cannot be read belongs to the day of the file's first row that has one, so that
    each row of a file belongs to exactly one day. Raises :class:`SourceError`.
    """
    path = _find(source, table)
    with _opened(path) as stream:
        try:
            broken: list[str] = []
            blocks = _blocks(stream, broken)
            columns = _header(next(blocks, b""), path, table)
            chosen = _Chosen(day, table, columns, broken)
            for block in blocks:
                if block:
                    chosen.add(block)
        except _UNREADABLE as error:
            raise SourceError(
                f"{path} cannot be read to its end: {error}; replace the file and run the day again"
            ) from error
    return Extracted(chosen.table(), chosen.of_the_day(broken), chosen.of_the_day(chosen.misquoted), columns)


def _blocks(stream: Any, malformed: list[str]) -> Iterator[bytes]:
    """The first line, then the rest in blocks of whole rows; a line whose quote never ends goes to ``malformed``."""
    yield stream.readline(_LONGEST_LINE)
    rest = b""
    while data := stream.read(_BLOCK_BYTES):
        if b'"' not in data and b'"' not in rest:  # the usual case: every line break ends a row
            whole = data.rfind(b"\n") + 1
            if whole:
                yield rest + data[:whole]
            rest = data[whole:] if whole else rest + data
        else:
            rest += data
            while (end := _end_of_rows(rest)) is not None:
                block, rest = _parted(rest, end, malformed)
                yield block
        if len(rest) > _LONGEST_LINE:
            raise OSError(f"a line of more than {_LONGEST_LINE} bytes")
    while rest:
        opened = _unclosed(rest)
        end = len(rest) if opened is None else rest.rfind(b"\n", 0, opened) + 1
        block, rest = _parted(rest, end, malformed)
        yield block


def _end_of_rows(data: bytes) -> int | None:
    """The end of the last whole row of ``data``; None where there is none, and nothing to be given up."""
    opened = _unclosed(data)
    end = data.rfind(b"\n", 0, opened) + 1
    is_broken = opened is not None and len(data) - opened > _LONGEST_QUOTED
    return end if end or is_broken else None


def _parted(data: bytes, end: int, malformed: list[str]) -> tuple[bytes, bytes]:
    """The rows before ``end`` and what follows; a first line that has lost its closing quote is taken out."""
    if end:
        return data[:end], data[end:]
    line, _, rest = data.partition(b"\n")
    malformed.append(line.decode("utf-8", "replace"))
    return b"", rest


def _unclosed(data: bytes) -> int | None:
    """The start of the quoted value that does not end in ``data``."""
    if b'"' not in data:
        return None
    last = deque(_QUOTED.finditer(data), maxlen=1)
    return last[0].start() if last and not last[0][1] else None


def _well_quoted(block: bytes, misquoted: list[str]) -> bytes:
    """The block without rows in which text follows a closing quote: they mean two things, and go to ``misquoted``."""
    if b'"' not in block:
        return block
    torn = [one.end() for one in _QUOTED.finditer(block) if one[1] and block[one.end() : one.end() + 1] not in _ENDS]
    if not torn:
        return block
    plain = _QUOTED.sub(lambda one: b"x" * len(one[0]), block)  # now each line break ends a row
    kept, done = [], 0
    for place in torn:
        if place < done:
            continue
        start, end = plain.rfind(b"\n", 0, place) + 1, plain.find(b"\n", place) + 1 or len(block)
        kept.append(block[done:start])
        misquoted.append(block[start:end].decode("utf-8", "replace").rstrip("\r\n"))
        done = end
    return b"".join((*kept, block[done:]))


def _header(line: bytes, path: Any, table: str) -> tuple[str, ...]:
    text = line.decode("utf-8-sig", "replace").rstrip("\r\n")
    if "\r" in text:
        raise SourceError(f"{path} ends its lines with carriage returns alone: save it with line feeds")
    names = tuple(next(csv.reader([text]), []))
    if twice := [name for name in COLUMNS[table] if names.count(name) > 1]:
        raise SourceError(f"{path} has more than one column {', '.join(twice)}: leave one of each in it")
    if missing := [name for name in COLUMNS[table] if name not in names]:
        raise SourceError(f"{path} lacks the columns {', '.join(missing)}{_why(line)}")
    return names


def _why(header: bytes) -> str:
    """The reason that a header without a single known column suggests, and the remedy."""
    if header.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in header:
        return ": it is UTF-16, save it as UTF-8"
    signs = ("semicolons", b";"), ("tabs", b"\t"), ("bars", b"|")
    other = next((name for name, sign in signs if header.count(sign) > 2), "")  # noqa: PLR2004
    return (
        f": its columns are separated by {other}, save it with commas" if other else ": mend its header or its writer"
    )


class _Chosen:
    """The rows of one day, picked out of blocks: of most of them, only the dates are looked at."""

    def __init__(self, day: date | None, table: str, columns: tuple[str, ...], malformed: list[str]) -> None:
        self._day = day
        self._columns = COLUMNS[table]
        self._header = columns
        self._first: date | None = None
        self._found: list[pa.Table] = []
        self._undated: list[pa.Table] = []
        self._lines = malformed
        self.misquoted: list[str] = []

    def add(self, block: bytes) -> None:
        if not (block := _well_quoted(block, self.misquoted)):
            return
        if self._day is None:
            self._found.append(self._parse(block, self._columns, self._lines))
            return
        dates = self._parse(block, _DATE, self._lines)
        if self._first is None or self._may_concern(dates):
            self._sort_out(self._parse(block, self._columns, []))

    def _parse(self, block: bytes, columns: tuple[str, ...], malformed: list[str]) -> pa.Table:
        def keep(row: arrow_csv.InvalidRow) -> str:
            malformed.append(row.text)
            return "skip"

        if not _is_utf8(block):  # such bytes stand in the row as U+FFFD, which no rule lets pass
            block = block.decode("utf-8", "replace").encode()
        options: dict[str, Any] = {
            "read_options": arrow_csv.ReadOptions(column_names=self._header, block_size=max(len(block), 1)),
            "parse_options": arrow_csv.ParseOptions(invalid_row_handler=keep, newlines_in_values=b'"' in block),
            "convert_options": arrow_csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        }
        return arrow_csv.read_csv(pa.BufferReader(block), **options)

    def _may_concern(self, dates: pa.Table) -> bool:
        """False where no combination of the block's years, months and days is the day, or no date: cheap to know."""
        parts = [pc.unique(dates[name]).to_pylist() for name in _DATE]
        return bool({_date(f"{year}-{month}-{day}") for year, month, day in product(*parts)} & {self._day, None})

    def _sort_out(self, rows: pa.Table) -> None:
        keys = pc.binary_join_element_wise(
            *(pc.fill_null(rows[name], _UNKNOWN) for name in _DATE), pa.scalar("-", pa.string())
        )
        encoded = keys.combine_chunks().dictionary_encode()
        days = [_date(key) for key in encoded.dictionary.to_pylist()]
        self._first = self._first or next((day for day in days if day), None)
        self._pick(rows, encoded, [day == self._day for day in days], self._found)
        if self._first in (None, self._day):
            self._pick(rows, encoded, [day is None for day in days], self._undated)

    @staticmethod
    def _pick(rows: pa.Table, keys: pa.DictionaryArray, wanted: list[bool], into: list[pa.Table]) -> None:
        if any(wanted):
            into.append(rows.filter(pa.array(wanted, pa.bool_()).take(keys.indices)))

    def of_the_day(self, lines: list[str]) -> list[str]:
        """Those of ``lines``, which are no rows, that belong to the day, as far as they can be read."""
        return [line for line in lines if self._day is None or self._owns(line)]

    def _owns(self, line: str) -> bool:
        parts = dict(zip(self._header, (part.strip('"') for part in line.split(",")), strict=False))
        found = _date("-".join(parts.get(name, "?") for name in _DATE))
        return (found or self._first or self._day) == self._day

    def table(self) -> pa.Table:
        undated = self._undated if self._first in (None, self._day) else []
        schema = pa.schema([(name, pa.string()) for name in self._columns])
        found = pa.concat_tables([schema.empty_table(), *self._found, *undated])
        return pa.table(
            {name: found[name] if name in _NA_IS_TEXT else _without_na(found[name]) for name in self._columns}
        )


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_na(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(values, "NA"), pa.scalar(None, pa.string()), values)


@lru_cache(maxsize=4096)
def _date(key: str) -> date | None:
    try:
        year, month, day = key.split("-")
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


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
                stream = stack.enter_context(archive.open(_member(archive, path)))
        except SourceError:
            raise
        except (OSError, zipfile.BadZipFile, IndexError, RuntimeError) as error:  # RuntimeError: encrypted, or unknown
            raise SourceError(f"{path} cannot be opened: {error}; grant access to it, or replace it") from error
        yield stream


def _member(archive: zipfile.ZipFile, path: Any) -> str:
    """The table's file in ``archive``, whatever lies beside it: the one of its name, else the only CSV file."""
    table = path.name.removesuffix(".zip")
    files = [name for name in archive.namelist() if name.endswith(".csv") and not name.startswith("__MACOSX/")]
    named = [name for name in files if name.rpartition("/")[2] == table]
    if len(named or files) != 1:
        inside = ", ".join(archive.namelist()[:10]) or "nothing"
        raise SourceError(f"{path} should hold one {table} and holds {inside}: put the right file in")
    return (named or files)[0]
