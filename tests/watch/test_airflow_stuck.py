"""Tasks and runs that wait are called stuck from a moment on, in exact words, until they wait no longer."""

from __future__ import annotations

import pytest
from scripted_airflow import NOW, RUN, TASK, Airflow, reconciler_of

from observability.timestamps import iso
from observability.watch.sources.airflow_api.scene import Scene

WAITS = {**TASK, "start_date": None, "end_date": None, "queued_when": None, "scheduled_when": None}
IDLE = {**RUN, "state": "running", "end_date": None}


@pytest.fixture
def airflow():
    return Airflow()


@pytest.fixture
def stuck(airflow, tmp_path, monkeypatch):
    return reconciler_of(airflow, tmp_path, monkeypatch)._stuck


def ago(seconds):
    return iso(NOW - seconds, "milliseconds")


def queued(waited, **more):
    return {**WAITS, "state": "queued", "queued_when": ago(waited), **more}


def scheduled(waited, **more):
    return {**WAITS, "state": "scheduled", "scheduled_when": ago(waited), **more}


def tasks(stuck, scene=None, now=NOW):
    return list(stuck.tasks(Scene() if scene is None else scene, now))


def said(facts):
    return [(fact.status, fact.task_id, fact.run_id) for fact in facts]


@pytest.mark.parametrize("waits", [queued, scheduled])
@pytest.mark.parametrize(("waited", "told"), [(179.9, False), (180.0, True)])
def test_a_task_is_stuck_from_three_minutes_on(airflow, stuck, waits, waited, told):
    airflow.tasks = [waits(waited)]
    assert said(tasks(stuck)) == [("firing", "t", "r1")] * told


def test_how_long_and_in_what_a_task_waits_is_said(airflow, stuck):
    airflow.tasks, airflow.pools = [queued(200)], [{"name": "default_pool", "slots": 8, "open_slots": 3}]
    (fact,) = tasks(stuck)
    assert fact.reason == "it has been queued for 3 min 20 s in pool default_pool"  # it has its slot
    airflow.tasks = [scheduled(3600)]
    (fact,) = tasks(stuck)
    said_so = "it has been scheduled for 1 h in pool default_pool, which has 3 of 8 slots open"
    assert (fact.reason, fact.cause, fact.time) == (said_so, "stuck_queued", NOW)


@pytest.mark.parametrize(
    "row", [{"state": "queued", "scheduled_when": ago(999)}, {"state": "scheduled", "queued_when": ago(999)}]
)
def test_a_task_waits_from_the_moment_of_its_own_state(airflow, stuck, row):
    airflow.tasks = [{**WAITS, **row}]
    assert tasks(stuck) == []


@pytest.mark.parametrize(("full_until", "words"), [(200, "3 min 20 s"), (180, "3 min"), (179.9, None), (0, None)])
def test_a_task_waits_from_the_moment_at_which_there_was_room(airflow, stuck, full_until, words):
    airflow.tasks, airflow.pools = [scheduled(600)], [{"name": "default_pool", "slots": 1, "open_slots": 1}]
    facts = tasks(stuck, Scene(full={"pool:default_pool:1": NOW - full_until}))
    assert [fact.reason.partition(" for ")[2].partition(" in ")[0] for fact in facts] == [words] * (words is not None)


@pytest.mark.parametrize("paused", [True, False])
def test_what_is_known_to_be_stuck_stays_so_while_a_limit_is_used_up_unless_its_dag_is_paused(airflow, stuck, paused):
    scene = Scene()
    airflow.tasks = [scheduled(600)]
    tasks(stuck, scene)
    scene.dags = {"load": {"paused": paused, "max_active_tasks": 0}}
    assert [fact.status for fact in tasks(stuck, scene, NOW + 20)] == ["resolved" if paused else "firing"]


def test_pools_are_asked_for_when_something_waits_for_one(airflow, stuck):
    airflow.tasks = [queued(1), {**TASK, "state": "running"}]
    tasks(stuck)
    assert "/pools" not in [path for path, _ in airflow.asked]
    airflow.tasks = [queued(1), scheduled(1)]
    tasks(stuck)
    assert "/pools" in [path for path, _ in airflow.asked]


