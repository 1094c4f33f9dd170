"""The list of DAGs: which are gone, back, overdue or paused, what is remembered of each, and which files are broken."""

from __future__ import annotations

import pytest
from scripted_airflow import DAG, NOW, Airflow, reconciler_of

from observability.timestamps import iso
from observability.watch.facts import CERTAIN, SEEN
from observability.watch.sources.airflow_api.scene import Scene

LIMITS = {"max_active_tasks": 16, "max_consecutive_failed_dag_runs": 3}


@pytest.fixture
def airflow():
    return Airflow()


@pytest.fixture
def dags(airflow, tmp_path, monkeypatch):
    return reconciler_of(airflow, tmp_path, monkeypatch)._dags


def named(*names, **more):
    return [{**DAG, "dag_id": name, "relative_fileloc": f"{name}.py", **more} for name in names]


def listed(dags, scene, now=NOW):
    return list(dags.listed(scene, now))


def said(facts):
    return [(fact.kind, fact.status, fact.dag_id) for fact in facts]


def test_of_several_dags_that_are_gone_those_that_nobody_deleted_are_told_with_their_file(airflow, dags):
    scene = Scene()
    airflow.dags = named("a", "b", "c", "stays")
    listed(dags, scene)
    airflow.dags = named("stays")
    airflow.events = [{"event_log_id": 1, "event": "delete_dag", "dag_id": "a", "owner": "ann"}]
    airflow.asked.clear()
    facts = listed(dags, scene, NOW + 20)
    assert said(facts) == [("dag", "firing", "b"), ("dag", "firing", "c")]
    assert (facts[0].reason, facts[0].evidence["file"]) == ("no file contains it any more", "b.py")
    assert (facts[0].about["owner"], facts[0].certainty, facts[0].time) == ("ann", SEEN, NOW + 20)
    assert sorted(scene.dags) == ["stays"]
    assert {params["after"] for path, params in airflow.asked if path == "/eventLogs"} == {iso(NOW + 20 - 86_400)}


@pytest.mark.parametrize(("later", "known"), [(59.9, True), (60.0, False)])
def test_a_dag_that_is_gone_waits_a_minute_for_the_answer_who_deleted_it(airflow, dags, later, known):
    scene = Scene(dags={"load": {"file": "load.py"}})
    airflow.dags, airflow.forbidden = [], "/eventLogs"
    assert listed(dags, scene) == []
    assert scene.dags == {"load": {"file": "load.py", "gone": NOW}}
    assert bool(listed(dags, scene, NOW + later)) is not known
    assert ("load" in scene.dags) is known


@pytest.mark.parametrize("rows", [[{"dag_id": 5}], [{}]])
def test_a_list_with_a_row_that_names_no_dag_says_of_none_that_it_is_gone(airflow, dags, rows):
    scene = Scene(dags={"load": {"file": "load.py"}})
    airflow.dags = rows
    assert listed(dags, scene) == []
    assert sorted(scene.dags) == ["load"]


@pytest.mark.parametrize(("slow_at", "told"), [(NOW - 20, [("dag", "resolved", "new")]), (0.0, [])])
def test_a_dag_that_was_not_there_is_back_unless_this_is_the_first_look(airflow, dags, slow_at, told):
    scene = Scene(slow_at=slow_at, dags={"old": {}})
    airflow.dags = named("old", "new")
    facts = listed(dags, scene)
    assert said(facts) == told
    assert [fact.reason for fact in facts] == ["it is parsed again" for _ in told]


@pytest.mark.parametrize(
    ("due", "after", "late"),
    [
        ("12:00:00", 60.0, False),
        ("12:00:00", 60.1, True),
        ("11:00:00", 60.0, False),  # what is caught up on is late only from when it was seen to be due
        ("11:00:00", 60.1, True),
        ("12:00:30", 90.0, False),
        ("12:00:30", 90.1, True),
    ],
)
def test_a_run_is_overdue_a_minute_after_it_was_due_and_known_to_be(airflow, dags, due, after, late):
    due = f"2026-01-09T{due}Z"
    scene = Scene(dags={"load": {"next": (due, NOW)}})
    airflow.dags = named("load", next_dagrun_run_after=due)
    facts = listed(dags, scene, NOW + after)
    assert said(facts) == [("overdue", "firing", "load")] * late
    if late:
        clock = due[11:19]
        assert facts[0].reason == f"the run that was due at 2026-01-09 {clock} UTC has not begun"
        assert (facts[0].about["owner"], facts[0].time, facts[0].certainty) == ("ann", NOW + after, SEEN)


