"""The record of a watcher: the ledger that it began with, what each round was told, and what its channels were handed.

A folder for its owner only: ``ledger.db`` and ``rounds.jsonl``, one entry a line, named by its first key: ``began``,
``round``, ``handed`` (a message on its way to a channel) and ``paused`` (another watcher has the lease).
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
import structlog
from sqlalchemy import delete, func, insert, select

from observability.contain import count_loss
from observability.errors import ArgumentError, LedgerError
from observability.owner_only_files import make_folder
from observability.watch.ledger import acts, pending_events, schema
from observability.watch.ledger.database import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection

    from observability.watch.decisions import Decisions
    from observability.watch.facts import Fact
    from observability.watch.notify.message import Message

__all__ = ["FOUND", "LEDGER", "Recording", "entries", "newest_message", "open_recording"]

FOUND = ("title", "count", "failed", "details", "log")
"""The fields that a message gains on its way, from the log folder and from Airflow."""
LEDGER, _ROUNDS = "ledger.db", "rounds.jsonl"
_AT_ONCE = 1000


class Recording:
    """Writes a record; where the disk refuses it, it says so once and ends, for the watcher goes on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = -1
        self._name = uuid4().hex
        self._lock = threading.Lock()

    def begin(self, ledger: Ledger, *, asks_airflow: bool) -> None:
        """Copy the ledger, unless the record has one already, and say that a watcher begins."""
        try:
            make_folder(self.folder)
            if not (self.folder / LEDGER).exists():
                _copy(ledger, self.folder / LEDGER)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self.folder / _ROUNDS, flags, 0o600)
            with ledger.transaction() as connection:
                last = newest_message(connection)
        except (OSError, LedgerError) as error:
            self._give_up(error)
        else:
            began = {"began": time.time(), "watcher": self._name, "asks_airflow": asks_airflow, "last_message": last}
            self._write(began)

    def round(self, now: float, decisions: Decisions) -> None:
        """Keep what was decided in a round whose transaction stands."""
        steps = [(name, _plain(name, given)) for name, given in decisions.steps]
        decisions.steps.clear()
        self._write({"round": now, "careful": decisions.careful, "steps": steps})

    def handed(self, channel: str, complete: Callable[[Message], Message], message: Message) -> Message:
        """Complete a message for its channel, and keep it without its one-time links."""
        whole = complete(message)
        said, before = replace(whole, acts=()).as_json(), message.as_json()
        found = {name: said[name] for name in FOUND if said[name] != before[name]}
        self._write({"handed": time.time(), "channel": channel, "found": found, "message": said})
        return whole

    def pause(self) -> None:
        """Say that another watcher decides from now on."""
        self._write({"paused": time.time()})

    def _write(self, entry: dict[str, Any]) -> None:
        with self._lock:
            if self._file < 0:
                return
            line = orjson.dumps(entry) + b"\n"
            try:
                written = os.write(self._file, line)
            except OSError as error:
                self._give_up(error)
                return
            if written < len(line):
                self._give_up(OSError(f"only {written} of {len(line)} bytes of an entry fitted into {self.folder}"))

    def _give_up(self, error: Exception) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        count_loss("watch.record", type(error).__name__)
        said = (
            "the record ends here; free the disk, choose another folder ([watch] record), and start the watcher again"
        )
        structlog.get_logger("contrail.watch").error(said, folder=str(self.folder), reason=str(error))


def open_recording(folder: str) -> Recording | None:
    """The recording into a folder; None for the name of none."""
    return Recording(Path(folder).expanduser()) if folder else None


def entries(folder: Path) -> Iterator[dict[str, Any]]:
    """The entries of a record. Raises :class:`ArgumentError` for a folder that has none."""
    try:
        with (folder / _ROUNDS).open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):  # or the watcher was killed while it wrote
                    yield orjson.loads(line)
    except OSError as error:
        said = f"{folder} is no record of a watcher: {error.strerror}; let one write it by [watch] record"
        raise ArgumentError(said) from error


def newest_message(connection: Connection) -> str:
    """The key of the message that was queued last, wherever it went; "" where there is none."""
    table = schema.outbox
    queued = select(table.c.dedup_key).group_by(table.c.dedup_key)
    last = queued.order_by(func.min(table.c.created).desc(), table.c.dedup_key.desc()).limit(1)
    return connection.execute(last).scalar() or ""


def _plain(name: str, given: Any) -> Any:
    """Return as JSON values that of which a decision was made."""
    if name == "take":
        return [_fact(one) for one in given]
    if name == "rules":
        text, days, links, environment, deeds_s = given
        calendars = {calendar: sorted(day.isoformat() for day in those) for calendar, those in days.items()}
        without = {**asdict(links), "acts": False}
        named = {"links": without, "environment": environment, "deeds_s": deeds_s}
        return {"text": text, "calendars": calendars, **named}
    if name == "graph":
        dag_id, graph = given
        return [dag_id, None if graph is None else {task: sorted(after) for task, after in graph.items()}]
    return None if given == float("inf") else given


def _fact(one: Fact) -> dict[str, Any]:
    return {**one.as_json(), "event": one.event and pending_events.to_json(one.event)}


def _copy(ledger: Ledger, path: Path) -> None:
    """Copy all tables of a ledger, but the key that signs links, into a SQLite file of its own."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    copy = Ledger(f"sqlite:///{fresh}")
    try:
        with ledger.transaction(lock=True) as source, copy.transaction() as target:
            for table in schema.metadata.sorted_tables:
                target.execute(delete(table))
                rows = source.execute(select(table)).mappings()
                while some := rows.fetchmany(_AT_ONCE):
                    target.execute(insert(table), [dict(row) for row in some])
            acts.forget_key(target)
    finally:
        copy.close()
    fresh.rename(path)
