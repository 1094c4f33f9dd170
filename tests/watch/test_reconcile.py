"""The reconciler reads Airflow's own account, asked of an API that answers from a script."""

from __future__ import annotations

import re
import time
from collections import Counter
from datetime import datetime, timezone
from email.utils import format_datetime

import httpx
import pytest
from scripted_airflow import DAG, NOW, RUN, TASK, Airflow, reconciler_of, told

from observability.watch.facts import seconds
from observability.watch.rules.config import Thresholds
from observability.watch.sources.airflow_api.scene import Scene, scene_from
from observability.watch.sources.api import ApiError, ApiUnavailable
from observability.watch.sources.reconcile import Reconciler


@pytest.fixture
def airflow():
    return Airflow()


@pytest.fixture
def reconciler(airflow, tmp_path, monkeypatch):
    return reconciler_of(airflow, tmp_path, monkeypatch)


def test_a_failed_task_and_its_run_with_owner_and_tags(airflow, reconciler):
    airflow.tasks, airflow.runs = [TASK], [RUN]
    scene = Scene()
    reconciler.look(scene, NOW)
    facts = reconciler.look(scene, NOW + 5)
    assert told(facts) == [("task", "firing", "app"), ("run", "firing", "upstream")]
    assert facts[0].about["owner"] == "ann"
    assert facts[0].about["tags"] == ["team"]


def test_a_look_asks_again_for_the_overlap_only(airflow, reconciler):
    scene = Scene()
    reconciler.look(scene, NOW)
    airflow.asked.clear()
    reconciler.look(scene, NOW + 5)
    since = next(params["updated_at_gte"] for path, params in airflow.asked if path.endswith("/taskInstances"))
    assert since == "2026-01-09T11:59:30.000Z"


def test_memory_of_another_version_is_read_as_far_as_it_is_known():
    scene = scene_from({"since": 12, "silent": ["scheduler"], "peers": ["of an older form"], "of a newer one": 1})
    assert (scene.since, scene.silent, scene.peers) == (12, ["scheduler"], {})
    assert scene_from("nonsense") == scene_from(None) == Scene()


def test_deadlines_that_a_dag_gets_later_are_learnt_in_turn(airflow, reconciler):
    airflow.dags = [{**DAG, "dag_id": f"load{number:02}"} for number in range(25)]
    scene = Scene()
    reconciler.look(scene, NOW)
    deadlines = [{"run_finishes_within": "1h"}]
    airflow.params = {"contrail_deadlines": {"value": deadlines}}
    learnt = []
    for look in range(1, 4):
        airflow.asked.clear()
        reconciler.look(scene, NOW + 20 * look)
        assert sum(path.endswith("/details") for path, _ in airflow.asked) == 10
        learnt.append(sum(one["deadlines"] == deadlines for one in reconciler.dags.values()))
    assert learnt == [10, 20, 25]


def test_a_passing_500_is_tried_again_and_a_lasting_one_is_said(airflow, reconciler):
    airflow.failing = 3
    reconciler.look(Scene(), NOW)
    airflow.failing = 99
    with pytest.raises(ApiUnavailable, match="answered 500"):
        reconciler.look(Scene(), NOW)


def test_a_user_without_rights_is_told_what_is_missing(airflow, reconciler, monkeypatch):
    monkeypatch.setattr(airflow, "found", lambda *_: None)
    airflow.answer = lambda _request: httpx.Response(403)
    reconciler._api._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(airflow.answer))
    with pytest.raises(ApiError, match="CONTRAIL_API_USERNAME"):
        reconciler.look(Scene(), NOW)


@pytest.mark.parametrize(
    ("state", "attempt", "verdicts"),
    [
        ("failed", 1, [("task", "firing", "app")]),
        ("up_for_retry", 1, [("task", "dismissed", "platform")]),
        ("success", 1, [("task", "dismissed", "platform")]),
        ("skipped", 1, [("task", "dismissed", "platform")]),
        ("upstream_failed", 1, [("task", "dismissed", "platform")]),
        ("running", 2, [("task", "dismissed", "platform")]),
        ("running", 1, []),
        (None, 1, [("task", "dismissed", "platform")]),
    ],
)
def test_what_becomes_of_a_suspicion(airflow, reconciler, state, attempt, verdicts):
    airflow.tasks = [TASK]
    reconciler.look(Scene(), NOW)
    suspect = reconciler._tasks.about(TASK, "suspected", {})
    airflow.tasks = [{**TASK, "state": state, "try_number": attempt}] if state else []
    assert told(reconciler.confirm([suspect])) == verdicts


