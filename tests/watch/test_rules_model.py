"""The parts of the rules: what holds where a file says nothing, the least and most that a value may be, windows."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from observability.watch.rules.config import RulesError, parse_rules
from observability.watch.rules.deadline import Deadline
from observability.watch.rules.model import CHANNEL_KEYS, AlertingConfig, ChannelSpec, Window, with_calendar

LEAST = {
    "channels": "channels: {file: {type: file}}",
    "receivers": "receivers: {all: {channels: [file]}}",
    "routes": "routes: [{receiver: all}]",
}


def rules(**parts):
    return parse_rules("\n".join({**LEAST, **parts}.values()), "alerts.yaml")


def test_what_holds_where_a_file_says_nothing():
    found = rules()
    assert found.model_dump(exclude={"channels", "receivers", "routes"}, exclude_none=True) == {
        "version": 1, "runbooks": "", "calendars": {}, "deadlines": [], "silences": [],
        "timing": {
            "group_wait": 0.3, "evidence_wait": 2, "fold_wait": 3, "suspect_wait": 60, "remind_every": 4 * 3600,
            "remind_acknowledged": 2 * 86_400, "settle": 120, "digest_reminders": 5, "storm_messages": 40,
            "flap_messages": 8,
        },
        "thresholds": {"queued": 180, "unanswered": 600, "overdue": 60, "component_silent": 30},
        "proof": {
            "canary_every": 86_400, "canary_receiver": "", "canary_within": 120, "heartbeat_allow": [],
            "heartbeat_every": 60,
        },
    }  # fmt: skip
    (channel,), (receiver,), (route,) = found.channels.values(), found.receivers.values(), found.routes
    assert channel.model_dump(exclude_none=True) == {
        "type": "file", "path": "alerts.jsonl", "secret": [], "allow": [], "to": [], "timeout": 10,
        "rate_per_minute": 60, "give_up_after": 6 * 3600,
    }  # fmt: skip
    assert receiver.model_dump() == {"channels": ["file"], "fallback": None, "escalate": []}
    assert (route.proceed, route.severity, route.wait, route.match.says_nothing) == (False, None, 0, True)
    assert dict(found.days_off) == {}


@pytest.mark.parametrize(
    ("part", "rule", "good", "bad"),
    [
        ("channels", "channels: {{file: {{type: file, rate_per_minute: {}}}}}", "0.5", "0"),
        ("timing", "timing: {{digest_reminders: {}}}", "2", "1"),
        ("timing", "timing: {{storm_messages: {}}}", "1", "0"),
        ("timing", "timing: {{flap_messages: {}}}", "1", "0"),
        ("receivers", "receivers: {{all: {{channels: {}}}}}", "[file]", "[]"),
        ("channels", "channels: {{file: {{type: file}}, {}: {{type: log}}}}", "x" * 64, "x" * 65),
        ("calendars", "calendars: {{{}: days.txt}}", None, "x" * 65),
        ("channels", "channels: {}", None, "{}"),
        ("receivers", "receivers: {}", None, "{}"),
        ("routes", "routes: {}", None, "[]"),
        ("version", "version: {}", "1", "2"),
    ],
)
def test_the_least_and_the_most_that_a_value_may_be(part, rule, good, bad):
    if good is not None:
        rules(**{part: rule.format(good)})
    with pytest.raises(RulesError, match=f": {part}"):
        rules(**{part: rule.format(bad)})


GIVEN = {"to": ["a@example.com"], "path": "x"}
NEEDS = [(kind, keys[0]) for kind, keys in CHANNEL_KEYS.items() if keys and kind != "file"]


@pytest.mark.parametrize(("kind", "needed"), NEEDS)
def test_each_type_of_channel_needs_its_first_key_and_no_other(kind, needed):
    ChannelSpec.model_validate({"type": kind, needed: GIVEN.get(needed, "env:KEY")})
    with pytest.raises(ValidationError, match=f"a channel of type {kind} needs '{needed}'"):
        ChannelSpec(type=kind)


def test_a_channel_that_needs_nothing_is_whole_without_a_key_and_a_file_has_its_name():
    assert (ChannelSpec(type="log").url, ChannelSpec(type="file").path) == (None, "alerts.jsonl")
    with pytest.raises(ValidationError, match="a channel of type file needs 'path'"):
        ChannelSpec(type="file", path="")


def window(**given):
    return Window.model_validate(given)


def utc(*when):
    return datetime(*when, tzinfo=timezone.utc).timestamp()


def test_a_window_without_a_zone_is_in_the_zone_of_its_match():
    one = window(starts="2026-07-01T10:00", ends="2026-07-01T12:00", match={"timezone": "Europe/Berlin", "dag": "x"})
    assert (one.begins_at, one.ends_at) == (utc(2026, 7, 1, 8), utc(2026, 7, 1, 10))
    assert (one.is_local("starts"), one.is_local("ends")) == (True, True)


def test_a_window_with_a_zone_is_in_that():
    one = window(starts="2026-07-01T10:00+05:00", match={"timezone": "Europe/Berlin", "dag": "x"})
    assert (one.begins_at, one.ends_at) == (utc(2026, 7, 1, 5), None)
    assert (one.is_local("starts"), one.is_local("ends")) == (False, False)
    assert (window(ends="2026-07-01T10:00Z").begins_at, window().is_local("starts")) == (None, False)


def test_a_window_in_the_hour_that_a_clock_change_doubles_lasts_from_the_first_to_the_second():
    one = window(starts="2026-10-25T02:30", ends="2026-10-25T02:45", match={"timezone": "Europe/Berlin", "dag": "x"})
    assert (one.begins_at, one.ends_at) == (utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 45))


@pytest.mark.parametrize(("minutes", "taken"), [(-1, False), (0, False), (1, True)])
def test_a_window_ends_after_it_begins(minutes, taken):
    starts = datetime(2026, 7, 1, tzinfo=timezone.utc)
    given = {"starts": starts.isoformat(), "ends": (starts + timedelta(minutes=minutes)).isoformat()}
    if taken:
        window(**given)
    else:
        with pytest.raises(ValidationError, match="before it begins"):
            window(**given)


@pytest.mark.parametrize("section", ["timing", "thresholds", "calendars", "deadlines", "silences", "proof", "runbooks"])
def test_a_section_of_which_every_line_is_a_comment_is_as_good_as_none(section):
    assert rules(**{section: f"{section}:"}) == rules()


@pytest.mark.parametrize("section", ["channels", "receivers", "routes"])
def test_a_section_that_must_say_something_may_not_be_empty(section):
    with pytest.raises(RulesError, match=f": {section}"):
        rules(**{section: f"{section}:"})


DAYS = {"bank": frozenset({date(2026, 1, 1), date(2026, 5, 1)})}


@pytest.mark.parametrize(
    ("calendar", "holidays"),
    [("bank", [date(2026, 1, 1), date(2026, 3, 3), date(2026, 5, 1)]), ("gone", [date(2026, 3, 3)]),
     (None, [date(2026, 3, 3)])],
)  # fmt: skip
def test_the_days_of_its_calendar_are_holidays_of_a_deadline_beside_its_own(calendar, holidays):
    given = {"calendar": calendar} if calendar else {}
    one = {"name": "a", "dag": "x", "starts_by": "06:00", "holidays": ["2026-03-03"], **given}
    assert sorted(with_calendar(Deadline.model_validate(one), DAYS).holidays) == holidays


def test_rules_know_the_days_of_their_calendars_and_give_them_to_the_deadlines_that_name_one():
    one = {"name": "a", "dag": "x", "starts_by": "06:00", "calendar": "bank"}
    before = AlertingConfig.model_validate(rules().model_dump(exclude_none=True) | {"deadlines": [one]})
    after = before.with_days_off(DAYS)
    assert (after.days_off, after.deadlines[0].holidays) == (DAYS, [date(2026, 1, 1), date(2026, 5, 1)])
    assert (dict(before.days_off), list(before.deadlines[0].holidays)) == ({}, [])
