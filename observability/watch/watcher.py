"""The watcher: sources in, incidents in the ledger, workers out. One loop decides; nothing else writes incidents."""

from __future__ import annotations

import queue
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import structlog

from observability.emit import emit
from observability.events import RulesAccepted, RulesRejected
from observability.store import open_store
from observability.store.cluster import open_cluster
from observability.watch import gauges
from observability.watch.dag_graphs import DagGraphs
from observability.watch.decisions import Decisions
from observability.watch.facts import observed
from observability.watch.heartbeat import Heartbeat
from observability.watch.history_import import AS_GUEST, HistoryReader
from observability.watch.ledger import acts, pending_events, records
from observability.watch.ledger.database import LedgerUnavailable, read_cursor, write_cursor
from observability.watch.ledger.lease import Lease
from observability.watch.ledger.seen_events import SeenEvents
from observability.watch.notify.messages import Links
from observability.watch.notify.outbox import ChannelWorker, fallback_for, requeue
from observability.watch.notify.task_context import TaskContext
from observability.watch.recording import open_recording
from observability.watch.rules.in_force import keep_rules
from observability.watch.sources.audit import AuditReader
from observability.watch.sources.executor_log import scheduler_lines
from observability.watch.sources.journal import JournalSource
from observability.watch.sources.kibana import KibanaSource
from observability.watch.sources.poller import ApiPoller, KillConfirmer
from observability.watch.sources.reconcile import Reconciler
from observability.watch.sources.store import LATEST_S, StoreSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from sqlalchemy.engine import Connection

    from observability.settings import Settings
    from observability.watch.engine import IncidentEngine
    from observability.watch.facts import Fact
    from observability.watch.ledger.database import Ledger
    from observability.watch.notify.channels.channel import Contacts
    from observability.watch.notify.message import Message
    from observability.watch.rules.loader import RulesFile
    from observability.watch.sources.api import AirflowApi

__all__ = ["Watcher"]

_POLL_S = 0.1
_STANDBY_S = 1.0
_KEEP_LEASE_S, _KEEP_LEASE_OF_A_GUEST_S = 1.0, 3.0
"""A round without news, which also looks at deadlines; one of a guest takes time from the requests of people."""
_LEDGER_WAIT_S = 1.0
_RULES_S = 2.0
_GAUGES_S = 5.0
_HOUR_S = 3600.0
_REST = 4.0
"""A look at the deadlines that takes a second is followed by this many of everything else."""
_KEEP_S = 90 * 86_400.0
_JUMP_S = 10.0
_SLOW_OF_A_GUEST_S = 30.0
"""So rarely Airflow is asked about what changes slowly: in its own process each question holds up those of people."""
_READ_S = 30.0
"""A run that is well waits no longer for a reading of Airflow's event log, which says who had it run again."""
_LOOKBACK_S = 300.0
"""A watcher that is new to an Airflow tells of what happened this long before it came."""
_CONTEXT_S = 3.0