@pytest.mark.parametrize(("parallelism", "told"), [("1", False), ("2", True), ("", True), ("many", True)])
def test_an_executor_that_is_full_hinders_where_its_size_is_known(airflow, stuck, monkeypatch, parallelism, told):
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", parallelism)
    airflow.tasks = [scheduled(600), {**TASK, "task_id": "other", "dag_id": "x", "state": "running"}]
    assert bool(tasks(stuck)) is told


LOOP = {"id": "ti-1", "region_id": "g", "loop_iteration": {"loop_id": "body", "iteration": 1}}


@pytest.mark.parametrize("loop", [{}, LOOP])
def test_what_waits_no_longer_is_the_same_one(airflow, stuck, loop):
    scene, airflow.tasks = Scene(), [queued(600, **loop), queued(600, task_id="u")]
    wait, _ = tasks(stuck, scene)
    airflow.tasks = [queued(600, task_id="u")]
    again, over = tasks(stuck, scene, NOW + 20)
    assert (again.task_id, over.status, over.key, over.time) == ("u", "resolved", wait.key, NOW + 20)
    assert (over.reason, over.task_id, over.iteration) == ("it waits no longer", "t", wait.iteration)
    assert tasks(stuck, scene, NOW + 40)[0].task_id == "u"
    assert len(scene.stuck) == 1


def test_a_list_with_a_row_that_names_no_task_says_of_none_that_it_waits_no_longer(airflow, stuck):
    scene, airflow.tasks = Scene(), [queued(600)]
    tasks(stuck, scene)
    airflow.tasks = [{"state": "queued"}, queued(600, task_id="u")]
    assert said(tasks(stuck, scene)) == [("firing", "u", "r1")]
    assert len(scene.stuck) == 2


def question(waited):
    one = {**TASK, "task_id": "asks", "state": "awaiting_input"}
    return {"task_instance": one, "subject": "go on?", "options": ["yes"], "created_at": ago(waited)}


@pytest.mark.parametrize(("waited", "told"), [(599.9, False), (600.0, True)])
def test_a_question_is_told_of_from_ten_minutes_on(airflow, stuck, waited, told):
    airflow.questions = [question(waited)]
    facts = list(stuck.unanswered(Scene(), NOW))
    assert [(fact.status, fact.cause, fact.severity) for fact in facts] == [("firing", "deadline", "warning")] * told


def test_a_question_that_waits_no_longer_is_the_same_one_and_others_wait_on(airflow, stuck):
    scene, airflow.questions = Scene(), [question(900), question(900)]
    airflow.questions[1]["task_instance"] = {**airflow.questions[1]["task_instance"], "task_id": "too"}
    first, _ = stuck.unanswered(scene, NOW)
    del airflow.questions[0]
    again, over = stuck.unanswered(scene, NOW + 20)
    assert (again.task_id, over.status, over.key) == ("too", "resolved", first.key)
    assert (over.cause, over.reason, over.time) == ("deadline", "it waits for no answer now", NOW + 20)


def held(waited, run="r1"):
    return {**RUN, "dag_run_id": run, "state": "queued", "queued_at": ago(waited), "triggered_by": "operator"}


@pytest.mark.parametrize(("waited", "told"), [(179.9, False), (180.0, True)])
def test_a_run_of_a_paused_dag_is_told_of_from_three_minutes_on(airflow, stuck, waited, told):
    airflow.runs = [held(waited)]
    facts = list(stuck.behind_pause(Scene(dags={"load": {"paused": True}}), NOW))
    assert [(fact.status, fact.run_id, fact.severity) for fact in facts] == [("firing", "r1", "warning")] * told


def test_a_run_that_is_no_longer_held_back_is_the_same_one_and_others_are_held_on(airflow, stuck):
    scene, airflow.runs = Scene(dags={"load": {"paused": True}}), [held(300), held(300, "r2")]
    first, _ = stuck.behind_pause(scene, NOW)
    del airflow.runs[0]
    again, over = stuck.behind_pause(scene, NOW + 20)
    assert (again.run_id, over.status, over.key, over.run_id) == ("r2", "resolved", first.key, "r1")
    assert (over.reason, over.time) == ("it is no longer held back", NOW + 20)


