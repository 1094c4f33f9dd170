"""Deadlines: early warning, one notice at the breach, a recovered notice after."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
import structlog
from sqlalchemy import select
from watch_office import RULES, Office, failed, run_ended

from observability.watch.deadlines import Deadlines, beside_dag
from observability.watch.facts import Fact
from observability.watch.ledger import records, schema
from observability.watch.ledger.database import Ledger
from observability.watch.notify.messages import digest
from observability.watch.rules.config import Deadline

HOUR = 3600.0


class Clockwork(Office):
    """An office whose deadlines are looked at every step; :meth:`restart` forgets everything but the ledger."""

    def __init__(self, ledger, *deadlines, dags=None):
        super().__init__(ledger, RULES.replace("escalate: [{after: 30m, receiver: chief}]", "escalate: []"))
        self.deadlines = Deadlines([Deadline.model_validate(one) for one in deadlines], dags or {})

    def pass_time(self, seconds, step=60.0):
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + step)
            self.look()

    def look(self):
        with self.ledger.transaction(lock=True) as connection:
            self.engine.take(connection, self.deadlines.check(connection, self.now), self.now)
            self.engine.elapse(connection, self.now)
        self.now += 1
        with self.ledger.transaction(lock=True) as connection:
            self.engine.elapse(connection, self.now)

    def begin(self, run="r1", dag="load", at=None):
        self.see(Fact(kind="run", status="noted", time=self.now if at is None else at, dag_id=dag, run_id=run))

    def end(self, run="r1", dag="load", lasted=60.0, at=None):
        moment = self.now if at is None else at
        self.see(run_ended("resolved", dag=dag, run=run, time=moment, evidence={"event.duration": int(lasted * 1e9)}))

    def kinds(self):
        return [kind for kind, *_ in self.said()]


def test_a_run_is_warned_of_then_missed_then_recovered_once_each(ledger):
    office = Clockwork(ledger, {"name": "soon", "dag": "load", "run_finishes_within": "2h"})
    office.begin()
    office.pass_time(1.5 * HOUR)
    assert office.kinds() == []
    office.pass_time(0.3 * HOUR)
    assert office.kinds() == ["early_warning"]
    office.pass_time(2 * HOUR)
    assert office.kinds() == ["early_warning", "opened"]
    office.end(lasted=3.8 * HOUR)
    office.pass_time(HOUR)
    assert office.kinds() == ["early_warning", "opened", "resolved"]
    assert {one.cause for one in office.messages()} == {"deadline"}


def test_a_warning_that_was_taken_back_and_was_right_after_all_is_followed_by_the_miss(ledger):
    dags = {"load": {}}
    office = Clockwork(ledger, {"name": "soon", "dag": "load", "run_finishes_within": "2h"}, dags=dags)
    office.begin()
    office.pass_time(1.7 * HOUR)
    dags["load"]["paused"] = True
    office.pass_time(HOUR)
    assert office.kinds() == ["early_warning", "resolved"]
    dags["load"]["paused"] = False
    office.pass_time(HOUR)
    assert office.kinds() == ["early_warning", "resolved", "early_warning", "opened"]
    dags["load"]["paused"] = True  # one that was missed is not reported a second time
    office.pass_time(HOUR)
    dags["load"]["paused"] = False
    office.pass_time(HOUR)
    assert office.kinds() == ["early_warning", "resolved", "early_warning", "opened", "resolved"]


def test_a_run_that_is_missed_as_soon_as_its_dag_is_unpaused_is_reported(ledger):
    dags = {"load": {}}
    office = Clockwork(ledger, {"name": "soon", "dag": "load", "run_finishes_within": "2h"}, dags=dags)
    office.begin()
    office.pass_time(1.999 * HOUR)
    dags["load"]["paused"] = True
    office.pass_time(60)
    dags["load"]["paused"] = False
    office.pass_time(HOUR, step=600)
    assert office.kinds() == ["early_warning", "resolved", "opened"]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (3.9, "run r1 failed at 17:40 UTC, 1 h 54 min after it was due"),
        (1.8, "run r1 failed at 15:34 UTC, before it was due"),
    ],
    ids=["late", "in time, but warned of"],
)
def test_a_deadline_that_is_over_because_its_run_failed_says_so(ledger, before, said):
    office = Clockwork(ledger, {"name": "soon", "dag": "load", "run_finishes_within": "2h"})
    office.begin()
    office.pass_time(before * HOUR)
    office.see(run_ended("firing", time=office.now))
    office.pass_time(HOUR)
    by_kind = {one.kind: one for one in office.incidents()}
    assert (by_kind["deadline"].state, by_kind["deadline"].evidence["resolved_by"]) == ("resolved", said)
    assert by_kind["run"].state == "open"
    assert office.kinds().count("resolved") == 1


def test_a_late_task_that_went_well_is_not_called_failed_by_its_run(ledger):
    deadline = {"name": "quick", "dag": "load", "task": "t*", "task_finishes_within": "10m", "warn": 1}
    office = Clockwork(ledger, deadline)
    office.engine.notifier.rules.deadlines.append(Deadline.model_validate(deadline))
    about = {"kind": "task", "dag_id": "load", "run_id": "r1", "task_id": "t1", "try_number": 1}
    office.begin()
    office.see(Fact(status="noted", time=office.now, **about))
    office.pass_time(1200)
    office.see(Fact(status="resolved", time=office.now, **about), run_ended("firing", time=office.now))
    office.pass_time(120)
    said = {one.kind: one.evidence.get("resolved_by") for one in office.incidents()}
    assert said["deadline"] == "task t1 of run r1 succeeded at 14:06 UTC, 10 min 1 s after it was due"


@pytest.mark.parametrize(
    ("status", "said"),
    [("attempt", "failed"), ("resolved", "succeeded")],
)
def test_a_late_attempt_that_failed_says_so_while_its_run_goes_on(ledger, status, said):
    deadline = {"name": "quick", "dag": "load", "task": "t*", "task_finishes_within": "10m", "warn": 1}
    office = Clockwork(ledger, deadline)
    office.engine.notifier.rules.deadlines.append(Deadline.model_validate(deadline))
    about = {"kind": "task", "dag_id": "load", "run_id": "r1", "task_id": "t1"}
    office.begin()
    office.see(Fact(status="noted", time=office.now, try_number=1, **about))
    office.pass_time(1200)
    office.see(Fact(status=status, time=office.now, try_number=1, **about))
    office.pass_time(120)
    assert office.kinds() == ["opened", "resolved"]
    words = f"task t1 of run r1 {said} at 14:06 UTC, 10 min 1 s after it was due"
    assert [one.evidence["resolved_by"] for one in office.incidents()] == [words]


def test_a_run_that_is_warned_of_and_ends_in_time_is_recovered(ledger):
    office = Clockwork(ledger, {"name": "soon", "dag": "load", "run_finishes_within": "2h"})
    office.begin()
    office.pass_time(1.8 * HOUR)
    office.end(lasted=1.8 * HOUR)
    office.pass_time(3 * HOUR)
    assert office.kinds() == ["early_warning", "resolved"]
    said = office.messages()[-1]
    assert said.title == "Resolved: load was at risk of missing its deadline soon: due 15:46, over 15:35 UTC"
    assert dict(said.details)["Resolved by"] == "run r1 succeeded at 15:34 UTC, before it was due"


def test_a_deadline_that_passed_while_everything_was_down_is_told_after(ledger, tmp_path):
    deadline = {"name": "soon", "dag": "load", "run_finishes_within": "1h"}
    office = Clockwork(ledger, deadline)
    office.begin()
    office.pass_time(60)
    later = office.now + 5 * HOUR
    again = Clockwork(Ledger(f"sqlite:///{tmp_path / 'ledger.db'}"), deadline)
    again.now = later
    again.end(at=later - HOUR, lasted=4 * HOUR)
    again.pass_time(300)
    assert again.kinds() == ["opened", "resolved"]
    again.pass_time(3 * HOUR)
    assert again.kinds() == ["opened", "resolved"]


def test_a_run_that_fails_is_not_told_of_twice(ledger):
    office = Clockwork(ledger, {"name": "soon", "dag": "load", "run_finishes_within": "1h", "warn": 1})
    office.begin()
    office.pass_time(600)
    office.see(failed(time=office.now))
    office.pass_time(3 * HOUR)
    assert [(kind, cause) for kind, _, _, cause in office.said()] == [("opened", "app")]


def test_an_attempt_of_a_task_that_takes_too_long_is_missed(ledger):
    deadline = {"name": "quick", "dag": "load", "task": "t*", "task_finishes_within": "10m", "warn": 1}
    office = Clockwork(ledger, deadline)
    office.engine.notifier.rules.deadlines.append(Deadline.model_validate(deadline))
    about = {"kind": "task", "dag_id": "load", "run_id": "r1", "try_number": 1}
    office.see(
        Fact(status="noted", time=office.now, task_id="t1", **about),
        Fact(status="noted", time=office.now, task_id="x", **about),
    )
    office.pass_time(1200)
    assert [(kind, task) for kind, _, task, _ in office.said()] == [("opened", "t1")]
    office.see(Fact(status="resolved", time=office.now, task_id="t1", **about))
    office.pass_time(120)
    assert office.kinds() == ["opened", "resolved"]


@pytest.mark.parametrize(("zone", "hour_utc"), [("UTC", 6), ("Europe/Berlin", 4), ("Asia/Kolkata", 0)])
def test_a_run_must_have_begun_by_a_time_of_day_in_its_zone(ledger, zone, hour_utc):
    office = Clockwork(
        ledger, {"name": "early", "dag": "load", "starts_by": "06:00", "timezone": zone, "warn": 1}, dags={"load": {}}
    )
    midnight = datetime(2026, 7, 1, 22 if zone == "Asia/Kolkata" else 0, tzinfo=timezone.utc).timestamp()
    office.now = midnight + (2 * HOUR if zone == "Asia/Kolkata" else 0)
    due = datetime(
        2026, 7, 2 if zone == "Asia/Kolkata" else 1, hour_utc, 30 if zone == "Asia/Kolkata" else 0, tzinfo=timezone.utc
    )
    office.pass_time(due.timestamp() - office.now - 60, step=300)
    assert office.kinds() == []
    office.pass_time(180)
    assert office.kinds() == ["opened"]
    office.begin()
    office.pass_time(120)
    assert office.kinds() == ["opened", "resolved"]


def test_a_day_without_a_run_is_no_breach_where_none_is_due(ledger):
    office = Clockwork(
        ledger, {"name": "early", "dag": "load", "starts_by": "06:00", "days": ["mon"], "warn": 1}, dags={"load": {}}
    )
    office.now = datetime(2026, 7, 1, 0, tzinfo=timezone.utc).timestamp()  # a Wednesday
    office.pass_time(23 * HOUR, step=600)
    assert office.kinds() == []


def test_an_asset_must_be_fresh(ledger):
    office = Clockwork(ledger, {"name": "fresh", "dag": "*", "asset": "s3://b/k", "fresh_within": "1h", "warn": 1})
    office.see(Fact(kind="asset", status="noted", time=office.now, subject="s3://b/k", dag_id="load", run_id="r1"))
    office.pass_time(0.9 * HOUR)
    assert office.kinds() == []
    office.pass_time(0.2 * HOUR)
    assert office.kinds() == ["opened"]
    office.see(Fact(kind="asset", status="noted", time=office.now, subject="s3://b/k", dag_id="load", run_id="r2"))
    office.pass_time(120)
    assert office.kinds() == ["opened", "resolved"]


ASSET = {"kind": "asset", "status": "noted", "subject": "s3://b/k", "dag_id": "load", "run_id": "r1"}
ROWS = {"kind": "rows", "status": "noted", "dag_id": "load", "task_id": "t", "subject": "load", "try_number": 1}


@pytest.mark.parametrize(
    ("waits", "ends", "said"),
    [
        ({"dag": "load", "starts_by": "07:00"}, Clockwork.begin,
         "a run of load began at 07:15 UTC, 15 min after it was due"),
        ({"dag": "load", "run_finishes_by": "07:00"}, Clockwork.end,
         "load succeeded at 07:15 UTC, 15 min after it was due"),
        ({"asset": "s3://b/k", "fresh_by": "07:00"}, lambda office: office.see(Fact(time=office.now, **ASSET)),
         "s3://b/k was updated at 07:15 UTC, 15 min after it was due"),
        ({"asset": "s3://b/k", "fresh_within": "1h"}, lambda office: office.see(Fact(time=office.now, **ASSET)),
         "s3://b/k was updated at 07:15 UTC, 25 min after it was due"),
        ({"ready_by": "07:00", "parts": [{"dag": "load"}]}, Clockwork.end,
         "the last part of it was there at 07:15 UTC, 15 min after it was due"),
        ({"dag": "load", "success_within": "1h"}, Clockwork.end,
         "a run of load succeeded at 07:15 UTC, 25 min after it was due"),
        ({"dag": "load", "rows_at_least": 9},
         lambda office: office.see(Fact(time=office.now, evidence={"etl.rows_out": 10}, **{**ROWS, "run_id": "r2"})),
         "its last load wrote enough rows"),
    ],
    ids=lambda one: next((name for name in one if name not in {"dag", "asset", "parts"}), None)
    if isinstance(one, dict) else "",
)  # fmt: skip
def test_what_was_late_and_has_happened_is_said_with_its_time(ledger, waits, ends, said):
    warns = {} if "rows_at_least" in waits else {"warn": 1}
    office = Clockwork(ledger, {"name": "late", **warns, **waits}, dags={"load": {}})
    office.now = datetime(2026, 7, 1, 5, 50, tzinfo=timezone.utc).timestamp()
    office.look()
    if "rows_at_least" in waits:
        office.see(Fact(time=office.now, evidence={"etl.rows_out": 1}, **ROWS, run_id="r1"))
    office.pass_time(1.4 * HOUR)
    office.now = datetime(2026, 7, 1, 7, 15, tzinfo=timezone.utc).timestamp()
    ends(office)
    office.pass_time(120)
    over = office.messages()[-1]
    assert (over.kind, dict(over.details)["Resolved by"]) == ("resolved", said)


@pytest.mark.parametrize(
    "waits",
    [
        {"asset": "s3://b/k", "fresh_within": "1h"},
        {"asset": "s3://b/k", "fresh_by": "07:00"},
        {"ready_by": "07:00", "parts": [{"asset": "s3://b/k"}, {"dag": "load"}]},
    ],
    ids="-".join,
)
def test_whatever_says_that_an_asset_is_late_names_it_for_the_right_to_it(ledger, waits):
    office = Clockwork(ledger, {"name": "fresh", "warn": 0.5, **waits}, dags={"load": {}})
    office.now = datetime(2026, 7, 1, 5, 50, tzinfo=timezone.utc).timestamp()
    office.pass_time(1.4 * HOUR)
    office.see(Fact(kind="asset", status="noted", time=office.now, subject="s3://b/k", dag_id="load", run_id="r"))
    office.pass_time(120)
    with office.ledger.transaction() as connection:
        said = connection.execute(select(schema.events.c.document)).scalars().all()
    assert {"deadline.missed", "incident.opened"} <= {one["action"] for one in said}
    assert {tuple(one["event"].get("asset") or ()) for one in said} == {("s3://b/k",)}
    assert {message.assets for message in office.messages()} == {("s3://b/k",)}
    assert digest(office.messages(), "1", "test", 0.0).assets == ("s3://b/k",)


def test_there_must_be_a_successful_run_now_and_then(ledger):
    office = Clockwork(ledger, {"name": "daily", "dag": "load", "success_within": "1d", "warn": 1}, dags={"load": {}})
    office.pass_time(0.9 * 24 * HOUR, step=1800)
    assert office.kinds() == []
    office.pass_time(0.2 * 24 * HOUR, step=1800)
    assert office.kinds() == ["opened"]


def test_a_run_is_slower_than_usual_only_when_there_is_a_usual(ledger):
    office = Clockwork(ledger, {"name": "usual", "dag": "load", "slower_than_usual": 5, "warn": 1})
    for number in range(8):
        office.begin(f"old{number}")
        office.now += 100 + number
        office.end(f"old{number}", lasted=100 + number)
    office.pass_time(60)
    assert office.kinds() == []
    office.begin("slow")
    office.pass_time(300, step=10)
    assert [(kind, run.run_id) for kind, run in zip(office.kinds(), office.messages(), strict=True)] == [
        ("opened", "slow")
    ]


@pytest.mark.parametrize(
    ("deadline", "rows", "kinds"),
    [
        ({"rows_at_least": 1000}, [5000, 900], ["opened"]),
        ({"rows_at_least": 1000}, [900, 5000], []),
        ({"rows_unlike_usual": 6}, [1000, 1010, 990, 1005, 1000, 20], ["opened"]),
        ({"rows_unlike_usual": 6}, [1000, 1010, 990, 1005, 1000, 9000], ["opened"]),
        ({"rows_unlike_usual": 6}, [1000, 1010, 990, 1005, 1000, 1020], []),
        ({"rows_unlike_usual": 6}, [1000, 20], []),
        ({"rows_unlike_usual": True}, [1000, 1010, 990, 1005, 1000, 500], ["opened"]),
        ({"rows_unlike_usual": True}, [1000, 1010, 990, 1005, 1000, 800], []),
    ],
)
def test_the_last_load_is_judged_by_its_rows(ledger, deadline, rows, kinds):
    office = Clockwork(ledger, {"name": "rows", "dag": "load", "step": "load", **deadline})
    for number, value in enumerate(rows):
        office.see(
            Fact(
                kind="rows", status="noted", time=office.now + number, dag_id="load", task_id="t", run_id=f"r{number}",
                subject="load", try_number=1, evidence={"etl.rows_out": value},
            )
        )  # fmt: skip
    office.now += 60
    office.pass_time(60)
    assert office.kinds() == kinds


def test_a_dag_declares_its_own_by_tag_or_param():
    found = beside_dag(
        "load", {"tags": ["team", "run_finishes_within=2h"], "deadlines": [{"starts_by": "06:00"}, {"nonsense": 1}]}
    )
    assert [(one.dag, one.run_finishes_within, one.starts_by) for one in found] == [
        ("load", None, "06:00"),
        ("load", 7200.0, None),
    ]


def test_a_deadline_of_a_dag_that_is_gone_does_not_recover_by_itself(ledger):
    office = Clockwork(ledger, {"name": "soon", "dag": "load", "run_finishes_within": "1h", "warn": 1})
    office.begin()
    office.pass_time(2 * HOUR)
    with ledger.transaction() as connection:
        assert [one.subject for one in records.live_incidents(connection, kind="deadline")] == ["soon"]


@pytest.mark.parametrize("tag", ["starts_by=25:00", "starts_by=soon", "run_finishes_within=often", "rows_at_least=-1"])
def test_a_tag_that_is_no_deadline_is_left_out_and_said_once(tag):
    with structlog.testing.capture_logs() as said:
        for _ in range(3):
            assert beside_dag(f"dag-{tag}", {"tags": [tag, "success_within=1d"]})[0].success_within == 86_400.0
    assert [line["dag_id"] for line in said] == [f"dag-{tag}"]


@pytest.mark.parametrize("dag_id", ["Übersicht.täglich", "d" * 250])
def test_every_dag_can_declare_one_whatever_its_name(dag_id, office):
    declared = beside_dag(dag_id, {"tags": ["success_within=1h"]})
    assert [one.dag for one in declared] == [dag_id]
    with office.ledger.transaction() as connection:
        assert Deadlines(declared, {dag_id: {}}).check(connection, office.now) == []
        found = Deadlines(declared, {dag_id: {}}).check(connection, office.now + 4000)
    assert [(fact.dag_id, fact.status) for fact in found] == [(dag_id, "firing")]


def test_a_success_that_ends_a_failure_and_the_deadline_behind_it_is_told_once(ledger):
    office = Clockwork(ledger, {"name": "fresh", "dag": "load", "success_within": "20h", "warn": 1})
    office.begin()
    office.end()
    office.begin("r2")
    office.see(failed(run="r2", time=office.now))
    office.pass_time(21 * HOUR, step=1800)
    assert [kind for kind in office.kinds() if kind != "reminder"] == ["opened"]
    office.begin("r3")
    office.pass_time(60)
    office.now += 30  # the deadline that is held back is looked at again in the moment of the success
    office.end("r3")
    office.pass_time(60)
    assert [(kind, cause) for kind, _, _, cause in office.said() if kind != "reminder"] == [
        ("opened", "app"),
        ("resolved", "app"),
    ]