class Watcher:
    """Runs until :meth:`stop`. ``api`` None: there is no Airflow to ask, the journal is the only source.

    ``stands_in`` is for the one in Airflow's API server, which a `contrail watch` on the same ledger relieves.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        settings: Settings,
        ledger: Ledger,
        rules: RulesFile,
        contacts: Contacts,
        *,
        api: AirflowApi | None,
        stands_in: bool = False,
    ) -> None:
        self._settings, self._ledger, self._rules, self._contacts = settings, ledger, rules, contacts
        self._api = api
        self._lease = Lease(ledger, stands_in=stands_in)
        self._pace = AS_GUEST if stands_in else None
        self._slow_s = _SLOW_OF_A_GUEST_S if stands_in else None
        self._keep_s = _KEEP_LEASE_OF_A_GUEST_S if stands_in else _KEEP_LEASE_S
        self._journal = JournalSource(settings.journal_directory)
        self._reports: queue.SimpleQueue[Fact] = queue.SimpleQueue()
        self._looker = ApiPoller(settings, self._reconciler(api), within=stands_in) if api else None
        self._confirmer = KillConfirmer(self._reconciler(api), self._reports.put) if api else None
        self._history: HistoryReader | None = None
        self._audit: AuditReader | None = None
        self._graphs = DagGraphs(api.another()) if api else None
        self._record = open_recording(settings.watch.record)
        self._decisions = Decisions(self._graphs, is_recorded=self._record is not None)
        index = settings.watch.kibana_alerts
        self._kibana = KibanaSource(lambda: open_cluster(settings), index) if index else None
        self._store = StoreSource(lambda: open_store(settings))
        self._heard = SeenEvents()
        self._over = threading.Event()
        self._workers: dict[str, ChannelWorker] = {}
        self._active = False
        self._clock = _Clock()
        self._next: dict[str, float] = {}
        self._deadlines_took_s = 0.0
        self._reported: list[Fact] = []
        self._seen: dict[str, int] | None = None
        self._due_at: float | None = None
        self._stepped_at = 0.0
        self._log = structlog.get_logger("contrail.watch")
        self._context = TaskContext(settings.log_folder, api.another(timeout_s=_CONTEXT_S) if api else None)
        self._rules_kept: tuple[str, Mapping[str, frozenset[date]]] | None = None
        self._has_other_workers = False
        """True from when changed rules are taken until the workers are those of their channels."""
        self._adopt_rules()
        self._heartbeat = Heartbeat(settings.home, contacts)

    def stop(self) -> None:
        """End after the step that is under way; may be called from a signal handler."""
        self._over.set()

    def run(self) -> None:
        """Be active, or stand by to become so."""
        try:
            while not self._over.is_set():
                try:
                    wait = self._turn()
                except LedgerUnavailable as error:
                    self._log.error("the watcher waits for its ledger", reason=str(error))
                    wait = _LEDGER_WAIT_S
                except Exception:  # noqa: BLE001 - one fact that we cannot bear must not silence all others
                    self._log.exception("a round failed; the next one takes each fact by itself")
                    self._decisions.careful, wait = True, _LEDGER_WAIT_S
                self._over.wait(wait)
        finally:
            self._step_down()

    def step(self, now: float) -> bool:
        """One round of the active watcher: read, decide, write, in one transaction; whether there is more to read."""
        self._reported += _drain(self._reports)
        self._heard.unsettle()
        self._decisions.begin()
        with self._ledger.transaction(lock=True) as connection:
            has_lease = self._lease.keep(connection)
            if has_lease:
                more = self._decide(connection, now)
                events = pending_events.due(connection, now)
        if not has_lease:
            self._stand_by()
            return False
        self._reported.clear()
        if self._record is not None:
            self._record.round(now, self._decisions)
        self._decisions.careful = False
        self._clock.settle(now, time.monotonic())
        if self._looker:
            self._looker.settle()
        if self._kibana:
            self._kibana.settle()
        self._store.settle()
        self._heard.settle()
        if events:
            pending_events.emit_all(lambda: self._ledger.transaction(lock=True), events)
        self._engine.take_events()
        if self._has_other_workers:  # not before: a worker that ends writes to the ledger, which a round holds
            self._dismiss()
            self._hire()
        for worker in self._workers.values():
            worker.wake()
        return more

    def _decide(self, connection: Connection, now: float) -> bool:
        """Apply what was read and what is due, in the transaction of a round; whether there is more to read."""
        jump = self._clock.jump(now, time.monotonic())
        if jump:
            self._decisions.shift(connection, jump)
            self._log.warning("the clock has jumped; what waits for a time waits as long as before", seconds=jump)
        more = self._read(connection, now)
        silent = self._api.silent_s(time.monotonic()) if self._api else float("inf")
        self._decisions.elapse(connection, now, silent)
        self._regular(connection, now)
        self._due_at = records.next_due(connection)
        return more

    def _turn(self) -> float:
        if not self._active:
            if not self._lease.acquire(time.monotonic()):
                self._heartbeat.beat(active=False, detail="standing by")
                return _STANDBY_S
            self._step_up()
        self._heartbeat.beat(active=True, detail=self._trouble())
        if not self._has_work(time.time()):
            return _POLL_S
        self._stepped_at = time.monotonic()
        return 0.0 if self.step(time.time()) else _POLL_S

    def _trouble(self) -> str:
        """The reasons that keep this watcher from seeing everything, or from what its rules say."""
        if self._looker and self._looker.problem:
            return self._looker.problem
        return f"the store cannot be read: {self._store.problem}" if self._store.problem else self._rules.problem

    def _has_work(self, now: float) -> bool:
        """True if a round would find anything; if not, one now and then keeps the lease."""
        return (
            time.monotonic() - self._stepped_at >= self._keep_s
            or (self._due_at is not None and self._due_at <= now)
            or not self._reports.empty()
            or (self._looker is not None and self._looker.has_found)
            or self._store.has_found
            or self._seen is None
            or self._journal.has_grown(self._seen)
        )

    def _step_up(self) -> None:
        self._active = True
        requeue(self._ledger)
        if self._record is not None:
            self._record.begin(self._ledger, asks_airflow=self._api is not None)
        self._hire()
        for source in self._sources():
            if not source.is_alive():
                source.start()
        self._read_history()
        if self._graphs and not self._graphs.is_alive():
            self._graphs.start()
        self._read_audit()
        self._log.info("watching", ledger=self._ledger.name, api=self._settings.api_url, rules=str(self._rules.path))

    def _read_history(self) -> None:
        days = self._settings.watch.history_days
        if self._api and days > 0 and not (self._history and self._history.is_alive()):
            self._history = HistoryReader(self._api.another(), self._ledger, days, self._pace)
            self._history.start()

    def _read_audit(self) -> None:
        if self._api and not (self._audit and self._audit.is_alive()):
            self._audit = AuditReader(self._api.another(), self._ledger)
            self._audit.start()

    def _stand_by(self) -> None:
        """Leave to the new holder of the lease what only one may do: send messages, and write what readers find."""
        self._active = False
        if self._record is not None:
            self._record.pause()
        self._log.warning("another watcher has the lease; this one stands by")
        self._dismiss()
        for reader in (self._history, self._audit):
            if reader:
                reader.stop()
        self._history = self._audit = None
        for source in (*self._sources(), self._store):
            source.rest()

    def _step_down(self) -> None:
        self._dismiss()
        for reader in (self._history, self._graphs, self._audit):
            if reader:
                reader.stop()
        for source in (*self._sources(), self._store):
            source.stop()
        self._heartbeat.close()
        self._context.close()
        if self._active:
            try:
                self._lease.release()
            except LedgerUnavailable as error:
                self._log.warning("the lease was not given back; it runs out by itself", reason=str(error))

    def _read(self, connection: Connection, now: float) -> bool:
        facts, cursor, more = self._journal.read(read_cursor(connection, "journal"))
        since = read_cursor(connection, "since")
        if since is None or since > now:  # later than now: the clock was set back
            since = now - _LOOKBACK_S
            write_cursor(connection, "since", since)
        facts = self._heard.fresh(connection, facts, now)
        self._decisions.take(connection, [fact for fact in facts if fact.time >= since], now)
        gauges.delay(facts, now)
        write_cursor(connection, "journal", cursor)
        self._seen = cursor
        self._decisions.take(connection, self._reported, now)
        arrived = self._heard.fresh(connection, self._store.exchange(connection, now), now)
        if any(fact.event_id for fact in arrived):
            self._store.tells_news(connection)
        self._decisions.take(connection, [fact for fact in arrived if fact.time >= since], now)
        if self._looker:
            found = self._looker.exchange(connection, now)
            self._decisions.know(self._looker.dags)
            self._decisions.take(connection, found, now)
            if (began := self._looker.taken_from) is not None:
                self._decisions.read_deeds(connection, began, now)
            self._looker.prepare(connection, now)
        if self._looker and self._confirmer and (self._engine.suspicious or self._confirmer.is_asking):
            self._engine.suspicious = False
            self._confirmer.hand(records.unconfirmed(connection, now), self._looker.dags)
        if self._kibana:
            self._kibana.exchange(connection, self._decisions, now)
        return more

    def _reconciler(self, api: AirflowApi) -> Reconciler:
        settings, rules = self._settings, self._rules
        return Reconciler(
            api, settings.log_folder, lambda: rules.rules.thresholds, settings.core.environment,
            partial(scheduler_lines, settings), slow_s=self._slow_s,
        )  # fmt: skip

    def _sources(self) -> list[ApiPoller | KillConfirmer | KibanaSource]:
        """Those that look in a thread of their own from the beginning; the store's begins with the first round."""
        return [one for one in (self._looker, self._confirmer, self._kibana) if one is not None]

    def _regular(self, connection: Connection, now: float) -> None:
        if self._due("rules", now, _RULES_S):
            self._look_at_rules(connection, now)
        if self._due("deadlines", now, max(1.0, _REST * self._deadlines_took_s)):
            self._check_deadlines(connection, now)
        trouble = self._heartbeat.round(connection, self._rules.rules, now, self._decisions.send_canary)
        self._decisions.take(connection, trouble, now)
        if self._due("gauges", now, _GAUGES_S):
            gauges.open_incidents(connection)
            gauges.heartbeat("watcher", 0.0)
            if self._api and self._api.answered is not None:
                gauges.heartbeat("api-server", self._api.silent_s(time.monotonic()))
        if self._due("quiet", now, _HOUR_S):
            self._decisions.quiet(connection, now)
            records.forget(connection, now - _KEEP_S)
            acts.forget(connection, now - _KEEP_S)
            self._heard.forget(connection, now - LATEST_S - _HOUR_S)

    def _check_deadlines(self, connection: Connection, now: float) -> None:
        dags, known = self._looker.dags if self._looker else {}, False
        if self._looker and not dags:  # it has not looked yet; a watcher before this one has
            before = read_cursor(connection, "reconcile") or {}
            dags, known = before.get("dags", {}), bool(before.get("slow_at"))
        self._deadlines_took_s = self._decisions.check(
            connection, now, dags, blind=self._store.is_blind, known=known
        )  # fmt: skip

    def _due(self, what: str, now: float, every_s: float) -> bool:
        due = self._next.get(what, 0.0)
        if due - now > every_s:  # the clock was set back
            due = 0.0
        if now < due:
            return False
        self._next[what] = now + every_s
        return True

    def _look_at_rules(self, connection: Connection, now: float) -> None:
        """Take changed rules, report a file that cannot be used, and keep what is in force for who comes next."""
        if self._rules.reload() or (self._rules.problem and not self._rules_kept):
            self._notify_about_rules(connection, now)
        in_force = (self._rules.text, self._rules.rules.days_off)
        if in_force != self._rules_kept:
            keep_rules(connection, *in_force)
            self._rules_kept = in_force

    def _notify_about_rules(self, connection: Connection, now: float) -> None:
        problem = self._rules.problem
        if not problem:
            self._adopt_rules()
            self._has_other_workers = True
        path = str(self._rules.path)
        event = (
            RulesRejected(reason=f"the old rules stay in force: {problem}", file_path=path)
            if problem
            else RulesAccepted(reason="the rules are good again", file_path=path)
        )
        fact = observed(event, time=now)
        self._log.warning(fact.reason) if problem else self._log.info("rules read", path=str(self._rules.path))
        self._decisions.take(connection, [fact], now)

    def _adopt_rules(self) -> None:
        rules = self._rules.rules
        settings = self._settings
        deeds_s = settings.watch.reconcile_s + _READ_S if self._api else 0.0
        self._decisions.adopt(
            rules, Links.of(settings, rules), settings.core.environment, text=self._rules.text, deeds_s=deeds_s
        )

    @property
    def _engine(self) -> IncidentEngine:
        return self._decisions.engine

    def _hire(self) -> None:
        self._has_other_workers = False
        rules = self._rules.rules
        for name, spec in rules.channels.items():
            self._workers[name] = ChannelWorker(
                name, spec, self._ledger, self._contacts, self._settings.home,
                fallback=fallback_for(rules, name), report=self._reports.put, emit=emit, complete=self._complete(name),
            )  # fmt: skip
            self._workers[name].start()

    def _complete(self, channel: str) -> Callable[[Message], Message]:
        """Return what completes a message for a channel; with a record, it is written down."""
        return self._context if self._record is None else partial(self._record.handed, channel, self._context)

    def _dismiss(self) -> None:
        for worker in self._workers.values():
            worker.stop()
        for worker in self._workers.values():
            worker.join(timeout=5)
        self._workers.clear()


class _Clock:
    """Tells a jump of the wall clock from time that passes."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def jump(self, now: float, monotonic: float) -> float:
        """Seconds that the clock was set forward (or back) since :meth:`settle`; a small correction is none."""
        if self._last is None:
            return 0.0
        found = (now - self._last[0]) - (monotonic - self._last[1])
        return found if abs(found) > _JUMP_S else 0.0

    def settle(self, now: float, monotonic: float) -> None:
        """The transaction that knows of these readings stands."""
        self._last = (now, monotonic)


def _drain(waiting: queue.SimpleQueue[Fact]) -> list[Fact]:
    found = []
    while True:
        try:
            found.append(waiting.get_nowait())
        except queue.Empty:
            return found
