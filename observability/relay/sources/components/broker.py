"""The statistics of a Redis or Valkey that is Celery's broker, and the length of each queue in it.

A queue is a list that has the queue's name, and one more for each priority. Celery's bindings say which queues there
are. They are looked for a part at a time, because results of tasks may stand beside them by the hundred thousand.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from observability.errors import ServerUnavailable
from observability.relay.sources.components.readings import Growth, Sample
from observability.relay.sources.components.resp import Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.relay.sources.components.address import Address

__all__ = ["BrokerReader"]

_TIMEOUT_S = 5.0
_SECTIONS = ("clients", "memory", "stats")
_BINDING = "_kombu.binding."
_SEPARATOR = "\x06\x16"
"""kombu's sign between the parts of a binding, and before a priority."""
_PRIORITIES = (3, 6, 9)
"""kombu's ``priority_steps`` beside 0."""
_OF_CELERY = ("celery.pidbox", "celeryev", "reply.celery.pidbox")
"""Exchanges by which Celery speaks to its workers: they hold no tasks."""
_SCANS, _SCAN_KEYS = 5, 1000
_MOST_QUEUES = 200
_MOST_DIGITS = 20


class BrokerReader:
    """Reads the server of ``address``; its ``extra`` may hold ``global_keyprefix`` (kombu) and ``default_queue``."""

    name = "broker"

    def __init__(self, address: Address, timeout_s: float = _TIMEOUT_S) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._growth = Growth()
        self._cursor = "0"
        self._queues: set[str] = set()
        self._found: set[str] = set()

    def presence(self, *, up: bool) -> list[Sample]:
        """1 while it answers."""
        return [Sample("contrail.broker.up", "gauge", int(up), {})]

    def read(self) -> list[Sample]:
        """Read the server's own statistics and the queues. Raises :class:`ServerUnavailable`."""
        found = self._address()
        options = found.extra
        began = time.monotonic()
        try:
            with closing(Session(found.url, options, self._timeout_s)) as session:
                session.ask(("PING",))
                took_ms = (time.monotonic() - began) * 1000
                return [
                    Sample("contrail.broker.latency_ms", "timer", took_ms, {}),
                    *self._of_server(session.ask(*(("INFO", section) for section in _SECTIONS))),
                    *self._of_queues(session, options),
                ]
        except ServerUnavailable:
            self._address.doubt()
            raise
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise ServerUnavailable(
                f"the broker's answers are not Redis' ({type(error).__name__}); check its address"
            ) from error

    def _of_server(self, sections: list[str]) -> list[Sample]:
        said = dict(line.partition(":")[::2] for section in sections for line in section.splitlines())

        def number(name: str) -> int:
            return int(told) if (told := said.get(name, "")).isdecimal() and len(told) < _MOST_DIGITS else 0

        grown = {
            name: self._growth.of(name, number(name))
            for name in ("evicted_keys", "rejected_connections", "total_commands_processed")
        }
        return [
            Sample("contrail.broker.clients", "gauge", number("connected_clients"), {}),
            Sample("contrail.broker.memory_bytes", "gauge", number("used_memory"), {}),
            Sample("contrail.broker.memory_limit_bytes", "gauge", number("maxmemory"), {}),
            Sample("contrail.broker.evicted_keys", "counter", grown["evicted_keys"], {}),
            Sample("contrail.broker.rejected_connections", "counter", grown["rejected_connections"], {}),
            Sample("contrail.broker.commands", "counter", grown["total_commands_processed"], {}),
        ]

    def _of_queues(self, session: Session, options: Mapping[str, Any]) -> list[Sample]:
        """The messages that wait in each queue, and those that a worker has taken and not acknowledged."""
        prefix = str(options.get("global_keyprefix") or "")
        self._look_for_queues(session, prefix)
        queues = sorted({*self._queues, *self._found, str(options.get("default_queue") or "default")})[:_MOST_QUEUES]
        endings = ("", *(f"{_SEPARATOR}{priority}" for priority in _PRIORITIES))
        asked = [("LLEN", f"{prefix}{queue}{ending}") for queue in queues for ending in endings]
        *lengths, taken = session.ask(*asked, ("HLEN", f"{prefix}unacked"))
        each = len(endings)
        waiting = [sum(lengths[place : place + each]) for place in range(0, len(lengths), each)]
        return [
            *(
                Sample("contrail.queue.length", "gauge", number, {"queue": queue})
                for queue, number in zip(queues, waiting, strict=True)
            ),
            Sample("contrail.queue.unacknowledged", "gauge", taken, {}),
        ]

    def _look_for_queues(self, session: Session, prefix: str) -> None:
        """Go through a part of the keys; what a whole walk has not found is forgotten."""
        for _ in range(_SCANS):
            [[self._cursor, keys]] = session.ask(
                ("SCAN", self._cursor, "MATCH", f"{_escaped(prefix)}{_BINDING}*", "COUNT", _SCAN_KEYS)
            )
            for key in keys:
                exchange = key.removeprefix(f"{prefix}{_BINDING}")
                if exchange not in _OF_CELERY and len(self._found) < _MOST_QUEUES:
                    [members] = session.ask(("SMEMBERS", key))
                    self._found |= {member.rpartition(_SEPARATOR)[2] for member in members[:_MOST_QUEUES]}
            if self._cursor == "0":
                self._queues, self._found = self._found, set()
                return


def _escaped(prefix: str) -> str:
    """The prefix as a pattern of SCAN that means itself."""
    return "".join(f"\\{letter}" if letter in r"*?[]\^-" else letter for letter in prefix)
