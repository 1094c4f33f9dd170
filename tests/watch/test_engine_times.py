"""The engine writes down its events with their moments, and remembers how long what it saw has lasted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select
from watch_office import Office, failed, run_ended

from observability.events import ComponentRecovered, ComponentSilent, Identity, TaskFailed
from observability.watch import incidents
from observability.watch.engine import IncidentEngine
from observability.watch.facts import CERTAIN, Fact, observed
from observability.watch.ledger import records, schema


@pytest.fixture
def office(ledger):
    return Office(ledger)


def pending(office):
    """(action, discriminator, seconds from now) of each event that waits to be emitted, in order of their time."""
    with office.ledger.transaction() as connection:
        asked = select(schema.events.c.document, schema.events.c.due).order_by(schema.events.c.due)
        rows = connection.execute(asked).all()
    return [(row[0]["action"], row[0]["event"].get("discriminator", ""), round(row[1] - office.now, 3)) for row in rows]


def engine_of(office, **given):
    office.engine = IncidentEngine(office.engine.notifier, **given)
    return office.engine


def in_ledger(office, act):
    with office.ledger.transaction(lock=True) as connection:
        return act(connection)


def take(office, *facts):
    in_ledger(office, lambda connection: office.engine.take(connection, facts, office.now))


def silent(name="scheduler", **more):
    event = ComponentSilent(identity=Identity(component=name), reason="no heartbeat")
    return observed(event, certainty=CERTAIN, **more)


def back(name="scheduler", **more):
    return observed(ComponentRecovered(identity=Identity(component=name), reason="it beats"), **more)


@pytest.mark.parametrize(("given", "wait"), [({}, 0.0), ({"emit_after_s": 2.0}, 2.0), ({"emit_after_s": 45.0}, 45.0)])
def test_what_only_the_watcher_sees_is_emitted_when_its_transaction_stands(office, given, wait):
    engine_of(office, **given)
    take(office, silent(time=office.now))
    one = office.incidents()[0]
    assert pending(office) == [("component.silent", one.id, wait)]
    assert [event.action for event in office.engine.take_events()] == ["component.silent"]
    assert office.engine.take_events() == []


@pytest.mark.parametrize(("given", "wait"), [({}, 30.0), ({"emit_after_s": 45.0}, 45.0)])
def test_what_another_process_may_emit_itself_waits_half_a_minute_for_it(office, given, wait):
    engine_of(office, **given)
    about = Identity(dag_id="load", run_id="r1", task_id="t", try_number=1)
    event = TaskFailed(identity=about, cause="app", reason="x", provider="reconciler")
    take(office, observed(event, time=office.now))
    assert [(action, after) for action, _, after in pending(office)] == [("task.failed", wait)]


def test_an_incident_is_opened_acknowledged_given_back_and_over_by_events_of_their_own(office):
    office.see(failed(time=office.now))
    office.pass_time(1)
    (one,) = office.incidents()
    office.now += 1.25
    taken = in_ledger(office, lambda c: office.engine.acknowledge(c, one, "ann", office.now))
    assert in_ledger(office, lambda c: office.engine.acknowledge(c, taken, "ann", office.now)) is taken
    in_ledger(office, lambda c: office.engine.take_back(c, taken, office.now, incidents.unacknowledge))
    office.now += 1
    in_ledger(office, lambda c: office.engine.resolve(c, records.incident(c, one.id), office.now, "done"))
    assert pending(office) == [
        ("incident.opened", f"{one.id}:0", -2.25),
        ("incident.acknowledged", f"{one.id}:1000002.250", -1.0),
        ("incident.reopened", f"{one.id}:1000002.250", -1.0),
        ("incident.resolved", f"{one.id}:1000003.250", 0.0),
    ]


@pytest.mark.parametrize(("seen", "lasted"), [(1_000_000.0, 90.0), (1_000_050.0, 40.0), (1_000_090.5, 0.0)])
def test_what_is_right_again_says_how_long_it_was_known_to_be_wrong(office, seen, lasted):
    take(office, silent(time=seen))
    (one,) = office.incidents()
    office.now += 90
    take(office, back(time=office.now))
    (event,) = [event for event in office.engine.take_events() if event.action == "component.recovered"]
    assert (event.duration_ns, event.discriminator) == (int(lasted * 1e9), one.id)
    take(office, back(time=office.now))
    assert office.engine.take_events() == []  # it has been said


def test_what_was_never_wrong_is_not_said_to_be_right_again(office):
    take(office, back(time=office.now))
    assert (pending(office), office.incidents()) == ([], [])


def test_a_fact_that_cannot_be_applied_in_a_careful_round_waits_a_minute_and_the_others_go_on(office, monkeypatch):
    for run in ("r1", "r2"):
        take(office, failed(run=run, task=run, time=office.now))
    whole, broken = incidents.elapse, "run:load:r1"

    def elapse(one, *given, **more):
        if one.key == broken:
            raise ZeroDivisionError("no")
        return whole(one, *given, **more)

    monkeypatch.setattr(incidents, "elapse", elapse)
    office.now += 2
    with pytest.raises(ZeroDivisionError):
        in_ledger(office, lambda c: office.engine.elapse(c, office.now))
    in_ledger(office, lambda c: office.engine.elapse(c, office.now, careful=True))
    found = {one.key: (one.notify_at, one.notified, one.inhibited_by) for one in office.incidents()}
    assert found == {
        "run:load:r1": (office.now + 60, "", "it cannot be applied: ZeroDivisionError('no')"),
        "run:load:r2": (None, "opened", ""),
    }


QUIET = {"telemetry": 3600.0, "data": 86_400.0, "dag": 86_400.0}


@pytest.mark.parametrize(("kind", "wait"), QUIET.items())
@pytest.mark.parametrize("later", [0.0, 0.1])
def test_what_has_no_recovery_is_over_when_it_was_not_seen_for_long(office, kind, wait, later):
    take(office, Fact(kind=kind, status="firing", time=office.now, dag_id="load", subject="x"), failed(time=office.now))
    office.now += wait + later
    in_ledger(office, lambda c: office.engine.quiet(c, office.now))
    over = {one.kind: (one.state, one.evidence.get("resolved_by")) for one in office.incidents()}
    why = "nobody: it was gone for a day, and is taken as meant to be" if kind == "dag" else None
    assert over == {"task": ("open", None), kind: ("resolved", why) if later else ("open", None)}


def test_there_may_be_something_to_ask_airflow_about_at_the_begin_and_after_a_suspicion(office):
    assert office.engine.suspicious
    office.engine.suspicious = False
    take(office, failed(time=office.now))
    assert not office.engine.suspicious
    take(office, failed(run="r2", status="suspected", time=office.now))
    take(office, failed(run="r3", time=office.now))
    assert office.engine.suspicious


def history(office, measure):
    table = schema.history
    columns = (table.c.dag_id, table.c.occasion, table.c.time, table.c.value)
    return in_ledger(
        office, lambda c: [tuple(row) for row in c.execute(select(*columns).where(table.c.measure == measure))]
    )


@pytest.mark.parametrize(("duration", "lasted"), [(90 * 10**9, 90.0), (None, None)])
def test_a_run_that_succeeded_is_remembered_with_how_long_it_took(office, duration, lasted):
    evidence = {} if duration is None else {"event.duration": duration}
    take(office, run_ended("resolved", time=office.now, evidence=evidence))
    assert history(office, "duration") == ([("load", "r1", office.now, lasted)] if lasted else [])
    assert history(office, "success") == [("load", "r1", office.now, 1.0)]
    begun = [] if lasted is None else [("load", "r1", office.now - lasted, office.now - lasted)]
    assert history(office, "started") == begun  # it began while nobody looked


@pytest.mark.parametrize(("first_seen", "state"), [(-91, "resolved"), (-90, "resolved"), (-89, "open")])
def test_a_run_that_succeeded_ends_what_was_overdue_before_it_began(office, first_seen, state):
    take(office, Fact(kind="overdue", status="firing", time=office.now + first_seen, dag_id="load"))
    take(office, Fact(kind="paused", status="firing", time=office.now - 100, dag_id="load"))
    take(office, run_ended("resolved", time=office.now, evidence={"event.duration": 90 * 10**9}))
    assert {one.kind: one.state for one in office.incidents()} == {"overdue": state, "paused": "open"}


@pytest.mark.parametrize("live", [True, False])
def test_a_run_that_begins_ends_what_was_overdue(office, live):
    take(office, Fact(kind="overdue", status="firing" if live else "noted", time=office.now - 9, dag_id="load"))
    take(office, Fact(kind="run", status="noted", time=office.now, dag_id="load", run_id="r1"))
    assert [one.state for one in office.incidents()] == ["resolved"] * live


@pytest.mark.parametrize(
    ("deeds_s", "told", "cleared"), [(6, True, False), (0, True, False), (6, False, False), (6, True, True)]
)
def test_a_success_waits_for_who_cleared_the_run_where_people_know_of_it_and_nobody_is_known(
    office, deeds_s, told, cleared
):
    engine_of(office, deeds_s=deeds_s)
    take(office, failed(time=office.now), run_ended("firing", time=office.now))
    if told:
        office.pass_time(2)
    if cleared:
        (one,) = office.incidents()
        in_ledger(office, lambda c: office.engine.rerun(c, one, "r1", "ann", office.now))
    take(office, failed(status="resolved", try_number=2, time=office.now), run_ended("resolved", time=office.now))
    (one,) = office.incidents()
    waits = deeds_s and told and not cleared
    assert (one.state, one.good_at) == (("open", office.now + 6) if waits else ("resolved", None))
    if cleared:
        assert one.evidence["resolved_by"] == "run r1 succeeded after it was cleared by ann"
    office.pass_time(5.9)
    assert office.incidents()[0].live is bool(waits)
    office.pass_time(0.1)
    assert office.incidents()[0].state == "resolved"


@pytest.mark.parametrize(("why", "reason"), [("it moved", "it moved"), ("", "a person closed it")])
def test_a_deadline_that_a_person_closes_is_reported_as_recovered(office, why, reason):
    take(office, Fact(kind="deadline", status="firing", time=office.now, dag_id="load", subject="soon"))
    (one,) = office.incidents()
    closed = in_ledger(office, lambda c: office.engine.resolve(c, one, office.now, why))
    assert [(event.action, event.reason) for event in office.engine.take_events()] == [("deadline.recovered", reason)]
    in_ledger(office, lambda c: office.engine.resolve(c, closed, office.now, why))
    take(office, failed(time=office.now))
    task = next(found for found in office.incidents() if found.kind == "task")
    in_ledger(office, lambda c: office.engine.resolve(c, task, office.now, why))
    assert office.engine.take_events() == []


def test_a_reminder_that_is_held_back_keeps_its_notice_and_a_first_notice_waits(office):
    office.see(failed(time=office.now))
    office.pass_time(2)
    take(office, failed(run="r2", task="u", time=office.now))
    office.silence("load", office.now + 5 * 3600)
    moment = office.now + 4 * 3600 + 1
    for one in office.incidents():
        if one.notified:
            in_ledger(office, lambda c, one=one: records.save_incident(c, replace(one, remind_at=moment)))
    office.now = moment
    in_ledger(office, lambda c: office.engine.elapse(c, office.now))
    found = {one.run_id: (one.notify_at, one.remind_at, one.inhibited_by) for one in office.incidents()}
    assert found == {"r1": (None, moment + 60, ""), "r2": (moment + 60, None, "silenced by me: known")}
