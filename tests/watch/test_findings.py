"""The watcher emits what it finds as events: one for each change, whatever looks and kills there are."""

from __future__ import annotations

from collections import OrderedDict
from importlib import import_module

import orjson
import pytest
from watch_office import Office, failed

from observability import catalog, events
from observability.events import (
    ChannelBroken,
    ChannelRecovered,
    ComponentRecovered,
    ComponentSilent,
    DagAutoPaused,
    DagImportFailed,
    DagImportRepaired,
    DagReturned,
    DagRunFailed,
    DagRunStuck,
    DagRunUnstuck,
    DagUnpaused,
    DagVanished,
    DeadlineApproached,
    DeadlineMissed,
    DeadlineRecovered,
    Identity,
    RuleFired,
    RuleRecovered,
    RulesAccepted,
    RulesRejected,
    TaskFailed,
    TaskStuck,
    TaskUnstuck,
)
from observability.journal import frames
from observability.settings import get_settings
from observability.watch.facts import from_document, observed
from observability.watch.ledger import pending_events

emit = import_module("observability.emit")
DAG = Identity(dag_id="load", owner="ann", tags=("nightly",))
TASK = Identity(dag_id="load", run_id="r1", task_id="t", map_index=-1, try_number=1)
RUN = Identity(dag_id="load", run_id="r1")
SCHEDULER = Identity(component="scheduler")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_CORE__HOME", str(tmp_path))
    monkeypatch.setattr(emit, "_seen", OrderedDict())
    for cached in (get_settings, emit.journal):
        cached.cache_clear()
    yield tmp_path
    for cached in (get_settings, emit.journal):
        cached.cache_clear()


@pytest.fixture
def office(ledger, home):
    """An office that emits what it has found, as the watcher does after each transaction."""
    made = Office(ledger)

    def look(*found):
        made.see(*found)
        with ledger.transaction() as connection:
            due = pending_events.due(connection, made.now)
        pending_events.emit_all(lambda: ledger.transaction(lock=True), due)
        made.now += 1

    made.look = look
    made.journal = lambda: recorded(home)
    return made


def recorded(home):
    documents = [
        orjson.loads(frame.document)
        for path in sorted((home / "journal").glob("*.journal"))
        for frame in frames(path.read_bytes())
        if frame.document
    ]
    return [one for one in documents if not one["event.action"].startswith("incident.")]


def actions(office):
    return [one["event.action"] for one in office.journal()]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (
            ComponentSilent(identity=SCHEDULER, reason="silent for 32 s"),
            ComponentRecovered(identity=SCHEDULER, reason="x"),
        ),
        (DagVanished(identity=DAG, reason="no file"), DagReturned(identity=DAG)),
        (DagAutoPaused(identity=DAG, reason="3 runs failed"), DagUnpaused(identity=DAG)),
        (TaskStuck(identity=TASK, cause="stuck_queued", reason="queued"), TaskUnstuck(identity=TASK)),
        (DagRunStuck(identity=RUN, reason="nothing is scheduled"), DagRunUnstuck(identity=RUN)),
        (
            DeadlineMissed(identity=RUN, deadline="by six", reason="late", provider="deadline"),
            DeadlineRecovered(identity=RUN, deadline="by six", reason="done", provider="deadline"),
        ),
        (ChannelBroken(channel="chat", reason="503"), ChannelRecovered(channel="chat")),
        (RulesRejected(file_path="alerts.yaml", reason="line 3"), RulesAccepted(file_path="alerts.yaml")),
        (RuleFired(rule_id="relay-lag:es", reason="behind"), RuleRecovered(rule_id="relay-lag:es")),
    ],
    ids=lambda one: one.action,
)
def test_a_finding_is_emitted_when_it_changes_and_not_at_each_look(office, wrong, right):
    for _ in range(3):
        office.look(observed(wrong, time=office.now))
    assert actions(office) == [wrong.action]
    for _ in range(3):
        office.look(observed(right, time=office.now))
    assert actions(office) == [wrong.action, right.action]
    office.look(observed(wrong, time=office.now))  # the next occasion is another fact
    assert actions(office)[2:] == ([wrong.action] if wrong.action != "deadline.missed" else [])
    assert len({one["event.id"] for one in office.journal()}) == len(office.journal())


def test_a_file_is_broken_and_parses_again_once_each(office):
    broken = DagImportFailed(reason="SyntaxError", file_path="load.py")
    office.look(observed(broken, time=office.now))
    office.now += 60
    office.look(observed(broken, time=office.now))
    office.look(observed(DagImportRepaired(file_path="load.py"), time=office.now))
    assert actions(office) == ["dag.import_failed", "dag.import_repaired"]


def test_a_deadline_is_approached_missed_and_recovered_once_each(office):
    about = {"identity": RUN, "deadline": "by six", "reason": "not done", "provider": "deadline"}
    for kind in (DeadlineApproached, DeadlineMissed, DeadlineRecovered):
        for _ in range(2):
            office.look(observed(kind(**about), time=office.now))
    assert actions(office) == ["deadline.approached", "deadline.missed", "deadline.recovered"]


