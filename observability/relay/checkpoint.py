"""The saved offset of each sink in each file, in SQLite: written after the sink has answered.

The embedded store keeps the cursors of its sink in the same database as the data, so that both are
committed together; every other sink has a file of its own. Both survive the death of the process at any
moment. Before a batch is sent its end is noted (``sending``), so that after a crash only what was in the
air is sent as ``resent``; after a power loss, or where the file had to be made anew, everything is.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from observability.errors import SinkUnavailable
from observability.owner_only_files import make_file, make_folder
from observability.relay.sources.files.tail import Cursor
from observability.write_ahead import write_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["VERSION", "Checkpoint", "adopt_checkpoint", "open_checkpoint"]

_SCHEMA = """
create table if not exists contrail_cursors (
  sink text not null, identity text not null, name text not null, offset integer not null, tail blob not null,
  part integer not null, sending integer not null, checksum integer not null, updated real not null,
  primary key (sink, identity)
) without rowid;
create table if not exists contrail_counts (
  sink text not null, stream text not null, result text not null, number integer not null,
  primary key (sink, stream, result)
) without rowid;
create table if not exists contrail_finished (
  sink text not null, identity text not null, stamp integer not null, primary key (sink, identity)
) without rowid;
create table if not exists contrail_latest (
  sink text not null, identity text not null, latest integer not null, primary key (sink, identity)
) without rowid;
create table if not exists contrail_facts (name text primary key, value text not null) without rowid;
"""
_EVERYTHING = 1 << 62
_PASSING = ("full", "I/O error", "locked", "busy", "readonly", "unable to open", "permission")
"""Words of SQLite's errors that say nothing about what is in a file."""
VERSION = 1
"""Version of a checkpoint file; one that a newer Contrail wrote is refused, one without a version is of this one."""