@pytest.mark.parametrize("run", ["ticket#17", "what?now=1", "50%25", "two words", "läuft", "走る", 'it\'s "so"'])
def test_ids_with_any_letter_are_asked_about_whole(airflow, reconciler, run):
    reconciler.look(Scene(), NOW)
    airflow.asked.clear()
    airflow.tasks = [{**TASK, "dag_run_id": run, "state": "up_for_retry"}]
    suspect = reconciler._tasks.about({**TASK, "dag_run_id": run}, "suspected", {})
    assert [(one.status, one.run_id) for one in reconciler.confirm([suspect])] == [("dismissed", run)]
    assert [path for path, _ in airflow.asked] == [f"/dags/load/dagRuns/{run}/taskInstances/t"]
    airflow.runs, airflow.asked[:] = [{**RUN, "dag_run_id": run}], []
    assert run in {fact.run_id for fact in reconciler.look(Scene(), NOW)}
    assert f"/dags/load/dagRuns/{run}/taskInstances" in [path for path, _ in airflow.asked]


def test_a_run_that_airflow_cannot_be_asked_about_is_not_taken_for_deleted(airflow, reconciler):
    suspect = reconciler._tasks.about({**TASK, "dag_run_id": "2026/07"}, "suspected", {})
    airflow.tasks = []
    assert told(reconciler.confirm([suspect])) == []


@pytest.mark.parametrize(("is_gone", "expected"), [(True, [("task", "firing", "import")]), (False, [])])
def test_a_task_that_airflow_took_out_of_its_run_is_told_if_the_dag_no_longer_has_it(
    airflow, reconciler, is_gone, expected
):
    airflow.tasks = [{**TASK, "state": "removed", "start_date": None, "end_date": None}]
    airflow.has_task = not is_gone  # an instance of a mapped task that has become fewer: the task is still there
    assert told(reconciler.look(Scene(), NOW)) == expected


def test_a_silent_triggerer_names_the_deferred_tasks(airflow, reconciler):
    airflow.beats["triggerer"] = "2026-01-09T11:59:00Z"
    airflow.tasks = [{**TASK, "state": "deferred"}]
    scene = Scene(health_at=NOW - 5)
    facts = reconciler.look(scene, NOW)
    assert told(facts) == [("component", "firing", "platform")]
    assert (facts[0].subject, facts[0].dag_id, facts[0].evidence["affected"]) == ("triggerer", "load", "load.t")
    airflow.beats["triggerer"] = "2026-01-09T12:00:04Z"
    assert told(reconciler.look(scene, NOW + 5)) == [("component", "resolved", "platform")]


def test_a_component_that_never_ran_is_not_silent(airflow, reconciler):
    assert told(reconciler.look(Scene(), NOW)) == []


def test_a_scheduler_that_has_yet_to_start_is_not_silent_until_it_takes_too_long(airflow, reconciler):
    airflow.beats["scheduler"], airflow.unhealthy = None, ["scheduler"]
    scene = Scene()
    assert told(reconciler.look(scene, NOW)) == []
    scene = scene_from({**vars(scene)})
    assert told(reconciler.look(scene, NOW + 179)) == []
    [fact] = [fact for fact in reconciler.look(scene, NOW + 180) if fact.subject == "scheduler"]
    assert (fact.status, fact.reason) == ("firing", "it has not started: it had no heartbeat for 3 min")
    airflow.beats["scheduler"], airflow.unhealthy = "2026-01-09T12:03:05Z", []
    after = [fact for fact in reconciler.look(scene, NOW + 185) if fact.subject == "scheduler"]
    assert told(after) == [("component", "resolved", "platform")]


