"""A task that goes on failing in the same way is one incident, and only what repairs it resolves it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone

import pytest
from sqlalchemy import select
from watch_office import RULES, Office, failed, run_ended

from benchmarks import weekend
from observability.durations import lasting
from observability.watch.facts import Fact
from observability.watch.incidents import Incident
from observability.watch.ledger import schema
from observability.watch.ledger.database import Ledger
from observability.watch.silences import silence_error

HOUR = 3600
CALM = RULES.replace("escalate: [{after: 30m, receiver: chief}]", "escalate: []")


@pytest.fixture
def office(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield Office(ledger, CALM)
    ledger.close()


def sent(office):
    table = schema.outbox
    with office.ledger.transaction() as connection:
        return Counter(connection.execute(select(table.c.kind).where(table.c.state.in_(("pending", "sent")))).scalars())


def live(office):
    return [one for one in office.incidents() if one.live]


def fails(office, run, error="f1", task="t", dag="load", **more):
    evidence = {"error.type": "E", "error.fingerprint": error, **more.pop("evidence", {})}
    office.see(failed(dag=dag, run=run, task=task, time=office.now, evidence=evidence, **more))
    office.see(run_ended("firing", dag=dag, run=run, time=office.now + 1, reason="a task of it failed"))


def succeeds(office, run, lasted=0.0, dag="load", **more):
    evidence = {"event.duration": int(lasted * 1e9), **more.pop("evidence", {})}
    office.see(run_ended("resolved", dag=dag, run=run, time=office.now, evidence=evidence, **more))


def test_what_fails_alike_in_each_run_is_one_incident_with_a_count_and_a_last_time(office):
    for hour in range(30):
        fails(office, f"r{hour}")
        office.pass_time(HOUR, step=300)
    (one,) = live(office)
    assert (one.count, one.run_count, one.last_run) == (30, 30, "r29")
    assert one.last_seen >= office.now - HOUR
    assert sent(office)["opened"] == 1
    assert sent(office)["reminder"] in {7, 8}
    details = dict([one for one in office.messages() if one.kind == "reminder"][-1].details)
    assert int(details["Runs that failed so"]) >= 28
    office.now += HOUR
    succeeds(office, "r30")
    assert sent(office)["resolved"] == 1
    assert dict(office.messages()[-1].details)["Resolved by"] == "run r30 succeeded"
    assert live(office) == []


def test_half_a_day_is_a_handful_of_messages_whatever_the_number_of_runs():
    hourly, often = weekend.messages(1, HOUR, 12), weekend.messages(1, 300, 12)
    assert hourly == often
    assert (hourly["opened"], hourly["reminder"]) in {(1, 2), (1, 3)}
    assert hourly.total() <= 4


@pytest.mark.parametrize(
    "more", [{"error": "f2"}, {"task": "u"}, {"cause": "oom"}], ids=["another error", "another task", "another cause"]
)
def test_another_failure_is_told_again_and_they_remind_as_one(office, more):
    fails(office, "r0")
    office.pass_time(HOUR, step=60)
    fails(office, "r1", **more)
    office.pass_time(HOUR, step=60)
    for run in range(2, 10):
        fails(office, f"r{run}", **(more if run % 2 else {}))
        office.pass_time(HOUR, step=60)
    assert sent(office)["opened"] == 2
    assert sent(office)["reminder"] == 2
    succeeds(office, "r10")
    assert sent(office)["resolved"] == 2


def test_a_second_task_of_a_later_run_is_told_and_one_that_people_know_is_not(office):
    for run in ("r0", "r1"):
        fails(office, run, task="a")
        office.pass_time(60)
        office.see(failed(run=run, task="b", time=office.now, evidence={"error.fingerprint": "fb"}))
        office.pass_time(60)
    assert [task for kind, _, task, _ in office.said() if kind == "opened"] == ["a"]
    office.see(failed(run="r1", task="c", time=office.now, evidence={"error.fingerprint": "fc"}))
    office.pass_time(60)
    assert [task for kind, _, task, _ in office.said() if kind == "opened"] == ["a", "c"]


def test_a_reason_without_a_fingerprint_is_compared_without_its_numbers(office):
    for run, lasted in (("r0", 3601), ("r1", 3777), ("r2", 7200)):
        reason = f"it ran {lasting(lasted)}, its dagrun_timeout is 1 h"
        office.see(run_ended("firing", run=run, time=office.now, cause="timeout", reason=reason, certainty=3))
        office.pass_time(HOUR, step=60)
    assert sent(office) == {"opened": 1}


def test_an_acknowledged_incident_takes_what_fails_alike_in_silence(office):
    fails(office, "r0")
    office.pass_time(60)
    with office.ledger.transaction(lock=True) as connection:
        office.engine.acknowledge(connection, office.incidents_in(connection)[0], "me", office.now)
    for run in range(1, 9):
        fails(office, f"r{run}")
        office.pass_time(HOUR, step=60)
    assert sent(office) == {"opened": 1}


def test_a_death_that_airflow_confirms_joins_and_one_that_it_dismisses_does_not(office):
    death = {"cause": "killed", "certainty": 2, "reason": "its process was ended by SIGKILL"}
    for run in ("r0", "r1", "r2"):
        office.see(failed(run=run, status="suspected", provider="relay", time=office.now, **death))
        office.pass_time(2)
        status = "dismissed" if run == "r2" else "firing"
        office.see(failed(run=run, status=status, provider="reconciler", time=office.now, **death))
        office.pass_time(HOUR, step=60)
    assert [(one.count, one.run_count) for one in live(office)] == [(2, 2)]
    assert sent(office)["opened"] == 1


def test_a_run_that_joined_and_fails_again_after_a_person_cleared_it_is_a_reminder(office):
    for run in ("r0", "r1"):
        fails(office, run)
        office.pass_time(60)
    office.see(failed(run="r1", try_number=2, time=office.now, evidence={"error.fingerprint": "f1"}))
    office.pass_time(60)
    assert sent(office) == {"opened": 1, "reminder": 1}


def test_an_optional_task_that_fails_in_each_run_is_one_incident_until_a_run_without_it(office):
    for hour in range(20):
        office.see(failed(run=f"r{hour}", time=office.now, evidence={"error.fingerprint": "f1"}))
        succeeds(office, f"r{hour}")
        office.pass_time(HOUR, step=300)
    assert sent(office)["opened"] == 1
    assert sent(office)["resolved"] == 0
    succeeds(office, "r20")
    assert sent(office)["resolved"] == 1


def march(day):
    return f"2026-03-{day:02}T00:00:00+00:00"


@pytest.mark.parametrize("kind", ["backfill", "scheduled"], ids=["backfill", "catch-up"])
def test_a_failed_day_is_repaired_by_that_day_alone(office, kind):
    office.now = datetime(2026, 7, 1, tzinfo=timezone.utc).timestamp()
    for day in range(1, 8):
        run, more = (
            f"{kind}__{march(day)}",
            {"about": {"run_type": kind}, "evidence": {"airflow.logical_date": march(day)}},
        )
        if day in {3, 5}:
            fails(office, run, **more)
        else:
            succeeds(office, run, **more)
        office.pass_time(120)
    assert sent(office) == {"opened": 1}
    (one,) = live(office)
    assert sorted(one.runs) == [f"{kind}__{march(3)}", f"{kind}__{march(5)}"]
    office.pass_time(HOUR, step=60)
    succeeds(office, "scheduled__2026-07-01T00:00:00+00:00", evidence={"airflow.logical_date": "2026-07-01T00:00:00Z"})
    office.pass_time(60)
    assert sent(office)["resolved"] == 0
    succeeds(office, "by hand", about={"run_type": "manual"}, evidence={"airflow.logical_date": march(3)})
    assert sent(office)["resolved"] == 0
    office.see(failed(run=f"{kind}__{march(5)}", status="resolved", try_number=2, time=office.now))
    succeeds(office, f"{kind}__{march(5)}", about={"run_type": kind})
    assert sent(office)["resolved"] == 1
    assert dict(office.messages()[-1].details)["Resolved by"] == f"run {kind}__{march(5)} succeeded"


@pytest.mark.parametrize(
    ("broken", "good", "is_repaired"),
    [
        ({"run_type": "scheduled"}, {"run_type": "scheduled"}, True),
        ({"run_type": "scheduled"}, {"run_type": "manual"}, True),
        ({"run_type": "scheduled"}, {"run_type": "backfill"}, False),
        ({"run_type": "asset_triggered"}, {"run_type": "asset_triggered"}, True),
        ({"run_type": "asset_triggered", "key": "de"}, {"run_type": "asset_triggered", "key": "fr"}, False),
        ({"run_type": "asset_triggered", "key": "de"}, {"run_type": "asset_triggered", "key": "de"}, True),
        ({"run_type": "asset_triggered", "key": "de"}, {"run_type": "scheduled"}, False),
        ({"run_type": "manual"}, {"run_type": "scheduled"}, True),
    ],
    ids=str,
)
def test_what_repairs_what(office, broken, good, is_repaired):
    def about(given):
        evidence = {"airflow.partition_key": given["key"]} if "key" in given else {}
        return {"about": {"run_type": given["run_type"]}, "evidence": evidence}

    fails(office, "bad", **about(broken))
    office.pass_time(60)
    succeeds(office, "good", **about(good))
    assert bool(sent(office)["resolved"]) is is_repaired


def test_a_schedule_that_is_on_time_is_repaired_by_its_next_run_and_not_by_one_that_began_before(office):
    office.now = datetime(2026, 7, 1, tzinfo=timezone.utc).timestamp()

    def run(hours):
        return f"scheduled__{datetime.fromtimestamp(office.now - hours * HOUR, timezone.utc).isoformat()}"

    fails(office, run(0))
    office.pass_time(600, step=10)
    succeeds(office, run(1), lasted=1200)
    assert sent(office)["resolved"] == 0
    office.pass_time(HOUR - 600, step=60)
    succeeds(office, run(0))
    assert sent(office)["resolved"] == 1


DEADLINES = [
    {"subject": "d:load", "run_id": None},
    {"subject": "d:load:r0", "run_id": "r0"},
]


@pytest.mark.parametrize("late", DEADLINES, ids=["of the DAG", "of the run"])
@pytest.mark.parametrize("status", ["warned", "firing"])
def test_a_failure_that_was_told_needs_no_deadline_notice_after_it(office, late, status):
    fails(office, "r0")
    office.pass_time(60)
    miss = {"kind": "deadline", "status": status, "cause": "deadline", "reason": "late", "certainty": 3, **late}
    office.see(Fact(time=office.now, dag_id="load", **miss))
    office.pass_time(HOUR, step=60)
    assert sent(office) == {"opened": 1}
    office.see(Fact(time=office.now, dag_id="load2", **miss))
    office.pass_time(60)
    assert sum(sent(office).values()) == 2


def test_an_asset_whose_dag_failed_needs_no_notice_of_its_age(office):
    office.see(Fact(kind="asset", status="noted", time=office.now, dag_id="load", run_id="r", subject="s3://x"))
    fails(office, "r0")
    office.pass_time(60)
    office.see(Fact(kind="deadline", status="firing", time=office.now, cause="deadline", reason="stale", certainty=3,
                    subject="fresh", evidence={"deadline.asset": "s3://x"}))  # fmt: skip
    office.pass_time(60)
    assert sent(office) == {"opened": 1}


def test_an_early_warning_before_the_failure_is_all_that_is_said_of_the_deadline(office):
    due = {"kind": "deadline", "cause": "deadline", "certainty": 3, "dag_id": "load", "subject": "d", "reason": "late"}
    office.see(Fact(status="warned", time=office.now, **due))
    office.pass_time(60)
    fails(office, "r0")
    office.pass_time(60)
    office.see(Fact(status="firing", time=office.now, **due))
    office.pass_time(HOUR, step=60)
    assert sent(office) == {"early_warning": 1, "opened": 1}


def test_reminders_of_many_dags_are_one_message_and_those_of_a_few_are_their_own(office):
    for dags in (range(4), range(4, 20)):
        for dag in dags:
            fails(office, "r0", dag=f"dag{dag}")
            office.pass_time(120, step=30)
        if len(dags) == 4:
            office.pass_time(4 * HOUR, step=60)
            assert sent(office) == {"opened": 4, "reminder": 4}
    before = sent(office)["opened"]
    office.pass_time(12 * HOUR, step=60)
    assert sent(office)["opened"] == before
    assert sent(office)["reminder"] == 4
    assert sent(office)["digest"] in {3, 4}
    last = office.messages()[-1]
    assert last.title == "Still open: 20 incidents"
    assert len(last.incidents) == 20


def test_many_that_fail_after_the_first_message_are_counted_in_a_second_one_once(office):
    def instances(numbers):
        office.see(*(failed(map_index=number, time=office.now) for number in numbers))

    instances(range(1))
    office.pass_time(5)
    for first in range(1, 100, 11):
        instances(range(first, first + 11))
        office.pass_time(20)
    assert sent(office) == {"opened": 1}
    office.see(run_ended("firing", time=office.now))
    office.pass_time(600)
    assert [one.kind for one in office.messages()] == ["opened", "update"]
    assert office.messages()[-1].title == "Update: load: t[0] failed: ValueError: no (100 mapped tasks)"
    assert office.messages()[-1].failed == 100
    assert office.messages()[-1].pair == office.messages()[0].pair


def test_a_count_that_was_said_when_the_message_was_sent_is_not_said_again(office):
    office.see(failed(map_index=0, time=office.now))
    office.pass_time(2)
    said = {**office.messages()[0].as_json(), "failed": 30}
    with office.ledger.transaction(lock=True) as connection:  # as the worker writes down what it sent
        connection.execute(schema.outbox.update().values(message=said))
    office.see(*(failed(map_index=number, time=office.now) for number in range(1, 30)))
    office.pass_time(600)
    assert sent(office) == {"opened": 1}


def test_a_second_task_that_fails_later_is_counted_and_no_message_of_its_own(office):
    office.see(failed(task="a", time=office.now))
    office.pass_time(60)
    office.see(failed(task="b", time=office.now))
    office.pass_time(600)
    assert sent(office) == {"opened": 1}


TOOK_TOO_LONG = {"cause": "timeout", "reason": "it ran longer than its dagrun_timeout"}
LATER_SAID = {
    "a run's time-out, then how long it ran": (
        lambda run, now: run_ended("firing", run=run, time=now, certainty=1, **TOOK_TOO_LONG),
        lambda run, now: run_ended(
            "firing", run=run, time=now, certainty=2, cause="timeout", reason=f"it ran {len(run)}41 s of 240 s"
        ),
    ),
    "a process killed, then the executor's reason": (
        lambda run, now: failed(run=run, time=now, certainty=1, cause="killed", reason="it was ended by SIGKILL"),
        lambda run, now: failed(run=run, time=now, certainty=2, cause="oom", reason="pod was OOMKilled"),
    ),
    "an exception's name, then its fingerprint": (
        lambda run, now: failed(run=run, time=now, certainty=1, reason="ValueError"),
        lambda run, now: failed(run=run, time=now, certainty=3, evidence={"error.fingerprint": "f1"}),
    ),
}


@pytest.fixture(params=LATER_SAID)
def told(request, office):
    """Tell of a failure, and a minute after people were notified what another source knows of it."""
    first, later = LATER_SAID[request.param]

    def tell(run, then=lambda: None):
        office.see(first(run, office.now))
        office.pass_time(60)
        then()
        office.see(later(run, office.now))
        office.pass_time(HOUR, step=60)

    return tell


def test_a_failure_of_which_more_is_said_later_goes_on_as_one_incident(office, told):
    for number in range(3):
        told(f"r{number}")
    assert [(one.run_count, one.last_run) for one in live(office)] == [(3, "r2")]
    assert sent(office)["opened"] == 1


@pytest.mark.parametrize("early", [True, False], ids=["muted before", "muted after"])
def test_a_muted_error_stays_muted_when_more_is_said_of_it(office, told, early):
    def mute():
        (one,) = live(office)
        with office.ledger.transaction(lock=True) as connection:
            silence_error(connection, one, ["load"], "change", (office.now, office.now + 20 * HOUR), ("me", ""))

    told("r0", then=mute if early else lambda: None)
    if not early:
        mute()
    succeeds(office, "r1")
    assert (live(office), sent(office)["opened"]) == ([], 1)
    told("r2")
    assert (len(live(office)), sent(office)["opened"]) == (1, 1)


def test_an_incident_remembers_few_names_of_its_error(office):
    office.see(failed(certainty=1, reason="killed"))
    office.pass_time(60)
    for certainty in range(2, 12):
        office.see(failed(certainty=certainty, reason=f"killed, and {'so ' * certainty}"))
    (one,) = live(office)
    assert len(one.errors) == 6
    assert Incident.from_json(one.as_json()) == one