class Checkpoint:
    """The cursors and counts of one sink; used by its thread.

    ``began`` is when the sink was first started here, 0 where that is not known.
    What was saved up to the moment ``distrusted_before`` may lag behind what was stored: the file was made anew,
    or the host lost power. ``undone`` is called after an undo, for a sink that shares the connection.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        sink: str,
        *,
        rebuilt: bool = False,
        undone: Callable[[], None] | None = None,
    ) -> None:
        self._connection = connection
        self._undone = undone
        self._sink = sink
        self._looked_at = ""
        connection.executescript(_SCHEMA)
        boot, known = _boot_id(), self._fact("boot")
        if rebuilt or known not in (None, boot):
            self._note("distrusted_before", repr(time.time()))
        self._note("boot", boot)
        if (began := self._fact("began")) is None:
            began = repr(0.0 if self._has_cursors() else time.time())
            self._note("began", began)
        self.began = _seconds(began)
        self.distrusted_before = _seconds(self._fact("distrusted_before"))

    def cursor(self, identity: str, born: float = 0.0) -> Cursor:
        """The cursor in the file ``identity``, begun at ``born``; at its start where there is none."""
        row = self._connection.execute(
            "select offset, tail, part, sending, checksum, updated, latest"
            " from contrail_cursors left join contrail_latest using (sink, identity) where sink = ? and identity = ?",
            (self._sink, identity),
        ).fetchone()
        if row is None:
            return Cursor(identity, sending=_EVERYTHING if born <= self.distrusted_before else 0)
        found = Cursor(identity, row[0], bytes(row[1]), row[2], row[3])
        if row[4] != _checksum(found):
            return Cursor(identity, sending=_EVERYTHING)
        found = replace(found, latest=row[6] or 0)
        return replace(found, sending=_EVERYTHING) if row[5] <= self.distrusted_before else found

    def sending(self, ends: Iterable[tuple[str, Cursor, int]]) -> None:
        """Note of each file's (name, cursor, end) that what lies between is about to be sent."""
        self._write([(name, replace(cursor, sending=max(end, cursor.sending))) for name, cursor, end in ends])
        self._connection.commit()

    def save(
        self,
        cursors: Iterable[tuple[str, Cursor]],
        counts: Iterable[tuple[str, str, int]] = (),
        finished: Iterable[tuple[str, int]] = (),
    ) -> None:
        """Commit that everything before each file's (name, cursor) is acknowledged.

        ``counts`` are (stream, result, number), ``finished`` is (identity, stamp) of files read to their end.
        """
        self._write(cursors)
        self._connection.executemany(
            "insert into contrail_counts values (?, ?, ?, ?)"
            " on conflict do update set number = number + excluded.number",
            [(self._sink, stream, result, number) for stream, result, number in counts if number],
        )
        self._connection.executemany(
            "insert or replace into contrail_finished values (?, ?, ?)",
            [(self._sink, identity, stamp) for identity, stamp in finished],
        )
        self._connection.commit()

    def finished(self) -> Iterator[int]:
        """The stamps of files that were read to their end, as far as that is to be trusted."""
        for (stamp,) in self._connection.execute(
            "select stamp from contrail_finished join contrail_cursors using (sink, identity)"
            " where sink = ? and updated > ?",
            (self._sink, self.distrusted_before),
        ):
            yield stamp

    def undo(self) -> None:
        """Forget what has not been committed."""
        self._connection.rollback()
        if self._undone is not None:
            self._undone()

    def counts(self) -> dict[tuple[str, str], int]:
        """Count the records so far, by (stream, result)."""
        rows = self._connection.execute(
            "select stream, result, number from contrail_counts where sink = ?", (self._sink,)
        )
        return {(stream, result): number for stream, result, number in rows}

    def forget(self, is_gone: Callable[[str, str], bool], older_than_s: float, most: int = 500) -> bool:
        """Look at ``most`` further cursors, and drop those of files that are gone and did not move for so long.

        ``is_gone`` is asked with identity and name. False when all have been looked at; the next call begins anew.
        """
        rows = self._connection.execute(
            "select identity, name, updated from contrail_cursors where sink = ? and identity > ?"
            " order by identity limit ?",
            (self._sink, self._looked_at, most),
        ).fetchall()
        self._looked_at = rows[-1][0] if len(rows) == most else ""
        before = time.time() - older_than_s
        gone = [
            (self._sink, identity) for identity, name, updated in rows if updated < before and is_gone(identity, name)
        ]
        if gone:
            with self._connection:
                for table in ("contrail_cursors", "contrail_latest", "contrail_finished"):
                    self._connection.executemany(f"delete from {table} where sink = ? and identity = ?", gone)  # noqa: S608 - names of ours
        return bool(self._looked_at)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _fact(self, name: str) -> str | None:
        row = self._connection.execute(
            "select value from contrail_facts where name = ?", (f"{name}:{self._sink}",)
        ).fetchone()
        return None if row is None else str(row[0])

    def _has_cursors(self) -> bool:
        one = "select 1 from contrail_cursors where sink = ? limit 1"
        return self._connection.execute(one, (self._sink,)).fetchone() is not None

    def _note(self, name: str, value: str) -> None:
        with self._connection:
            self._connection.execute(
                "insert or replace into contrail_facts values (?, ?)", (f"{name}:{self._sink}", value)
            )

    def _write(self, cursors: Iterable[tuple[str, Cursor]]) -> None:
        now, cursors = time.time(), list(cursors)
        self._connection.executemany(
            "insert or replace into contrail_cursors values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    self._sink, cursor.identity, name, cursor.offset, cursor.tail,
                    cursor.part, cursor.sending, _checksum(cursor), now,
                )
                for name, cursor in cursors
            ],
        )  # fmt: skip
        # A table of its own: a Contrail that does not know it goes on with these files all the same.
        self._connection.executemany(
            "insert or replace into contrail_latest values (?, ?, ?)",
            [(self._sink, cursor.identity, cursor.latest) for _, cursor in cursors if cursor.latest],
        )


def open_checkpoint(path: Path, sink: str) -> Checkpoint:
    """The checkpoint file of ``sink``; one that is damaged is put aside and made anew, all of it resent.

    One that cannot be used now (full disk, read-only, locked) stays as it is: raises :class:`SinkUnavailable`.
    """
    make_folder(path.parent)
    try:
        if path.exists():
            if (found := _opened(path, sink)) is not None:
                return found
            _set_aside(path)
        return _made(path, sink)
    except sqlite3.OperationalError as error:
        raise SinkUnavailable(_cannot_use(path, error)) from error