@pytest.mark.parametrize("looked_before", [0, NOW - 3600])
def test_a_heartbeat_of_before_a_stop_of_everything_is_not_silence_until_the_start_takes_too_long(
    airflow, reconciler, looked_before
):
    airflow.beats["scheduler"] = "2026-01-09T11:58:00Z"
    scene = Scene(health_at=looked_before)
    assert told(reconciler.look(scene, NOW)) == []
    scene = scene_from({**vars(scene)})
    assert told(reconciler.look(scene, NOW + 179)) == []
    [fact] = [fact for fact in reconciler.look(scene, NOW + 180) if fact.subject == "scheduler"]
    assert (fact.status, fact.reason) == ("firing", "its last heartbeat was 5 min ago")
    airflow.beats["scheduler"] = "2026-01-09T12:03:04Z"
    assert told(reconciler.look(scene, NOW + 185)) == [("component", "resolved", "platform")]
    assert told(reconciler.look(scene, NOW + 200)) == []
    assert "scheduler" in {fact.subject for fact in reconciler.look(scene, NOW + 217)}


@pytest.mark.parametrize("watcher", ["the same", "one that was away"])
def test_a_long_look_at_a_slow_server_is_no_absence_of_the_watcher(airflow, reconciler, monkeypatch, watcher):
    clock, took, found = time.monotonic, [0.0], airflow.found

    def slowly(*asked):
        took[0] += 5
        return found(*asked)

    monkeypatch.setattr(time, "monotonic", lambda: clock() + took[0])
    monkeypatch.setattr(airflow, "found", slowly)
    scene = Scene(health_at=NOW - 5)
    assert told(reconciler.look(scene, NOW)) == []
    assert took[0] > 40
    airflow.beats["scheduler"] = "2026-01-09T12:00:00Z"
    later = NOW + took[0] + 5
    if watcher == "one that was away":
        reconciler = Reconciler(reconciler._api, reconciler._tasks._folder, Thresholds, "test")
    facts = reconciler.look(scene_from({**vars(scene)}), later)
    assert told(facts) == ([("component", "firing", "platform")] if watcher == "the same" else [])


def test_a_component_that_was_stopped_is_silent_at_once(airflow, reconciler):
    scene = Scene()
    airflow.beats["triggerer"] = "2026-01-09T12:00:00Z"
    assert told(reconciler.look(scene, NOW)) == []
    airflow.beats["triggerer"], airflow.unhealthy = None, ["triggerer"]
    [fact] = reconciler.look(scene_from({**vars(scene)}), NOW + 5)
    assert fact.reason == "it was stopped: it has no heartbeat any more"


def test_a_task_that_waits_too_long_is_stuck_until_it_no_longer_waits(airflow, reconciler):
    airflow.tasks = [{**TASK, "state": "queued", "start_date": None, "end_date": None}]
    scene = Scene()
    assert told(reconciler.look(scene, NOW)) == [("stuck", "firing", "stuck_queued")]
    airflow.tasks = []
    scene = scene_from({**vars(scene)})
    assert told(reconciler.look(scene, NOW + 20)) == [("stuck", "resolved", "stuck_queued")]


def test_a_task_that_is_stuck_stays_so_while_the_executor_is_full_for_a_moment(airflow, reconciler, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "1")
    waits = {**TASK, "state": "queued", "start_date": None, "end_date": None}
    running = {**TASK, "task_id": "other", "state": "running"}
    airflow.tasks = [{**waits, "state": "scheduled"}]
    scene, looks = Scene(), []
    for after, active in enumerate(([], [running], [], [running])):
        airflow.tasks = [{**waits, "state": "scheduled"}, *active]
        looks.append(told(reconciler.look(scene, NOW + 20 * after)))
    assert looks == [[("stuck", "firing", "stuck_queued")]] * 4
    airflow.tasks = [running]
    assert told(reconciler.look(scene, NOW + 80)) == [("stuck", "resolved", "stuck_queued")]


