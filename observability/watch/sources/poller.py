"""Ask Airflow's API in threads, one for each question, so that a slow answer delays no decision."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import select

from observability.events import ComponentRecovered, ComponentSilent, Identity
from observability.watch.facts import CERTAIN, Fact, observed
from observability.watch.ledger import schema
from observability.watch.ledger.database import read_cursor, write_cursor
from observability.watch.sources.airflow_api.scene import scene_from
from observability.watch.sources.api import ApiError, ApiUnavailable
from observability.watch.sources.handover import Handover
from observability.watch.sources.starting import STARTS_S
from observability.watch.withdrawals import open_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.engine import Connection

    from observability.settings import Settings
    from observability.watch.sources.reconcile import Reconciler
    from observability.watch.sources.user_actions import OpenRun

__all__ = ["ApiPoller", "KillConfirmer"]

_POLL_S = 0.1
_AGAIN_S, _LONGEST_S = 0.5, 8.0
"""A death that Airflow does not know of yet is asked about again after this, and after twice as long each time."""
_API_PATIENCE_S = 90.0


class ApiPoller(threading.Thread):
    """Looks at everything, again and again; its findings wait to be written down.

    ``within`` the API server it does not call that silent: a busy one leaves its own questions for last.
    """

    def __init__(self, settings: Settings, reconciler: Reconciler, *, within: bool = False) -> None:
        super().__init__(name="reconcile", daemon=True)
        self._within = within
        self._every_s, self._reconciler = settings.watch.reconcile_s, reconciler
        self._over = threading.Event()
        self._handover: Handover[tuple[Any, dict[str, Fact], list[OpenRun]], tuple[list[Fact], dict[str, Any], float]]
        self._handover = Handover()
        self.problem = ""
        self._since = time.monotonic()
        self._heard = self._may_be_starting = False
        self._reported_silent: bool | None = None
        """None: a watcher before this one may have reported it."""
        self._reports_silent: bool | None = None
        self._rested = True
        self.taken_from: float | None = None
        """The time at which the look began whose findings the last :meth:`exchange` gave; None where it gave none."""
        self._waits = False
        """True from a look until the next: a question that is made ready by then does not know of the time between."""

    @property
    def dags(self) -> dict[str, dict[str, Any]]:
        """The owner, tags and file of each known DAG."""
        return self._reconciler.dags

    @property
    def has_found(self) -> bool:
        """True if a look's findings wait to be written down."""
        return self._handover.answer is not None

    def stop(self) -> None:
        """End after the request that is under way."""
        self._over.set()

    def rest(self) -> None:
        """Ask nothing until the next :meth:`settle`, and forget what was found: another watcher has the lease."""
        self._handover.rest()
        self._rested = True
        self._reported_silent = self._reports_silent = None
        self.problem, self._heard = "", False

    def exchange(self, connection: Connection, now: float) -> list[Fact]:
        """The findings whose cursor is written down; they are kept until :meth:`settle`."""
        taken = self._handover.take()
        if taken is not None:
            write_cursor(connection, "reconcile", taken[1])
        self.taken_from = taken[2] if taken is not None else None
        return [*(taken[0] if taken else ()), *self._about_silence(now)]

    def prepare(self, connection: Connection, now: float) -> None:
        """Make ready what the next look begins with."""
        if self._handover.wants_question and not self._waits:
            known = _known_since(connection, now)
            self._handover.prepare((read_cursor(connection, "reconcile"), known, open_runs(connection, now)))

    def settle(self) -> None:
        """The transaction stands: forget what was found, and ask what was made ready."""
        self._handover.settle()
        self._reported_silent = self._reports_silent

    def run(self) -> None:
        """The thread."""
        while not self._over.is_set():
            given = self._handover.next_question()
            if given is None:
                self._over.wait(_POLL_S)
                continue
            self._waits = True
            self._look(*given)
            self._over.wait(self._every_s)
            self._waits = False

    def _look(self, remembered: Any, known: dict[str, Fact], still_open: Sequence[OpenRun] = ()) -> None:
        scene, began = scene_from(remembered), time.time()
        if self._rested:  # an API is silent from when it is asked, however long a standby has waited
            self._since, self._rested = time.monotonic(), False
        try:
            facts = self._reconciler.look(scene, began, known.get, still_open)
        except ApiError as error:
            self.problem, self._may_be_starting = str(error), isinstance(error, ApiUnavailable) and not self._heard
            structlog.get_logger("contrail.watch").warning("Airflow's API did not answer", reason=str(error))
            self._handover.give_up()
            return
        except Exception as error:  # noqa: BLE001 - an answer of a kind that we do not know must not end the thread
            self.problem = f"Airflow's API was not understood: {type(error).__name__}: {error}"
            self._may_be_starting = False
            structlog.get_logger("contrail.watch").exception(self.problem)
            self._handover.give_up()
            return
        self.problem, self._since, self._heard = self._reconciler.problem, time.monotonic(), True
        self._handover.put((facts, asdict(scene), began))

    def _about_silence(self, now: float) -> list[Fact]:
        """An API server that does not answer at all is a silent component; one that answers in part is not."""
        self._reports_silent = self._reported_silent
        patience_s = STARTS_S if self._may_be_starting else _API_PATIENCE_S
        if self.problem and not self._within and time.monotonic() - self._since > patience_s:
            self._reports_silent = True
        elif self._heard and time.monotonic() - self._since <= _API_PATIENCE_S:
            self._reports_silent = False
        if self._reports_silent == self._reported_silent:
            return []
        about = Identity(component="api-server")
        if self._reports_silent:
            return [observed(ComponentSilent(identity=about, reason=self.problem), time=now, certainty=CERTAIN)]
        return [observed(ComponentRecovered(identity=about, reason="it answers again"), time=now)]


