"""Reading the embedded store: any number of processes may, while the relay writes."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import astuple, replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from observability.events import list_fields
from observability.store.embedded_tables import add_percentiles, midnight_before, statement, table_of
from observability.store.following import Known, arriving
from observability.store.past_days import PastDays
from observability.store.schema import damaged, open_reader
from observability.store.tables import merged
from observability.store.tallies import MOST_ROWS, check_rows
from observability.timestamps import iso

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from observability.events import Document
    from observability.settings import Settings
    from observability.store.questions import Ask, Position, Query, Table

__all__ = ["EmbeddedStore", "open_store"]

_LOGS = ("airflow.task", "airflow.component")
_COLUMNS = {
    "logs": {
        "airflow.dag_id": "s.dag_id", "airflow.task_id": "s.task_id", "airflow.run_id": "s.run_id",
        "airflow.try_number": "s.try_number", "airflow.map_index": "s.map_index", "airflow.component": "s.component",
    },
    "events": {
        "event.action": "r.action", "event.id": "r.id",
        "airflow.dag_id": "r.dag_id", "airflow.task_id": "r.task_id", "airflow.run_id": "r.run_id",
    },
    "metrics": {"metric.name": "s.name"},
}  # fmt: skip
_ALIASES = {"log.level": "level", "message": "event", "log.logger": "logger"}
"""ECS names of what a log line calls by Airflow's names."""
_FROM = {
    "logs": ("logs r join sources s using (source)", "s.prefix || r.line", "r.at, r.source, r.position"),
    "events": ("events r", "r.document", "r.at, r.seq"),
    "metrics": ("metrics r join series s using (series)", "r.document", "r.at, r.seq"),
}
_IDENTITY = {"logs": "s.identity || '-' || r.position", "events": "r.id", "metrics": "r.id"}
_PAGE = 2000
_REUSED = 64
"""The highest numbers may be given again, when the documents that had them were past their retention."""
_past_days = PastDays()


