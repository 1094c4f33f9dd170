"""One fact, answer or fault that nobody thought of, and the watcher goes on."""

from __future__ import annotations

import json
import queue
import threading
import time
from importlib import import_module
from types import SimpleNamespace

import orjson
import pytest
from airflow_platform import wait_until
from sqlalchemy import select, update
from watch_office import failed, run_ended

from benchmarks.watched import failure
from observability import contain
from observability.journal import Journal
from observability.settings import get_settings
from observability.watch import incidents
from observability.watch.ledger import records, schema
from observability.watch.ledger.database import read_cursor, write_cursor
from observability.watch.notify.outbox import ChannelWorker
from observability.watch.rules.in_force import usable_rules
from observability.watch.rules.loader import RulesFile
from observability.watch.rules.text import RulesError
from observability.watch.sources.api import AirflowApi, ApiError, ApiUnavailable
from observability.watch.sources.kibana import KibanaSource
from observability.watch.sources.poller import ApiPoller, KillConfirmer
from observability.watch.sources.reconcile import Reconciler
from observability.watch.sources.store import StoreSource
from observability.watch.watcher import Watcher

emit = import_module("observability.emit")  # the package's attribute of that name is the function


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    for cached in (get_settings, emit.journal):
        cached.cache_clear()
    (tmp_path / "journal").mkdir()
    yield get_settings()
    for cached in (get_settings, emit.journal):
        cached.cache_clear()


def lines(path, number, within=20.0):
    until = time.monotonic() + within
    while True:
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        if len(found) >= number:
            return found
        assert time.monotonic() < until, f"only {len(found)} messages"
        time.sleep(0.02)


def test_a_watcher_that_is_started_while_the_rules_are_broken_goes_on_with_those_before_and_says_so(settings, ledger):
    path = settings.home / "alerts.yaml"
    good = "channels: {kept: {type: file}}\nreceivers: {all: {channels: [kept]}}\nroutes: [{receiver: all}]\n"
    path.write_text(good)

    def run_until(watcher, holds):
        running = threading.Thread(target=watcher.run)
        running.start()
        until = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < until
            time.sleep(0.05)
        watcher.stop()
        running.join()

    def asked(question, *given):
        with ledger.transaction() as connection:
            return question(connection, *given)

    run_until(Watcher(settings, ledger, RulesFile(path), None, api=None), lambda: asked(read_cursor, "rules") == good)
    path.write_text("routes: [")
    with pytest.raises(RulesError):
        RulesFile(path)
    heir = Watcher(settings, ledger, usable_rules(settings, ledger), None, api=None)
    run_until(heir, lambda: asked(records.incidents))
    assert list(heir._rules.rules.channels) == ["kept"]
    assert [(one.kind, "alerts.yaml:1" in one.reason) for one in asked(records.incidents)] == [("rules", True)]


@pytest.mark.parametrize("what", ["observe", "elapse"])
def test_a_fact_that_cannot_be_borne_is_left_out_and_counted_and_the_others_are_told(
    settings, ledger, monkeypatch, what
):
    real = getattr(incidents, what)

    def poisoned(incident, *more, **named):
        if "poison" in {getattr(one, "dag_id", None) for one in (incident, *more)}:
            raise ZeroDivisionError
        return real(incident, *more, **named)

    monkeypatch.setattr(incidents, what, poisoned)
    journal = Journal(settings.journal_directory)
    for dag_id in ("before", "poison", "after"):
        journal.append("etl.event", orjson.dumps(failure(dag_id, "r1")))
    watcher = Watcher(settings, ledger, RulesFile(None), None, api=None)
    running = threading.Thread(target=watcher.run)
    running.start()
    try:
        told = lines(settings.home / "alerts.jsonl", 3)
    finally:
        watcher.stop()
        running.join()
    assert sorted(one["title"] for one in told) == [
        "1 observation was lost at watch.engine: ZeroDivisionError",
        "after: load failed: ValueError: no",
        "before: load failed: ValueError: no",
    ]


