"""Attempts that failed or were taken out: how often their evidence is asked for, and when and whose each is."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from scripted_airflow import NOW, TASK, Airflow, reconciler_of

from observability.watch.facts import CERTAIN, GUESSED, SEEN
from observability.watch.sources.airflow_api import tasks as module

ENDED, BEGUN = NOW - 30, NOW - 60
WORDS = [{"event": "Task failed with exception", "error_detail": [{"exc_type": "MemoryError", "exc_value": "full"}]}]
LOST_POD = {
    "event": "state mismatch", "dag_id": "load", "run_id": "r1", "task_id": "t", "map_index": -1, "try_number": 1,
    "event_log_id": 1, "when": TASK["end_date"], "extra": "KubernetesExecutor says failed",
}  # fmt: skip
POD_LINE = (
    "Task load.t.1 failed in pod p-1. Pod phase: Failed, reason: Evicted, message: low on memory, container_type: x,"
    " container_name: base, container_state: terminated, container_reason: Error, container_message: None,"
    " exit_code: 137"
)


@pytest.fixture
def airflow():
    return Airflow()


@pytest.fixture
def tasks(airflow, tmp_path, monkeypatch):
    made = reconciler_of(airflow, tmp_path, monkeypatch)._tasks
    made._look.until = time.monotonic() + 1000
    return made


def changed(tasks):
    return list(tasks.changed(NOW - 30))


def named(*names, **more):
    return [{**TASK, "task_id": name, **more} for name in names]


def asked(airflow, part):
    return [path for path, _ in airflow.asked if part in path]


def test_what_changed_is_asked_for_by_state_and_time(airflow, tasks):
    changed(tasks)
    (params,) = [params for path, params in airflow.asked if path.endswith("/taskInstances")]
    assert (params["updated_at_gte"], params["order_by"]) == ("2026-01-09T11:59:30.000Z", "id")
    airflow.tasks = [{**TASK, "state": state} for state in ("failed", "up_for_retry", "running", "queued")]
    assert [fact.status for fact in changed(tasks)] == ["firing", "dismissed"]


def test_a_failed_attempt_with_all_that_is_known_of_it(airflow, tasks):
    tasks._look.dags = {"load": {"owner": "ann", "tags": ["a"]}}
    airflow.tasks, airflow.words = [TASK], WORDS
    (fact,) = changed(tasks)
    assert (fact.dag_id, fact.run_id, fact.task_id, fact.map_index, fact.try_number) == ("load", "r1", "t", -1, 1)
    assert (fact.cause, fact.certainty, fact.time) == ("oom", CERTAIN, ENDED)
    assert fact.about == {"owner": "ann", "tags": ["a"], "env": "test", "operator": "X"}
    assert (fact.evidence["error.type"], fact.evidence["event.duration"]) == ("MemoryError", 3_000_000_000)
    assert (fact.event.provider, fact.event.discriminator) == ("reconciler", "")
    assert tasks._look.explained == {("load", "r1")}


@pytest.mark.parametrize(
    ("row", "when"),
    [({}, ENDED), ({"end_date": None}, BEGUN), ({"end_date": None, "start_date": None}, None)],
)
@pytest.mark.parametrize("state", ["failed", "up_for_retry", "removed"])
def test_the_moment_of_an_attempt_is_its_end_else_its_begin_else_now(airflow, tasks, state, row, when):
    airflow.tasks, airflow.has_task = [{**TASK, "state": state, **row}], False
    before = time.time()
    (fact,) = changed(tasks)
    if when is None:
        assert before - 1 <= fact.time <= time.time()
    else:
        assert fact.time == when


def test_a_failure_that_a_person_set_long_after_its_end_is_of_that_moment(airflow, tasks):
    airflow.tasks = [TASK]
    about = {"dag_id": "load", "run_id": "r1", "task_id": "t", "map_index": -1, "try_number": 1, "owner": "ann"}
    by_hand = {"event": "patch_task_instance", "when": "2026-01-09T11:59:50Z", "extra": '{"new_state": "failed"}'}
    airflow.events = [{**about, **by_hand, "event_log_id": 1}]
    (fact,) = changed(tasks)
    assert (fact.cause, fact.reason, fact.time) == ("cancelled", "marked failed by ann", NOW - 10)
    assert fact.event.discriminator


def test_what_was_settled_before_is_not_looked_into_and_its_row_says_so_little(airflow, tasks):
    airflow.tasks = [TASK]
    sure = changed(tasks)[0]
    tasks._look.known = {sure.key: replace(sure, provider="callback", certainty=SEEN)}.get
    airflow.asked.clear()
    (fact,) = changed(tasks)
    assert (fact.cause, fact.reason, fact.certainty) == ("platform", "", GUESSED)
    assert asked(airflow, "/logs/") == asked(airflow, "/eventLogs") == []


@pytest.mark.parametrize(
    "known",
    [{"provider": "callback", "certainty": GUESSED}, {"provider": "callback", "cause": "cancelled", "certainty": SEEN},
     {"status": "suspected"}],
)  # fmt: skip
def test_what_was_not_sure_is_looked_into_again(airflow, tasks, known):
    airflow.tasks = [TASK]
    before = changed(tasks)[0]
    tasks._look.known = {before.key: replace(before, **known)}.get
    airflow.asked.clear()
    changed(tasks)
    assert len(asked(airflow, "/logs/")) == 1


@pytest.mark.parametrize("missing", ["/eventLogs", "/dags/load/dagRuns/r1/taskInstances/t/logs", "scheduler"])
def test_evidence_that_cannot_be_had_is_asked_for_six_times_more(airflow, tasks, missing):
    airflow.tasks, airflow.forbidden = [TASK], missing
    if missing == "scheduler":
        airflow.events, tasks._scheduler_lines = [LOST_POD], lambda _moment: []
    assert len(changed(tasks)) == 1
    airflow.tasks = []
    tasks._look.questions.rests = lambda _about: False
    assert [len(changed(tasks)) for _ in range(8)] == [1] * 6 + [0] * 2


def test_evidence_that_was_had_is_not_asked_for_again(airflow, tasks):
    airflow.tasks, airflow.forbidden = [TASK], "/eventLogs"
    changed(tasks)
    airflow.tasks, airflow.forbidden = [], ""
    tasks._look.questions.rests = lambda _about: False
    assert [len(changed(tasks)) for _ in range(2)] == [1, 0]


def test_evidence_whose_question_rests_is_not_asked_for(airflow, tasks):
    airflow.tasks, airflow.forbidden = [TASK], "/dags/load/dagRuns/r1/taskInstances/t/logs"
    changed(tasks)
    airflow.tasks = []
    assert [len(changed(tasks)) for _ in range(9)] == [0] * 9  # it failed a moment ago


@pytest.mark.parametrize("most", [1, 2, 3])
def test_evidence_of_so_many_failures_is_asked_for_again(airflow, tasks, monkeypatch, most):
    monkeypatch.setattr(module, "MOST_REMEMBERED", most)
    airflow.tasks, airflow.forbidden = named("a", "b"), "/eventLogs"
    changed(tasks)
    airflow.tasks = []
    assert len(changed(tasks)) == min(most, 2)


def test_what_is_settled_is_looked_into_while_its_evidence_is_missing(airflow, tasks):
    airflow.tasks, airflow.forbidden = [TASK], "/eventLogs"
    before = changed(tasks)[0]
    tasks._look.known = {before.key: before}.get
    airflow.asked.clear()
    changed(tasks)
    assert len(asked(airflow, "/logs/")) >= 1


@pytest.mark.parametrize(
    ("lines", "cause", "words"),
    [([POD_LINE], "killed", "pod p-1: container base terminated: Error: Evicted: low on memory (exit code 137)"),
     (["nothing about it"], "lost_heartbeat", "its executor says that it ended, and it never said so itself")],
)  # fmt: skip
def test_what_schedulers_warned_of_around_its_end_says_why_a_pod_is_gone(airflow, tasks, lines, cause, words):
    moments = []
    tasks._scheduler_lines = lambda moment: moments.append(moment) or lines
    airflow.tasks, airflow.events = [TASK], [LOST_POD]
    (fact,) = changed(tasks)
    assert (fact.cause, fact.reason, moments) == (cause, words, [ENDED])


@pytest.mark.parametrize("row", [{"end_date": None}, {"operator_name": "Y"}])
def test_schedulers_are_asked_only_about_a_pod_that_ended(airflow, tasks, row):
    moments = []
    tasks._scheduler_lines = lambda moment: moments.append(moment) or []
    airflow.tasks = [{**TASK, **row}]
    airflow.events = [LOST_POD] if "end_date" in row else []
    assert [fact.status for fact in changed(tasks)] == ["firing"]
    assert moments == []


@pytest.mark.parametrize("row", [{"start_date": None}, {}])
def test_the_log_is_asked_of_airflow_where_the_task_began_and_left_none_here(airflow, tasks, row):
    airflow.tasks = [{**TASK, **row}]
    changed(tasks)
    assert len(asked(airflow, "/logs/")) == (0 if row else 1)


def test_a_log_that_lies_here_is_not_asked_of_airflow(airflow, tasks, tmp_path):
    path = module.log_path(tmp_path, "load", "r1", "t", -1, 1, None)
    path.parent.mkdir(parents=True)
    path.write_text('{"event": "Task failed with exception", "error_detail": [{"exc_type": "KeyError"}]}\n')
    airflow.tasks = [TASK]
    (fact,) = changed(tasks)
    assert (fact.evidence["error.type"], asked(airflow, "/logs/")) == ("KeyError", [])


@pytest.mark.parametrize("content", [None, "text", [5, *WORDS]])
def test_a_log_of_an_odd_shape_says_what_it_says(airflow, tasks, content):
    airflow.tasks, airflow.words = [TASK], content
    (fact,) = changed(tasks)
    assert fact.evidence.get("error.type") == ("MemoryError" if isinstance(content, list) else None)


def test_of_failures_whose_time_is_over_the_first_is_told_and_the_rest_is_left_to_the_next_look(airflow, tasks):
    tasks._look.until = time.monotonic() - 1
    airflow.tasks = [*named("a", "b"), *named("c", state="up_for_retry"), *named("d")]
    assert [(fact.task_id, fact.status) for fact in changed(tasks)] == [("a", "firing"), ("c", "dismissed")]
    assert tasks._look.cut


def test_failures_in_time_are_all_told(airflow, tasks):
    airflow.tasks = named("a", "b", "c")
    assert [fact.task_id for fact in changed(tasks)] == ["a", "b", "c"]
    assert not tasks._look.cut


def test_a_row_that_cannot_be_read_hides_no_other(airflow, tasks):
    airflow.tasks = [{"state": "failed"}, *named("a", try_number=[]), *named("b")]
    assert [fact.task_id for fact in changed(tasks)] == ["b"]


def test_a_task_that_was_taken_out_says_so_once(airflow, tasks):
    airflow.tasks, airflow.has_task = [{**TASK, "state": "removed"}], False
    tasks._look.dags = {"load": {"owner": "ann"}}
    (fact,) = changed(tasks)
    assert (fact.kind, fact.status, fact.cause, fact.certainty, fact.time) == ("task", "firing", "import", SEEN, ENDED)
    assert (fact.about["owner"], fact.reason[:26]) == ("ann", "the DAG no longer has it, ")
    tasks._look.known = {fact.key: fact}.get
    assert changed(tasks) == []
    tasks._look.known = {fact.key: replace(fact, status="resolved")}.get
    assert len(changed(tasks)) == 1


def confirmed(tasks, **about):
    row = {**TASK, **about}
    return [(fact.status, fact.try_number) for fact in tasks.confirm(tasks.about(row, "suspected", {}))]


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"state": "failed", "try_number": 2}, [("firing", 2)]),
        ({"state": "failed", "try_number": 3}, [("dismissed", 2)]),
        ({"state": "failed", "try_number": 1}, []),
        ({"state": "running", "try_number": 2}, []),
        ({"state": "running", "try_number": 3}, [("dismissed", 2)]),
        ({"state": "running", "try_number": 1}, []),
        ({"state": "success", "try_number": 2}, [("dismissed", 2)]),
        ({"state": "removed", "try_number": 1}, [("dismissed", 2)]),
        (None, [("dismissed", 2)]),
    ],
)
def test_what_airflow_says_of_a_death(airflow, tasks, answer, verdict):
    airflow.tasks = [] if answer is None else [{**TASK, **answer}]
    assert confirmed(tasks, try_number=2) == verdict


def test_an_attempt_without_a_number_is_over_when_airflow_counts_one(airflow, tasks):
    airflow.tasks = [{**TASK, "state": "running", "try_number": 1}]
    assert confirmed(tasks, try_number=None) == [("dismissed", None)]
    airflow.tasks = [{**TASK, "state": "running", "try_number": 0}]
    assert confirmed(tasks, try_number=None) == []


@pytest.mark.parametrize(("index", "path"), [(-1, "/t"), (0, "/t/0"), (3, "/t/3")])
def test_an_instance_of_a_mapped_task_is_asked_about_by_its_index(airflow, tasks, index, path):
    confirmed(tasks, map_index=index)
    assert airflow.asked[-1][0] == f"/dags/load/dagRuns/r1/taskInstances{path}"


@pytest.mark.parametrize(("state", "verdict"), [("running", []), (None, [])])
def test_a_run_with_a_slash_is_answered_about_where_airflow_knows_it(airflow, tasks, state, verdict):
    airflow.tasks = [{**TASK, "state": state}] if state else []
    assert confirmed(tasks, dag_run_id="a/b") == verdict


LOOP = {"id": "ti-1", "region_id": "g", "region_index": 0, "loop_iteration": {"loop_id": "body", "iteration": 1}}


@pytest.mark.parametrize(
    ("rows", "ti_id", "verdict"),
    [
        ([{"state": "failed"}], "ti-1", ["firing"]),
        ([{"state": "failed"}], None, ["firing", "dismissed"]),
        ([{"state": "success"}], "ti-1", ["dismissed"]),
        ([{"state": "running"}], "ti-1", []),
        ([{"state": "running"}], None, []),
        ([{"state": "failed", "id": "ti-2"}], "ti-1", ["dismissed"]),
        ([], "ti-1", ["dismissed"]),
        ([{"state": "running", "id": "ti-2"}, {"state": "skipped"}], "ti-1", ["dismissed"]),
    ],
)
def test_what_airflow_says_of_a_death_in_a_task_loop(airflow, tasks, rows, ti_id, verdict):
    fact = replace(tasks.about({**TASK, **LOOP}, "suspected", {}), ti_id=ti_id)
    airflow.tasks = [{**TASK, **LOOP, **row} for row in rows]
    assert [one.status for one in tasks.confirm(fact)] == verdict


def test_a_death_in_a_loop_of_a_run_with_a_slash_is_not_asked_about(airflow, tasks):
    fact = tasks.about({**TASK, **LOOP, "dag_run_id": "a/b"}, "suspected", {})
    airflow.asked.clear()
    assert (list(tasks.confirm(fact)), airflow.asked) == ([], [])