class KillConfirmer(threading.Thread):
    """Asks whether a death that was reported is final, in a thread of its own: a whole look would keep people waiting.

    What Airflow answers goes to ``report``; what it cannot tell yet is asked again until it is no longer handed over.
    """

    def __init__(self, reconciler: Reconciler, report: Callable[[Fact], None]) -> None:
        super().__init__(name="confirm", daemon=True)
        self._reconciler, self._report = reconciler, report
        self._over, self._handed = threading.Event(), threading.Event()
        self._unconfirmed: list[Fact] = []
        self._again: dict[str, tuple[float, float]] = {}

    @property
    def is_asking(self) -> bool:
        """True if there was something to ask when it was last handed over."""
        return bool(self._unconfirmed)

    def stop(self) -> None:
        """End after the request that is under way."""
        self._over.set()
        self._handed.set()

    def rest(self) -> None:
        """Ask about nothing until something is handed over again."""
        self._unconfirmed = []

    def hand(self, unconfirmed: list[Fact], dags: dict[str, dict[str, Any]]) -> None:
        """From now on ask about these, and no others; ``dags`` is what is known of their DAGs."""
        self._unconfirmed, self._reconciler.dags = unconfirmed, dags
        if unconfirmed:
            self._handed.set()

    def run(self) -> None:
        """The thread."""
        while not self._over.is_set():
            self._handed.wait()
            self._handed.clear()
            try:
                for fact in self._reconciler.confirm(self._due(self._unconfirmed, time.monotonic())):
                    self._report(fact)
            except ApiError as error:  # the looker says so to people
                structlog.get_logger("contrail.watch").info("not confirmed yet", reason=str(error))
            except Exception:  # noqa: BLE001 - a whole look finds out as well, only later
                structlog.get_logger("contrail.watch").exception("a suspicion could not be asked about")
            self._over.wait(_POLL_S)

    def _due(self, unconfirmed: list[Fact], now: float) -> list[Fact]:
        """Those to ask about now."""
        known = {fact.key: self._again.get(fact.key, (now, _AGAIN_S)) for fact in unconfirmed}
        due = [fact for fact in unconfirmed if known[fact.key][0] <= now]
        waits = {fact.key: known[fact.key][1] for fact in due}
        self._again = known | {key: (now + wait, min(2 * wait, _LONGEST_S)) for key, wait in waits.items()}
        return due


def _known_since(connection: Connection, now: float) -> dict[str, Fact]:
    table = schema.facts
    asked = (
        select(table.c.key, table.c.document).where(table.c.time > now - 900).order_by(table.c.time.desc()).limit(5000)
    )
    return {key: Fact(**document) for key, document in connection.execute(asked)}