def test_a_watcher_that_lost_its_lease_sends_nothing_and_has_one_set_of_workers_when_it_is_back(settings, ledger):
    def workers():
        return sorted(one.name for one in threading.enumerate() if one.name.startswith("worker-"))

    def be_held_by(holder):
        with ledger.transaction(lock=True) as connection:
            found = update(schema.leases).where(schema.leases.c.name == "watcher")
            connection.execute(found.values(holder=holder, heartbeat=schema.leases.c.heartbeat + 1))

    watcher = Watcher(settings, ledger, RulesFile(None), None, api=None)
    running = threading.Thread(target=watcher.run)
    running.start()
    try:
        hired = ["worker-file", "worker-log"]
        wait_until(lambda: workers() == hired, within=30)
        for _ in range(2):
            be_held_by("another:1:1.0:ffffffff")
            wait_until(lambda: not workers(), within=30)
            be_held_by("")
            wait_until(lambda: workers() == hired, within=30)
    finally:
        watcher.stop()
        running.join()
    assert workers() == []


def test_a_worker_whose_channel_is_gone_can_write_to_the_ledger_while_it_ends(settings, ledger, monkeypatch):
    path = settings.home / "alerts.yaml"
    rules = "channels: {NAME: {type: file}}\nreceivers: {all: {channels: [NAME]}}\nroutes: [{receiver: all}]\n"
    path.write_text(rules.replace("NAME", "old"))
    watcher, could_write = Watcher(settings, ledger, RulesFile(path), None, api=None), []

    def write():
        with ledger.transaction(lock=True):
            pass

    def ends(worker, timeout):
        last = threading.Thread(target=write)
        last.start()
        last.join(timeout)
        could_write.append(not last.is_alive())
        threading.Thread.join(worker)

    monkeypatch.setattr(ChannelWorker, "join", ends)
    assert watcher._lease.acquire(time.monotonic())
    watcher._hire()
    path.write_text(rules.replace("NAME", "new"))
    watcher.step(time.time())
    assert (list(watcher._workers), could_write) == (["new"], [True])
    watcher._dismiss()


@pytest.mark.parametrize(
    "broken", [{"airflow.map_index": None}, {"@timestamp": "yesterday"}, {"airflow.map_index": "first"}]
)
def test_a_record_that_says_nothing_we_know_is_counted_and_the_next_is_read(settings, broken):
    from observability.watch.sources.journal import JournalSource

    journal, source = Journal(settings.journal_directory), JournalSource(settings.journal_directory)
    cursor = source.read(None)[1]
    for more in (broken, {"airflow.dag_id": "a\x00b"}):
        journal.append("etl.event", orjson.dumps({**failure("load", "r1"), **more}))
    assert [fact.dag_id for fact in source.read(cursor)[0]] == ["ab"]
    assert sum(contain.take_losses().values()) == 1


@pytest.fixture
def stepper(settings, ledger, monkeypatch):
    """A watcher whose rounds are made by hand, with clocks of which one may jump; what it has queued."""
    wall, steady = [0.0], [time.monotonic()]
    clocks = SimpleNamespace(time=time.time, monotonic=lambda: steady[0])  # however slow the machine is
    monkeypatch.setattr("observability.watch.watcher.time", clocks)
    watcher, journal = (
        Watcher(settings, ledger, RulesFile(None), None, api=None),
        Journal(settings.journal_directory),
    )
    assert watcher._lease.acquire(0.0)

    def step(now, *runs, jumped=0.0):
        steady[0] += now - jumped - wall[0] if wall[0] else 0.0
        wall[0] = now
        for run in runs:
            journal.append("etl.event", orjson.dumps(failure("load", run, now)))
        watcher.step(now)
        with ledger.transaction() as connection:
            table = schema.outbox
            asked = select(table.c.kind, table.c.message).where(table.c.next_attempt <= now).order_by(table.c.id)
            return [(kind, message["run_id"]) for kind, message in connection.execute(asked)]

    return step


