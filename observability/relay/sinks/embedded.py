"""The embedded store as a sink: SQLite on this host, nothing to install.

With :meth:`EmbeddedSink.checkpoint` the cursors live in the same database, and a batch is committed
together with the cursor behind it.
"""

from __future__ import annotations

import sqlite3
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import orjson

from observability.catalog import DATASETS, TAGS
from observability.relay.checkpoint import Checkpoint
from observability.relay.folder_id import home_id
from observability.relay.sinks.sink import Batch, Rejected, SendResult, Sink, SinkUnavailable, joined
from observability.store.schema import damaged, open_writer
from observability.store.store import StoreError
from observability.timestamps import iso

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from observability.settings import Settings

__all__ = ["EmbeddedSink", "open_sink"]

_LOGS = ("airflow.task", "airflow.component")
_EVENTS = (DATASETS["etl.event"], DATASETS["contrail.alert"], DATASETS["airflow.audit"])
_RETENTION_EVERY_S = 3600
_MOST_SOURCES = 1000
"""So many logs are remembered by their number; the others are looked up."""
_TAG_FIELDS = frozenset({*TAGS.values(), "metric.tags"})
_NO_VALUE = (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)
"""A document holds what SQLite has no type for: that says nothing about the store."""
_Row = tuple[Any, ...]