def test_an_event_carries_whom_it_concerns_and_how_long_it_lasted(office):
    office.look(observed(DagVanished(identity=DAG, reason="no file"), time=office.now))
    office.now += 90
    office.look(observed(DagReturned(identity=DAG), time=office.now))
    gone, back = office.journal()
    assert (gone["airflow.dag_id"], gone["airflow.owner"], gone["airflow.tags"]) == ("load", "ann", ["nightly"])
    assert (gone["event.reason"], back["event.duration"]) == ("no file", 91_000_000_000)


def test_several_tasks_stuck_in_one_run_are_a_fact_each_and_go_on_each(office):
    tasks = [Identity(dag_id="load", run_id="r1", task_id=name, map_index=-1, try_number=1) for name in "ab"]
    for one in tasks:
        office.look(observed(TaskStuck(identity=one, cause="stuck_queued", reason="queued"), time=office.now))
    for one in tasks:
        office.look(observed(TaskUnstuck(identity=one), time=office.now))
    told = [(one["event.action"], one["airflow.task_id"]) for one in office.journal()]
    assert told == [("task.stuck", "a"), ("task.stuck", "b"), ("task.unstuck", "a"), ("task.unstuck", "b")]


def test_what_was_never_wrong_does_not_recover(office):
    office.look(*(observed(one) for one in (DagReturned(identity=DAG), ComponentRecovered(identity=SCHEDULER))))
    assert actions(office) == []


def test_an_event_that_was_not_emitted_before_a_kill_is_emitted_after_it_under_the_same_id(office, ledger, monkeypatch):
    office.see(observed(ComponentSilent(identity=SCHEDULER, reason="silent"), time=office.now))  # killed here
    with ledger.transaction() as connection:
        first = pending_events.due(connection, office.now)
    for one in first.values():
        assert emit.emit(one)  # or here
    monkeypatch.setattr(emit, "_seen", OrderedDict())
    office.look()
    assert actions(office) == ["component.silent"] * 2
    assert len({one["event.id"] for one in office.journal()}) == 1
    office.look()
    assert actions(office) == ["component.silent"] * 2


def test_a_failure_that_a_process_emitted_itself_is_not_emitted_by_the_watcher(office):
    reconciled = TaskFailed(identity=TASK, cause="app", reason="it failed", provider="reconciler")
    office.look(observed(reconciled, time=office.now, certainty=0))
    office.look(failed(provider="callback", map_index=-1))
    office.now += 120
    office.look()
    assert actions(office) == []


@pytest.mark.parametrize("kind", [TaskFailed, DagRunFailed])
def test_a_failure_that_only_airflow_knew_of_is_emitted_once(office, kind):
    about = TASK if kind is TaskFailed else RUN
    ended = "" if kind is TaskFailed else "2026-01-09T11:59:31.000000Z"
    event = kind(identity=about, discriminator=ended, cause="app", reason="it failed", provider="reconciler")
    office.look(observed(event, time=office.now, certainty=0))
    assert actions(office) == []
    office.now += 31
    for _ in range(2):
        office.look(observed(event, time=office.now, certainty=0))
    assert actions(office) == [kind.action]
    assert office.journal()[0]["event.id"] == event.id  # the id that its own process would have given it


def test_the_watcher_does_not_take_its_own_findings_for_news(office):
    office.look(observed(ComponentSilent(identity=SCHEDULER, reason="silent"), time=office.now))
    office.look(observed(DagRunFailed(identity=RUN, cause="app", reason="x", provider="reconciler"), time=office.now))
    office.now += 60
    office.look()
    assert actions(office) == ["component.silent", "dag_run.failed"]
    assert [from_document(one) for one in office.journal()] == [None] * 2


def test_every_kind_of_event_that_says_something_of_an_incident_makes_a_fact():
    for action, spec in catalog.EVENTS.items():
        document = {"event.action": action, "@timestamp": "2026-01-09T12:00:00Z", "event.provider": "somebody"}
        fact = from_document(document)
        assert (fact is None) == (spec.incident is None), action
        assert fact is None or fact.kind in catalog.INCIDENT_KINDS


def test_a_new_kind_of_event_needs_its_entry_and_its_class_and_who_emits_it(office, monkeypatch):
    class PoolFilled(events.Event, frozen=True, kw_only=True):
        action = "pool.filled"
        reason: str
        provider: str = "reconciler"

    entry = catalog.EventSpec(
        "etl.event", "warning", "unknown", "Pool is full: {event_reason}", "A pool has no slot left.",
        ("event.reason", "event.provider"), (catalog.MetricUse("contrail.task.stuck"),), log=False, alert="warning",
        incident=catalog.IncidentUse("stuck", "firing"),
    )  # fmt: skip
    monkeypatch.setitem(catalog.EVENTS, PoolFilled.action, entry)
    monkeypatch.setitem(pending_events._KINDS, PoolFilled.action, PoolFilled)
    sent = []
    monkeypatch.setattr("observability.metrics.send", lambda name, *_: sent.append(name))
    office.look(observed(PoolFilled(identity=DAG, reason="no slot is left"), time=office.now))
    office.pass_time(5)
    assert [one["message"] for one in office.journal()] == ["Pool is full: no slot is left"]
    assert sent.count("contrail.task.stuck") == 1
    assert [(kind, dag) for kind, dag, *_ in office.said()] == [("opened", "load")]
