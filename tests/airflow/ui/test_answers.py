"""The pages' texts, asked of a real embedded store that real events were written to."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import orjson
import pytest

from observability.airflow.ui import pages
from observability.airflow.ui.app import render
from observability.events import (
    AuditRecorded,
    DagRunFailed,
    DagRunOverdue,
    DagRunStarted,
    DagRunSucceeded,
    DeadlineApproached,
    DeadlineKept,
    DeadlineMissed,
    DeadlineRecovered,
    DeadlineUpcoming,
    Identity,
    IncidentOpened,
    IncidentResolved,
    NotificationSent,
    RowsRejected,
    StepMeasured,
    TaskFailed,
    TaskKilled,
    TaskRetried,
    TaskStarted,
    TaskSucceeded,
)
from observability.relay.sinks import Batch
from observability.relay.sinks.embedded import open_sink
from observability.settings import load_settings
from observability.store import open_store
from observability.watch.acting import acting_engine
from observability.watch.facts import from_document
from observability.watch.ledger import pending_events
from observability.watch.ledger.database import Ledger
from observability.watch.rules.loader import RulesFile
from observability.watch.sources.audit import recorded

NOW = datetime.now(timezone.utc)


@pytest.fixture
def written(tmp_path):
    """A function that stores events and answers the store they are in."""
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)})
    sink = open_sink(options)
    stores = []

    def write(*events, dataset="etl.event"):
        documents = [orjson.dumps({"host.name": "here", **event.document()}) for event in events]
        sink.send(Batch(dataset, "journal", "journal", [event.id.encode() for event in events], documents))
        stores.append(open_store(options))
        return stores[-1]

    yield write
    sink.close()
    for store in stores:
        store.close()


def task(run="r1", task_id="load", number=1, dag="flights", index=-1):
    return Identity(dag_id=dag, task_id=task_id, run_id=run, try_number=number, map_index=index, owner="data")


def at(minutes):
    return NOW - timedelta(minutes=minutes)


def failure(who, minutes, cause="app"):
    return TaskFailed(
        identity=who, time=at(minutes), cause=cause, reason="boom", fingerprint="f00d", duration_ns=5_000_000
    )


def test_a_task_that_failed_is_failing_now(written):
    store = written(failure(task(), 5))
    page = pages.overview(store, lambda _: True)
    assert [event["airflow.task_id"] for event in page.broken] == ["load"]
    assert page.tiles["failing now"] == 1
    assert page.causes == {"app": 1}


def test_a_run_that_did_not_begin_when_due_is_late_until_one_begins(written):
    dag = Identity(dag_id="flights")
    store = written(
        DagRunOverdue(identity=dag, time=at(5), reason="due 06:00"),
        DagRunOverdue(identity=Identity(dag_id="other"), time=at(5), reason="due 07:00"),
    )
    page = pages.overview(store, {"flights"}.__contains__)
    assert ([event["event.reason"] for event in page.late], page.tiles["late"]) == (["due 06:00"], 1)
    over = written(DagRunStarted(identity=Identity(dag_id="flights", run_id="r1"), time=at(1)))
    assert [event["airflow.dag_id"] for event in pages.overview(over, lambda _: True).late] == ["other"]


def test_a_run_that_failed_says_why_on_the_page_of_its_dag(written):
    who = Identity(dag_id="flights", run_id="r1")
    store = written(DagRunFailed(identity=who, time=at(1), reason="all tasks deadlocked"))
    assert [run["why"] for run in pages.dag_page(store, "flights").runs] == ["all tasks deadlocked"]


def test_the_chart_of_a_dag_says_what_changed_between_two_runs(written):
    def ended(number, minutes, **more):
        return DagRunSucceeded(identity=Identity(dag_id="flights", run_id=f"r{number}", **more), time=at(minutes))

    def deed(name, minutes, category, run=None):
        return AuditRecorded(
            identity=Identity(dag_id="flights", run_id=run), time=at(minutes), discriminator=name, user_name="ann",
            audit_event=name, category=(category,), outcome="success",
        )  # fmt: skip

    written(deed("patch_dag", 25, "configuration"), deed("clear", 15, "process", "r2"), dataset="airflow.audit")
    store = written(
        ended(1, 30, dag_version=1, bundle_version="abc"), ended(2, 20, dag_version=1, bundle_version="abc"),
        ended(3, 10, dag_version=2, bundle_version="def"), ended(4, 5),
    )  # fmt: skip
    changed = [run["changed"] for run in pages.dag_page(store, "flights").runs]
    assert changed == [[], ["ann set whether the DAG is paused"], ["version 2", "bundle def"], []]


def test_a_run_shows_the_lines_that_warn_or_its_last_ones(written, tmp_path):
    def line(run, number, level):
        about = {"airflow.dag_id": "flights", "airflow.run_id": run, "airflow.task_id": "load", "level": level}
        moment = at(10 - number).isoformat().replace("+00:00", "Z")
        return orjson.dumps({**about, "@timestamp": moment, "offset": number, "event": f"line {number}"})

    store = written(DagRunStarted(identity=Identity(dag_id="flights", run_id="bad"), time=at(12)))
    sink = open_sink(load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)}))
    for run, levels in (("bad", ("info", "warning", "info", "error")), ("well", ("info", "info"))):
        documents = [line(run, number, level) for number, level in enumerate(levels)]
        ids = [f"{run}-{number}".encode() for number in range(len(levels))]
        sink.send(Batch("airflow.task", f"{run}.log", f"{run}.log", ids, documents))
    sink.close()
    assert [one["event"] for one in pages.run_page(store, "flights", "bad").lines] == ["line 1", "line 3"]
    assert [one["event"] for one in pages.run_page(store, "flights", "well").lines] == ["line 0", "line 1"]
    assert pages.run_page(store, "flights", "none").lines == []


def test_a_task_that_succeeded_since_is_not_failing_now(written):
    store = written(failure(task(), 5), TaskSucceeded(identity=task("r2"), time=at(1)))
    assert pages.overview(store, lambda _: True).broken == []


def test_the_overview_holds_nothing_of_a_dag_that_the_reader_may_not_read(written):
    store = written(failure(task(dag="secret"), 5))
    page = pages.overview(store, {"flights"}.__contains__)
    assert (page.broken, page.tiles["tasks failed"]) == ([], 0)


def test_the_first_page_counts_the_repeats_that_only_the_ledger_knows(written, tmp_path, monkeypatch):
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)})
    monkeypatch.setattr("observability.airflow.ui.ledger.get_settings", lambda: options)
    ledger, engine = Ledger(options.ledger_url), acting_engine(options, RulesFile(None).rules)
    for minutes in (3, 2, 1):
        failed = from_document(failure(task(f"r{minutes}"), minutes).document())
        with ledger.transaction(lock=True) as connection:
            engine.take(connection, [failed], at(minutes).timestamp())
    with ledger.transaction() as connection:
        engine.elapse(connection, NOW.timestamp())
        told = list(pending_events.due(connection, NOW.timestamp()).values())
    ledger.close()
    [shown] = pages.overview(written(*told, dataset="contrail.alert"), lambda _: True).incidents
    assert (shown["incident.count"], shown["incident.last_seen"][:19]) == (3, at(1).isoformat()[:19])


def test_an_incident_that_was_resolved_is_not_open(written):
    opened = {"incident_id": "i1", "incident_key": "k", "severity": "error", "count": 1, "reason": "boom"}
    who = Identity(dag_id="flights", run_id="r1")
    store = written(
        IncidentOpened(identity=who, time=at(9), incident_state="open", **opened),
        IncidentOpened(
            identity=who, time=at(8), incident_state="open", discriminator="2", **{**opened, "incident_id": "i2"}
        ),
        IncidentResolved(identity=who, time=at(1), incident_state="resolved", **opened),
        dataset="contrail.alert",
    )
    assert [event["incident.id"] for event in pages.overview(store, lambda _: True).incidents] == ["i2"]


def test_a_deadline_that_recovered_is_not_late(written):
    who = Identity(dag_id="flights", run_id="r1")
    store = written(
        DeadlineMissed(identity=who, time=at(9), deadline="daily", discriminator="daily", reason="late"),
        DeadlineMissed(identity=who, time=at(9), deadline="hourly", discriminator="hourly", reason="late"),
        DeadlineRecovered(identity=who, time=at(1), deadline="daily", discriminator="daily", reason="done"),
        dataset="contrail.alert",
    )
    assert [event["deadline.name"] for event in pages.overview(store, lambda _: True).late] == ["hourly"]


def test_a_dag_shows_its_runs_with_their_rows_and_causes(written):
    store = written(
        StepMeasured(identity=task(), time=at(9), step="load", rows_in=10, rows_out=8, rows_rejected=2),
        TaskRetried(identity=task(), time=at(8), cause="dependency", reason="down"),
        TaskSucceeded(identity=task(number=2), time=at(7), duration_ns=2_000_000),
        DagRunSucceeded(identity=Identity(dag_id="flights", run_id="r1"), time=at(6), duration_ns=60_000_000_000),
        DagRunFailed(
            identity=Identity(dag_id="flights", run_id="r2"), time=at(5), reason="x", duration_ns=1_000_000_000
        ),
    )
    page = pages.dag_page(store, "flights")
    assert [(run["run_id"], run["state"], run["duration_ms"]) for run in page.runs] == [
        ("r1", "success", 60_000.0),
        ("r2", "failed", 1000.0),
    ]
    assert (page.runs[0]["rows_out"], page.runs[0]["rows_rejected"]) == (8, 2)
    assert (page.causes, page.slowest, page.usual_ms, page.owners) == (
        {"dependency": 1},
        [("load", 2.0)],
        60_000.0,
        ["data"],
    )


def test_a_run_lists_each_attempt_once_with_the_fuller_account(written):
    who = task()
    store = written(
        TaskStarted(identity=who, time=at(9)),
        failure(who, 8, "killed"),
        TaskKilled(identity=who, time=at(8), cause="killed", reason="SIGKILL"),
        TaskKilled(identity=task(task_id="other"), time=at(7), cause="killed", reason="SIGKILL"),
    )
    found = [
        (attempt.task_id, attempt.state, attempt.cause) for attempt in pages.run_page(store, "flights", "r1").attempts
    ]
    assert found == [("load", "failed", "killed"), ("other", "killed", "killed")]


@pytest.mark.parametrize("late", [1, -1], ids=["did not hear of it", "had given it up"])
def test_an_attempt_of_which_airflow_and_its_process_differ_has_one_end_and_that_is_airflows(written, late):
    store = written(
        TaskStarted(identity=task(), time=at(9)),
        TaskSucceeded(identity=task(), time=at(5), duration_ns=10**9),
        TaskFailed(
            identity=task(), time=at(5 - late), cause="lost_heartbeat", reason="given up", provider="reconciler"
        ),
        DagRunFailed(identity=Identity(dag_id="flights", run_id="r1"), time=at(1), reason="no"),
    )
    assert [(one.state, one.cause) for one in pages.run_page(store, "flights", "r1").attempts] == [
        ("failed", "lost_heartbeat")
    ]
    shown = pages.overview(store)
    assert (shown.tiles["tasks failed"], shown.tiles["failing now"]) == (1, 1)
    assert pages.dag_page(store, "flights").slowest == []


def test_a_run_that_airflow_gave_up_and_ran_again_ends_with_the_newer_attempt(written):
    given_up = {"cause": "lost_heartbeat", "reason": "ran again", "provider": "watcher"}
    store = written(
        TaskStarted(identity=task(), time=at(9)),
        TaskRetried(identity=task(), time=at(7), **given_up),
        TaskStarted(identity=task(number=2), time=at(7)),
        TaskSucceeded(identity=task(number=2), time=at(6)),
        TaskSucceeded(identity=task(), time=at(5)),  # the process that was given up comes to its end
    )
    assert [(one.try_number, one.state) for one in pages.run_page(store, "flights", "r1").attempts] == [
        (1, "up_for_retry"), (2, "success"),
    ]  # fmt: skip
    assert pages.overview(store).tiles["failing now"] == 0


def test_an_attempt_that_runs_is_shown_until_its_run_is_over(written):
    run = Identity(dag_id="flights", run_id="r2")
    going = TaskStarted(identity=task("r2", "slow"), time=at(4))
    store = written(failure(task("r2"), 5), DagRunStarted(identity=run, time=at(6)), going)

    page = pages.run_page(store, "flights", "r2")
    assert [(attempt.task_id, attempt.state) for attempt in page.attempts] == [("load", "failed"), ("slow", "running")]
    assert pages.task_page(store, "flights", "slow", "r2").verdict.state == "running"
    assert [(one["run_id"], one["state"]) for one in pages.dag_page(store, "flights").runs] == [("r2", "running")]

    over = written(DagRunFailed(identity=run, time=at(1), reason="x"))
    assert [attempt.task_id for attempt in pages.run_page(over, "flights", "r2").attempts] == ["load"]
    assert pages.task_page(over, "flights", "slow", "r2").verdict is None
    assert [one["state"] for one in pages.dag_page(over, "flights").runs] == ["failed"]


def set_by_ann(state, minutes, task_id="load", run="r2", outcome="success", event="patch_task_instance", **more):  # noqa: PLR0913, PLR0917 - the parts of a row
    """The event of the row that Airflow writes when ann asks for another state of a task."""
    row = {
        "event_log_id": minutes, "event": event, "owner": "ann", "dag_id": "flights", "run_id": run,
        "task_id": task_id, "when": at(minutes).isoformat(),
        "extra": json.dumps({**more, "new_state": state, "note": "x", "method": "PATCH"}),
    }  # fmt: skip
    return recorded(row, outcome)


def test_an_attempt_is_what_a_person_set_it_to_until_it_is_run_again(written):
    store = written(
        DagRunStarted(identity=Identity(dag_id="flights", run_id="r2"), time=at(30)),
        TaskStarted(identity=task("r2"), time=at(29)), failure(task("r2"), 28),
        TaskSucceeded(identity=task("r2", "good"), time=at(27)),
        TaskStarted(identity=task("r2", "slow"), time=at(26)),
    )  # fmt: skip
    deeds = [set_by_ann("success", 20), set_by_ann("failed", 19, "good"), set_by_ann("skipped", 18, "slow")]
    written(*deeds, set_by_ann("success", 17, run="r1"), dataset="airflow.audit")

    page = pages.run_page(store, "flights", "r2")
    assert [(one.task_id, one.state, one.cause, one.reason) for one in page.attempts] == [
        ("load", "success", None, f"failed, set to success by ann at {at(20):%H:%M} UTC"),
        ("good", "failed", "cancelled", f"success, set to failed by ann at {at(19):%H:%M} UTC"),
        ("slow", "skipped", None, f"set to skipped by ann at {at(18):%H:%M} UTC"),
    ]
    assert page.attempts[-1].duration_ms == 8 * 60_000
    assert pages.task_page(store, "flights", "load", "r2").verdict.state == "success"

    store = written(TaskStarted(identity=task("r2", number=2), time=at(10)))
    states = [(one.try_number, one.state) for one in pages.task_page(store, "flights", "load", "r2").attempts]
    assert states == [(1, "success"), (2, "running")]


def test_a_person_who_sets_a_group_sets_each_task_in_it(written):
    deed = set_by_ann("success", 5, None, event="patch_task_group_instances", group_id="g")
    written(deed, dataset="airflow.audit")
    page = pages.run_page(written(*(failure(task("r2", name), 9) for name in ("g.a", "g.b", "ga"))), "flights", "r2")
    assert {one.task_id: one.state for one in page.attempts} == {"g.a": "success", "g.b": "success", "ga": "failed"}


@pytest.mark.parametrize("outcome", ["failure", "unknown"])
def test_a_request_that_was_refused_changes_no_attempt(written, outcome):
    written(set_by_ann("success", 5, outcome=outcome), dataset="airflow.audit")
    page = pages.run_page(written(failure(task("r2"), 9)), "flights", "r2")
    assert [(one.task_id, one.state) for one in page.attempts] == [("load", "failed")]


def test_a_person_who_sets_one_of_a_mapped_task_sets_no_other(written):
    ends = [
        failure(Identity(dag_id="flights", run_id="r2", task_id="load", map_index=one, try_number=1), 9)
        for one in (0, 1)
    ]
    written(set_by_ann("success", 5, map_index="1"), dataset="airflow.audit")
    page = pages.run_page(written(*ends), "flights", "r2")
    assert {one.map_index: one.state for one in page.attempts} == {0: "failed", 1: "success"}


def test_a_run_that_ended_and_was_cleared_runs_again(written):
    run, again = Identity(dag_id="flights", run_id="r2"), task("r2", number=2)
    lost = TaskStarted(identity=task("r2", "lost"), time=at(7))
    begun = [DagRunStarted(identity=run, time=at(8)), lost, failure(task("r2"), 6)]
    store = written(*begun, DagRunFailed(identity=run, time=at(5), reason="a task of it failed"))
    assert pages.run_page(store, "flights", "r2").outcome["airflow.state"] == "failed"

    store = written(DagRunStarted(identity=run, time=at(4), discriminator="again"))
    assert pages.run_page(store, "flights", "r2").outcome is None
    store = written(TaskStarted(identity=again, time=at(3)))
    page = pages.run_page(store, "flights", "r2")
    assert [(one.task_id, one.try_number, one.state) for one in page.attempts] == [
        ("load", 1, "failed"), ("load", 2, "running"),
    ]  # fmt: skip
    assert pages.task_page(store, "flights", "load", "r2").attempts[-1].state == "running"
    assert [one["state"] for one in pages.dag_page(store, "flights").runs] == ["failed", "running"]

    store = written(TaskSucceeded(identity=again, time=at(2)), DagRunSucceeded(identity=run, time=at(1)))
    page = pages.run_page(store, "flights", "r2")
    assert (page.outcome["airflow.state"], page.attempts[-1].state) == ("success", "success")


def test_a_task_says_how_often_the_same_error_was_seen_before(written):
    store = written(failure(task("r0"), 500), failure(task("r1"), 5))
    page = pages.task_page(store, "flights", "load", "r1")
    assert (page.verdict.cause, page.seen_before) == ("app", 1)


def test_a_step_stands_beside_what_it_usually_does(written):
    usual = [StepMeasured(identity=task(f"u{n}"), time=at(100 - n), step="load", rows_out=100) for n in range(5)]
    store = written(*usual, StepMeasured(identity=task("r1"), time=at(1), step="load", rows_out=10))
    (step,) = pages.task_page(store, "flights", "load", "r1").steps
    assert (step.usual_rows_out, step.unusual) == (100, True)


@pytest.mark.parametrize(
    ("before", "again", "expected"),
    [
        ([("load", 1, 0, 50)], [("load", 2, 0, 100)], [(50, 1), (100, 1)]),
        ([("load", 1, 0, 50)], [], [(50, 1), (50, 1)]),
        ([], [("load", 1, 0, 100)], [(None, None), (100, 1)]),
        ([("extract", 1, 0, 70), ("load", 1, 0, 50)], [("load", 2, 0, 60)], [(50, 2), (60, 2)]),
        ([("load", 1, 0, 5), ("load", 1, 1, 6)], [("load", 2, 1, 9)], [(11, 2), (14, 2)]),
        ([("load", 1, 0, 5), ("load", 2, 0, 7)], [("load", 3, 0, 9)], [(7, 1), (9, 1)]),
    ],
    ids=["the same task", "nothing measured", "nothing before", "the second task", "a mapped part", "a retry before"],
)
def test_each_end_of_a_run_that_was_cleared_has_the_rows_that_were_written_by_then(written, before, again, expected):
    def measured(steps, minutes):
        for name, number, part, rows in steps:
            who = Identity(dag_id="flights", run_id="r1", task_id=name, try_number=number, map_index=part)
            yield StepMeasured(identity=who, time=at(minutes), step="load", rows_out=rows, rows_rejected=1)
            minutes -= 0.1

    run = Identity(dag_id="flights", run_id="r1")
    store = written(
        *measured(before, 9), DagRunFailed(identity=run, time=at(8), reason="boom", duration_ns=1),
        *measured(again, 5), DagRunSucceeded(identity=run, time=at(4), duration_ns=1),
    )  # fmt: skip
    ends = pages.dag_page(store, "flights").runs
    assert [(end.get("rows_out"), end.get("rows_rejected")) for end in ends] == expected


def test_rejected_rows_are_shown_with_their_rule(written):
    store = written(
        RowsRejected(identity=task(), time=at(1), step="validate", rule="air_time_positive", rows_rejected=17)
    )
    assert [event["etl.rule"] for event in pages.run_page(store, "flights", "r1").rejected] == ["air_time_positive"]


def test_a_task_that_never_ran_has_no_verdict(written):
    page = pages.task_page(written(failure(task(), 5)), "flights", "unknown")
    assert (page.verdict, page.attempts, page.lines) == (None, [], [])


def upcoming(name, minutes, *, due, number=0, **more):
    """A deadline that is due in ``due`` minutes, as it was emitted ``minutes`` ago."""
    return DeadlineUpcoming(
        identity=Identity(dag_id="flights", run_id="r1"), deadline=name, occasion="2026-07-01", reason="begun",
        due=at(-due), time=at(minutes), discriminator=f"{name}{number}", **more,
    )  # fmt: skip


def foreseen(expected):
    """A forecast whose intervals are 10 and 20 minutes about the expected end, in minutes from now."""
    likely = {"likely_from": at(-expected + 5), "likely_until": at(-expected - 5)}
    return {
        "expected": at(-expected),
        "chance": 0.96,
        "earliest": at(-expected + 10),
        "latest": at(-expected - 10),
        **likely,
    }


def test_a_deadline_is_upcoming_at_risk_missed_or_kept(written):
    about = {"identity": Identity(dag_id="flights"), "occasion": "2026-07-01", "reason": "no run has succeeded"}
    store = written(
        upcoming("later", 5, due=60),
        upcoming("risky", 9, due=30, number=1), upcoming("risky", 4, due=30, number=2, **foreseen(40)),
        DeadlineApproached(deadline="risky", time=at(6), due=at(-30), discriminator="r", **about),
        DeadlineMissed(deadline="late", time=at(20), due=at(20), discriminator="l", **about),
        DeadlineMissed(deadline="done late", time=at(90), due=at(90), discriminator="d", **about),
        DeadlineRecovered(deadline="done late", time=at(10), due=at(90), discriminator="d", **about),
        DeadlineMissed(deadline="long ago", time=at(2990), due=at(2990), discriminator="g", **about),
        DeadlineRecovered(deadline="long ago", time=at(2980), due=at(2990), discriminator="g", **about),
        upcoming("kept", 50, due=-10), DeadlineKept(deadline="kept", time=at(40), due=at(10), **about),
        upcoming("forgotten", 500, due=-100),
        dataset="contrail.alert",
    )  # fmt: skip
    page = pages.deadlines_page(store)
    names = {
        state: [one.event["deadline.name"] for one in getattr(page, state)]
        for state in ("missed", "near", "upcoming", "kept", "late")
    }
    assert names == {
        "missed": ["late"], "near": ["risky"], "upcoming": ["later"], "kept": ["kept"], "late": ["done late"],
    }  # fmt: skip
    assert sorted(page.shares) == [("done late", 0, 1), ("kept", 1, 1), ("late", 0, 1), ("long ago", 0, 1)]
    assert page.share == pytest.approx(1 / 4)


def test_days_missed_in_a_row_are_over_when_a_later_one_is_kept(written):
    about = {"deadline": "report", "identity": Identity(dag_id="flights"), "reason": "no run has succeeded"}
    store = written(
        DeadlineMissed(time=at(300), due=at(300), occasion="2026-07-01", discriminator="1", **about),
        DeadlineMissed(time=at(200), due=at(200), occasion="2026-07-02", discriminator="2", **about),
        DeadlineRecovered(time=at(90), due=at(300), occasion="2026-07-01", discriminator="1", **about),
        DeadlineKept(time=at(90), due=at(80), occasion="2026-07-03", **about),
        DeadlineMissed(time=at(20), due=at(20), occasion="2026-07-04", discriminator="4", **about),
        dataset="contrail.alert",
    )
    page = pages.deadlines_page(store)
    assert [one.event["deadline.occasion"] for one in page.missed] == ["2026-07-04"]
    assert page.shares == [("report", 1, 4)]


def test_a_deadline_stands_once_on_the_page_of_its_dag_with_why_it_was_missed(written):
    about = {"identity": Identity(dag_id="flights", run_id="r1"), "occasion": "2026-07-01"}
    store = written(
        upcoming("risky", 30, due=-20, number=1),
        DeadlineMissed(deadline="risky", time=at(20), due=at(20), discriminator="r", reason="it is late", **about),
        upcoming("risky", 5, due=-20, number=2, **foreseen(90)),
        dataset="contrail.alert",
    )
    (one,) = pages.dag_page(store, "flights").deadlines
    assert (one.state, one.event["event.reason"]) == ("missed", "it is late")
    assert one.foreseen is not None
    html = render("dag.html", pages.dag_page(store, "flights"))
    assert html.count("it is late") == 1


def test_a_live_run_has_a_bar_with_its_deadline_in_place(written):
    store = written(upcoming("risky", 0, due=30, **foreseen(40)), dataset="contrail.alert")
    (one,) = pages.run_page(store, "flights", "r1").due
    bar = one.bar
    assert bar.wide[0] < bar.narrow[0] < bar.expected < bar.narrow[0] + bar.narrow[1] < bar.wide[0] + bar.wide[1] < 100
    assert bar.due == pytest.approx(bar.wide[0], abs=0.5)
    assert bar.expected - bar.due == pytest.approx(10 / 50 * 97, abs=1.0)


@pytest.mark.parametrize(("expected", "is_shown"), [(60, True), (-5, False)])
def test_of_a_missed_deadline_a_forecast_that_proved_wrong_is_not_shown(written, expected, is_shown):
    about = {"identity": Identity(dag_id="flights", run_id="r1"), "occasion": "2026-07-01", "reason": "late"}
    store = written(
        upcoming("risky", 30, due=-10, **foreseen(expected)),
        DeadlineMissed(deadline="risky", time=at(10), due=at(10), discriminator="l", **about),
        dataset="contrail.alert",
    )
    (one,) = pages.run_page(store, "flights", "r1").due
    assert (one.state, one.foreseen is not None) == ("missed", is_shown)


def test_without_a_forecast_there_is_no_bar(written):
    store = written(upcoming("plain", 1, due=30), dataset="contrail.alert")
    (one,) = pages.deadlines_page(store).upcoming
    assert one.bar is None


def test_a_run_stands_beside_the_last_good_one_before_it(written):
    def ran(run, minutes, took_s, rows, *, good=True):
        who, ended = task(run), TaskSucceeded(identity=task(run), time=at(minutes), duration_ns=took_s * 10**9)
        whose = {"identity": Identity(dag_id="flights", run_id=run), "time": at(minutes)}
        over = DagRunSucceeded(**whose) if good else DagRunFailed(reason="boom", **whose)
        return (
            TaskStarted(identity=who, time=at(minutes + 1)),
            StepMeasured(identity=who, time=at(minutes), step="load", rows_in=1, rows_out=rows, rows_rejected=0),
            ended,
            over,
        )

    runs = (
        *ran("good", 60, 10, 100),
        *ran("bad", 40, 9, 90, good=False),
        *ran("now", 20, 40, 7),
        *ran("later", 5, 1, 1),
    )
    compared = pages.run_page(written(*runs), "flights", "now").compared
    assert compared.run_id == "good"
    (load,) = compared.tasks
    assert (load.now_ms, load.then_ms, load.more_ms) == (40_000, 10_000, 30_000)
    assert (load.rows_now, load.rows_then) == (7, 100)


def test_the_first_run_has_nothing_to_stand_beside(written):
    store = written(TaskSucceeded(identity=task("r1"), time=at(1)))
    assert pages.run_page(store, "flights", "r1").compared is None


def day(dag, run, when, took_s=10, rows=100, *, good=True):  # noqa: PLR0913 - a row of a table
    """A run that ended at ``when`` with one measured step."""
    who = Identity(dag_id=dag, run_id=run, task_id="load", try_number=1, map_index=-1)
    over = {"identity": Identity(dag_id=dag, run_id=run), "time": when, "duration_ns": took_s * 10**9}
    return (
        StepMeasured(identity=who, time=when, step="load", rows_in=1, rows_out=rows, rows_rejected=0),
        DagRunSucceeded(**over) if good else DagRunFailed(reason="boom", **over),
    )


def test_a_dag_has_fourteen_days_and_those_with_trouble_come_first(written):
    events = [*day("calm", "c1", NOW), *day("old", "o1", NOW - timedelta(days=20))]
    for number in range(14):
        events += day("flights", f"r{number}", NOW - timedelta(days=number), took_s=10 + number, good=number != 0)
    events += day("flights", "again", NOW, took_s=30)
    page = pages.days_page(written(*events))
    assert [row.dag_id for row in page.rows] == ["flights", "calm"]
    flights = page.rows[0].cells
    assert len(flights) == 14
    assert flights[-1] == (1, 1, 20_000, 200)
    assert flights[-2] == (1, 0, 11_000, 100)
    assert [row.dag_id for row in pages.days_page(written(), text="CAL").rows] == ["calm"]
    assert [row.dag_id for row in pages.days_page(written(), state="failing").rows] == ["flights"]
    assert [row.dag_id for row in pages.days_page(written(), state="late").rows] == []


def test_what_is_due_next_stands_beside_the_days(written):
    due, expected = (NOW + timedelta(hours=hours) for hours in (2, 1))
    written(*day("flights", "r1", NOW))
    soon = DeadlineUpcoming(
        identity=Identity(dag_id="flights"), deadline="daily", due=due.isoformat(), expected=expected.isoformat(),
        occasion="today", reason="soon",
    )  # fmt: skip
    (row,) = pages.days_page(written(soon, dataset="contrail.alert")).rows
    assert (row.due, row.expected, row.is_late) == (due.isoformat(), expected.isoformat(), False)
    missed = DeadlineMissed(
        identity=Identity(dag_id="flights"), time=NOW + timedelta(seconds=1), deadline="other", due=at(5).isoformat(),
        occasion="before", reason="late",
    )  # fmt: skip
    (row,) = pages.days_page(written(missed, dataset="contrail.alert"), state="late").rows
    assert row.is_late


def test_what_changed_since_yesterday_is_said_of_each_dag_once_and_the_bad_comes_first(written):
    before, now = NOW - timedelta(hours=30), NOW - timedelta(hours=3)
    events = [
        *day("broke", "b1", before), *day("broke", "b2", now, good=False),
        *day("mended", "m1", before, good=False), *day("mended", "m2", now),
        *day("slower", "s1", before, took_s=100), *day("slower", "s2", now, took_s=400),
        *day("fewer", "f1", before), *day("fewer", "f2", now, rows=3),
        *day("stopped", "t1", before), *day("stopped", "t2", before),
        *day("weekly", "w1", before), *day("same", "e1", before), *day("same", "e2", now),
    ]  # fmt: skip
    assert [(one.dag_id, one.words) for one in pages.overview(written(*events)).changes] == [
        ("broke", "1 of 1 runs failed, none did the day before"),
        ("fewer", "a run writes 3 rows, 100 the day before"),
        ("slower", "a run takes 4.0 times as long as the day before"),
        ("stopped", "no run has ended, 2 did the day before"),
        ("mended", "runs succeed again, 1 of 1 failed the day before"),
    ]


def test_a_dag_is_noisy_from_five_messages_in_a_week(written):
    def notices(dag, number, when=NOW):
        return [
            NotificationSent(
                identity=Identity(dag_id=dag),
                time=when,
                discriminator=f"{dag}{one}",
                channel="file",
                kind="opened",
                attempts=1,
                incident_id="i1",
                incident_key="k1",
                reason="boom",
                duration_ns=1,
            )
            for one in range(number)
        ]

    sent = [*notices("loud", 6), *notices("calm", 4), *notices("once", 9, NOW - timedelta(days=8))]
    assert pages.overview(written(*sent, dataset="contrail.alert")).noisy == [("loud", 6)]


def test_who_did_what_stands_on_the_pages_of_the_dag_and_of_the_run_newest_first_on_the_first(written):
    deeds = [
        AuditRecorded(
            identity=Identity(dag_id="flights", run_id=run),
            time=at(minutes),
            discriminator=name,
            user_name="ann",
            audit_event=name,
        )
        for name, run, minutes in (("trigger_dag_run", "r1", 9), ("clear", "r1", 5), ("pause", None, 1))
    ]
    store = written(*deeds, dataset="airflow.audit")
    names = [deed["airflow.audit_event"] for deed in pages.dag_page(store, "flights").deeds]
    assert names == ["pause", "clear", "trigger_dag_run"]
    assert len(pages.run_page(store, "flights", "r1").deeds) == 2
    assert pages.dag_page(store, "other").deeds == []
