"""Play the record of a watcher again: the same decisions, from what it was told, at the moments at which it was."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import func, select, update

from observability.watch.decisions import Decisions
from observability.watch.facts import Fact
from observability.watch.ledger import pending_events, schema
from observability.watch.ledger.database import Ledger, write_cursor
from observability.watch.notify.message import Message
from observability.watch.notify.messages import Links
from observability.watch.notify.notifier import enqueue
from observability.watch.recording import LEDGER, entries, newest_message
from observability.watch.rules.config import read_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.engine import Connection

    from observability.watch.rules.config import AlertingConfig

__all__ = ["Replayed", "Said", "replay"]

_UNDER_WAY_S = 60.0
_GONE = {"held", "merged", "suppressed"}


@dataclass(frozen=True, slots=True)
class Said:
    """A message to a channel, without its one-time links; ``at`` is when it was written, in seconds since 1970."""

    channel: str
    at: float
    message: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """Equal for one message, however it reads."""
        return self.channel, str(self.message["dedup_key"])

    @property
    def about(self) -> tuple[str, str, str]:
        """Equal for messages that say the same of one incident, whenever they are sent."""
        return self.channel, str(self.message["kind"]), str(self.message["incident_id"])

    @property
    def as_bytes(self) -> bytes:
        """The message as a channel writes it."""
        return orjson.dumps(self.message)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The messages that a watcher sent and those of its replay, by time; ``gaps`` says what may make them differ."""

    sent: tuple[Said, ...]
    again: tuple[Said, ...]
    gaps: tuple[str, ...]

    @property
    def same(self) -> int:
        """The number of messages that are the same byte for byte."""
        again = {one.key: one.as_bytes for one in self.again}
        return sum(again.get(one.key) == one.as_bytes for one in self.sent)

    @property
    def differing(self) -> list[tuple[Said | None, Said | None]]:
        """Each message that differs, as it was sent and as it is sent again; None where it is not."""
        sent, again = ({one.key: one for one in those} for those in (self.sent, self.again))
        pairs = [(sent.get(key), again.get(key)) for key in dict.fromkeys((*sent, *again))]
        return [(was, now) for was, now in pairs if was is None or now is None or was.as_bytes != now.as_bytes]