@pytest.mark.parametrize(("after", "late"), [(60.1, False), (90.0, False), (90.1, True)])
def test_while_the_scheduler_dozes_its_own_silence_comes_first(airflow, dags, after, late):
    scene = Scene(dags={"load": {"next": ("2026-01-09T12:00:00Z", NOW)}})
    airflow.dags = named("load", next_dagrun_run_after="2026-01-09T12:00:00Z")
    dags._look.scheduler_dozes = True
    assert bool(listed(dags, scene, NOW + after)) is late


@pytest.mark.parametrize(
    ("most", "active", "late"),
    [({}, None, True), ({}, 15, True), ({}, 16, False), ({"max_active_runs": 1}, 1, False),
     ({"max_active_runs": 2}, 1, True), ({"max_active_runs": 1}, None, True)],
)  # fmt: skip
def test_a_dag_that_has_as_many_runs_as_it_may_is_not_late(airflow, dags, most, active, late):
    scene = Scene(dags={"load": {"next": ("2026-01-09T12:00:00Z", NOW)}})
    airflow.dags, airflow.active = named("load", next_dagrun_run_after="2026-01-09T12:00:00Z", **most), active
    assert bool(listed(dags, scene, NOW + 100)) is late
    asked = [params for path, params in airflow.asked if path == "/dags/load/dagRuns"]
    assert [params["limit"] for params in asked] == ["1"]


IDLE = [{"is_paused": True}, {"has_import_errors": True}, {"scheduling_state": "draining"}, {"is_draining": True}]


@pytest.mark.parametrize("idle", IDLE, ids=lambda one: next(iter(one)))
def test_a_dag_that_begins_no_run_is_never_late(airflow, dags, idle):
    scene = Scene(dags={"load": {"next": ("2026-01-09T11:00:00Z", NOW)}})
    airflow.dags = named("load", next_dagrun_run_after="2026-01-09T11:00:00Z", **idle)
    assert listed(dags, scene, NOW + 1000) == []
    assert scene.dags["load"]["next"] == ("", NOW + 1000)


@pytest.mark.parametrize(
    ("beat", "now", "awaited"),
    [
        (None, 60, "12:01:00"),
        (0, 60, "12:00:30"),
        (14.9, 60, "12:00:30"),
        (15.0, 60, "12:01:00"),  # it may have begun the run with its last breath
        (0, 30, "12:00:30"),
        (0, 29, "12:01:00"),  # the run is not due yet
    ],
)
def test_the_run_that_a_dead_scheduler_left_is_awaited_though_the_next_one_moves_on(airflow, dags, beat, now, awaited):
    scene = Scene(dags={"load": {"next": ("2026-01-09T12:00:30Z", NOW - 5)}})
    airflow.dags = named("load", next_dagrun_run_after="2026-01-09T12:01:00Z")
    dags._look.last_beat = None if beat is None else NOW + beat
    listed(dags, scene, NOW + now)
    known = NOW - 5 if awaited == "12:00:30" else NOW + now
    assert scene.dags["load"]["next"] == (f"2026-01-09T{awaited}Z", known)


def test_since_when_a_run_is_known_to_be_due_is_kept_until_another_is(airflow, dags):
    scene = Scene()
    for after, due, since in ((0, "13:00", 0), (20, "13:00", 0), (40, "14:00", 40), (60, "14:00", 40)):
        airflow.dags = named("load", next_dagrun_run_after=f"2026-01-09T{due}:00Z")
        listed(dags, scene, NOW + after)
        assert scene.dags["load"]["next"] == (f"2026-01-09T{due}:00Z", NOW + since)


def test_all_that_is_remembered_of_a_dag(airflow, dags):
    scene = Scene()
    deadlines = [{"run_finishes_within": "1h"}]
    airflow.params = {"contrail_deadlines": {"value": deadlines}}
    airflow.dags = named("load", bundle_version="v1", is_draining=True, **LIMITS)
    listed(dags, scene)
    about = {"owner": "ann", "tags": ["team"], "env": "test"}
    mark = ["v1", None, ["team"], None]
    rest = {"mark": mark, "deadlines": deadlines, "asked": NOW, "draining": True, "next": ("", NOW)}
    assert scene.dags == {"load": {"file": "load.py", "paused": False, **about, **LIMITS, **rest}}
    airflow.dags = named("load", is_paused=True, max_active_tasks=None)
    listed(dags, scene)
    assert {"draining", *LIMITS} & set(scene.dags["load"]) == set()
    assert scene.dags["load"]["paused"] is True