def idle(stuck, scene, after):
    return [fact for fact in tasks(stuck, scene, NOW + after) if fact.task_id is None]


@pytest.mark.parametrize(("number", "named"), [(1, "t0"), (5, "t0, t1, t2, t3, t4"), (6, "t0, t1, t2, t3, t4")])
def test_a_run_none_of_whose_tasks_goes_on_is_told_of_with_five_of_them(airflow, stuck, number, named):
    scene = Scene(dags={"load": {"paused": False}})
    airflow.runs = [IDLE]
    airflow.tasks = [{**WAITS, "task_id": f"t{one}", "state": None} for one in range(number)]
    airflow.tasks += [{**TASK, "task_id": "done", "state": "success"}]
    assert [len(idle(stuck, scene, after)) for after in (0, 179.9)] == [0, 0]
    (fact,) = idle(stuck, scene, 180)
    assert (fact.status, fact.run_id, fact.time) == ("firing", "r1", NOW + 180)
    assert fact.reason == f"it runs, and {named} has waited 3 min to be scheduled"


def test_a_run_whose_tasks_go_on_again_is_told_of_only_if_its_wait_was(airflow, stuck):
    scene, airflow.runs = Scene(dags={"load": {"paused": False}}), [IDLE]
    airflow.tasks = [{**WAITS, "state": None}]
    assert idle(stuck, scene, 0) == []
    airflow.runs = []
    assert idle(stuck, scene, 20) == []  # nobody heard of it
    airflow.runs = [IDLE]
    (told,) = [fact for after in (40, 220) for fact in idle(stuck, scene, after)]
    assert idle(stuck, scene, 240)[0].key == told.key
    airflow.runs = []
    (over,) = idle(stuck, scene, 260)
    assert (over.status, over.run_id, over.reason) == ("resolved", "r1", "its tasks are scheduled again")
    assert (over.key, over.time, idle(stuck, scene, 280)) == (told.key, NOW + 260, [])


def test_a_run_whose_tasks_cannot_be_asked_about_stays_what_it_was(airflow, stuck):
    scene, airflow.runs = Scene(dags={"load": {"paused": False}}), [IDLE]
    airflow.tasks = [{**WAITS, "state": None}]
    assert [len(idle(stuck, scene, after)) for after in (0, 180)] == [0, 1]
    airflow.forbidden = "/dags/load/dagRuns/r1/taskInstances"
    assert idle(stuck, scene, 200) == []
    airflow.runs = []
    assert [fact.status for fact in idle(stuck, scene, 220)] == ["resolved"]


@pytest.mark.parametrize("known", [{}, {"load": {}}, {"load": {"paused": True}}])
def test_a_run_of_a_dag_that_is_paused_or_not_known_may_stand_still(airflow, stuck, known):
    scene, airflow.runs = Scene(dags=known), [IDLE]
    airflow.tasks = [{**WAITS, "state": None}]
    assert [idle(stuck, scene, after) for after in (0, 200)] == [[], []]


def test_a_run_that_goes_on_and_a_row_without_names_hide_no_run_that_stands_still(airflow, stuck):
    scene = Scene(dags={name: {"paused": False} for name in ("a", "load")})
    airflow.runs = [{"dag_id": "x", "state": "running"}, {**IDLE, "dag_id": "a"}, IDLE]
    airflow.tasks = [{**TASK, "dag_id": "a", "state": "running"}]
    stuck._never_scheduled = lambda _dag_id, _run_id: ["t"]
    found = [fact.dag_id for after in (0, 180) for fact in idle(stuck, scene, after)]
    assert found == ["load"]


@pytest.mark.parametrize(
    ("states", "waiting"), [(["success", None], ["t1"]), (["running", None], []), (["failed"], [])]
)
def test_the_tasks_that_were_never_scheduled_where_no_other_goes_on(airflow, stuck, states, waiting):
    airflow.tasks = [{**WAITS, "task_id": f"t{number}", "state": state} for number, state in enumerate(states)]
    assert stuck._never_scheduled("load", "r1") == waiting
