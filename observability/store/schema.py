"""The embedded store's SQLite file: its tables, its version, and how it is opened.

Log lines share their file's prefix, which is kept once in ``sources``; a line's place is (source, position).
``at`` is the line's time, but never before that of the line above it: ordering by (at, source, position)
mixes files by time and keeps each file in the order in which it was written.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from observability.owner_only_files import make_file, make_folder
from observability.store.store import StoreError
from observability.write_ahead import write_ahead

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["VERSION", "damaged", "open_reader", "open_writer"]

VERSION = 1
_READER_CACHE_KIB = 512
"""Each reader's own copy of pages: the system keeps the file in memory for all, and the API server has dozens."""
_BEING_MADE_S = 2.0
"""A reader waits so long for a store that the relay is just making."""

_SCHEMA = """
create table sources (
  source integer primary key, identity text not null, dataset text not null, prefix text not null,
  dag_id text, task_id text, run_id text, try_number integer, map_index integer, component text,
  first_at text not null, last_at text not null, unique (identity, prefix)
);
create index sources_by_attempt on sources (dag_id, run_id, task_id);
create index sources_by_time on sources (last_at);
create table logs (
  seq integer primary key, source integer not null, position integer not null, at text not null, line text not null,
  unique (source, position)
);
create index logs_by_time on logs (at);
create table events (
  seq integer primary key, id text not null unique, dataset text not null, at text not null, action text,
  dag_id text, task_id text, run_id text, document text not null
);
create index events_by_time on events (dataset, at);
create index events_by_dag on events (dataset, dag_id, at);
create index events_by_run on events (dataset, dag_id, run_id, task_id);
create table series (
  series integer primary key, name text not null, tags text not null, last_at text not null, unique (name, tags)
);
create table metrics (
  seq integer primary key, id text not null unique, series integer not null, at text not null, document text not null
);
create index metrics_by_series on metrics (series, at);
create index metrics_by_time on metrics (at);
"""


def open_writer(path: Path, *, patience_s: float = 2.0) -> sqlite3.Connection:
    """The database to write to, made where there is none. Raises :class:`StoreError`."""
    make_folder(path.parent)
    make_file(path)
    try:
        connection = sqlite3.connect(path, timeout=patience_s, check_same_thread=False, isolation_level=None)
        write_ahead(connection)
        connection.execute("pragma synchronous = normal")
        connection.execute("pragma journal_size_limit = 67108864")
        _migrate(connection, path)
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from error
    path.chmod(0o600)
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """The database to read from, while another process writes. Raises :class:`StoreError`."""
    if not path.is_file():
        raise StoreError(
            f"there is no store at {path} yet; start the relay (contrail relay, contrail up) or set [store] path"
        )
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5, check_same_thread=False)
        deadline = time.monotonic() + _BEING_MADE_S
        while (version := connection.execute("pragma user_version").fetchone()[0]) == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        _check(version, path)
        connection.execute(f"pragma cache_size = -{_READER_CACHE_KIB}")
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from error
    return connection


def damaged(path: Path, error: sqlite3.DatabaseError) -> StoreError:
    """Describe an error of SQLite's."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreError(f"{path} is locked by another process; end that process or wait: {text}")
    if "full" in text:
        return StoreError(f"the disk of {path} is full; free space, or lower [store] retention_days")
    if "malformed" in text or "not a database" in text:
        return StoreError(
            f"{path} is damaged ({text}); stop the relay and move it away: what is still on disk is then stored again"
        )
    return StoreError(f"{path}: {text}")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("pragma user_version").fetchone()[0]
    if version == 0:
        connection.execute("begin immediate")
        if connection.execute("pragma user_version").fetchone()[0] == 0:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute(f"pragma user_version = {VERSION}")
        connection.execute("commit")
        return
    _check(version, path)


def _check(version: int, path: Path) -> None:
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer Contrail (schema {version}, this one knows {VERSION}); upgrade Contrail"
        )
    if version == 0:
        raise StoreError(
            f"{path} is not a store of Contrail's, or is just being made; try again, or correct [store] path"
        )