def test_a_dag_that_is_gone_a_file_that_is_broken_and_both_back(airflow, reconciler):
    scene = Scene()
    reconciler.look(scene, NOW)
    airflow.dags = []
    airflow.errors = [
        {"filename": "load.py", "stack_trace": "Traceback\nSyntaxError: no", "timestamp": "2026-01-09T12:00:00Z"}
    ]
    facts = reconciler.look(scene, NOW + 20)
    assert told(facts) == [("dag", "firing", "import"), ("import", "firing", "import")]
    assert facts[1].reason == "SyntaxError: no"
    airflow.dags, airflow.errors = [DAG], []
    assert told(reconciler.look(scene, NOW + 40)) == [
        ("dag", "resolved", "import"),
        ("import", "resolved", "import"),
    ]


def test_a_broken_file_of_several_dags_names_all_and_has_the_owner_of_the_first(airflow, reconciler):
    scene = Scene()
    airflow.dags = [
        {**DAG, "relative_fileloc": "load.py"},
        {**DAG, "dag_id": "report", "owners": ["bob"], "relative_fileloc": "load.py"},
        {**DAG, "dag_id": "other", "relative_fileloc": "other.py"},
    ]
    reconciler.look(scene, NOW)
    airflow.errors = [{"filename": "load.py", "stack_trace": "SyntaxError: no", "timestamp": "2026-01-09T12:00:00Z"}]
    (broken,) = reconciler.look(scene, NOW + 20)
    assert (broken.dag_id, broken.about["owner"], broken.evidence["affected"]) == ("load", "ann", "load, report")


def test_a_dag_that_is_gone_waits_for_the_answer_whether_a_person_deleted_it_and_not_for_ever(airflow, reconciler):
    scene = Scene()
    reconciler.look(scene, NOW)
    airflow.dags, airflow.forbidden = [], "/eventLogs"
    assert told(reconciler.look(scene, NOW + 20)) == []
    airflow.forbidden = ""
    airflow.events = [{"event_log_id": 1, "event": "delete_dag", "dag_id": "load", "owner": "ann"}]
    assert told(reconciler.look(scene, NOW + 40)) == []
    airflow.dags = [DAG]
    reconciler.look(scene, NOW + 60)
    airflow.dags, airflow.forbidden = [], "/eventLogs"
    looks = [told(reconciler.look(scene, NOW + after)) for after in (80, 110, 145)]
    assert looks == [[], [], [("dag", "firing", "import")]]


def test_a_dag_that_airflow_does_not_know_was_deleted_though_its_event_log_is_nobodys_to_read(airflow, reconciler):
    scene = Scene()
    reconciler.look(scene, NOW)
    airflow.dags, airflow.deleted = [], True
    assert [told(reconciler.look(scene, NOW + after)) for after in (20, 40, 60)] == [[], [], []]


def test_a_scheduled_run_that_never_started(airflow, reconciler):
    airflow.dags = [{**DAG, "next_dagrun_run_after": "2026-01-09T11:50:00Z"}]
    scene = Scene()
    assert told(reconciler.look(scene, NOW)) == []
    assert told(reconciler.look(scene, NOW + 80)) == [("overdue", "firing", "platform")]
    airflow.dags = [{**airflow.dags[0], "is_paused": True}]
    assert told(reconciler.look(scene, NOW + 100)) == []


def test_a_run_that_a_dying_scheduler_does_not_begin_is_not_told_before_the_scheduler(airflow, reconciler):
    airflow.dags = [{**DAG, "next_dagrun_run_after": "2026-01-09T12:00:10Z"}]
    airflow.beats["scheduler"] = "2026-01-09T12:00:48Z"  # the last: it is silent from 12:01:18
    scene = Scene()
    facts = [told(reconciler.look(scene, NOW + after)) for after in (0, 75, 85, 105)]
    assert facts[:2] == [[], []]  # overdue since 12:01:10, and nothing is known of the scheduler yet
    assert facts[2] == [("component", "firing", "platform")]
    assert ("overdue", "firing", "platform") in facts[3]


