"""A DAG that Airflow does not run on purpose is neither late nor stale; only a run makes a missed start good."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from watch_office import RULES, Office, run_ended

from observability.watch.deadlines import Deadlines
from observability.watch.facts import Fact
from observability.watch.ledger import records
from observability.watch.rules.config import Deadline

HOUR = 3600.0


class Clockwork(Office):
    """An office whose deadlines are looked at every ten minutes, beside an Airflow whose DAGs may change."""

    def __init__(self, ledger, *, at="2026-07-01T00:00", dags=None, **deadline):
        super().__init__(ledger, RULES.replace("escalate: [{after: 30m, receiver: chief}]", "escalate: []"))
        given = {"name": "due", "warn": 1, **({} if "asset" in deadline else {"dag": "load*"}), **deadline}
        self.declared = [Deadline.model_validate(given)]
        self.dags = {"load": {"paused": False}} if dags is None else dags
        self.now = datetime.fromisoformat(at).replace(tzinfo=timezone.utc).timestamp()

    def pass_time(self, seconds, step=600.0):
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + step)
            with self.ledger.transaction(lock=True) as connection:
                facts = Deadlines(self.declared, self.dags, known=True).check(connection, self.now)
                self.engine.take(connection, facts, self.now)
                self.engine.elapse(connection, self.now + 1)

    def begin(self, run="r1", dag="load", **about):
        self.see(Fact(kind="run", status="noted", time=self.now, dag_id=dag, run_id=run, about=about))

    def end(self, run="r1", dag="load", lasted=60.0, **more):
        evidence = {"event.duration": int(lasted * 1e9), **more.pop("evidence", {})}
        self.see(run_ended("resolved", dag=dag, run=run, time=self.now, evidence=evidence, **more))

    def kinds(self):
        return [kind for kind, *_ in self.said() if kind != "reminder"]


IDLE = [{"load": {"paused": True}}, {"load": {"paused": False, "draining": True}}, {"new": {"paused": False}}, {}]
IDS = ["paused", "draining", "renamed", "the last one deleted"]


@pytest.mark.parametrize("idle", IDLE, ids=IDS)
@pytest.mark.parametrize("deadline", [{"success_within": "5h"}, {"starts_by": "12:00"}], ids=str)
def test_what_airflow_does_not_run_on_purpose_is_not_late(ledger, deadline, idle):
    office = Clockwork(ledger, **deadline)
    office.end()
    office.dags = idle
    office.pass_time(40 * HOUR)
    assert office.kinds() == []


@pytest.mark.parametrize("idle", IDLE, ids=IDS)
@pytest.mark.parametrize(
    "deadline", [{"success_within": "5h"}, {"starts_by": "03:00"}, {"run_finishes_within": "5h"}], ids=str
)
def test_what_was_late_before_is_closed_then(ledger, deadline, idle):
    office = Clockwork(ledger, **deadline)
    office.pass_time(600)
    if "run_finishes_within" in deadline:
        office.begin()
        if idle.get("load", {}).get("draining"):
            pytest.skip("a run goes on while its DAG drains")
    office.pass_time(8 * HOUR)
    assert office.kinds() == ["opened"]
    office.dags = idle
    office.pass_time(HOUR)
    assert office.kinds() == ["opened", "resolved"]
    office.pass_time(48 * HOUR)
    assert office.kinds() == ["opened", "resolved"]


def test_a_run_that_goes_on_while_its_dag_drains_is_late_like_any_other(ledger):
    office = Clockwork(ledger, run_finishes_within="2h", dags={"load": {"paused": False, "draining": True}})
    office.begin()
    office.pass_time(3 * HOUR)
    assert office.kinds() == ["opened"]


def test_a_pause_in_mid_run_does_not_count(ledger):
    office = Clockwork(ledger, run_finishes_within="5h", warn=0.8)
    office.begin()
    office.pass_time(3 * HOUR)
    office.dags["load"]["paused"] = True
    office.pass_time(30 * HOUR)
    office.dags["load"]["paused"] = False
    office.pass_time(0.5 * HOUR)
    assert office.kinds() == []
    office.pass_time(1 * HOUR)
    assert office.kinds() == ["early_warning"]
    office.pass_time(1 * HOUR)
    assert office.kinds() == ["early_warning", "opened"]


def test_a_run_that_ended_in_time_but_for_a_pause_was_not_late(ledger):
    office = Clockwork(ledger, run_finishes_within="2h")
    office.begin()
    office.pass_time(HOUR)
    office.dags["load"]["paused"] = True
    office.pass_time(30 * HOUR)
    office.dags["load"]["paused"] = False
    office.pass_time(0.5 * HOUR)
    office.end(lasted=31.5 * HOUR)
    office.pass_time(HOUR)
    assert office.kinds() == []


def test_a_month_of_pause_leaves_as_much_time_for_a_success_as_there_was(ledger):
    office = Clockwork(ledger, success_within="26h")
    office.end()
    office.pass_time(20 * HOUR)
    office.dags["load"]["paused"] = True
    office.pass_time(30 * 24 * HOUR, step=HOUR)
    office.dags["load"]["paused"] = False
    office.pass_time(5 * HOUR)
    assert office.kinds() == []
    office.pass_time(2 * HOUR)
    assert office.kinds() == ["opened"]


def test_a_dag_that_is_unpaused_after_its_hour_is_judged_from_the_next_day_on(ledger):
    office = Clockwork(ledger, starts_by="06:00", dags={"load": {"paused": True}})
    office.pass_time(10 * HOUR)
    office.dags["load"]["paused"] = False
    office.pass_time(19 * HOUR)
    assert office.kinds() == []
    office.pass_time(2 * HOUR)
    assert office.kinds() == ["opened"]


def test_a_start_that_was_missed_is_missed_until_a_run_begins_on_whatever_day(ledger):
    office = Clockwork(ledger, starts_by="06:00", days="wed-thu")
    office.pass_time(24 * 3 * HOUR)
    assert office.kinds() == ["opened"]
    office.begin("manual__2026-07-04T00:00:00+00:00", run_type="manual")
    office.pass_time(HOUR)
    assert office.kinds() == ["opened", "resolved"]


@pytest.mark.parametrize(
    ("run", "about", "evidence"),
    [
        ("backfill__2026-03-01T00:00:00+00:00", {}, {}),
        ("anything", {"run_type": "backfill"}, {}),
        ("scheduled__2026-03-01T00:00:00+00:00", {}, {}),
        ("by hand", {"run_type": "manual"}, {"airflow.logical_date": "2026-03-01T00:00:00Z"}),
    ],
    ids=["backfill", "backfill with a name", "catch-up", "a manual run of March"],
)
@pytest.mark.parametrize("deadline", [{"starts_by": "06:00"}, {"success_within": "6h"}], ids=str)
def test_a_run_for_a_date_long_ago_is_not_todays(ledger, deadline, run, about, evidence):
    office = Clockwork(ledger, **deadline)
    office.pass_time(5 * HOUR)
    office.see(
        Fact(kind="run", status="noted", time=office.now, dag_id="load", run_id=run, about=about, evidence=evidence)
    )
    office.end(run, about=about, evidence=evidence)
    office.pass_time(3 * HOUR)
    assert office.kinds() == ["opened"]


@pytest.mark.parametrize(
    ("run", "about"),
    [
        ("scheduled__2026-07-01T05:00:00+00:00", {"run_type": "scheduled"}),
        ("manual__2026-07-01T05:00:00+00:00", {"run_type": "manual"}),
        ("asset_triggered__2026-07-01T05:00:00+00:00_Ab1", {"run_type": "asset_triggered"}),
        ("r1", {}),
    ],
)
def test_a_run_of_today_is_todays_even_when_it_was_seen_at_its_end_only(ledger, run, about):
    office = Clockwork(ledger, starts_by="06:00")
    office.pass_time(5.5 * HOUR)
    office.end(run, lasted=600.0, about=about)
    office.pass_time(20 * HOUR)
    assert office.kinds() == []


def test_an_asset_is_not_stale_while_everybody_who_updates_it_is_paused(ledger):
    dags = {"load": {"paused": True}, "clean": {"paused": False}}
    office = Clockwork(ledger, asset="s3://x", fresh_within="2h", dags=dags)
    for dag in ("load", "clean"):
        office.see(Fact(kind="asset", status="noted", time=office.now, dag_id=dag, run_id="r1", subject="s3://x"))
    dags["clean"]["paused"] = True
    office.pass_time(9 * HOUR)
    assert office.kinds() == []
    dags["clean"]["paused"] = False
    office.pass_time(HOUR)
    assert office.kinds() == ["opened"]


def test_a_deadline_that_is_taken_out_of_the_rules_is_late_no_longer(ledger):
    office = Clockwork(ledger, success_within="2h")
    office.pass_time(3 * HOUR)
    office.declared = []
    office.pass_time(HOUR)
    assert office.kinds() == ["opened", "resolved"]


@pytest.mark.parametrize("idle", IDLE, ids=IDS)
def test_a_run_that_was_overdue_is_so_no_longer(ledger, idle):
    office = Clockwork(ledger, success_within="99d")
    office.see(Fact(kind="overdue", status="firing", time=office.now, dag_id="load", reason="not begun", certainty=2))
    office.pass_time(HOUR)
    office.dags = idle
    office.pass_time(HOUR)
    assert office.kinds() == ["opened", "resolved"]
    with ledger.transaction() as connection:
        assert records.live_incidents(connection) == []