def replay(folder: Path, rules: AlertingConfig | None = None) -> Replayed:
    """Play the record in ``folder`` again, under the rules of then or under ``rules``.

    Raises :class:`observability.errors.ArgumentError` where there is none.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if (folder / LEDGER).exists():
            shutil.copy(folder / LEDGER, scratch)
        ledger = Ledger(f"sqlite:///{Path(scratch, LEDGER)}")
        try:
            return _Player(ledger, rules).play(folder)
        finally:
            ledger.close()


class _Player:
    """Plays entries one by one, on a ledger of its own."""

    def __init__(self, ledger: Ledger, rules: AlertingConfig | None) -> None:
        self._ledger, self._rules = ledger, rules
        self._sent: dict[tuple[str, str], Said] = {}
        self._gaps: list[str] = []
        self._decisions: Decisions
        self._watcher = ""
        self._graphs = _Graphs()
        self._dags: Mapping[str, Any] = {}
        self._first = 0
        self._now = 0.0

    def play(self, folder: Path) -> Replayed:
        with self._ledger.transaction() as connection:
            self._first = connection.execute(select(func.max(schema.outbox.c.id))).scalar() or 0
        for entry in entries(folder):
            if "round" in entry:
                self._now = entry["round"]
                with self._ledger.transaction() as connection:
                    self._round(connection, entry)
            elif "handed" in entry:
                self._hand(entry)
            elif "began" in entry:
                self._begin(entry)
            elif "paused" in entry:
                self._gaps.append("another watcher had the lease for a time, and is not in this record")
        with self._ledger.transaction() as connection:
            return Replayed(tuple(self._sent.values()), tuple(self._again(connection)), tuple(self._gaps))

    def _begin(self, entry: Mapping[str, Any]) -> None:
        if entry["watcher"] != self._watcher:  # else it has its lease again, and what it had in mind
            self._watcher, self._graphs = entry["watcher"], _Graphs()
            self._decisions = Decisions(self._graphs if entry["asks_airflow"] else None)
        with self._ledger.transaction() as connection:
            if self._rules is None and newest_message(connection) != entry["last_message"]:
                self._gaps.append(
                    "messages were queued that are not in this record: a watcher ran without it for a time"
                )

    def _round(self, connection: Connection, entry: Mapping[str, Any]) -> None:
        now, decisions = self._now, self._decisions
        decisions.careful = entry["careful"]
        hear: dict[str, Callable[[Any], None]] = {"graph": self._know_graph, "rules": self._adopt}
        make: dict[str, Callable[[Connection, Any], None]] = {
            "shift": decisions.shift,
            "take": self._take,
            "elapse": self._elapse,
            "deeds": partial(decisions.read_deeds, now=now),
            "check": self._check,
        }
        by_themselves = {"quiet": decisions.quiet, "canary": decisions.send_canary}
        for name, heard in sorted(entry["steps"], key=lambda step: step[0] != "graph"):  # known before it is asked for
            if name in hear:
                hear[name](heard)
            elif name in by_themselves:
                by_themselves[name](connection, now)
            elif name == "dags":
                self._dags = heard
                write_cursor(connection, "reconcile", {"dags": heard})
            else:
                make[name](connection, heard)

    def _take(self, connection: Connection, heard: list[dict[str, Any]]) -> None:
        self._decisions.take(connection, [_fact(one) for one in heard], self._now)

    def _elapse(self, connection: Connection, heard: float | None) -> None:
        self._decisions.elapse(connection, self._now, inf if heard is None else heard)

    def _check(self, connection: Connection, heard: Mapping[str, bool]) -> None:
        self._decisions.check(connection, self._now, self._dags, **heard)

    def _know_graph(self, heard: tuple[str, dict[str, list[str]] | None]) -> None:
        dag_id, graph = heard
        self._graphs.known[dag_id] = None if graph is None else {task: set(after) for task, after in graph.items()}

    def _adopt(self, heard: Mapping[str, Any]) -> None:
        kept = {name: frozenset(map(date.fromisoformat, days)) for name, days in heard["calendars"].items()}
        rules = self._rules or read_rules(heard["text"], "the rules of the record", None, kept)[0]
        self._decisions.adopt(rules, Links(**heard["links"]), heard["environment"], deeds_s=heard["deeds_s"])

    def _hand(self, entry: Mapping[str, Any]) -> None:
        """Give the message what it gained on its way, and mark it as sent."""
        one = Said(entry["channel"], entry["handed"], entry["message"])
        table = schema.outbox
        alike = select(table.c.id, table.c.channel, table.c.message).where(
            table.c.dedup_key == one.message["dedup_key"]
        )
        with self._ledger.transaction() as connection:
            rows = {row[1]: row for row in connection.execute(alike)}
            if one.channel in rows and rows[one.channel][0] <= self._first:
                return  # it waited before the record began
            self._sent[one.key] = one
            if not rows:
                return
            number, _, row = rows.get(one.channel) or next(iter(rows.values()))
            said = Message.from_json(row)
            if one.channel not in rows:  # another channel failed, and this one stands in for it
                number = enqueue(connection, one.channel, said, entry["handed"])
            whole = {**said.as_json(), **entry["found"]}
            connection.execute(update(table).where(table.c.id == number).values(state="sent", message=whole))

    def _again(self, connection: Connection) -> list[Said]:
        """Return the messages of the replay, without what may still have been on its way when the record ended."""
        table = schema.outbox
        columns = (table.c.channel, table.c.created, table.c.message, table.c.state)
        rows = connection.execute(select(*columns).where(table.c.id > self._first).order_by(table.c.id)).all()
        under_way = 0.0 if self._rules is not None else _UNDER_WAY_S
        return [
            Said(channel, created, replace(Message.from_json(said), acts=()).as_json())
            for channel, created, said, state in rows
            if state not in _GONE and (state == "sent" or created <= self._now - under_way)
        ]


class _Graphs:
    """The graphs of DAGs, as Airflow had answered."""

    def __init__(self) -> None:
        self.known: dict[str, Mapping[str, set[str]] | None] = {}

    def graph_of(self, dag_id: str) -> tuple[bool, Mapping[str, set[str]] | None]:
        return dag_id in self.known, self.known.get(dag_id)


def _fact(heard: dict[str, Any]) -> Fact:
    event = heard.pop("event")
    return Fact(**heard, event=event and pending_events.from_json(event))
