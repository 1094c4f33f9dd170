"""Each condition of a rule: what it holds for, to the minute, and what is said where it does not hold."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from pydantic import ValidationError

from observability.watch.incidents import Incident
from observability.watch.rules.matching import Match, matches

NOON = datetime(2026, 1, 9, 12, tzinfo=timezone.utc).timestamp()  # a Friday


def incident(**more):
    given = {"severity": "error", "cause": "app", "dag_id": "load", "task_id": "t", "about": {}, "kind": "task", **more}
    return Incident(id="1", key="k", state="open", reason="", certainty=3, first_seen=0, last_seen=0, **given)


def why(match, one=None, now=NOON):
    return matches(Match.model_validate(match), one or incident(), now)


@pytest.mark.parametrize(
    ("match", "one", "said"),
    [
        ({}, {}, None),
        ({"dag": "load"}, {}, None),
        ({"dag": ["x", "lo*"]}, {}, None),
        ({"dag": ["x", "y"]}, {}, "dag is load, not x or y"),
        ({"dag": "x"}, {"dag_id": None}, "dag is unknown, not x"),
        ({"dag": "*"}, {"dag_id": None}, None),
        ({"task": "t"}, {}, None),
        ({"task": "u"}, {}, "task is t, not u"),
        ({"task": "None"}, {"task_id": None}, "task is unknown, not None"),
        ({"env": "prod"}, {"about": {"env": "prod"}}, None),
        ({"env": "prod"}, {"about": {"env": "dev"}}, "env is dev, not prod"),
        ({"env": "prod"}, {}, "env is unknown, not prod"),
        ({"severity": "ERROR"}, {}, None),
        ({"severity": ["info", "critical"]}, {}, "severity is error, not info or critical"),
        ({"cause": "App"}, {}, None),
        ({"cause": "oom"}, {}, "cause is app, not oom"),
        ({"kind": "task"}, {}, None),
        ({"kind": ["run", "dag*"]}, {}, "kind is task, not run or dag*"),
        ({"kind": "dag*"}, {"kind": "dag"}, None),
        ({"owner": "ann"}, {"about": {"owner": "ann"}}, None),
        ({"owner": "ann"}, {"about": {"owner": "bob, ann"}}, None),
        ({"owner": "bob, ann"}, {"about": {"owner": "bob, ann"}}, None),
        ({"owner": ["x", "a*"]}, {"about": {"owner": "bob,ann"}}, None),
        ({"owner": ["ann", "eve"]}, {"about": {"owner": "bob"}}, "owner is bob, not ann or eve"),
        ({"owner": "ann"}, {}, "owner is unknown, not ann"),
        ({"tag": ["a", "b"]}, {"about": {"tags": ["b", "c"]}}, None),
        ({"tag": ["a", "b"]}, {"about": {"tags": ["c"]}}, "no tag a or b"),
        ({"tag": "a"}, {}, "no tag a"),
        ({"dag": "load", "owner": "ann"}, {}, "owner is unknown, not ann"),
    ],
)
def test_a_condition_holds_or_says_what_it_met(match, one, said):
    assert why(match, incident(**one)) == said


@pytest.mark.parametrize(
    ("hours", "moment", "inside"),
    [
        ("08:00-18:00", "07:59", False),
        ("08:00-18:00", "08:00", True),
        ("08:00-18:00", "17:59", True),
        ("08:00-18:00", "18:00", False),
        ("08:00-24:00", "23:59", True),
        ("22:00-06:00", "21:59", False),
        ("22:00-06:00", "22:00", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
    ],
)
def test_hours_hold_from_the_first_minute_to_before_the_last(hours, moment, inside):
    now = datetime.fromisoformat(f"2026-01-09T{moment}:30+00:00").timestamp()
    assert why({"hours": hours}, now=now) == (None if inside else f"it is {moment} UTC, not {hours}")


@pytest.mark.parametrize(
    ("days", "hours", "when", "said"),
    [
        ("fri", "", "09T00:00", None),
        ("fri", "", "10T00:00", "the day is sat, not fri"),
        (["mon", "tue"], "", "09T12:00", "the day is fri, not mon or tue"),
        ("fri", "22:00-06:00", "09T22:00", None),
        ("fri", "22:00-06:00", "10T05:59", None),  # the night of Friday
        ("fri", "22:00-06:00", "09T05:59", "the day is thu, not fri"),
        ("fri", "22:00-06:00", "10T22:00", "the day is sat, not fri"),
        ("fri", "08:00-18:00", "09T08:00", None),
    ],
)
def test_hours_past_midnight_belong_to_the_day_on_which_they_began(days, hours, when, said):
    now = datetime.fromisoformat(f"2026-01-{when}:00+00:00").timestamp()
    assert why({"days": days, "hours": hours}, now=now) == said


def test_hours_and_days_are_those_of_the_zone():
    late = datetime(2026, 1, 9, 23, 30, tzinfo=timezone.utc).timestamp()
    assert why({"hours": "00:00-01:00", "timezone": "Europe/Berlin"}, now=late) is None
    assert why({"days": "fri", "timezone": "Europe/Berlin"}, now=late) == "the day is sat, not fri"
    said = "it is 00:30 Europe/Berlin, not 01:00-02:00"
    assert why({"hours": "01:00-02:00", "timezone": "Europe/Berlin"}, now=late) == said


@pytest.mark.parametrize(
    ("match", "mistake"),
    [
        ({"severity": ["error", "fatal"]}, "'fatal' is none of info, warning, error, critical"),
        ({"cause": ["crash"]}, "'crash' is none of app"),
        ({"kind": ["task", "tsk", "rn"]}, "'tsk' is none of task, run, stuck"),
        ({"hours": "08:00-08:00"}, "08:00-08:00 is an empty span"),
        ({"kind": ["import", "dag"], "task": "x"}, "an incident about import or dag has no task"),
    ],
)
def test_a_condition_that_nothing_can_meet_is_refused(match, mistake):
    with pytest.raises(ValidationError, match=mistake):
        Match.model_validate(match)


@pytest.mark.parametrize(
    "kind", ["task", "stuck", "deadline", "component", "rule", ["import", "task"], "d*", "?un", "[rt]un"]
)
def test_a_kind_that_may_have_a_task_may_be_asked_for_with_one(kind):
    assert Match.model_validate({"kind": kind, "task": "x"}).task == ["x"]


@pytest.mark.parametrize("match", [{"kind": "import"}, {"task": "x"}, {"severity": []}])
def test_a_condition_that_stands_alone_is_taken(match):
    Match.model_validate(match)


@pytest.mark.parametrize(
    ("match", "nothing"),
    [({}, True), ({"timezone": "Europe/Berlin"}, True), ({"dag": []}, True), ({"dag": "*"}, False),
     ({"days": "mon", "timezone": "Europe/Berlin"}, False), ({"hours": "08:00-18:00"}, False)],
)  # fmt: skip
def test_a_match_says_nothing_without_a_condition(match, nothing):
    assert Match.model_validate(match).says_nothing is nothing


def test_a_match_that_was_written_down_by_another_version_is_read_as_far_as_it_is_known():
    assert matches(Match.stored({"dag": ["x"], "colour": "red"}), incident(), NOON) == "dag is load, not x"
    assert matches(Match.stored({"dag": ["load"]}), incident(), NOON) is None