@pytest.mark.parametrize("jump", [-3 * 3600.0, -15 * 86_400.0, 3 * 3600.0])
def test_a_clock_that_jumps_delays_nothing_loses_nothing_and_escalates_nothing(stepper, jump):
    now = time.time()
    assert stepper(now, "r1") == []
    assert stepper(now + 1, "r2") == [("opened", "r1")]
    now += jump
    now += 1
    assert stepper(now, "r3", jumped=jump) == [("opened", "r1")]
    assert stepper(now + 1) == [("opened", "r1"), ("opened", "r2"), ("opened", "r3")]


def test_a_wait_is_as_long_after_a_jump_as_before(office):
    office.see(failed())
    office.pass_time(1)
    for jump in (3 * 3600.0, -15 * 86_400.0):
        office.now += jump
        with office.ledger.transaction(lock=True) as connection:
            records.shift(connection, jump)
    office.pass_time(29 * 60, step=10)
    assert [kind for kind, *_ in office.said()] == ["opened"]
    office.pass_time(2 * 60, step=10)
    assert [kind for kind, *_ in office.said()] == ["opened", "escalated", "escalated"]  # on two channels


@pytest.fixture
def looker(settings):
    api = AirflowApi("http://127.0.0.1:9")
    return ApiPoller(settings, Reconciler(api, settings.log_folder, RulesFile(None).rules.thresholds, "test"))


def told(looker, ledger, *, stands=True):
    """The news that a round hears of the looker; ``stands`` where its transaction is committed."""
    with ledger.transaction() as connection:
        found = [(fact.subject, fact.status) for fact in looker.exchange(connection, time.time())]
    if stands:
        looker.settle()
    return found


def test_an_answer_that_is_not_understood_for_long_is_told_like_a_silent_api_until_one_is(looker, ledger, monkeypatch):
    def surprise(*_):
        raise KeyError("end_date")

    monkeypatch.setattr(looker._reconciler, "look", surprise)
    looker._look(None, {})
    assert looker.problem == "Airflow's API was not understood: KeyError: 'end_date'"
    assert told(looker, ledger) == []
    looker._since -= 100
    assert told(looker, ledger, stands=False) == [("api-server", "firing")]
    assert told(looker, ledger) == [("api-server", "firing")]
    assert told(looker, ledger) == []
    monkeypatch.setattr(looker._reconciler, "look", lambda *_: [])
    looker._look(None, {})
    assert told(looker, ledger) == [("api-server", "resolved")]
    assert told(looker, ledger) == []


def answer(looker, monkeypatch, error=None):
    def look(*_):
        if error is not None:
            raise error
        return []

    monkeypatch.setattr(looker._reconciler, "look", look)
    looker._look(None, {})


def test_an_api_server_that_starts_beside_the_watcher_is_not_down_until_it_takes_too_long(looker, ledger, monkeypatch):
    answer(looker, monkeypatch, ApiUnavailable("it does not answer"))
    for waited, news in ((179, []), (2, [("api-server", "firing")])):
        looker._since -= waited
        assert told(looker, ledger) == news
    answer(looker, monkeypatch)
    assert told(looker, ledger) == [("api-server", "resolved")]
    answer(looker, monkeypatch, ApiUnavailable("it does not answer any more"))
    for waited, news in ((89, []), (2, [("api-server", "firing")])):
        looker._since -= waited
        assert told(looker, ledger) == news


def test_from_within_an_api_server_it_is_never_called_silent_but_its_return_is_told(looker, ledger, monkeypatch):
    looker._within = True
    answer(looker, monkeypatch, ApiUnavailable("it has not answered for 32 s"))
    looker._since -= 3600
    assert told(looker, ledger) == []
    answer(looker, monkeypatch)
    assert told(looker, ledger) == [("api-server", "resolved")]  # a watcher of its own may have told of it before
    answer(looker, monkeypatch, ApiUnavailable("it has not answered for 32 s"))
    looker._since -= 3600
    assert told(looker, ledger) == []