def test_a_run_that_is_late_is_told_when_the_scheduler_only_took_its_time(airflow, reconciler):
    airflow.dags = [{**DAG, "next_dagrun_run_after": "2026-01-09T12:00:10Z"}]
    scene = Scene()
    airflow.beats["scheduler"] = "2026-01-09T12:00:58Z"
    assert [told(reconciler.look(scene, NOW + after)) for after in (0, 75)] == [[], []]
    airflow.beats["scheduler"] = "2026-01-09T12:01:29Z"
    assert told(reconciler.look(scene, NOW + 90)) == [("overdue", "firing", "platform")]


def test_a_fresh_heartbeat_does_not_hide_the_age_of_a_silent_peers(airflow, reconciler, contrail):
    """Each look says an age, but jobs are asked for at some only; of a gauge the last value of an interval counts."""
    airflow.beats["scheduler"] = "2026-01-09T11:59:59Z"
    scene = Scene(peers={"oldest": {"scheduler": NOW - 90}})
    reconciler.look(scene, NOW)
    assert contrail.metric("contrail.component.heartbeat_age_ms", component="scheduler") == [90_000]


def looks_at_a_next_run_that_moves(airflow, reconciler, beat):
    """The overdue runs that are reported while each parse moves the next run of every minute onwards (Airflow 3.3)."""
    airflow.beats["scheduler"] = beat
    scene, found = Scene(), []
    for after in range(0, 240, 20):
        due = f"2026-01-09T12:0{after // 60 + 1}:00Z"
        airflow.dags = [{**DAG, "next_dagrun_run_after": due}]
        found += told(reconciler.look(scene, NOW + after))
    return [one for one in found if one[0] == "overdue"]


def test_a_next_run_that_moves_on_while_no_scheduler_lives_is_late_from_its_first_time(airflow, reconciler):
    assert ("overdue", "firing", "platform") in looks_at_a_next_run_that_moves(
        airflow, reconciler, "2026-01-09T12:00:30Z"
    )


def test_a_next_run_that_moves_on_because_a_scheduler_began_it_is_not_late(airflow, reconciler):
    assert looks_at_a_next_run_that_moves(airflow, reconciler, "2026-01-09T12:09:00Z") == []


def test_a_run_that_the_scheduler_may_have_begun_with_its_last_breath_is_not_awaited(airflow, reconciler):
    """It died a moment before the next run moved from 12:01 to 13:01: the run of 12:01 is there."""
    airflow.beats["scheduler"] = "2026-01-09T12:00:58Z"
    scene, found = Scene(), []
    for after, due in ((0, "12:01:00"), (50, "12:01:00"), (80, "13:01:00"), (140, "13:01:00"), (600, "13:01:00")):
        airflow.dags = [{**DAG, "next_dagrun_run_after": f"2026-01-09T{due}Z"}]
        found += told(reconciler.look(scene, NOW + after))
    assert [one for one in found if one[0] == "overdue"] == []


def test_what_airflow_paused_is_told_and_what_a_person_paused_is_not(airflow, reconciler):
    airflow.events = [
        {"event_log_id": 7, "event": "paused", "dag_id": "load", "when": "2026-01-09T11:59:00Z"},
        {"event_log_id": 8, "event": "patch_dag", "dag_id": "load", "when": "2026-01-09T11:59:00Z"},
    ]
    scene = Scene()
    assert told(reconciler.look(scene, NOW)) == [("paused", "firing", "platform")]
    assert told(reconciler.look(scene, NOW + 20)) == []


def test_what_is_known_for_sure_is_not_looked_into_again(airflow, reconciler):
    airflow.tasks = [TASK]
    scene = Scene()
    sure = reconciler.look(scene, NOW)[0]
    airflow.asked.clear()
    reconciler.look(scene, NOW + 5, {sure.key: sure}.get)
    assert not [path for path, _ in airflow.asked if "eventLogs" in path or "/logs/" in path]