@pytest.mark.parametrize(
    ("params", "deadlines"),
    [(None, []), ({}, []), ({"contrail_deadlines": None}, []), ({"contrail_deadlines": "soon"}, []),
     ({"contrail_deadlines": {}}, []), ({"contrail_deadlines": {"value": [1]}}, [1])],
)  # fmt: skip
def test_the_deadlines_that_a_dag_declares_are_those_of_its_param(airflow, dags, params, deadlines):
    scene, airflow.params, airflow.dags = Scene(), params, named("load")
    listed(dags, scene)
    assert scene.dags["load"]["deadlines"] == deadlines


def details(airflow):
    return [path for path, _ in airflow.asked if path.endswith("/details")]


@pytest.mark.parametrize(
    ("change", "asked"),
    [({}, False), ({"bundle_version": "v2"}, True), ({"last_expired": "2026-01-09"}, True), ({"tags": []}, True),
     ({"timetable_summary": "@daily"}, True)],
    ids=lambda one: "-".join(one) if isinstance(one, dict) else "",
)  # fmt: skip
def test_a_dag_is_asked_about_again_when_it_has_changed(airflow, dags, change, asked):
    names = [f"d{number:02}" for number in range(11)]
    scene, airflow.dags = Scene(), named(*names)
    for later in (0, 1):  # the first ten take their turns
        listed(dags, scene, NOW + later)
    last = max(scene.dags, key=lambda name: (scene.dags[name]["asked"], name))
    known = scene.dags[last]
    airflow.dags = [{**one, **(change if one["dag_id"] == last else {})} for one in airflow.dags]
    airflow.asked.clear()
    listed(dags, scene, NOW + 2)
    assert (f"/dags/{last}/details" in details(airflow)) is asked
    assert scene.dags[last]["asked"] == (NOW + 2 if asked else known["asked"])


@pytest.mark.parametrize("known", [True, False])
def test_a_dag_whose_details_cannot_be_had_keeps_what_it_declared_and_is_asked_again(airflow, dags, known):
    deadlines = [{"run_finishes_within": "1h"}]
    before = {"load": {"deadlines": deadlines, "mark": ["v0"], "asked": NOW - 99}}
    scene = Scene(dags=before if known else {})
    airflow.dags, airflow.forbidden = named("load"), "/dags/load/details"
    listed(dags, scene)
    assert {name: scene.dags["load"][name] for name in ("mark", "deadlines", "asked")} == {
        "mark": None, "deadlines": deadlines if known else [], "asked": 0.0,
    }  # fmt: skip


def test_a_row_that_cannot_be_read_leaves_what_was_known_and_a_dag_that_was_not_known_counts_as_paused(airflow, dags):
    scene = Scene(dags={"load": {"file": "old.py"}})
    airflow.dags = named("load", "new", tags=[5])
    listed(dags, scene)
    assert scene.dags == {"load": {"file": "old.py"}, "new": {"paused": True}}


ERROR = {"filename": "load.py", "timestamp": "2026-01-09T12:00:00Z", "stack_trace": "Traceback\n  x\nSyntaxError: no\n"}


def imports(dags, scene, now=NOW):
    return list(dags.imports(scene, now))


@pytest.mark.parametrize(("number", "shown"), [(1, 1), (20, 20), (21, 20)])
def test_a_broken_file_names_its_first_twenty_dags_and_is_the_first_ones(airflow, dags, number, shown):
    names = [f"d{one:02}" for one in range(number)]
    scene = Scene(dags={"other": {"file": "x.py"}, **{name: {"file": "load.py", "owner": name} for name in names}})
    dags._look.dags = scene.dags
    airflow.errors = [{**ERROR, "stack_trace": "x" * 5000 + ERROR["stack_trace"]}]
    (fact,) = imports(dags, scene)
    assert (fact.dag_id, fact.about["owner"]) == ("d00", "d00")
    assert fact.evidence["affected"] == ", ".join(names[:shown])
    assert (fact.reason, fact.subject, fact.time, fact.certainty) == ("SyntaxError: no", "load.py", NOW, CERTAIN)
    assert len(fact.evidence["error.stack_trace"]) == 4000
    assert fact.evidence["error.stack_trace"].endswith("SyntaxError: no\n")