def test_an_api_server_that_refuses_does_not_start(looker, ledger, monkeypatch):
    answer(looker, monkeypatch, ApiError("it answered 401"))
    for waited, news in ((89, []), (2, [("api-server", "firing")])):
        looker._since -= waited
        assert told(looker, ledger) == news


def test_what_was_found_is_kept_until_it_is_written_down(looker, ledger, monkeypatch):
    monkeypatch.setattr(looker._reconciler, "look", lambda *_: [failed()])
    looker._look(None, {})
    assert told(looker, ledger, stands=False)[0] == ("", "firing")
    assert told(looker, ledger)[0] == ("", "firing")
    assert told(looker, ledger) == []


def test_each_look_knows_the_runs_that_are_open_when_it_begins(looker, office, monkeypatch):
    """A person may set a run to success some seconds after it failed: who did so is asked of the runs that are open."""
    asked = []
    monkeypatch.setattr(
        looker._reconciler, "look", lambda _scene, _now, _known, still_open: asked.append(still_open) or []
    )
    looker._every_s = 0.5
    looker.start()
    deadline, fails = time.monotonic() + 20, True
    while len(asked) < 2 and time.monotonic() < deadline:
        with office.ledger.transaction(lock=True) as connection:
            looker.exchange(connection, office.now)
            looker.prepare(connection, office.now)
        looker.settle()
        if asked and fails:  # while it waits for its second look
            time.sleep(0.1)
            office.see(failed(run="late"))
            fails = False
        time.sleep(0.01)
    looker.stop()
    looker.join(10)
    assert [[one.run_id for one in still_open] for still_open in asked[:2]] == [[], ["late"]]


class Slow:
    """A source that is asked while its watcher loses the lease, and answers with something that happened before."""

    def __init__(self, name, settings, ledger, monkeypatch):
        self.name, self.rest, self.asked = name, lambda: None, 0
        if name == "airflow":
            api = AirflowApi("http://127.0.0.1:9")
            source = ApiPoller(settings, Reconciler(api, settings.log_folder, None, "test"))
            monkeypatch.setattr(source._reconciler, "look", lambda *_: self.answer([failed()]))
            self.look = lambda: source._look(None, {})
        elif name == "store":
            source = StoreSource(lambda: None)
            monkeypatch.setattr(source, "_read", lambda _: self.answer(([failed()], {"etl.event": {"seq": 1}})))
            monkeypatch.setattr(source, "is_alive", lambda: True)
            source._answered.set()
            self.look = lambda: source._look({})
        else:
            hit = {
                "_id": "1",
                "_source": {"rule": "task-failed", "alert": "load", "@timestamp": "2026-01-01T00:00:00.000Z"},
            }
            cluster = SimpleNamespace(ask=lambda *_: self.answer({"hits": {"hits": [hit]}}), close=lambda: None)
            source = KibanaSource(lambda: cluster, "alerts")
            self.look = source.read
        self.source, self.ledger = source, ledger

    def answer(self, what):
        self.asked += 1
        self.rest()
        return what

    def exchange(self):
        """The number of facts that a round takes."""
        engine = SimpleNamespace(take=lambda _, facts, __: taken.extend(facts))
        taken = []
        with self.ledger.transaction(lock=True) as connection:
            if self.name == "kibana":
                self.source.exchange(connection, engine, time.time())
            else:
                taken += self.source.exchange(connection, time.time())
        return len([fact for fact in taken if fact.kind != "component"])


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("name", ["airflow", "store", "kibana"])
def test_a_source_of_a_watcher_that_lost_its_lease_brings_nothing_old_back(settings, ledger, monkeypatch, name, when):
    slow = Slow(name, settings, ledger, monkeypatch)
    cursor = {"airflow": "reconcile"}.get(name, name)
    if when == "meanwhile":
        slow.exchange()
        slow.rest = slow.source.rest
        slow.look()
    else:
        slow.exchange()
        slow.look()
        slow.source.rest()
    with ledger.transaction(lock=True) as connection:
        write_cursor(connection, cursor, {"of": "the other watcher"} if name != "kibana" else "2026-06-01T00:00:00Z")
        theirs = read_cursor(connection, cursor)
    slow.rest = lambda: None
    assert (slow.asked, slow.exchange()) == (1, 0)
    with ledger.transaction() as connection:
        assert read_cursor(connection, cursor) == theirs
    if name == "kibana":
        assert slow.source._place.since == theirs