class EmbeddedStore:
    """The SQLite file at ``path``; opened at the first question. Raises :class:`StoreError`.

    Any thread may close it while another reads; what was being read ends with a ``StoreError``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._held = threading.RLock()  # sqlite3 crashes the process when a connection closes under a running step
        self._file = 0

    def documents(self, query: Query) -> Iterator[Document]:
        """The matching documents, streamed, oldest first."""
        for _, document in self._rows(query, after=None):
            yield document

    def follow(self, query: Query, *, poll_s: float = 0.5) -> Iterator[Document]:
        """The matching documents, and those that arrive later, until the caller stops.

        Another file at the same path is read from its beginning; of what it holds, only what was not given is given.
        """
        began = datetime.now(timezone.utc)
        seen = self._newest(query)
        known = Known()
        recent = [key for key, _, _ in self._arrived(query, max(seen - _REUSED, 0), seen)]
        for key, document in self._rows(query, after=(0, seen)):
            known.is_new(key)
            yield document
        for key in recent:
            known.is_new(key)  # those that the limit left out

        def read() -> Iterator[Document]:
            nonlocal query, seen
            if self._is_replaced():
                self.close()
                seen = 0
                if query.limit is not None and (query.since is None or query.since < began):
                    query = replace(query, since=began)  # the history was not wanted
            upto = self._newest(query)
            for key, seq, document in self._arrived(query, max(min(seen, upto) - _REUSED, 0), upto):
                if known.is_new(key):
                    yield document
                seen = max(seen, seq)
            seen = upto

        yield from arriving(read, poll_s)

    def arrivals(self, query: Query, position: Position) -> Iterator[Document]:
        """The matching documents in the order in which they arrived, after ``position``, which moves with them."""
        upto = self._newest(query) if self._path.is_file() else 0
        seen = int(position.get("seq", 0))
        if seen > upto:  # another store stands where the one was that was read
            seen = 0
        if upto > seen:
            table, where, values = self._where(query, (seen, upto))
            source, document, _ = _FROM[table]
            sql = f"select r.seq, {document} from {source} where {where} order by r.seq"  # noqa: S608
            for seq, text in self._stream(sql, values):
                position["seq"] = seq
                yield _load(text)
        position["seq"] = upto

    def count(self, query: Query, by: str | None = None) -> dict[str, int]:
        """Count the matches by the value of the field ``by``; under ``""`` where none is given."""
        table, where, values = self._where(query, None)
        source, document, _ = _FROM[table]
        key = "''" if by is None else f"coalesce({_field(table, document, by)}, '')"
        rows = self._all(f"select {key}, count(*) from {source} where {where} group by 1 order by 1", values)  # noqa: S608
        if by is None and not rows:
            return {"": 0}
        return {
            name: number for (name,), (number,) in merged({(str(name),): (number,) for name, number in rows}).items()
        }

    def table(self, ask: Ask) -> Table:
        """One number for each combination of fields and stretch of time."""
        found: Table = {}
        kinds: dict[str, list[str]] = {}
        for dataset in ask.datasets:
            kinds.setdefault(_table(dataset), []).append(dataset)
        for kind, datasets in kinds.items():
            today = midnight_before(ask) if kind == "events" else None
            if today is not None:
                found |= self._past(replace(ask, until=today), datasets)
            found |= self._table(kind, datasets, ask if today is None else replace(ask, since=today))
        check_rows(len(found), f"{self._path} cannot answer")
        return found

    def series(self) -> int:
        """Count the metric series (name and tags) that the store holds."""
        return int(self._all("select count(*) from series", [])[0][0])

    def health(self) -> str | None:
        """None when the store answers, else what is wrong with it and the remedy."""
        from observability.store.store import StoreError

        try:
            self._all("select count(*) from sources", [])
        except StoreError as error:
            return str(error)
        return None

    def close(self) -> None:
        """Close the database; the next question opens it again."""
        with self._held:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _past(self, ask: Ask, datasets: list[str]) -> Table:
        """The table of events on days that are over: counted again only where one of their events came or went."""
        period, values = self._period("events", datasets, ask.since, ask.until)
        sql = f"select count(*), min(r.at), max(r.seq), total(r.seq) from events r where {period}"  # noqa: S608
        mark = self._all(sql, values)
        question = (str(self._path), self._file, *astuple(replace(ask, where=tuple(ask.where.items()))))  # type: ignore[arg-type]
        return _past_days.table(question, mark, lambda: self._table("events", datasets, ask))

    def _table(self, kind: str, datasets: list[str], ask: Ask) -> Table:
        """The table of the datasets that are of one kind."""
        source, document, _ = _FROM[kind]
        places = partial(_field, kind, document), partial(_holds, kind, document)
        columns, conditions, values = statement(ask, document, *places)
        period, limits = self._period(kind, datasets, ask.since, ask.until)
        grouped = ", ".join(str(number + 1) for number in range(bool(ask.bucket_s) + len(ask.by)))
        sql = f"select {columns} from {source} where {' and '.join(filter(None, (period, conditions)))}"  # noqa: S608
        limit = f" limit {MOST_ROWS + 1}"
        rows = self._all(sql + (f" group by {grouped}" if grouped else "") + limit, [*limits, *values])
        check_rows(len(rows), f"{self._path} cannot answer")
        return table_of(rows, ask)

    def _arrived(self, query: Query, after: int, upto: int) -> Iterator[tuple[str, int, Document]]:
        """Identity, number and document of what matches, in the order of arrival."""
        table, where, values = self._where(query, (after, upto))
        source, document, _ = _FROM[table]
        sql = f"select {_IDENTITY[table]}, r.seq, {document} from {source} where {where} order by r.seq"  # noqa: S608
        yield from ((str(key), seq, _load(text)) for key, seq, text in self._stream(sql, values))

    def _rows(self, query: Query, after: tuple[int, int] | None) -> Iterator[tuple[str, Document]]:
        """Identity and document of what matches, oldest first."""
        table, where, values = self._where(query, after)
        if table == "logs" and not self._all(*_some_source(query)):
            return  # else SQLite looks through the lines of all other logs
        source, document, order = _FROM[table]
        limit = "" if query.limit is None else f" limit {int(query.limit)}"
        if query.newest and query.limit is not None:
            order = ", ".join(f"{part} desc" for part in order.split(", "))
        sql = f"select {_IDENTITY[table]}, {document} from {source} where {where} order by {order}{limit}"  # noqa: S608
        if query.newest and query.limit is not None:
            yield from ((str(key), _load(text)) for key, text in reversed(self._all(sql, values)))
            return
        yield from ((str(key), _load(text)) for key, text in self._stream(sql, values))

    def _stream(self, sql: str, values: list[Any]) -> Iterator[Any]:
        """The rows, a page at a time."""
        try:
            with self._held:
                rows = self._connect().execute(sql, values)
                page = rows.fetchmany(_PAGE)
            while page:
                yield from page
                with self._held:
                    page = rows.fetchmany(_PAGE)
        except sqlite3.DatabaseError as error:
            raise damaged(self._path, error) from error

    def _newest(self, query: Query) -> int:
        return int(self._all(f"select coalesce(max(seq), 0) from {_table(query.dataset)}", [])[0][0])  # noqa: S608

    def _where(self, query: Query, after: tuple[int, int] | None) -> tuple[str, str, list[Any]]:
        table = _table(query.dataset)
        document = _FROM[table][1]
        parts: list[str] = []
        values: list[Any] = []
        if table != "metrics":
            parts.append("s.dataset = ?" if table == "logs" else "r.dataset = ?")
            values.append(query.dataset)
        for field, wanted in query.where.items():
            several = wanted if isinstance(wanted, tuple) else (wanted,)
            parts.append(_holds(table, document, field, len(several)))
            values.extend(several)
        for moment, sign in ((query.since, ">="), (query.until, "<")):
            if moment is not None:
                parts.append(f"r.at {sign} ?")
                values.append(iso(moment, "microseconds"))
        if query.since is not None and table == "logs":
            parts.append("s.last_at >= ?")
            values.append(iso(query.since, "microseconds"))
        if after is not None:
            parts.append("r.seq > ? and r.seq <= ?")
            values.extend(after)
        return table, " and ".join(parts) or "1", values

    @staticmethod
    def _period(kind: str, datasets: list[str], since: datetime, until: datetime) -> tuple[str, list[Any]]:
        parts = ["r.at >= ?", "r.at < ?"]
        values: list[Any] = [iso(since, "microseconds"), iso(until, "microseconds")]
        if kind != "metrics":
            named = "s.dataset" if kind == "logs" else "r.dataset"
            parts.append(f"{named} in ({', '.join('?' * len(datasets))})")
            values += datasets
        if kind == "logs":
            parts.append("s.last_at >= ?")
            values.append(iso(since, "microseconds"))
        return " and ".join(parts), values

    def _all(self, sql: str, values: list[Any]) -> list[Any]:
        try:
            with self._held:
                return self._connect().execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise damaged(self._path, error) from error

    def _is_replaced(self) -> bool:
        """Tell whether another file is at the path than the one that is open."""
        try:
            return self._path.stat().st_ino != self._file
        except FileNotFoundError:
            return False

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            self._file = self._path.stat().st_ino if self._path.is_file() else 0
            self._connection = open_reader(self._path)
            add_percentiles(self._connection)
        return self._connection


def open_store(settings: Settings) -> EmbeddedStore:
    """The embedded store of these settings."""
    return EmbeddedStore(settings.store_path)


def _table(dataset: str) -> str:
    return "logs" if dataset in _LOGS else "metrics" if dataset == "airflow.statsd" else "events"


def _field(table: str, document: str, name: str) -> str:
    return _COLUMNS[table].get(name) or f"json_extract({document}, '{_path(table, name)}')"


def _holds(table: str, document: str, name: str, number: int) -> str:
    """The condition that a field has one of ``number`` values; of a list that a member of it is one."""
    marks = ", ".join("?" * number)
    if table == "events" and name in list_fields():
        members = f"json_each({document}, '{_path(table, name)}')"
        return f"exists (select 1 from {members} one where one.value in ({marks}))"  # noqa: S608
    return f"{_field(table, document, name)} in ({marks})"


def _path(table: str, name: str) -> str:
    name = _ALIASES.get(name, name) if table == "logs" else name
    return '$."' + name.replace('"', "").replace("'", "") + '"'


def _some_source(query: Query) -> tuple[str, list[Any]]:
    """The question for one log of those that a query is about, with its values."""
    parts: list[str] = ["dataset = ?"]
    values: list[Any] = [query.dataset]
    for field, wanted in query.where.items():
        if column := _COLUMNS["logs"].get(field):
            several = wanted if isinstance(wanted, tuple) else (wanted,)
            parts.append(f"{column.removeprefix('s.')} in ({', '.join('?' * len(several))})")
            values.extend(several)
    if query.since is not None:
        parts.append("last_at >= ?")
        values.append(iso(query.since, "microseconds"))
    return f"select 1 from sources where {' and '.join(parts)} limit 1", values  # noqa: S608


def _load(text: str) -> Document:
    try:
        document: Document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = json.loads(text)
    return document
