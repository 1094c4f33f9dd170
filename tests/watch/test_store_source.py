"""A watcher whose home is not the workers': it hears of them from the store, and of nothing twice."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from datetime import datetime, timedelta, timezone
from importlib import import_module

import pytest
from sqlalchemy import func, select
from stores import EVERY_STORE

from observability.events import DagRunFailed, Identity, SchemaDrifted, TaskKilled, TaskStarted
from observability.relay.relay import Relay
from observability.settings import get_settings, load_settings
from observability.store import Query, StoreError, open_store
from observability.watch.ledger import schema
from observability.watch.ledger.database import Ledger
from observability.watch.notify.messages import Message
from observability.watch.rules.loader import RulesFile
from observability.watch.sources import store as store_source
from observability.watch.watcher import Watcher

RULES = """
timing: {storm_messages: 1000}
channels: {file: {type: file}, log: {type: log}}
receivers: {everybody: {channels: [file], fallback: log}}
routes: [{receiver: everybody}]
deadlines:
  - {name: fresh, dag: "*", asset: "warehouse.flights", fresh_within: 2m, warn: 1}
  - {name: quick, dag: load, task: "slow", task_finishes_within: 60s, warn: 1}
"""


class Host:
    """A machine with a folder of its own; ``tell`` writes an event there, ``deliver`` is one pass of its relay."""

    def __init__(self, folder, shared, monkeypatch):
        self.folder, self._patch = folder, monkeypatch
        self._environ = {
            **shared,
            "CONTRAIL_CORE__HOME": str(folder),
            "CONTRAIL_RELAY__LOG_FOLDER": str(folder / "logs"),
        }
        (folder / "logs").mkdir(parents=True)
        self.settings = load_settings(environ=self._environ)

    def report(self, *events):
        emit = import_module("observability.emit")
        for name, value in self._environ.items():
            self._patch.setenv(name, value)
        for cached in (get_settings, emit.journal):
            cached.cache_clear()
        emit._seen.clear()
        for event in events:
            emit.emit(event)

    def deliver(self):
        assert Relay(self.settings, statsd=False).run(once=True, patience_s=30)
        if self.settings.store.backend == "elasticsearch":
            from observability.store.cluster import open_cluster

            cluster = open_cluster(self.settings)
            cluster.send("POST", f"/*-{self.settings.core.environment}/_refresh")
            cluster.close()


class Looking:
    """A watcher on a host, moved on by hand."""

    def __init__(self, host, ledger):
        self.ledger = Ledger(f"sqlite:///{ledger}")
        (host.folder / "alerts.yaml").write_text(RULES)
        self.watcher = Watcher(host.settings, self.ledger, RulesFile(host.folder / "alerts.yaml"), None, api=None)
        assert self.watcher._lease.acquire(time.monotonic())

    def step(self, until, within=20, at=0.0):
        """Rounds, with the clock ``at`` seconds ahead, until ``until()``."""
        end = time.monotonic() + within
        while True:
            now = time.time() + at
            self.watcher._clock.settle(now, time.monotonic())
            self.watcher.step(now)
            if until() or time.monotonic() > end:
                return
            time.sleep(0.05)

    def said(self):
        with self.ledger.transaction() as connection:
            rows = connection.execute(select(schema.outbox.c.message).order_by(schema.outbox.c.id)).scalars().all()
        return [message for message in map(Message.from_json, rows) if message.kind == "opened"]

    def close(self):
        self.watcher.stop()
        self.watcher._step_down()
        self.ledger.close()


@pytest.fixture(params=EVERY_STORE)
def shared(request, tmp_path):
    environ = {
        "CONTRAIL_CORE__ENVIRONMENT": f"h{uuid.uuid4().hex[:10]}",
        "CONTRAIL_RELAY__SINKS": request.param,
        "CONTRAIL_STORE__BACKEND": request.param,
        "CONTRAIL_STORE__PATH": str(tmp_path / "store.db"),
        "CONTRAIL_STATSD__ENABLED": "false",
    }
    if request.param == "elasticsearch":
        from observability.store.cluster import open_cluster
        from observability.store.elasticsearch_setup import install

        environ["CONTRAIL_ELASTICSEARCH__URL"] = request.getfixturevalue("elasticsearch_url")
        install(open_cluster(load_settings(environ=environ)))
    if request.param == "cloudwatch":
        environ = request.getfixturevalue("aws_environ") | environ
    return environ


@pytest.fixture
def hosts(shared, tmp_path, monkeypatch):
    made = {}

    def host(name):
        if shared["CONTRAIL_STORE__BACKEND"] == "embedded" and name != "watcher":
            name = "workers"  # one relay writes an embedded store
        return made[name] if name in made else made.setdefault(name, Host(tmp_path / name, shared, monkeypatch))

    yield host
    emit = import_module("observability.emit")
    for cached in (get_settings, emit.journal):
        cached.cache_clear()


@pytest.fixture
def looking(tmp_path):
    made = []

    def look(host):
        made.append(Looking(host, tmp_path / "ledger.db"))
        return made[-1]

    yield look
    for one in made:
        one.close()


def drifted(number, before_s=0.0):
    """A finding about a table, which nothing but its event tells apart from the next about it."""
    when = datetime.now(timezone.utc) - timedelta(seconds=before_s)
    about = Identity(dag_id="load", run_id=f"r{number}", task_id="t", try_number=1, map_index=-1)
    return SchemaDrifted(identity=about, time=when, table=f"table{number}", columns_removed=("carrier",))


def killed(number, before_s=0.0):
    when = datetime.now(timezone.utc) - timedelta(seconds=before_s)
    about = Identity(dag_id="load", run_id=f"r{number}", task_id="t", try_number=1, map_index=-1)
    return TaskKilled(identity=about, time=when, cause="killed", reason="SIGKILL", signal="SIGKILL")


def tables(look):
    return Counter(one.title + one.summary for one in look.said() if "table" in one.title + one.summary)


def test_what_a_worker_elsewhere_wrote_is_told(hosts, looking):
    hosts("worker").report(drifted(1))
    hosts("worker").deliver()
    look = looking(hosts("watcher"))
    look.step(look.said)
    assert [("carrier" in str(one)) for one in look.said()] == [True], [str(one)[:600] for one in look.said()]


def test_what_arrives_an_hour_late_is_told_once(hosts, looking):
    look = looking(hosts("watcher"))
    with look.ledger.transaction() as connection:  # it has been watching for hours
        store_source.write_cursor(connection, "since", time.time() - 9000)
    hosts("worker").report(drifted(1))
    hosts("worker").deliver()
    look.step(look.said)
    late = hosts("late")
    late.report(drifted(2, before_s=3600))
    late.deliver()
    look.step(lambda: len(look.said()) > 1, within=3)
    if look.watcher._settings.store.backend == "cloudwatch":  # which is swept for latecomers now and then
        assert len(look.said()) == 1
        with look.ledger.transaction() as connection:
            cursor = store_source.read_cursor(connection, "store")
            moved = {name: {**one, "sweep_at": 0.0} for name, one in cursor.items()}
            store_source.write_cursor(connection, "store", moved)
        look.close()
        look = looking(hosts("watcher"))
    look.step(lambda: len(look.said()) > 1)
    assert sorted(tables(look).values()) == [1, 1]


def test_what_the_journal_here_gave_is_not_told_again_by_the_store_nor_by_the_next_watcher(hosts, looking):
    home = hosts("home")
    look = looking(home)
    home.report(*(drifted(number) for number in range(30)))
    look.step(lambda: len(look.said()) >= 30)
    home.deliver()
    hosts("worker").report(drifted(99))
    hosts("worker").deliver()
    look.step(lambda: len(look.said()) >= 31)
    look.close()
    later = looking(home)
    later.step(lambda: False, within=3)
    assert Counter(tables(later).values()) == {1: 31}


def test_an_incident_that_is_over_does_not_open_again_when_the_store_tells_of_it(hosts, looking):
    home = hosts("home")
    look = looking(home)
    home.report(drifted(1))
    look.step(look.said)
    with look.ledger.transaction() as connection:
        look.watcher._engine.quiet(connection, time.time() + 2 * 86_400)
    home.deliver()
    look.step(lambda: False, within=3)
    with look.ledger.transaction() as connection:
        states = connection.execute(select(schema.incidents.c.state)).scalars().all()
    assert states == ["resolved"]


def test_a_success_from_another_host_that_is_older_than_the_failure_repairs_nothing(hosts, looking):
    from observability.events import DagRunSucceeded

    look = looking(hosts("watcher"))
    about = Identity(dag_id="load", run_id="r1", run_type="manual")
    ago = datetime.now(timezone.utc) - timedelta(seconds=250)
    hosts("b").report(DagRunFailed(identity=about, cause="app", reason="no", discriminator="2"))
    hosts("b").deliver()
    look.step(look.said)
    hosts("a").report(DagRunSucceeded(identity=about, time=ago, duration_ns=1, discriminator="1"))
    hosts("a").deliver()
    look.step(lambda: False, within=3)
    with look.ledger.transaction() as connection:
        states = connection.execute(select(schema.incidents.c.state)).scalars().all()
    assert states == ["open"]


def test_a_death_elsewhere_is_a_suspicion_to_ask_about(hosts, looking):
    look = looking(hosts("watcher"))
    hosts("worker").report(killed(1))
    hosts("worker").deliver()

    def facts():
        with look.ledger.transaction() as connection:
            return connection.execute(select(schema.facts.c.status)).scalars().all()

    look.step(facts)
    assert facts() == ["suspected"]


def test_a_task_that_began_elsewhere_is_late_only_when_the_store_can_say_so(hosts, looking):
    hosts("worker").report(
        TaskStarted(identity=Identity(dag_id="load", run_id="r", task_id="slow", try_number=1, map_index=-1))
    )
    hosts("worker").deliver()
    look = looking(hosts("watcher"))
    look.step(lambda: look.watcher._store._elsewhere)
    real = look.watcher._store._store.arrivals
    look.watcher._store._store.arrivals = _down
    look.step(lambda: look.watcher._store.problem)
    look.step(lambda: False, within=2, at=120)
    assert look.said() == []
    look.watcher._store._store.arrivals = real
    look.step(lambda: not look.watcher._store.problem, at=120)
    look.step(lambda: any(one.task_id for one in look.said()), at=120)
    assert [one.task_id for one in look.said() if "warehouse" not in str(one)] == ["slow"]


def _down(*_):
    raise StoreError("it is down for a while; wait")
    yield


def test_a_store_that_hangs_delays_no_fact_of_this_host(hosts, looking):
    home = hosts("home")
    look = looking(home)
    look.step(lambda: True)
    free = threading.Event()

    def hang(*_):
        free.wait(30)
        yield from ()

    look.watcher._store._store.arrivals = hang
    look.step(lambda: False, within=1.5)
    home.report(drifted(1))
    began = time.monotonic()
    look.step(look.said)
    free.set()
    assert len(look.said()) == 1
    assert time.monotonic() - began < 5


def test_a_store_that_cannot_be_read_is_said_and_so_is_its_return(hosts, looking, monkeypatch):
    monkeypatch.setattr(store_source, "_PATIENCE_S", 0.5)
    monkeypatch.setattr(store_source, "_AGAIN_S", 0.1)
    look = looking(hosts("watcher"))
    look.step(lambda: look.watcher._store._heard)  # one that was never read may be starting
    real = look.watcher._store._store.arrivals
    look.watcher._store._store.arrivals = _down
    look.step(look.said)
    assert ["store" in str(one) and "it is down for a while" in str(one) for one in look.said()] == [True]
    assert "it is down for a while" in look.watcher._trouble()
    look.watcher._store._store.arrivals = real

    def states():
        with look.ledger.transaction() as connection:
            return connection.execute(select(schema.incidents.c.state)).scalars().all()

    look.step(lambda: states() == ["resolved"])
    assert states() == ["resolved"]


def test_a_store_that_was_never_read_may_be_starting_and_has_more_time(ledger, monkeypatch):
    monkeypatch.setattr(store_source, "_FIRST_S", 0.0)
    monkeypatch.setattr(store_source.StoreSource, "start", lambda _: None)  # the looks are made by hand

    def away(*_):
        raise StoreError("it is away")

    source = store_source.StoreSource(away)

    def news(waited):
        source._since -= waited
        with ledger.transaction() as connection:
            found = [(fact.subject, fact.status) for fact in source.exchange(connection, time.time())]
        source.settle()
        return found

    assert news(0) == []
    source._look({})
    assert [news(179), news(2), news(60)] == [[], [("store", "firing")], []]
    monkeypatch.setattr(source, "_read", lambda _: ([], {}))
    source._look({})
    assert news(0) == [("store", "resolved")]
    monkeypatch.setattr(source, "_read", away)
    source._look({})
    assert [news(89), news(2)] == [[], [("store", "firing")]]


def test_the_ledger_forgets_what_can_no_longer_come_again(hosts, looking):
    look = looking(hosts("watcher"))
    hosts("worker").report(*(drifted(number) for number in range(5)))
    hosts("worker").deliver()
    look.step(lambda: len(look.said()) >= 5)

    def kept():
        with look.ledger.transaction() as connection:
            return connection.execute(select(func.count()).select_from(schema.seen)).scalar()

    assert kept() == 5
    with look.ledger.transaction() as connection:
        look.watcher._heard.forget(connection, time.time() + 1)
    assert kept() == 0


def test_arrivals_come_in_their_order_and_go_on_where_they_were_left(hosts):
    settings = hosts("worker").settings
    store, position, seen = open_store(settings), {}, []
    for number in range(4):
        hosts(f"w{number}").report(drifted(number, before_s=600 * number))
        hosts(f"w{number}").deliver()
        if settings.store.backend == "cloudwatch":
            position.pop("sweep_at", None)
        new = [one["event.id"] for one in store.arrivals(Query("etl.event"), position)]
        seen += [one for one in new if one not in seen]
    assert [one["etl.table"] for i in seen for one in store.documents(Query("etl.event")) if one["event.id"] == i] == [
        f"table{number}" for number in range(4)
    ]
    store.close()
