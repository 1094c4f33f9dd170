"""A look at Airflow asks for what changed since the last one, for everything each quarter of a minute, and goes on."""

from __future__ import annotations

import itertools
import time

import pytest
from scripted_airflow import NOW, RUN, TASK, Airflow, reconciler_of

from observability.watch.sources.airflow_api.scene import Scene


@pytest.fixture
def airflow():
    return Airflow()


@pytest.fixture
def reconciler(airflow, tmp_path, monkeypatch):
    return reconciler_of(airflow, tmp_path, monkeypatch)


def asked(airflow, path):
    return [params for found, params in airflow.asked if found == path]


@pytest.mark.parametrize(("after", "number"), [(14.9, 1), (15.0, 2)])
def test_everything_is_asked_for_each_fifteen_seconds(airflow, reconciler, after, number):
    scene = Scene()
    for later in (0, after):
        reconciler.look(scene, NOW + later)
    assert len(asked(airflow, "/dags")) == number


@pytest.mark.parametrize("tried", [True, False])
def test_everything_is_asked_for_at_once_when_the_clock_was_set_back(airflow, reconciler, tried):
    scene = Scene(slow_at=NOW + 3600)
    reconciler._slow_tried = NOW + 3600 if tried else 0.0
    scene.slow_at = 0.0 if tried else NOW + 3600
    reconciler.look(scene, NOW)
    assert (len(asked(airflow, "/dags")), scene.slow_at) == (1, NOW)


def test_everything_that_failed_is_not_asked_for_again_before_its_time(airflow, reconciler):
    scene, airflow.forbidden = Scene(), "/eventLogs"
    for later in (0, 5, 10):
        reconciler.look(scene, NOW + later)
    assert (len(asked(airflow, "/dags")), scene.slow_at, reconciler._slow_tried) == (1, 0.0, NOW)


@pytest.mark.parametrize(("since", "asks"), [(0.0, "2026-01-09T11:55:00.000Z"), (NOW - 60, "2026-01-09T11:58:30.000Z")])
def test_a_look_asks_since_the_last_one_with_an_overlap_or_for_five_minutes(airflow, reconciler, since, asks):
    reconciler.look(Scene(since=since), NOW)
    found = [
        one["updated_at_gte"] for one in asked(airflow, "/dags/~/dagRuns/~/taskInstances") if "updated_at_gte" in one
    ]
    assert found == [asks]


@pytest.mark.parametrize(
    ("forbidden", "since"), [("", NOW), ("/dags/~/dagRuns/~/taskInstances", 0.0), ("/importErrors", NOW)]
)
def test_a_look_without_the_tasks_is_made_again_and_tells_the_rest(airflow, reconciler, forbidden, since):
    airflow.tasks, airflow.runs, airflow.forbidden = [TASK], [RUN], forbidden
    scene = Scene()
    facts = reconciler.look(scene, NOW)
    assert ("run" in {fact.kind for fact in facts}, scene.since) == (True, since)


def test_what_airflow_does_not_tell_is_said_of_three_parts(reconciler):
    assert reconciler.problem == ""
    reconciler._questions.failed = {name: f"no {name}" for name in "abcd"}
    assert reconciler.problem == "a: no a; b: no b; c: no c"


def test_a_look_ends_its_questions_after_three_seconds_and_knows_when_it_was_answered_last(reconciler, monkeypatch):
    ticks = itertools.count(1000, 0.001)
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks))
    reconciler.look(Scene(), NOW)
    look = reconciler._look
    assert 1003 < look.until < 1003.5
    assert NOW < look.answered_at < NOW + 0.9


def test_what_a_part_that_fails_had_changed_is_as_it_was(airflow, reconciler):
    scene = Scene(broken={"a.py": "2026-01-09T12:00:00Z"}, dags={"load": {"file": "load.py"}})
    airflow.forbidden = "/importErrors"
    reconciler.look(scene, NOW)
    assert scene.broken == {"a.py": "2026-01-09T12:00:00Z"}
    assert "import errors" in reconciler.problem
    airflow.forbidden = ""
    reconciler._questions.forgive("import errors")
    found = [fact.subject for fact in reconciler.look(scene, NOW + 20) if fact.kind == "import"]
    assert (found, scene.broken, "import errors" in reconciler.problem) == (["a.py"], {}, False)
