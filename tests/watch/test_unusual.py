"""Rejected rows, late starts, stale assets and failure rates are judged by what is usual for them, without settings."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from test_deadlines import HOUR, Clockwork
from watch_office import failed, run_ended

from observability.watch.facts import Fact

MORNING = datetime(2026, 6, 1, 5, 0, tzinfo=timezone.utc).timestamp()


def office_with(ledger, condition, **more):
    office = Clockwork(ledger, {"name": "odd", "dag": "load", condition: True, **more}, dags={"load": {}})
    office.now = MORNING
    office.look()
    return office


def last_reason(office):
    return office.incidents()[0].reason


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 0, 0, 0, 0, 0, 3], []),
        ([0, 0, 0, 0, 0, 0, 400], ["opened"]),
        ([100, 110, 95, 105, 99, 102, 500], ["opened"]),
        ([100, 110, 95, 105, 99, 102, 0], []),
        ([100, 500], []),
        ([100, 110, 95, 105, 99, 102, 500, 101], ["opened", "resolved"]),
    ],
)
def test_more_rejected_rows_than_usual_are_told_and_fewer_are_good(ledger, counts, expected):
    office = office_with(ledger, "rejects_above_usual")
    for number, count in enumerate(counts):
        about = {"dag_id": "load", "run_id": f"r{number}", "task_id": "w", "subject": "load", "try_number": 1}
        seen = {"etl.rows_out": 1000, "etl.rows_rejected": count}
        office.see(Fact(kind="rows", status="noted", time=office.now, evidence=seen, **about))
        office.pass_time(HOUR, step=HOUR)
    assert office.kinds() == expected


def test_a_run_that_begins_later_after_its_time_than_usual_is_told_with_the_band(ledger):
    office = office_with(ledger, "starts_later_than_usual")
    for delay in (20, 25, 22, 21, 24, 23, 1800, 21):
        due = datetime.fromtimestamp(office.now, timezone.utc).isoformat()
        office.begin(f"scheduled__{due}", at=office.now + delay)
        office.now += delay
        office.pass_time(HOUR, step=HOUR)
        if delay == 1800:
            assert "began 30 min after its time: up to " in last_reason(office)
            assert "6 earlier values" in last_reason(office)
    assert office.kinds() == ["opened", "resolved"]


def test_an_asset_is_stale_where_its_update_is_longer_ago_than_is_usual(ledger):
    office = office_with(ledger, "staler_than_usual", asset="s3://b/k", warn=1)
    for wait in (1, 1.1, 0.9, 1, 1.05, 0.95, 1, 6, 1):
        office.see(Fact(kind="asset", status="noted", time=office.now, subject="s3://b/k", dag_id="load", run_id="r"))
        office.pass_time(wait * HOUR, step=900)
    assert [kind for kind in office.kinds() if kind != "reminder"] == ["opened", "resolved"]


@pytest.mark.parametrize(("bad", "expected"), [(2, []), (7, ["deadline"])])
def test_more_failures_than_usual_are_told_when_the_failure_itself_is_over(ledger, bad, expected):
    office = office_with(ledger, "fails_more_than_usual")
    fails = [number in {3, 17} for number in range(30)] + [True] * bad + [False] * 3
    for number, fail in enumerate(fails):
        office.begin(f"r{number}")
        office.now += 300
        if fail:
            office.see(
                failed(run=f"r{number}", time=office.now), run_ended("firing", run=f"r{number}", time=office.now)
            )
        else:
            office.end(f"r{number}", lasted=300)
        office.look()
    assert [cause for kind, _, _, cause in office.said() if kind == "opened" and cause == "deadline"] == expected
