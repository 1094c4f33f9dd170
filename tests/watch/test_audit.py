"""Airflow's event log: each row once, whoever is killed; nothing of a Connection's or Variable's values."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from observability import redact
from observability.errors import ApiError, ApiUnavailable
from observability.watch.ledger import pending_events
from observability.watch.sources import audit
from observability.watch.sources.carried_out import may_be_done, outcome_of

NOW = 1_800_000_000.0


def row(number, event="create_backfill", ago=10.0, **more):
    return {
        "event_log_id": number, "when": text(ago), "event": event, "owner": "ann", "dag_id": "load", "run_id": "r1",
        "task_id": None, "map_index": None, "try_number": None, "extra": None, **more,
    }  # fmt: skip


def text(ago):
    return datetime.fromtimestamp(NOW - ago, timezone.utc).isoformat().replace("+00:00", "Z")


class Log:
    """An Airflow that answers about its event log, runs and tasks as its API does: by time, in order, in pages."""

    def __init__(self, *rows):
        self.rows, self.asked, self.away = list(rows), [], False
        self.runs, self.tasks = [], []

    def pages(self, path, key, **asked):
        if self.away:
            raise ApiUnavailable("it is away")
        if key != "event_logs":
            listed = {"/dags/load/dagRuns": self.runs, "/dags/load/dagRuns/r1/taskInstances": self.tasks}[path]
            until = asked.get("updated_at_lte", "9")
            return (one for one in listed if asked["updated_at_gte"] <= one["updated_at"] <= until)
        assert (path, asked["order_by"]) == ("/eventLogs", "when")
        self.asked.append(asked)
        after = datetime.fromisoformat(asked["after"])
        found = [one for one in self.rows if datetime.fromisoformat(one["when"].replace("Z", "+00:00")) > after]
        return iter(
            sorted((one for one in found if one["event"] not in asked["excluded_events"]), key=lambda one: one["when"])
        )

    def once(self, path):
        known = {"/dags/load": {"is_paused": True}}
        known |= {f"/dags/load/dagRuns/{one['dag_run_id']}": one for one in self.runs}
        known |= {f"/dags/load/dagRuns/r1/taskInstances/{one['task_id']}": one for one in self.tasks}
        return known.get(path)


def emitted(ledger):
    with ledger.transaction() as connection:
        return list(pending_events.due(connection, NOW + 10_000).values())


def test_each_row_is_recorded_once_however_often_it_is_looked_at(ledger):
    log = Log(row(1), row(2, "clear_dag_runs"), row(3, "running"))
    assert [audit.look(log, ledger, NOW + turn) for turn in range(3)] == [2, 0, 0]
    first, second = emitted(ledger)
    assert (first.user_name, first.audit_event, first.identity.dag_id, first.identity.run_id) == (
        "ann", "create_backfill", "load", "r1",
    )  # fmt: skip
    assert first.document()["event.category"] == ["process"]
    assert first.document()["event.type"] == ["creation"]
    assert first.id != second.id


def test_a_row_that_is_written_late_is_found_and_one_of_the_same_moment_too(ledger):
    log = Log(row(5, ago=10))
    audit.look(log, ledger, NOW)
    log.rows += [row(4, ago=200), row(6, ago=10)]
    assert audit.look(log, ledger, NOW) == 2
    assert len(emitted(ledger)) == 3


def test_a_watcher_that_was_away_for_days_reads_what_was_done_meanwhile_in_steps(ledger, monkeypatch):
    monkeypatch.setattr(audit, "_MOST", 7)
    log = Log(row(1, ago=3 * 86_400))
    audit.look(log, ledger, NOW - 3 * 86_400)
    log.rows += [row(number, ago=2 * 86_400 - number * 600) for number in range(2, 40)]
    found = []
    while (number := audit.look(log, ledger, NOW)) and len(found) < 50:
        found.append(number)
    assert (sum(found), max(found) <= 8) == (38, True)


def test_nothing_is_lost_or_doubled_where_the_ledger_fails_between_reading_and_writing(ledger, monkeypatch):
    log = Log(row(1))
    with monkeypatch.context() as broken:
        broken.setattr(audit.pending_events, "add", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError):
            audit.look(log, ledger, NOW)
    assert emitted(ledger) == []
    assert audit.look(log, ledger, NOW) == 1
    log.away = True
    with pytest.raises(ApiUnavailable):
        audit.look(log, ledger, NOW)
    log.away = False
    assert (audit.look(log, ledger, NOW), len(emitted(ledger))) == (0, 1)


def test_a_row_that_cannot_be_read_is_left_out_and_the_others_are_not(ledger):
    log = Log(row(1), row(2, extra='{"a": 1}'))
    log.rows[0]["event_log_id"] = "none"
    assert audit.look(log, ledger, NOW) == 1


def test_of_a_connection_or_variable_only_its_name_and_the_keys_are_kept():
    secret = "hunter2-hunter2"
    for event, extra in (
        ("post_connection", f'{{"connection_id": "db", "password": "{secret}", "extra": {{"x": "{secret}"}}}}'),
        ("patch_variable", f'{{"key": "k", "value": "{secret}"}}'),
        ("bulk_connections", f'{{"actions": [{{"entities": [{{"password": "{secret}"}}]}}]}}'),
        ("connection.edit", f"not json {secret}"),
    ):
        found = audit.recorded(row(1, event, extra=extra)).audit_extra
        assert secret not in found, event
    kept = audit.recorded(row(1, "post_connection", extra='{"connection_id": "db", "password": "x"}')).audit_extra
    assert kept == '{"connection_id": "db", "fields": ["connection_id", "password"]}'


def test_a_known_secret_in_any_extra_is_masked():
    redact.add_secret("hunter2-hunter2")
    try:
        found = audit.recorded(row(1, extra='{"conf": {"token": "x", "note": "hunter2-hunter2"}}')).audit_extra
    finally:
        redact.forget_secrets()
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("event", "category", "kind"),
    [
        ("trigger_dag_run", "process", "creation"), ("delete_dag_run", "process", "deletion"),
        ("patch_connection", "configuration", "change"), ("paused", "configuration", "change"),
        ("contrail.silence", "configuration", "change"), ("login", "session", "change"),
        ("get_dag_source", "process", "access"), ("post_clear_task_instances", "process", "change"),
    ],
)  # fmt: skip
def test_a_deed_has_the_category_and_type_of_ecs(event, category, kind):
    found = audit.recorded(row(1, event))
    assert (found.category, found.change) == ((category,), (kind,))


def test_the_first_look_reads_the_day_before_and_no_more(ledger):
    log = Log(row(1, ago=2 * 86_400), row(2, ago=3600))
    assert audit.look(log, ledger, NOW) == 1
    since = datetime.fromisoformat(log.asked[0]["after"])
    assert datetime.fromtimestamp(NOW, timezone.utc) - since < timedelta(days=1, minutes=10)


SET = {"event": "patch_task_instance", "task_id": "t", "extra": '{"new_state": "success"}'}
GROUP = {"event": "patch_task_group_instances", "extra": '{"new_state": "success", "group_id": "g"}'}
FIRST = {**SET, "extra": '{"new_state": "success", "map_index": "0"}'}
SET_RUN = {"event": "patch_dag_run", "extra": '{"state": "failed"}'}
QUEUED = {"event": "patch_dag_run", "extra": '{"state": "queued"}'}
NOTED = {"event": "patch_dag_run", "extra": '{"note": "seen"}'}
CLEARED = {"event": "post_clear_task_instances", "run_id": None, "extra": '{"dag_run_id": "r1", "dry_run": false}'}
TRIGGERED = {"event": "trigger_dag_run", "run_id": None}


def run(state="failed", changed=9.0, queued=5000.0, **more):
    return {
        "dag_run_id": "r1", "state": state, "updated_at": text(changed), "queued_at": text(queued), "note": None,
        "run_after": text(5000), "triggering_user_name": None, **more,
    }  # fmt: skip


def task(state="success", changed=9.0, index=-1, task_id="t"):
    return {"task_id": task_id, "map_index": index, "state": state, "updated_at": text(changed), "note": None}


@pytest.mark.parametrize(
    ("asked", "runs", "tasks", "outcome"),
    [
        (SET, [run()], [task()], "success"),
        (SET, [run()], [task("failed", changed=600)], "failure"),
        (SET, [run()], [task("success", changed=600)], "failure"),  # it was so before: 409
        (SET, [run()], [], "failure"),  # a task that is not there: 404
        (SET, [run()], [task("failed")], "unknown"),
        (SET, [], [], "unknown"),
        (FIRST, [run()], [task(index=1), task(index=0)], "success"),
        (FIRST, [run()], [task(index=1), task("failed", 600, index=0)], "failure"),
        (GROUP, [run()], [task(task_id="g.t")], "success"),
        (GROUP, [run()], [task(task_id="gt"), task("failed", 600, task_id="g.t")], "failure"),
        (SET_RUN, [run()], [], "success"),
        (SET_RUN, [run("success", changed=600)], [], "failure"),
        (SET_RUN, [run("running")], [], "unknown"),
        (QUEUED, [run("running", queued=9)], [], "success"),
        (QUEUED, [run("failed", changed=600)], [], "failure"),
        (NOTED, [run(note="seen", changed=600)], [], "success"),
        (NOTED, [run(note="another")], [], "unknown"),
        (CLEARED, [run("running", queued=9)], [], "success"),
        (CLEARED, [run("running")], [], "unknown"),
        (TRIGGERED, [run(queued=9, triggering_user_name="ann")], [], "success"),
        (TRIGGERED, [run(queued=3, run_after=text(9), triggering_user_name="ann")], [], "success"),
        (TRIGGERED, [run(queued=9, triggering_user_name="bob")], [], "unknown"),
        (TRIGGERED, [run(triggering_user_name="ann")], [], "unknown"),
        ({"event": "patch_dag", "extra": '{"is_paused": true}'}, [], [], "success"),
        ({"event": "patch_dag", "extra": '{"is_paused": "False"}'}, [], [], "unknown"),
        ({"event": "patch_connection", "dag_id": None}, [], [], "unknown"),
        ({"event": "contrail.silence"}, [], [], "success"),
        ({**SET, "dag_id": None}, [run()], [task()], "unknown"),
        ({**SET, "run_id": "a/b"}, [run()], [task()], "unknown"),
        ({**SET, "extra": "[1]"}, [run()], [task()], "unknown"),
    ],
)
def test_a_request_was_carried_out_where_airflow_shows_it_since_then(asked, runs, tasks, outcome):
    airflow = Log()
    airflow.runs, airflow.tasks = runs, tasks
    assert outcome_of(airflow, row(1, **asked)) == outcome


@pytest.mark.parametrize("answer", [None, [], "text", 7, {}, {"dag_runs": 1}, ApiUnavailable("away"), ApiError("no")])
@pytest.mark.parametrize("asked", [SET, GROUP, SET_RUN, QUEUED, NOTED, CLEARED, TRIGGERED, {"event": "patch_dag"}])
def test_an_answer_that_cannot_be_read_says_nothing_of_a_request(asked, answer):
    class Odd:
        def once(self, *_args, **_params):
            if isinstance(answer, Exception):
                raise answer
            return answer

        def pages(self, *_args, **_params):
            yield self.once()

    assert outcome_of(Odd(), row(1, **asked)) == "unknown"


def test_nobody_is_named_for_a_state_that_came_later_than_the_request():
    airflow = Log()
    airflow.runs, airflow.tasks = [run()], [task()]
    assert [may_be_done(airflow, row(1, ago=ago, **SET)) for ago in (10, 40)] == [True, False]
    assert may_be_done(airflow, row(1, "bulk_task_instances", ago=40))


def test_a_request_is_judged_when_airflow_has_had_time_to_carry_it_out(ledger):
    airflow = Log(row(1, ago=0.5, **SET), row(2, ago=0.4, **FIRST), row(3, "delete_dag"))
    airflow.runs, airflow.tasks = [run()], [task("failed", changed=600, index=0), task("failed", changed=600)]
    assert audit.look(airflow, ledger, NOW) == 1
    airflow.tasks[1] = task(changed=-1)
    assert audit.look(airflow, ledger, NOW + 5) == 1
    assert audit.look(airflow, ledger, NOW + 10) == 1
    assert audit.look(airflow, ledger, NOW + 20) == 0
    assert [(one.audit_event, one.outcome) for one in emitted(ledger)] == [
        ("delete_dag", "unknown"), ("patch_task_instance", "success"), ("patch_task_instance", "failure"),
    ]  # fmt: skip


def test_a_look_asks_about_so_many_requests_and_the_next_one_goes_on(ledger, monkeypatch):
    monkeypatch.setattr(audit, "_JUDGED_MOST", 2)
    airflow = Log(*(row(number, ago=4000 - number, **SET) for number in range(5)))
    airflow.runs, airflow.tasks = [run()], [task("failed", changed=9000)]
    assert [audit.look(airflow, ledger, NOW + turn) for turn in range(4)] == [2, 2, 1, 0]
    assert {one.outcome for one in emitted(ledger)} == {"failure"}
