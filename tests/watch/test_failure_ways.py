"""Every way to fail, made to happen in a real Airflow: told once, with the right cause, or rightly not at all."""

from __future__ import annotations

import pytest

from benchmarks.failing_people import ended_by
from benchmarks.failing_platform import failing_platform, judge
from benchmarks.failing_trials import try_all
from benchmarks.failing_ways import WAYS, can_be_tried

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    with failing_platform(tmp_path_factory.mktemp("ways")) as failing:
        try_all(failing, [way for way in WAYS if can_be_tried(way)])
        found = {one.way.name: one for one in judge(failing)}
        ends = {name: ended_by(one.way, failing) for name, one in found.items() if one.way.ends}
        return found, ends, {name: runs[0] for name, runs in failing.runs.items()}


@pytest.mark.parametrize("name", [way.name for way in WAYS if can_be_tried(way)])
def test_a_way_to_fail_is_told_once_with_its_cause(outcomes, name):
    found = outcomes[0][name]
    assert len(found.alerts) == found.way.alerts, [one["summary"] for one in found.alerts]
    assert found.cause_is_right, found.causes


@pytest.mark.parametrize("way", [way for way in WAYS if way.ends], ids=lambda way: way.name)
def test_what_a_person_ends_is_resolved_once_with_words_that_say_so(outcomes, way):
    _, ends, runs = outcomes
    assert ends[way.name] == [way.ends.format(run=runs[way.name])]