def test_a_watcher_that_stands_by_rests_every_source(settings, ledger, monkeypatch):
    rested = []
    monkeypatch.setenv("CONTRAIL_WATCH__KIBANA_ALERTS", "alerts")
    get_settings.cache_clear()
    watcher = Watcher(get_settings(), ledger, RulesFile(None), None, api=AirflowApi("http://127.0.0.1:9"))
    for kind in (ApiPoller, KillConfirmer, KibanaSource, StoreSource):
        monkeypatch.setattr(kind, "rest", lambda one: rested.append(type(one)))
    watcher._stand_by()
    assert {*rested} == {ApiPoller, KillConfirmer, KibanaSource, StoreSource}


@pytest.mark.parametrize("api", [None, AirflowApi("http://127.0.0.1:9")], ids=["alone", "beside Airflow"])
def test_an_end_waits_for_who_cleared_a_run_only_where_airflows_event_log_is_read(settings, ledger, api):
    watcher, now = Watcher(settings, ledger, RulesFile(None), None, api=api), 1_000_000.0

    def hear(*facts):
        with ledger.transaction(lock=True) as connection:
            watcher._decisions.take(connection, facts, now)
            watcher._decisions.elapse(connection, now, 0.0)
            return [one.state for one in records.incidents(connection)]

    now += 60 * len(hear(failed(time=now), run_ended("firing", time=now)))
    assert hear() == ["open"]
    now += 60
    ends = hear(failed(status="resolved", try_number=2, time=now), run_ended("resolved", time=now))
    assert ends == ["open" if api else "resolved"]
    now += settings.watch.reconcile_s + 60
    assert hear() == ["resolved"]


class Asked:
    """A reconciler that is asked about deaths and answers as it is told to."""

    def __init__(self, *answers):
        self.answers, self.questions, self.dags = list(answers), [], {}

    def confirm(self, unconfirmed):
        if not unconfirmed:
            return []
        self.questions.append(unconfirmed)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_death_is_asked_about_until_airflow_knows_whatever_goes_wrong_on_the_way(monkeypatch):
    monkeypatch.setattr("observability.watch.sources.poller._AGAIN_S", 0.05)
    dead, heard = failed(status="suspected"), queue.SimpleQueue()
    asked = Asked([], ApiUnavailable("later"), KeyError("state"), [failed()])
    confirmer = KillConfirmer(asked, heard.put)
    confirmer.start()
    try:
        while heard.empty():
            confirmer.hand([dead], {"load": {}})
            time.sleep(0.02)
        assert confirmer.is_asking
        confirmer.hand([], {})
        assert not confirmer.is_asking
    finally:
        confirmer.stop()
        confirmer.join(5)
    assert heard.get_nowait() == failed()
    assert asked.questions == [[dead]] * 4


def test_a_death_that_airflow_does_not_know_of_is_asked_about_less_and_less_and_a_new_one_at_once():
    old, new = failed(status="suspected"), failed(status="suspected", run="r2")
    confirmer = KillConfirmer(Asked(), print)
    asked = [now / 10 for now in range(400) if confirmer._due([old], now / 10)]
    assert asked == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 23.5, 31.5, 39.5]
    assert confirmer._due([old, new], 39.6) == [new]
    assert confirmer._due([], 39.7) == []
    assert confirmer._again == {}
