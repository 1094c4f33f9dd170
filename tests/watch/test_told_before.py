"""A failure that people were told of needs no deadline's notice after it, whichever condition the deadline has."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from test_deadlines import HOUR, Clockwork
from watch_office import failed

from observability.watch.facts import Fact
from observability.watch.rules.config import CONDITIONS, Deadline

MORNING = datetime(2026, 6, 1, 5, 0, tzinfo=timezone.utc).timestamp()


def run_begins(office):
    office.begin("r1")


def task_begins(office):
    office.begin("r1")
    office.see(
        Fact(kind="task", status="noted", time=office.now, dag_id="load", run_id="r1", task_id="a", try_number=1)
    )


def usual_runs_then_one(office):
    for number in range(8):
        office.begin(f"old{number}")
        office.now += 100 + number
        office.end(f"old{number}", lasted=100 + number)
    office.begin("r1")


def asset_was_updated(office, hours_ago=0):
    when = office.now - hours_ago * HOUR
    office.see(Fact(kind="asset", status="noted", time=when, subject="s3://b/k", dag_id="load", run_id="r0"))


def asset_was_updated_the_day_before(office):
    asset_was_updated(office, hours_ago=12)


def wrote(*counts):
    def write(office):
        for number, count in enumerate(counts):
            run = "r1" if number == len(counts) - 1 else f"old{number}"
            about = {"dag_id": "load", "run_id": run, "task_id": "w", "subject": "load", "try_number": 1}
            written = {"etl.rows_out": count}
            office.see(Fact(kind="rows", status="noted", time=office.now + number, evidence=written, **about))
        office.now += len(counts)

    return write


def rejected(*counts):
    def reject(office):
        for number, count in enumerate(counts):
            about = {"dag_id": "load", "run_id": f"r{number}", "task_id": "w", "subject": "load", "try_number": 1}
            seen = {"etl.rows_out": 1000, "etl.rows_rejected": count}
            office.see(Fact(kind="rows", status="noted", time=office.now + number, evidence=seen, **about))
        office.now += len(counts)

    return reject


def begin_late(office):
    for number, late in enumerate((20, 25, 22, 21, 24, 23, 1800)):
        due = office.now + 60 * number
        run = f"scheduled__{datetime.fromtimestamp(due, timezone.utc).isoformat()}"
        office.begin(run, at=due + late)
    office.now += 2400


def asset_was_updated_each_quarter(office):
    for number in range(12):
        asset_was_updated(office, hours_ago=(12 - number) / 4)


def nothing(_office):
    """The DAG is known, and nothing happens."""


def a_task_fails(office):
    office.see(failed(run="r1", task="b", time=office.now))


def no_run_begins(office):
    office.see(Fact(kind="overdue", status="firing", time=office.now, dag_id="load", reason="due, and not there",
                    cause="platform", certainty=3))  # fmt: skip


WARNED = set(CONDITIONS) - {
    "rows_at_least", "rows_unlike_usual", "rejects_above_usual", "starts_later_than_usual",
}  # fmt: skip
WAYS = {
    "run_finishes_within": ("1h", run_begins, a_task_fails),
    "task_finishes_within": ("10m", task_begins, a_task_fails),
    "slower_than_usual": (5, usual_runs_then_one, a_task_fails),
    "starts_by": ("06:00", nothing, no_run_begins),
    "run_finishes_by": ("06:00", run_begins, a_task_fails),
    "task_finishes_by": ("06:00", run_begins, a_task_fails),
    "ready_by": ("06:00", run_begins, a_task_fails),
    "fresh_within": ("1h", asset_was_updated, a_task_fails),
    "fresh_by": ("06:00", asset_was_updated_the_day_before, a_task_fails),
    "rows_at_least": (1000, wrote(5000, 900), a_task_fails),
    "rows_unlike_usual": (6, wrote(1000, 1010, 990, 1005, 1000, 20), a_task_fails),
    "rejects_above_usual": (True, rejected(0, 3, 1, 2, 0, 4, 90), a_task_fails),
    "starts_later_than_usual": (True, begin_late, a_task_fails),
    "staler_than_usual": (True, asset_was_updated_each_quarter, a_task_fails),
    "success_within": ("3h", nothing, a_task_fails),
}


def played(ledger, condition, *, fails):
    value, begin, fail = WAYS[condition]
    deadline = {"name": "due", "dag": "load", condition: value, "severity": "error"}
    deadline |= {"task": "a"} if condition == "task_finishes_by" else {}
    deadline |= {"parts": [{"dag": "load"}], "dag": "*"} if condition == "ready_by" else {}
    deadline |= {"asset": "s3://b/k"} if condition.startswith(("fresh", "stale")) else {}
    deadline |= {"warn": 1} if condition in WARNED else {}
    office = Clockwork(ledger, deadline, dags={"load": {}})
    office.engine.notifier.rules.deadlines.append(Deadline.model_validate(deadline))
    office.now = MORNING
    with ledger.transaction(lock=True) as connection:
        office.deadlines.check(connection, office.now)  # it was looked at before anything was due
    if fails and begin not in (
        run_begins,
        task_begins,
        usual_runs_then_one,
        asset_was_updated,
        asset_was_updated_the_day_before,
    ):
        fail(office)
        office.pass_time(120)
    begin(office)
    if fails and office.said() == []:
        fail(office)
    office.pass_time(5 * HOUR, step=900)
    return [(message.kind, message.cause) for message in office.messages()]


def test_every_condition_of_a_deadline_is_tried():
    assert {*WAYS, "fails_more_than_usual"} == set(CONDITIONS)  # that one follows failures, in test_unusual.py


@pytest.mark.parametrize("condition", WAYS)
def test_a_deadline_that_nothing_explains_is_told(ledger, condition):
    assert played(ledger, condition, fails=False)[0] == ("opened", "deadline")


@pytest.mark.parametrize("condition", WAYS)
def test_a_failure_that_was_told_is_not_followed_by_its_deadline(ledger, condition):
    told = played(ledger, condition, fails=True)
    assert told[0][0] == "opened"
    assert "deadline" not in {cause for _, cause in told}
    assert {kind for kind, _ in told} <= {"opened", "reminder"}
