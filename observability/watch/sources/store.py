"""The store as a source: events that were written on other hosts, once their relays have delivered them.

A watcher beside the workers reads the same events in the journal, sooner. One that has a host of its own has no
other way to hear of rows, drifted schemas, tasks that began, or what the API server wrote down. Events are read by
order of arrival, so that a relay that was down for an hour is heard all the same; `watch/ledger/seen_events.py`
leaves out what the journal gave already.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from observability.contain import count_loss
from observability.credentials import CredentialsError
from observability.store.store import Query, StoreError
from observability.watch.facts import CERTAIN, Fact, from_document, is_of_a_watcher
from observability.watch.ledger.database import read_cursor, write_cursor
from observability.watch.sources.handover import Handover
from observability.watch.sources.relays import RelayHosts
from observability.watch.sources.starting import STARTS_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

    from observability.events import Document
    from observability.store.store import Position, Store

__all__ = ["LATEST_S", "StoreSource"]

LATEST_S = 86_400.0
"""An event that arrives later than this after it happened is history."""
_CURSOR = "store"
_DATASETS = ("etl.event", "contrail.alert")
_RELAYS = "relays"
"""The name under which the state of the relays is kept, beside the positions of the datasets."""
_POLL_S = 1.0
_AGAIN_S = 5.0
"""A store that does not answer is asked again after so long."""
_FIRST_S = 2.0
"""The first round of a watcher waits so long for the store's first answer: nothing is late that was only not read."""
_BLIND_S = 30.0
"""A store that has not answered so long after the start is not waited for by what needs no other host."""
_ELSEWHERE = "elsewhere"
_MOST = 2000
_PATIENCE_S = 90.0

_Reading = tuple[list[Fact], dict[str, "Position"]]


class StoreSource(threading.Thread):
    """Reads in a thread of its own, so that a slow store delays no fact that is known here.

    ``problem`` says why the store cannot be read; "" while it can.
    """

    def __init__(self, connect: Callable[[], Store]) -> None:
        super().__init__(name="store", daemon=True)
        self._connect = connect
        self._store: Store | None = None
        self._relays = RelayHosts()
        self._over, self._answered = threading.Event(), threading.Event()
        self._wanted = threading.Event()
        self._handover: Handover[dict[str, Position], _Reading] = Handover()
        self.problem = ""
        self._since = time.monotonic()
        self._begun = self._elsewhere = self._heard = False
        self._reported_silent = self._reports_silent = False

    @property
    def has_found(self) -> bool:
        """True if facts wait to be taken."""
        answer = self._handover.answer
        return answer is not None and bool(answer[0])

    @property
    def is_blind(self) -> bool:
        """True if something may have happened on another host that cannot be known here now."""
        if not self._answered.is_set() or (self.problem and not self._elsewhere):
            return time.monotonic() - self._since < _BLIND_S
        return bool(self.problem)

    def stop(self) -> None:
        """End after the question that is under way."""
        self._over.set()
        self._wanted.set()

    def rest(self) -> None:
        """Read nothing until the next :meth:`exchange`, which begins where the watcher that has the lease came to."""
        self._handover.rest()
        self._begun = False
        self._answered.clear()

    def exchange(self, connection: Connection, now: float) -> list[Fact]:
        """Facts that arrived, oldest first; how far was read is written down. They are kept until :meth:`settle`."""
        if not self._begun:
            self._begin(connection)
            self._begun = True
        taken = self._handover.take()
        if taken is not None:
            write_cursor(connection, _CURSOR, taken[1])
        if self._handover.wants_question:
            self._handover.prepare(taken[1] if taken else read_cursor(connection, _CURSOR) or {})
        facts = taken[0] if taken else []
        return [*sorted(facts, key=lambda fact: fact.time), *self._about_silence(now)]

    def tells_news(self, connection: Connection) -> None:
        """Remember that the store gave what the journal here did not: there are other hosts."""
        if not self._elsewhere:
            self._elsewhere = True
            write_cursor(connection, _ELSEWHERE, True)

    def settle(self) -> None:
        """The transaction stands: forget what was taken, and read on."""
        self._handover.settle()
        self._reported_silent = self._reports_silent
        self._wanted.set()

    def run(self) -> None:
        """The thread."""
        while not self._over.is_set():
            self._wanted.wait()
            self._wanted.clear()
            given = self._handover.next_question()
            if given is not None:
                self._over.wait(self._look(given))
        if self._store is not None:
            self._store.close()

    def _begin(self, connection: Connection) -> None:
        """Ask for the first time, and wait a little for the answer: nothing is late that was only not read yet."""
        self._elsewhere, self._since = bool(read_cursor(connection, _ELSEWHERE)), time.monotonic()
        self._handover.ask(read_cursor(connection, _CURSOR) or {})
        if not self.is_alive() and not self._over.is_set():
            self.start()
        self._wanted.set()
        self._answered.wait(_FIRST_S)

    def _look(self, given: dict[str, Position]) -> float:
        """Read once; seconds to rest."""
        log = structlog.get_logger("contrail.watch")
        try:
            found = self._read(given)
        except (StoreError, CredentialsError) as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001 - an answer of a kind that we do not know must not end the thread
            trouble = f"its answer was not understood: {type(error).__name__}: {error}"
        else:
            if self.problem:
                log.info("the store answers again")
            self.problem, self._since, self._heard = "", time.monotonic(), True
            self._handover.put(found)
            self._answered.set()
            return 0.0 if len(found[0]) >= _MOST else _POLL_S
        if not self.problem:
            log.warning("the store cannot be read; what other hosts wrote is heard later", reason=trouble)
        self.problem = trouble
        self._handover.put_back(given)
        self._answered.set()  # the first round waits no longer
        self._wanted.set()
        return _AGAIN_S

    def _read(self, given: dict[str, Position]) -> _Reading:
        """Facts that arrived after ``given``, and how far that is."""
        if self._store is None:
            self._store = self._connect()
        since = datetime.now(timezone.utc) - timedelta(seconds=LATEST_S)
        positions = orjson.loads(orjson.dumps(given))
        facts: list[Fact] = []
        for dataset in _DATASETS:
            position = positions.setdefault(dataset, {})
            for document in self._store.arrivals(Query(dataset, since=since), position):
                if (fact := _fact(document)) is not None:
                    facts.append(fact)
                if len(facts) >= _MOST:
                    break
        facts += self._relays.look(self._store, positions.setdefault(_RELAYS, {}))
        return facts, positions

    def _about_silence(self, now: float) -> list[Fact]:
        """A store that cannot be read for long is a silent component: what other hosts wrote is not known here."""
        patience_s = _PATIENCE_S if self._heard else STARTS_S
        self._reports_silent = bool(self.problem) and (
            self._reported_silent or time.monotonic() - self._since > patience_s
        )
        if self._reports_silent == self._reported_silent:
            return []
        known = Fact(
            kind="component", status="resolved", time=now, cause="platform", reason="it answers again",
            severity="error", certainty=CERTAIN, subject="store",
        )  # fmt: skip
        if not self._reports_silent:
            return [known]
        reason = f"it cannot be read, so what other hosts wrote is not heard: {self.problem}"
        return [replace(known, status="firing", reason=reason)]


def _fact(document: Document) -> Fact | None:
    """The fact, without what a watcher itself decided: that stands in the ledger already."""
    try:
        cleaned: dict[str, Any] = orjson.loads(orjson.dumps(document).replace(rb"\u0000", b""))
        return None if is_of_a_watcher(cleaned) else from_document(cleaned)
    except (KeyError, TypeError, ValueError) as error:
        count_loss("watch.store", type(error).__name__)
        return None