def test_a_clock_that_differs_from_airflows_makes_no_component_silent_and_asks_for_what_airflow_calls_now(
    airflow, reconciler
):
    airflow.date = format_datetime(datetime.fromtimestamp(time.time() - 600, timezone.utc), usegmt=True)
    airflow.beats |= {"scheduler": "2026-01-09T11:49:58Z", "triggerer": "2026-01-09T11:49:58Z"}
    scene = Scene()
    assert told(reconciler.look(scene, NOW)) == []
    reconciler.look(scene, NOW + 5)
    since = [params["updated_at_gte"] for _, params in airflow.asked if "updated_at_gte" in params][-1]
    assert abs(seconds(since) - (NOW - 600 - 30)) < 2


def many(number, run="r"):
    return [{**TASK, "dag_run_id": f"{run}{count}"} for count in range(number)]


def test_fifty_failures_cost_one_look_at_the_event_log_and_none_at_their_runs(airflow, reconciler):
    airflow.tasks = many(50)
    airflow.runs = [{**RUN, "dag_run_id": one["dag_run_id"]} for one in airflow.tasks]
    facts = reconciler.look(Scene(since=NOW), NOW + 5)
    assert Counter(told(facts)) == {("task", "firing", "app"): 50, ("run", "firing", "upstream"): 50}
    asked = Counter(re.sub(r"r\d+", "r", path) for path, params in airflow.asked if params.get("event") != "paused")
    assert asked["/eventLogs"] == 1
    assert asked["/dags/load/dagRuns/r/taskInstances"] == 0
    assert asked["/dags/load/dagRuns/r/taskInstances/t/logs/1"] == 50


def test_a_look_that_takes_long_tells_what_it_has_and_the_next_goes_on(airflow, reconciler, monkeypatch):
    monkeypatch.setattr("observability.watch.sources.reconcile._LOOK_S", 0.0)
    airflow.tasks, scene, known = many(3), Scene(since=NOW), {}
    for expected in (1, 2, 3):
        assert scene.since == NOW
        found = reconciler.look(scene, NOW + 5 * expected, known.get)
        known |= {fact.key: fact for fact in found if fact.kind == "task"}
        assert len(known) == expected
    assert scene.since == NOW + 15


@pytest.mark.parametrize(("slow_s", "times"), [(None, 3), (30.0, 2)], ids=["a watcher", "a guest"])
def test_what_changes_slowly_is_asked_for_less_often_than_what_is_news(airflow, reconciler, slow_s, times):
    reconciler._slow_s, scene = slow_s, Scene()
    for second in range(0, 31, 5):
        reconciler.look(scene, NOW + second)
    paths = [path for path, _ in airflow.asked]
    assert (paths.count("/dags"), paths.count("/monitor/health")) == (times, 7)


def test_a_persons_hand_is_found_in_the_event_log_of_everything(airflow, reconciler):
    airflow.tasks = many(2)
    about = {"dag_id": "load", "task_id": "t", "map_index": -1, "try_number": None, "owner": "ann"}
    by_hand = {"event": "patch_task_instance", "when": TASK["end_date"], "extra": '{"new_state": "failed"}'}
    airflow.events = [{**about, **by_hand, "event_log_id": 1, "run_id": "r1"}]
    assert [fact.cause for fact in reconciler.look(Scene(since=NOW), NOW + 5)] == ["app", "cancelled"]


def test_a_task_that_goes_from_scheduled_to_queued_is_still_stuck(airflow, reconciler):
    waiting = {**TASK, "start_date": None, "end_date": None}
    airflow.tasks, scene = [{**waiting, "state": "scheduled"}], Scene()
    assert told(reconciler.look(scene, NOW)) == [("stuck", "firing", "stuck_queued")]
    airflow.tasks = [{**waiting, "state": "queued", "queued_when": "2026-01-09T12:00:10Z"}]
    assert told(reconciler.look(scene, NOW + 20)) == [("stuck", "firing", "stuck_queued")]
    airflow.tasks = [{**waiting, "state": "running"}]
    assert told(reconciler.look(scene, NOW + 40)) == [("stuck", "resolved", "stuck_queued")]


