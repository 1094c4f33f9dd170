"""A task that waits for room is not stuck; one that nothing hinders is, and what it waits in is said."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from observability.watch.facts import SEEN
from observability.watch.sources.airflow_api.rows import wait_in_words
from observability.watch.sources.capacity import Capacity
from observability.watch.sources.diagnose import diagnose_task
from observability.watch.sources.logs import LastWords, words_in

NOW = 1_767_960_000.0


def task(task_id="t", state="scheduled", run="r1", dag="load", pool="small", **more):
    return {"dag_id": dag, "dag_run_id": run, "task_id": task_id, "state": state, "pool": pool, "pool_slots": 1, **more}


def pool(slots=5, free=5, name="small"):
    return {"name": name, "slots": slots, "open_slots": free}


def since(one, *active, pools=(), dags=None, full=None, parallelism=None):
    return Capacity(list(pools), [one, *active], dags or {}, full or {}, now=NOW, parallelism=parallelism).free_since(
        one
    )


@pytest.mark.parametrize(
    ("one", "active", "more"),
    [
        (task(), [], {"pools": [pool(2, 0)]}),
        (task(), [], {"pools": [pool(2, -3)]}),
        (task(), [], {"pools": [pool(2, -1)]}),
        (task(pool_slots=3), [], {"pools": [pool(5, 2)]}),
        (task(), [task("a", "running", dag="other")], {"pools": [pool(1, 0)]}),
        (task(), [task("a", "running"), task("b", "queued")], {"dags": {"load": {"max_active_tasks": 2}}}),
        (task(), [task("t", "running", run="r0")], {}),
        (task(), [], {"dags": {"load": {"paused": True}}}),
        (task(), [task("a", "running", dag="x"), task("b", "queued", dag="y")], {"parallelism": 2}),
    ],
    ids=["a full pool", "a pool that was made smaller", "by one", "too few slots for it",
         "a pool that another DAG fills", "max_active_tasks", "max_active_tis_per_dag", "a paused DAG", "parallelism"],
)  # fmt: skip
def test_what_waits_for_room_waits_rightly(one, active, more):
    assert since(one, *active, **more) == NOW


@pytest.mark.parametrize(
    ("one", "active", "more"),
    [
        (task(), [], {"pools": [pool()]}),
        (task(), [], {"pools": [pool(-1, -1)]}),
        (task(), [], {}),
        (task(), [task("a", "running", run="r0")] * 3, {"dags": {"load": {"max_active_tasks": 2}}}),
        (task(), [task("t", "scheduled", run="r0")], {}),
        (task(pool_slots=9), [], {"pools": [pool(5, 0)]}),
        (task(), [task("a", "deferred")], {"dags": {"load": {"max_active_tasks": 1}}, "parallelism": 1}),
    ],
    ids=["room", "an endless pool", "nothing known", "the limit is of another run", "another that waits",
         "more slots than there are", "a deferred one takes none"],
)  # fmt: skip
def test_what_nothing_hinders_does_not(one, active, more):
    assert since(one, *active, **more) == 0.0


@pytest.mark.parametrize(
    ("one", "most"), [(task(pool="gone"), 16), (task(pool_slots=9), 16), (task(pool="shut"), 16), (task(), 0)],
    ids=["no such pool", "too small a pool", "a pool without slots", "max_active_tasks 0"],
)  # fmt: skip
def test_what_will_never_have_its_turn_does_not_wait_for_another_limit(one, most):
    full = [task("a", "running", dag="x"), task("b", "queued", dag="y")]
    more = {"pools": [pool(), pool(0, 0, "shut")], "parallelism": 2}
    assert since(one, *full, **more, dags={"load": {"max_active_tasks": most}}) == 0.0
    assert since(one, *full, **more, dags={"load": {"max_active_tasks": most, "paused": True}}) == NOW


def test_a_slot_that_is_free_between_two_tasks_does_not_make_the_wait_begin_long_ago():
    full = Capacity([pool(1, 0)], [task()], {}, {}, now=NOW - 15)
    assert full.free_since(task()) == NOW - 15
    now = Capacity([pool(1, 1)], [task()], {}, full.full, now=NOW)
    assert now.free_since(task()) == NOW - 15
    assert now.full == {"pool:small:1": NOW - 15}


@pytest.mark.parametrize(
    ("one", "pools", "words"),
    [
        (task(), [pool(5, 3)], "which has 3 of 5 slots open"),
        (task(pool_slots=9), [pool(5, 3)], "which has 5 slots, and it needs 9"),
        (task(pool="gone"), [pool()], "which does not exist"),
        (task(), [pool(0, 0)], "which has no slots"),
        (task(), [pool(0, -2)], "which has no slots"),
        (task(dag="shut"), [pool()], "and its DAG allows no task to run (max_active_tasks is 0)"),
    ],
)
def test_why_it_waits_is_said(one, pools, words):
    assert Capacity(pools, [one], {"shut": {"max_active_tasks": 0}}, {}, now=NOW).words(one) == words


@pytest.mark.parametrize(
    ("state", "queue", "said"),
    [("queued", "reports", " and queue reports"), ("queued", "default", ""), ("scheduled", "reports", "")],
)
def test_a_queue_of_its_own_is_named_for_what_waits_in_it(state, queue, said):
    words = wait_in_words(task(state=state, queue=queue), 184, "")
    assert words == f"it has been {state} for 3 min 4 s in pool small{said}"


TASK = {
    "dag_id": "load", "dag_run_id": "r1", "task_id": "t", "map_index": -1, "try_number": 1, "state": "failed",
    "start_date": "2026-01-09T11:59:00Z", "end_date": datetime.fromtimestamp(NOW, timezone.utc).isoformat(),
}  # fmt: skip
MISMATCH = "Executor KubernetesExecutor reported that the task instance finished with state failed. Extra info: {}"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("Pod was evicted: The node was low on resource: memory", "killed"),
        ("container base terminated: OOMKilled (exit code 137)", "oom"),
        ("ImagePullBackOff: Back-off pulling image registry/etl:1", "platform"),
        ("ErrImagePull", "platform"),
        ("WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL)')", "lost_heartbeat"),
        ("pod preempted by the scheduler", "killed"),
        ("CannotPullContainerError: image not found", "platform"),
    ],
)
@pytest.mark.parametrize("place", ["event log", "task log"])
def test_the_executors_words_reach_the_reader_and_the_cause(said, cause, place):
    event = {"event": "state mismatch", "extra": MISMATCH.format(said), "task_id": "t", "map_index": -1,
             "try_number": 1, "when": TASK["end_date"]}  # fmt: skip
    events = [event] if place == "event log" else []
    words = LastWords(evidence={"log_tail": [f"2026 error {said}"]} if place == "task log" else {})
    verdict = diagnose_task(TASK, events, words)
    assert (verdict.cause, verdict.certainty) == (cause, SEEN)
    assert said in verdict.reason


@pytest.mark.parametrize(
    "more",
    [
        {"event": "trigger_dag_run", "owner": "ann", "task_id": None, "map_index": None, "try_number": None},
        {"event": "patch_xcom", "owner": "ann"},
        {"event": "anything", "task_id": None},
    ],
)
def test_what_a_person_sends_to_the_api_is_not_the_executors_word(more):
    event = {"event": "state mismatch", "extra": '{"conf": {"note": "OOMKilled"}}', "task_id": "t", "map_index": -1,
             "try_number": 1, "when": TASK["end_date"]}  # fmt: skip
    assert diagnose_task(TASK, [{**event, **more}], LastWords()).cause == "app"


@pytest.mark.parametrize(
    "more",
    [
        {"logger": "task.stdout"},
        {"logger": "my.module", "ti_id": "01a21b5b", "try_number": 1},
        {"logger": "task", "ti_id": None, "filename": "supervisor.py"},
    ],
)
def test_what_the_task_itself_said_is_not_the_executors_word(more):
    words = words_in([{"event": "pod x is OOMKilled", "level": "error", **more}])
    assert diagnose_task(TASK, [], words).cause == "app"
    assert words_in([{"event": "pod x is OOMKilled", "level": "error"}]).spoken == frozenset()


def test_a_tasks_own_error_is_not_the_executors_word():
    words = LastWords("app", "ValueError: evicted", {"error.type": "ValueError", "log_tail": ["ValueError: evicted"]})
    assert diagnose_task(TASK, [], words).reason == "ValueError: evicted"