def test_a_broken_file_of_no_known_dag_is_of_this_environment(airflow, dags):
    airflow.errors = [ERROR]
    (fact,) = imports(dags, Scene(dags={"other": {"file": "x.py"}}))
    assert (fact.dag_id, fact.about, fact.evidence["affected"]) == (None, {"env": "test"}, "")


def test_a_file_that_parses_again_is_told_once_and_the_others_stay_broken(airflow, dags):
    scene, airflow.errors = Scene(), [ERROR, {**ERROR, "filename": "b.py"}]
    imports(dags, scene)
    assert scene.broken == {"load.py": ERROR["timestamp"], "b.py": ERROR["timestamp"]}
    airflow.errors = [{**ERROR, "filename": "b.py"}]
    found = [(fact.status, fact.subject) for fact in imports(dags, scene, NOW + 20)]
    assert found == [("firing", "b.py"), ("resolved", "load.py")]
    assert sorted(scene.broken) == ["b.py"]
    airflow.errors = [{}]  # a list that cannot be read as a whole repairs nothing
    assert imports(dags, scene, NOW + 40) == []
    assert sorted(scene.broken) == ["b.py"]


def paused(number, dag_id="load"):
    return {"event_log_id": number, "event": "paused", "dag_id": dag_id, "when": "2026-01-09T11:59:00Z"}


@pytest.mark.parametrize(
    ("known", "reason", "evidence"),
    [
        ({"max_consecutive_failed_dag_runs": 3}, "3 runs failed in a row", {"failed_runs": 3}),
        ({}, "too many runs failed in a row", {}),
    ],
)
def test_a_dag_that_airflow_paused_says_after_how_many_failures(airflow, dags, known, reason, evidence):
    scene = Scene(dags={"load": {"owner": "ann", **known}})
    dags._look.dags = scene.dags
    airflow.events = [paused(7)]
    (fact,) = dags.auto_paused(scene, NOW)
    assert (fact.kind, fact.status, fact.dag_id, fact.time) == ("paused", "firing", "load", NOW - 60)
    assert fact.reason == f"{reason} (max_consecutive_failed_dag_runs)"
    assert fact.evidence.get("failed_runs") == evidence.get("failed_runs")
    assert (fact.about["owner"], fact.certainty) == ("ann", CERTAIN)


def test_each_pause_is_told_once_by_its_number_in_whatever_order_they_come(airflow, dags):
    scene = Scene()
    told = []
    for numbers in ([3, 2], [3, 4], [4, "odd", 5]):
        airflow.events = [paused(number, f"d{number}") for number in numbers]
        told.append([fact.dag_id for fact in dags.auto_paused(scene, NOW)])
    assert told == [["d3", "d2"], ["d4"], ["d5"]]
    assert scene.paused_until == 5


@pytest.mark.parametrize(("slow_at", "since"), [(0.0, NOW - 300), (NOW - 20, NOW - 50)])
def test_pauses_are_asked_for_since_the_look_before_with_an_overlap(airflow, dags, slow_at, since):
    list(dags.auto_paused(Scene(slow_at=slow_at), NOW))
    assert [params["after"] for path, params in airflow.asked if path == "/eventLogs"] == [iso(since)]


@pytest.mark.parametrize(("gone", "why"), [(False, "it runs again"), (True, "Airflow no longer has the DAG")])
def test_a_pause_is_over_when_the_list_that_showed_it_shows_it_no_longer(airflow, dags, gone, why):
    scene, airflow.events = Scene(dags={"load": {"paused": False}}), [paused(1)]
    assert [fact.status for fact in dags.auto_paused(scene, NOW)] == ["firing"]
    assert scene.paused == {"load": False}  # the list may be older than the event
    scene.dags = {"load": {"paused": True}}
    assert list(dags.auto_paused(scene, NOW)) == []
    assert scene.paused == {"load": True}
    scene.dags = {} if gone else {"load": {"paused": False}}
    (over,) = dags.auto_paused(scene, NOW + 9)
    assert (over.status, over.dag_id, over.reason, over.time) == ("resolved", "load", why, NOW + 9)
    assert scene.paused == {}