class EmbeddedSink(Sink):
    """Writes batches to the SQLite file at ``path``. Raises :class:`SinkUnavailable` while it is locked or full.

    ``reader`` is whose cursors are kept beside the data: relays of several homes may share a store.
    """

    name = "embedded"
    gathers = True

    def __init__(self, path: Path, retention_days: int = 30, *, reader: str = "embedded") -> None:
        self._path = path
        self._reader = reader
        self._retention = timedelta(days=retention_days)
        self._pruned = 0.0
        self._deferred = False
        self._sources: dict[tuple[str, bytes], tuple[int, str]] = {}
        self._series: dict[tuple[str, str], int] = {}
        self._connection: sqlite3.Connection | None = None

    def checkpoint(self) -> Checkpoint:
        """The cursors of this sink; from now on a batch is committed when its cursor is saved."""
        self._deferred = True
        try:
            return Checkpoint(self._open(), self._reader, undone=self._clear)
        except sqlite3.DatabaseError as error:
            raise SinkUnavailable(str(damaged(self._path, error))) from error

    def send(self, batch: Batch) -> SendResult:
        """Store the batch, each document once."""
        return self.send_all([batch])

    def send_all(self, batches: Sequence[Batch]) -> SendResult:
        """Store the batches in one transaction."""
        connection = self._open()
        try:
            if not connection.in_transaction:
                connection.execute("begin immediate")
            answers = [self._store(connection, batch) for batch in batches]
            if not self._deferred:
                connection.execute("commit")
        except _NO_VALUE as error:
            self._forget(connection)
            raise TypeError(f"a document holds what SQLite has no type for: {error}") from error
        except sqlite3.DatabaseError as error:
            self._forget(connection)
            raise SinkUnavailable(str(damaged(self._path, error)), retry_after_s=1.0) from error
        return joined(batches, answers)

    def prune(self) -> None:
        """Once an hour, forget logs and metrics older than the retention, and events by the catalogue's own."""
        if time.monotonic() - self._pruned < _RETENTION_EVERY_S and self._pruned:
            return
        self._pruned = time.monotonic()
        now = datetime.now(timezone.utc)
        connection = self._open()
        try:
            connection.execute("begin immediate")
            for statement in _PRUNE:
                connection.execute(statement, (iso(now - self._retention, "microseconds"),))
            for dataset in _EVENTS:
                kept = timedelta(days=dataset.retention_days)
                connection.execute(
                    "delete from events where dataset = ? and at < ?",
                    (dataset.dataset, iso(now - kept, "microseconds")),
                )
            connection.execute("commit")
        except sqlite3.DatabaseError as error:
            self._forget(connection)
            raise SinkUnavailable(str(damaged(self._path, error)), retry_after_s=1.0) from error
        self._clear()

    def close(self) -> None:
        """Close the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = open_writer(self._path)
            except StoreError as error:
                raise SinkUnavailable(str(error), retry_after_s=1.0) from error
        return self._connection

    def _clear(self) -> None:
        self._sources.clear()
        self._series.clear()

    def _forget(self, connection: sqlite3.Connection) -> None:
        self._clear()
        if connection.in_transaction:
            connection.execute("rollback")

    def _store(self, connection: sqlite3.Connection, batch: Batch) -> SendResult:
        rejected: list[Rejected] = []
        before = connection.total_changes
        extra = 0
        if batch.dataset in _LOGS:
            rows, extra = self._lines(connection, batch, rejected)
            connection.executemany(_INSERT_LINE, rows)
        elif batch.dataset == "airflow.statsd":
            rows = self._samples(connection, batch, rejected)
            extra = connection.total_changes - before
            connection.executemany(_INSERT_METRIC, rows)
        else:
            rows = list(_events(batch, rejected))
            connection.executemany(_INSERT_EVENT, rows)
        stored = connection.total_changes - before - extra
        return SendResult(stored, len(rows) - stored, rejected)

    def _lines(self, connection: sqlite3.Connection, batch: Batch, rejected: list[Rejected]) -> tuple[list[_Row], int]:
        prefix, cut = batch.prefix, len(batch.prefix)
        key = (batch.ids[0].partition(b"-")[0].decode(), prefix)
        changes = connection.total_changes
        source, at = self._sources.get(key) or self._source(connection, key, batch)
        rows: list[_Row] = []
        for index, (identity, document) in enumerate(zip(batch.ids, batch.documents, strict=True)):
            try:
                fields = orjson.loads(document)
            except orjson.JSONDecodeError as error:
                rejected.append(Rejected(index, f"no JSON: {error}"))
                continue
            at = max(at, str(fields.get("@timestamp", "")))
            line = document[cut:] if document.startswith(prefix) else document
            rows.append((source, int(identity.rpartition(b"-")[2]), at, line.decode()))
        if rows:
            connection.execute(
                "update sources set first_at = min(first_at, ?), last_at = max(last_at, ?) where source = ?",
                (rows[0][2], at, source),
            )
        if len(self._sources) >= _MOST_SOURCES:
            self._sources.clear()
        self._sources[key] = (source, at)
        return rows, connection.total_changes - changes

    def _source(self, connection: sqlite3.Connection, key: tuple[str, bytes], batch: Batch) -> tuple[int, str]:
        identity, prefix = key
        found = connection.execute(
            "select source, last_at from sources where identity = ? and prefix = ?", (identity, prefix.decode())
        ).fetchone()
        if found:
            return found[0], found[1]
        about = orjson.loads(prefix[:-1] + b"}") if prefix else orjson.loads(batch.documents[0])
        made = connection.execute(
            "insert into sources values (null, ?, ?, ?, ?, ?, ?, ?, ?, ?, '9', '')",
            (
                identity, batch.dataset, prefix.decode(), *(about.get(f"airflow.{name}") for name in
                ("dag_id", "task_id", "run_id", "try_number", "map_index", "component")),
            ),
        )  # fmt: skip
        return int(made.lastrowid or 0), ""

    def _samples(self, connection: sqlite3.Connection, batch: Batch, rejected: list[Rejected]) -> list[_Row]:
        rows: list[_Row] = []
        for index, fields in _parsed(batch, rejected):
            name, tags = series_of(fields)
            at = str(fields.get("@timestamp", ""))
            series = self._series.get((name, tags))
            if series is None:
                connection.execute("insert or ignore into series values (null, ?, ?, ?)", (name, tags, at))
                series = connection.execute(
                    "select series from series where name = ? and tags = ?", (name, tags)
                ).fetchone()[0]
                self._series[name, tags] = series
            connection.execute("update series set last_at = max(last_at, ?) where series = ?", (at, series))
            rows.append((batch.ids[index].decode(), series, at, batch.documents[index].decode()))
        return rows


def open_sink(settings: Settings) -> EmbeddedSink:
    """The embedded store of these settings."""
    path = settings.store_path
    own = path.parent == settings.home
    reader = EmbeddedSink.name if own else f"{EmbeddedSink.name}:{home_id(settings.home)}"
    return EmbeddedSink(path, settings.store.retention_days, reader=reader)


def series_of(fields: dict[str, Any]) -> tuple[str, str]:
    """Name and tags of a metric document: what makes a series."""
    tags = {key: value for key, value in fields.items() if key in _TAG_FIELDS}
    return str(fields.get("metric.name", "")), orjson.dumps(tags, option=orjson.OPT_SORT_KEYS).decode()


def _parsed(batch: Batch, rejected: list[Rejected]) -> Any:
    for index, document in enumerate(batch.documents):
        try:
            fields = orjson.loads(document)
        except orjson.JSONDecodeError as error:
            rejected.append(Rejected(index, f"no JSON: {error}"))
            continue
        yield index, fields


def _events(batch: Batch, rejected: list[Rejected]) -> Any:
    for index, fields in _parsed(batch, rejected):
        yield (
            batch.ids[index].decode(), batch.dataset, str(fields.get("@timestamp", "")), fields.get("event.action"),
            fields.get("airflow.dag_id"), fields.get("airflow.task_id"), fields.get("airflow.run_id"),
            batch.documents[index].decode(),
        )  # fmt: skip


_INSERT_LINE = "insert into logs (source, position, at, line) values (?, ?, ?, ?) on conflict do nothing"
_INSERT_METRIC = "insert into metrics (id, series, at, document) values (?, ?, ?, ?) on conflict do nothing"
_INSERT_EVENT = (
    "insert into events (id, dataset, at, action, dag_id, task_id, run_id, document)"
    " values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing"
)
_PRUNE = (
    "delete from logs where at < ?",
    "delete from sources where last_at < ? and not exists (select 1 from logs where logs.source = sources.source)",
    "delete from metrics where at < ?",
    "delete from series where last_at < ? and not exists (select 1 from metrics where metrics.series = series.series)",
)
