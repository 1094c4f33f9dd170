"""Each state of a deadline becomes a fact with its moment and words; an incident that is over says why."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest
from sqlalchemy import select

from observability.timestamps import iso
from observability.watch import deadlines as module
from observability.watch.deadline_state import Standing
from observability.watch.deadlines import Deadlines, recovered
from observability.watch.facts import CERTAIN
from observability.watch.incidents import Incident, key_of
from observability.watch.ledger import records, schema
from observability.watch.outcomes import Outcomes
from observability.watch.rules.config import Deadline

NOW = 1_000_000.0
LOAD = {"name": "soon", "dag": "load", "run_finishes_within": "2h"}
DAILY = {"name": "daily", "dag": "load", "starts_by": "06:00"}


@pytest.fixture
def connection(ledger):
    with ledger.transaction(lock=True) as connection:
        yield connection


def standing(state="missed", **more):
    given = {"dag_id": "load", "due": NOW - 90, "reason": "it is late", "run_id": "r1", "occasion": "r1", **more}
    return Standing(state, **given)


@pytest.fixture
def found(monkeypatch):
    """The states that each deadline has, and the looks that asked for them."""
    given = {"standings": [], "looks": []}

    def standings_of(look, _deadline):
        given["looks"].append(look)
        return list(given["standings"])

    monkeypatch.setattr(module, "standings_of", standings_of)
    return given


def made(*declared, dags=None, **more):
    return Deadlines([Deadline.model_validate(one) for one in declared or (LOAD,)], dags or {}, **more)


def check(connection, *declared, now=NOW, **more):
    return made(*declared, **more).check(connection, now)


def incident(kind="deadline", **more):
    given = {"dag_id": "load", "run_id": "r1", "subject": "soon", "key": "deadline:soon:load:r1", "state": "open",
             "notified": "opened", "first_seen": NOW - 90, "evidence": {"deadline.declared": True}, **more}  # fmt: skip
    return Incident(id="1", kind=kind, severity="error", cause="deadline", reason="late", certainty=3,
                    last_seen=NOW, **given)  # fmt: skip


def saved(connection, *args, **more):
    one = incident(*args, **more)
    records.save_incident(connection, one)
    return one


def test_a_missed_deadline_with_all_that_it_says(connection, found):
    found["standings"] = [standing()]
    about = {"owner": "ann", "tags": ["a"], "env": "test", "file": "x.py"}
    (fact,) = check(connection, {**LOAD, "severity": "critical"}, dags={"load": about})
    assert (fact.kind, fact.status, fact.severity, fact.certainty) == ("deadline", "firing", "critical", CERTAIN)
    assert (fact.dag_id, fact.run_id, fact.subject, fact.time) == ("load", "r1", "soon", NOW - 90)
    assert (fact.reason, fact.provider) == ("it is late", "deadline")
    assert {name: fact.about[name] for name in ("owner", "tags", "env")} == {
        "owner": "ann",
        "tags": ["a"],
        "env": "test",
    }
    assert {name: value for name, value in fact.evidence.items() if name.startswith("deadline")} == {
        "deadline.due": iso(NOW - 90, "seconds"), "deadline.declared": True, "deadline.occasion": "r1",
    }  # fmt: skip
    event = fact.event
    assert (event.action, event.lateness_ns, event.occasion) == ("deadline.missed", 90_000_000_000, "r1")
    assert event.due == datetime.fromtimestamp(NOW - 90, timezone.utc)
    assert (event.identity.owner, event.identity.tags, event.asset) == ("ann", ("a",), None)


def test_a_deadline_that_comes_near_is_warned_of_now(connection, found):
    found["standings"] = [standing("near", due=NOW + 60, expected=NOW + 99, chance=0.95, occasion="")]
    (fact,) = check(connection, {**LOAD, "owner": "bob"}, dags={"load": {"owner": "ann"}})
    assert (fact.status, fact.severity, fact.time, fact.about["owner"]) == ("warned", "warning", NOW, "bob")
    assert (fact.event.action, fact.event.chance) == ("deadline.approached", 0.95)
    assert fact.event.expected == datetime.fromtimestamp(NOW + 99, timezone.utc)
    assert (fact.event.occasion, "deadline.occasion" in fact.evidence, fact.event.identity.tags) == (None, False, None)


def test_a_deadline_that_is_missed_before_it_is_due_is_of_this_moment_and_not_late_yet(connection, found):
    found["standings"] = [standing(due=NOW + 0.5)]
    (fact,) = check(connection)
    assert (fact.time, fact.event.lateness_ns) == (NOW, 0)


@pytest.mark.parametrize(("late", "said"), [(0, 0), (0.5, 500_000_000), (2, 2_000_000_000)])
def test_how_late_it_is(connection, found, late, said):
    found["standings"] = [standing(due=NOW - late)]
    assert check(connection)[0].event.lateness_ns == said


def test_what_is_not_due_or_was_kept_is_no_news_and_hides_nothing(connection, found):
    found["standings"] = [standing(state, run_id=state, occasion=state) for state in
                          ("upcoming", "kept", "missed", "over", "near")]  # fmt: skip
    assert [fact.run_id for fact in check(connection)] == ["missed", "over", "near"]


@pytest.mark.parametrize(
    ("deadline", "assets", "evidence"),
    [
        ({"name": "a", "asset": "s3://a", "fresh_within": "1h"}, ("s3://a",), {"deadline.asset": "s3://a"}),
        (
            {"name": "p", "ready_by": "07:00", "parts": [{"asset": "s3://b"}, {"dag": "load"}]},
            ("s3://b",),
            {"deadline.parts": [{"asset": "s3://b"}, {"dag": "load"}]},
        ),
        (LOAD, None, {}),
    ],
)
def test_the_assets_and_parts_of_a_deadline_are_its_evidence(connection, found, deadline, assets, evidence):
    found["standings"] = [standing(dag_id=None, run_id=None)]
    (fact,) = check(connection, deadline)
    names = ("deadline.asset", "deadline.parts")
    assert {name: fact.evidence[name] for name in names if name in fact.evidence} == evidence
    assert fact.event.asset == assets
    assert fact.about.get("owner") is None


@pytest.mark.parametrize(
    ("chance", "is_open", "told"),
    [(None, False, True), (0.92, False, False), (0.92, True, True), (0.93, False, True), (0.99, False, True)],
)
def test_what_is_foreseen_is_told_where_it_is_likely_or_people_know_of_it(connection, found, chance, is_open, told):
    if is_open:
        saved(connection)
    found["standings"] = [standing("near", chance=chance, expected=NOW), standing(run_id="r2", occasion="r2")]
    assert [fact.run_id for fact in check(connection) if fact.status != "resolved"] == ["r1"] * told + ["r2"]


@pytest.mark.parametrize("known", [{}, {"deadline.due": "2026-01-01T00:00:00Z", "deadline.occasion": "r0"}])
def test_an_incident_about_an_earlier_day_stays_about_its_own_day(connection, found, known):
    saved(connection, evidence={"deadline.declared": True, **known})
    found["standings"] = [standing()]
    (fact,) = check(connection)
    usual = {"deadline.due": iso(NOW - 90, "seconds"), "deadline.occasion": "r1", "deadline.declared": True}
    assert {name: fact.evidence[name] for name in usual} == {**usual, **known}


def pending(connection):
    rows = connection.execute(select(schema.events.c.document, schema.events.c.due)).all()
    return [(row[0]["action"], row[0]["event"].get("discriminator"), row[1]) for row in rows]


@pytest.mark.parametrize(
    ("about", "emitted"),
    [("r0", [("deadline.missed", "r1", NOW)]), ("r1", []), (None, []), ("no incident", [])],
)
def test_another_day_that_is_missed_while_an_incident_is_open_is_an_event_once(connection, found, about, emitted):
    if about != "no incident":
        occasion = {"deadline.occasion": about} if about else {}
        saved(connection, evidence={"deadline.declared": True, **occasion})
    found["standings"] = [standing()]
    outcomes = Outcomes()
    check(connection, outcomes=outcomes)
    assert pending(connection) == emitted
    check(connection, outcomes=outcomes, now=NOW + 9)  # it is known by now
    assert pending(connection) == emitted


@pytest.mark.parametrize(
    ("state", "about", "over"),
    [
        (None, {}, True),
        ("over", {}, True),
        ("missed", {}, False),
        ("near", {}, False),
        (None, {"notified": "", "inhibited_by": "explained"}, True),
        (None, {"notified": ""}, False),
    ],
)
def test_what_stands_no_longer_is_over_where_people_know_of_it_or_it_was_held_back(
    connection, found, state, about, over
):
    saved(connection, **about)
    found["standings"] = [standing(state)] if state else []
    facts = [fact for fact in check(connection) if fact.status == "resolved"]
    assert [(fact.run_id, fact.time) for fact in facts] == [("r1", NOW)] * over


def test_one_that_stands_hides_no_other_that_is_over(connection, found):
    for number in (1, 2):
        one = incident(key=f"deadline:soon:load:r{number}", run_id=f"r{number}", first_seen=NOW + number)
        records.save_incident(connection, replace(one, id=str(number)))
    found["standings"] = [standing()]
    assert [(fact.status, fact.run_id) for fact in check(connection)] == [("firing", "r1"), ("resolved", "r2")]


@pytest.mark.parametrize(
    ("about", "dags", "declared", "why"),
    [
        ({}, {"load": {"paused": True}}, LOAD, "the DAG is paused"),
        ({}, {"other": {}}, LOAD, "Airflow no longer has the DAG"),
        ({}, {"load": {}}, {**LOAD, "name": "x"}, "it is declared no longer"),
        ({}, {}, {**LOAD, "name": "x"}, None),  # nothing is known of the DAGs, which may declare it
        ({"evidence": {}}, {"load": {}}, {**LOAD, "name": "x"}, None),  # Airflow's own: it alone knows
        ({"evidence": {}}, {"other": {}}, {**LOAD, "name": "x"}, "Airflow no longer has the DAG"),
        ({"evidence": {}}, {"load": {"paused": True}}, {**LOAD, "name": "x"}, None),
    ],
)
def test_why_a_missed_deadline_is_over(connection, found, about, dags, declared, why):  # noqa: PLR0913, PLR0917 - a table
    saved(connection, **about)
    assert found["standings"] == []
    assert [fact.reason for fact in check(connection, declared, dags=dags)] == ([why] if why else [])


def success(connection, run, at, current=True):
    records.record(connection, "success", "load", "", run, at, float(current))


QUICK = {"name": "soon", "dag": "load", "task": "t", "task_finishes_within": "1h"}


@pytest.mark.parametrize("about", [{"run_id": None}, {"dag_id": None}, {"dag_id": None, "run_id": None}])
def test_a_deadline_of_airflows_own_that_names_no_run_is_ended_by_none(connection, found, about):
    saved(connection, evidence={}, **about)
    success(connection, "r1", NOW)
    assert check(connection, {**LOAD, "name": "x"}, dags={"load": {}}) == []


@pytest.mark.parametrize(
    ("declared", "one", "is_done"),
    [
        (DAILY, standing("kept", due=NOW - 90, run_id=None), True),
        (DAILY, standing("kept", due=NOW, run_id=None), True),
        (DAILY, standing("kept", due=NOW - 91, run_id=None), False),  # the day before
        (DAILY, standing("upcoming", due=NOW, run_id=None), False),
        (DAILY, standing("kept", dag_id="other", run_id=None), False),
        (DAILY, standing("kept", run_id=None, partition="p"), False),
        (LOAD, standing("kept", due=NOW), False),  # it has no day
    ],
)
@pytest.mark.parametrize("about", [{"notified": "opened"}, {"notified": "", "inhibited_by": "explained"}])
def test_a_day_that_was_done_ends_its_incident_though_the_next_is_late(  # noqa: PLR0913, PLR0917 - a table
    connection, found, declared, one, is_done, about
):
    key = f"deadline:{declared['name']}:load:"
    saved(connection, subject=declared["name"], run_id=None, key=key, **about)
    found["standings"] = [one, standing(run_id=None, occasion="today")]
    over = [fact.reason for fact in check(connection, declared) if fact.status == "resolved"]
    assert len(over) == is_done


def test_what_nobody_was_told_of_is_not_said_to_be_done(connection, found):
    saved(connection, subject="daily", run_id=None, key="deadline:daily:load:", notified="")
    found["standings"] = [standing("kept", due=NOW, run_id=None)]
    assert check(connection, DAILY) == []


BY_EVENTS = [
    (LOAD, False), (DAILY, False), (QUICK, True),
    ({"name": "a", "asset": "s3://a", "fresh_within": "1h"}, True),
    ({"name": "a", "dag": "load", "task": "t", "task_finishes_by": "07:00"}, True),
    ({"name": "a", "ready_by": "07:00", "parts": [{"dag": "x"}]}, False),
    ({"name": "a", "ready_by": "07:00", "parts": [{"dag": "x"}, {"asset": "s3://a"}]}, True),
    ({"name": "a", "ready_by": "07:00", "parts": [{"dag": "x", "task": "t"}]}, True),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "by_events"), BY_EVENTS)
def test_what_only_events_tell_of_is_judged_while_they_are_read(connection, found, declared, by_events):
    found["standings"] = [standing()]
    assert [len(check(connection, declared, **more)) for more in ({}, {"blind": True})] == [1, 0 if by_events else 1]


def test_who_does_not_see_events_foresees_nothing(connection, found):
    for blind in (False, True):
        check(connection, forecasts="forecasts", blind=blind)
    assert [look.forecasts for look in found["looks"]] == ["forecasts", None]


def test_a_look_judges_what_ended_since_the_look_before_with_a_minute_more(connection, found):
    outcomes, done = Outcomes(), {("a",): 1.0}
    for now in (NOW, NOW + 15):
        check(connection, now=now, outcomes=outcomes, done=done)
    assert [(look.now, look.since) for look in found["looks"]] == [(NOW, NOW - 3600), (NOW + 15, NOW - 60)]
    assert found["looks"][0].done is done


@pytest.mark.parametrize(
    ("dags", "known", "expected"),
    [
        ({}, None, ["past"]),
        ({"b": {}, "a": {}}, None, ["a", "b"]),
        ({"b": {}}, False, ["b", "past"]),
        ({}, True, []),
    ],
)
def test_the_dags_that_deadlines_may_be_about_are_airflows_or_also_those_of_the_past(
    connection, found, dags, known, expected
):
    records.record(connection, "started", "past", "", "r1", NOW, NOW)
    records.record(connection, "asset", "", "s3://a", "r1", NOW, NOW)
    check(connection, dags=dags, known=known)
    assert found["looks"][0].dags == expected


def test_a_run_that_is_overdue_is_over_when_its_dag_starts_none(connection, found):
    for dag in ("load", "other", None):
        one = incident("overdue", dag_id=dag, run_id=None, key=f"overdue:{dag}", first_seen=NOW)
        records.save_incident(connection, replace(one, id=str(dag)))
    facts = check(connection, dags={"load": {"paused": True}, "other": {}})
    said = [(fact.kind, fact.status, fact.dag_id, fact.reason, fact.time) for fact in facts]
    assert said == [("overdue", "resolved", "load", "the DAG is paused", NOW)]


@pytest.mark.parametrize("due", ["2026-01-01T00:00:00Z", None])
def test_what_is_said_of_a_deadline_that_is_over(due):
    evidence = {"deadline.due": due, "deadline.occasion": "d", "airflow.partition_key": "p", "deadline.asset": "s3://a"}
    one = incident(task_id="t", about={"owner": "ann"}, evidence={k: v for k, v in evidence.items() if v})
    at = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
    fact = recovered(one, "it is done", at + 9)
    assert (fact.kind, fact.status, fact.reason, fact.time, fact.key) == (
        "deadline", "resolved", "it is done", at + 9, replace(fact, status="firing").key,
    )  # fmt: skip
    event = fact.event
    assert (event.deadline, event.occasion, event.asset, event.provider) == ("soon", "d", ("s3://a",), "deadline")
    assert (event.identity.owner, event.identity.task_id, event.identity.partition_key) == ("ann", "t", "p")
    assert event.lateness_ns == (9_000_000_000 if due else None)
    assert event.due == (datetime(2026, 1, 1, tzinfo=timezone.utc) if due else None)
    assert key_of(fact) == "deadline:soon:load:r1"
    assert recovered(incident(evidence={}), "x", NOW).event.asset is None


def test_a_deadline_that_is_over_before_it_was_due_was_not_late():
    at = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
    assert recovered(incident(evidence={"deadline.due": "2026-01-01T00:00:00Z"}), "", at - 9).event.lateness_ns == 0
