"""The calendar of deadlines beside an oracle that counts each minute by hand: zones, clock changes, days, holidays."""

from datetime import date, datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from observability.watch.completions import Wanted
from observability.watch.due_by_clock import days_of
from observability.watch.rules.config import with_calendar
from observability.watch.rules.deadline import Deadline

ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Sydney", "America/Santiago", "Africa/Cairo", "Australia/Lord_Howe",
    "Asia/Kathmandu",
)  # fmt: skip
"""Northern and southern; Santiago and Cairo skip midnight, Lord Howe half an hour, Kathmandu is 5:45 ahead of UTC."""
NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CHANGES = {
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "Australia/Sydney": (date(2026, 4, 5), date(2026, 10, 4)),
    "America/Santiago": (date(2026, 4, 4), date(2026, 9, 6)),
    "Africa/Cairo": (date(2026, 4, 24), date(2026, 10, 29)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),
    "Asia/Kathmandu": (),
}


@cache
def wall(zone, day):
    """Each minute of a day in a zone, counted one by one: (what a clock on the wall shows, seconds since 1970)."""
    begin = datetime(day.year, day.month, day.day, tzinfo=timezone.utc) - timedelta(hours=14)
    minutes = (begin + timedelta(minutes=number) for number in range(54 * 60))
    local = ((moment.astimezone(ZoneInfo(zone)), moment.timestamp()) for moment in minutes)
    return [(f"{shown:%H:%M}", moment) for shown, moment in local if shown.date() == day]


def last_shown(zone, day, clock):
    """The last minute at which the wall shows a time; for one that is skipped, as long after the minute before it."""
    shown = [moment for seen, moment in wall(zone, day) if seen == clock]
    if shown:
        return shown[-1]
    earlier = [(seen, moment) for seen, moment in wall(zone, day) if seen < clock]
    # Where midnight is skipped, the minute before is the last one of the day before.
    before, moment = earlier[-1] if earlier else ("", wall(zone, day - timedelta(days=1))[-1][1])
    return moment + 60 * (minutes(clock) - (minutes(before) if earlier else -1))


def minutes(clock):
    hours, rest = clock.split(":")
    return 60 * int(hours) + int(rest)


def expected(rule, now, back=15):
    """The days of a rule, the latest first, by counting."""
    zone, by, since = rule["timezone"], rule["run_finishes_by"], rule["day_begins"]
    today = datetime.fromtimestamp(now, ZoneInfo(zone)).date()
    for day in (today - timedelta(days=number) for number in range(-1, back)):
        begins = last_shown(zone, day - timedelta(days=1) if since > by else day, since)
        free = day in rule["off"] or (rule["days"] and NAMES[day.weekday()] not in rule["days"])
        if begins <= now and not free:
            yield day, begins, last_shown(zone, day, by)


clocks = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.sampled_from((0, 1, 29, 30, 59)))


@st.composite
def rules(draw):
    """A rule, and a moment near one of the changes of its clock, or anywhere in the year."""
    zone = draw(st.sampled_from(ZONES))
    near = draw(st.sampled_from([*CHANGES[zone], None]))
    day = (
        near + timedelta(days=draw(st.integers(-2, 3)))
        if near
        else draw(st.dates(date(2026, 1, 1), date(2026, 12, 31)))
    )
    minute = draw(st.integers(0, 24 * 60 - 1))
    now = datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp() + 60 * minute
    off = st.lists(st.integers(-3, 15).map(lambda number: day - timedelta(days=number)), max_size=4)
    return {
        "timezone": zone, "run_finishes_by": draw(clocks), "day_begins": draw(clocks),
        "days": draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6)),
        "holidays": draw(off), "calendar": draw(off), "now": now,
    }  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(rules())
def test_the_days_of_a_rule_are_those_that_the_minutes_give(rule):
    now, calendar = rule.pop("now"), rule.pop("calendar")
    written = Deadline.model_validate({"name": "x", "dag": "a", "calendar": "bank", **rule})
    deadline = with_calendar(written, {"bank": frozenset(calendar)})
    oracle = rule | {"off": {*rule["holidays"], *calendar}}
    found = [(day.date, day.begins, day.due) for day in days_of(deadline, now)]
    assert found == list(expected(oracle, now))


@settings(deadline=None, max_examples=15)
@given(rules(), st.integers(-3, 1))
def test_a_run_counts_for_the_logical_day_that_the_calendar_on_the_wall_shows(rule, offset):
    now = rule.pop("now")
    deadline = Deadline.model_validate({"name": "x", "dag": "a", "logical_day": offset, **rule | {"calendar": ""}})
    for day in days_of(deadline, now):
        wanted = Wanted.of(deadline, day)
        assert wanted.day == date.fromordinal(day.date.toordinal() + offset)
        assert wanted.since <= min(moment for _, moment in wall(rule["timezone"], wanted.day))


def test_both_changes_of_each_clock_are_in_the_data():
    for zone, days in CHANGES.items():
        moved = 30 if zone == "Australia/Lord_Howe" else 60
        assert sorted(len(wall(zone, day)) for day in days) == ([24 * 60 - moved, 24 * 60 + moved] if days else [])