def test_a_run_that_goes_on_though_none_of_its_tasks_does_is_told_until_one_does(airflow, reconciler):
    older, newer = {**RUN, "state": "running", "end_date": None}, {**RUN, "state": "running", "dag_run_id": "r2"}
    airflow.runs, airflow.tasks, scene = [older, newer], [{**TASK, "state": None}], Scene()
    assert ("stuck", "firing", "stuck_queued") not in told(reconciler.look(scene, NOW))
    assert ("stuck", "firing", "stuck_queued") not in told(reconciler.look(scene, NOW + 160))
    scene = scene_from({**vars(scene)})
    found = [fact for fact in reconciler.look(scene, NOW + 180) if fact.kind == "stuck"]
    assert [(fact.run_id, fact.task_id, fact.status) for fact in found] == [("r1", None, "firing")]
    airflow.tasks = [{**TASK, "state": "up_for_reschedule"}]
    found = [fact for fact in reconciler.look(scene, NOW + 210) if fact.kind == "stuck"]
    assert [(fact.run_id, fact.task_id, fact.status) for fact in found] == [("r1", None, "resolved")]


def test_a_run_that_waits_for_a_person_is_not_stuck(airflow, reconciler):
    airflow.runs, airflow.tasks, scene = [{**RUN, "state": "running"}], [{**TASK, "state": "awaiting_input"}], Scene()
    looks = [reconciler.look(scene, NOW + later) for later in (0, 100, 200, 300)]
    assert [fact for facts in looks for fact in facts if fact.kind == "stuck"] == []


def test_a_run_of_a_dag_that_a_person_paused_may_wait(airflow, reconciler):
    airflow.runs, airflow.dags, scene = [{**RUN, "state": "running"}], [{**DAG, "is_paused": True}], Scene()
    looks = [reconciler.look(scene, NOW + later) for later in (0, 100, 200, 300)]
    assert [fact for facts in looks for fact in facts if fact.kind == "stuck"] == []


def assets(facts):
    return [(fact.subject, fact.time) for fact in facts if fact.kind == "asset"]


def test_the_last_update_of_each_asset_is_known_from_the_first_look_on(airflow, reconciler):
    airflow.assets = [
        {"uri": "s3://a", "name": "a", "last_asset_event": {"id": 1, "timestamp": "2026-01-03T12:00:00Z"}},
        {"uri": "s3://never", "name": "never", "last_asset_event": None},
    ]
    assert assets(reconciler.look(Scene(), NOW)) == [("s3://a", NOW - 6 * 86_400)]


def test_an_update_that_no_relay_carried_is_known_all_the_same(airflow, reconciler):
    scene = Scene()
    reconciler.look(scene, NOW)
    airflow.updates = [
        {"uri": "s3://a", "name": "a", "timestamp": "2026-01-09T12:00:10Z", "source_dag_id": "load",
         "source_run_id": "r1", "source_task_id": "t", "source_map_index": -1},
        {"uri": None, "name": "by hand", "timestamp": "2026-01-09T12:00:11Z", "source_dag_id": None,
         "source_run_id": None, "source_task_id": None, "source_map_index": -1},
    ]  # fmt: skip
    assert assets(reconciler.look(scene, NOW + 20)) == [("s3://a", NOW + 10), ("by hand", NOW + 11)]
    asked = [params for path, params in airflow.asked if path == "/assets/events"]
    assert [seconds(one["timestamp_gte"]) for one in asked] == [NOW - 30]


def test_an_update_of_a_partition_names_it(airflow, reconciler):
    scene = Scene()
    reconciler.look(scene, NOW)
    about = {"uri": "s3://a", "timestamp": "2026-01-09T12:00:10Z", "source_dag_id": "load", "source_run_id": "r1"}
    airflow.updates = [{**about, "partition_key": "2026-01-09"}, {**about, "partition_key": None}]
    found = [fact for fact in reconciler.look(scene, NOW + 20) if fact.kind == "asset"]
    assert [fact.evidence.get("airflow.partition_key") for fact in found] == ["2026-01-09", None]


def test_a_login_that_may_not_read_assets_sees_everything_else(airflow, reconciler):
    airflow.forbidden, airflow.tasks = "/assets", [TASK]
    assert ("task", "firing", "app") in told(reconciler.look(Scene(), NOW))