def _opened(path: Path, sink: str) -> Checkpoint | None:
    """The checkpoint in a file that is there, None where that is damaged. Raises ``sqlite3.OperationalError``."""
    if not _is_whole(path):
        return None
    connection = None
    try:
        connection = _connect(path)
        _refuse_newer(connection, path)
        tables = connection.execute("select count(*) from sqlite_master where name = 'contrail_cursors'").fetchone()
        if tables != (0,) and connection.execute("pragma quick_check").fetchone() == ("ok",):
            connection.execute(f"pragma user_version = {VERSION}")
            return Checkpoint(connection, sink)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            if connection is not None:
                connection.close()
            raise
    if connection is not None:
        connection.close()
    return None


def _made(path: Path, sink: str) -> Checkpoint:
    """A new checkpoint; beside one that was put aside, everything counts as resent. A half-made file is removed."""
    rebuilt = any(path.parent.glob(f"{path.name}.damaged-*"))
    connection = None
    try:
        connection = _connect(path)
        return Checkpoint(connection, sink, rebuilt=rebuilt)
    except sqlite3.OperationalError:
        if connection is not None:
            connection.close()
        for suffix in ("-wal", "-shm", ""):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        raise


def adopt_checkpoint(path: Path, sink: str, old_path: Path, old_sink: str) -> None:
    """Move what an earlier version kept in ``old_path`` for ``old_sink`` to ``path``, for ``sink``.

    Raises :class:`SinkUnavailable` for a file of a newer Contrail, or one that cannot be written now.
    """
    if path.exists() or not old_path.exists():
        return
    if _is_whole(old_path):
        try:
            _rename_sink(old_path, sink, old_sink)
        except sqlite3.DatabaseError as error:  # one that is damaged is put aside by open_checkpoint
            if not _is_damage(error):
                raise SinkUnavailable(_cannot_use(old_path, error)) from error
    for suffix in ("-wal", "-shm", ""):  # the database last: a move that is cut short is begun again
        with contextlib.suppress(FileNotFoundError):
            Path(f"{old_path}{suffix}").replace(Path(f"{path}{suffix}"))


def _rename_sink(path: Path, sink: str, old_sink: str) -> None:
    with contextlib.closing(_connect(path)) as connection:
        _refuse_newer(connection, path)
        connection.executescript(_SCHEMA)
        with connection:
            for table in ("contrail_cursors", "contrail_counts", "contrail_finished", "contrail_latest"):
                connection.execute(f"update {table} set sink = ? where sink = ?", (sink, old_sink))  # noqa: S608 - names of ours
            renamed = "update or replace contrail_facts set name = replace(name, ?, ?) where name like ?"
            connection.execute(renamed, (f":{old_sink}", f":{sink}", f"%:{old_sink}"))
        connection.execute("pragma wal_checkpoint(truncate)")


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    """Raise :class:`SinkUnavailable` for a file that a newer Contrail wrote: it must not be taken for a damaged one."""
    version = connection.execute("pragma user_version").fetchone()[0]
    if version > VERSION:
        connection.close()
        raise SinkUnavailable(
            f"{path} was written by a newer Contrail (version {version}, this one knows {VERSION}); upgrade Contrail"
        )


def _is_whole(path: Path) -> bool:
    """True if a database without a log beside it is as long as its header says; SQLite reads a cut page as zeros."""
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        return True
    with path.open("rb") as file:
        header = file.read(100)
    size, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    return path.stat().st_size >= (65_536 if size == 1 else size) * pages > 0


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """True if an error says what the file is, False if it says what cannot be done with it now."""
    return not isinstance(error, sqlite3.OperationalError) or not any(sign in str(error) for sign in _PASSING)


def _cannot_use(path: Path, error: sqlite3.DatabaseError) -> str:
    return f"{path} cannot be used: {error}; free space on its disk, or make it writable for the relay"


def _seconds(text: str | None) -> float:
    try:
        return float(text or -1)
    except ValueError:
        return time.time()


def _connect(path: Path) -> sqlite3.Connection:
    make_file(path)
    connection = sqlite3.connect(path, timeout=5, check_same_thread=False)
    try:
        write_ahead(connection)
        connection.execute("pragma synchronous = normal")
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _set_aside(path: Path) -> None:
    path.replace(path.with_name(f"{path.name}.damaged-{int(time.time())}"))
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _checksum(cursor: Cursor) -> int:
    return zlib.crc32(f"{cursor.identity}:{cursor.offset}:{cursor.tail.hex()}:{cursor.part}:{cursor.sending}".encode())


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return "unknown"
