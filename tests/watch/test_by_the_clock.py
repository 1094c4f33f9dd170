"""Deadlines by the time of day: ``run_finishes_by`` and ``asset`` with ``fresh_by``."""

from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_deadlines import HOUR, Clockwork
from watch_office import failed

from observability.watch.clock import clock_days, moment_of
from observability.watch.facts import Fact
from observability.watch.rules.config import Deadline

DUE = {"name": "report", "dag": "load", "run_finishes_by": "09:00", "warn": 1}


def at(hour, day=1, zone="UTC"):
    return datetime(2026, 7, day, hour, tzinfo=ZoneInfo(zone)).timestamp()


def office_at(ledger, moment, **deadline):
    office = Clockwork(ledger, {**DUE, **deadline}, dags={"load": {}})
    office.now = moment
    office.look()
    return office


def kinds(office):
    return [kind for kind in office.kinds() if kind != "reminder"]


def run(office, name, begin, end):
    office.pass_time(begin - office.now, step=600)
    office.begin(name)
    office.pass_time(end - office.now, step=600)
    office.end(name, lasted=end - begin)
    office.pass_time(60)


def test_a_run_that_is_done_in_time_misses_nothing(ledger):
    office = office_at(ledger, at(1))
    run(office, "r1", at(7), at(8))
    office.pass_time(10 * HOUR, step=600)
    assert kinds(office) == []


def test_each_day_is_warned_of_missed_and_recovered_once(ledger):
    office = office_at(ledger, at(1), warn=0.8)
    office.pass_time(at(7) - office.now, step=600)
    assert kinds(office) == []
    run(office, "late", at(8), at(11))
    office.pass_time(10 * HOUR, step=600)
    assert kinds(office) == ["early_warning", "opened", "resolved"]


def test_a_run_that_never_begins_misses_it_and_a_late_one_is_no_help_to_the_next_day(ledger):
    office = office_at(ledger, at(1))
    office.pass_time(at(10) - office.now, step=600)
    assert kinds(office) == ["opened"]
    run(office, "late", at(20), at(22))
    assert kinds(office) == ["opened", "resolved"]
    office.pass_time(at(10, day=2) - office.now, step=600)
    assert kinds(office) == ["opened", "resolved", "opened"]


def test_a_run_that_fails_keeps_no_time_and_is_told_once(ledger):
    office = office_at(ledger, at(1))
    office.pass_time(at(7) - office.now, step=600)
    office.begin("r1")
    office.see(failed(time=office.now))
    office.pass_time(6 * HOUR, step=600)
    assert [kind for kind in office.kinds() if kind == "opened"] == ["opened"]


@pytest.mark.parametrize("other", ["backfill__2026-03-01T00:00:00+00:00", "manual__2026-03-01T00:00:00+00:00"])
def test_a_run_for_another_day_does_not_count(ledger, other):
    office = office_at(ledger, at(1))
    office.pass_time(at(7) - office.now, step=600)
    office.see(
        Fact(
            kind="run", status="noted", time=office.now, dag_id="load", run_id=other,
            evidence={"airflow.logical_date": "2026-03-01T00:00:00+00:00"},
        )
    )  # fmt: skip
    office.end(other, lasted=60)
    office.pass_time(4 * HOUR, step=600)
    assert kinds(office) == ["opened"]


def test_a_run_of_the_night_counts_where_the_day_begins_in_the_evening(ledger):
    for begins, expected in (("18:00", []), ("00:00", ["opened"])):
        office = office_at(ledger, at(12), name=f"night-{begins[:2]}", day_begins=begins, run_finishes_by="06:00")
        office.pass_time(HOUR, step=600)
        before = len(kinds(office))
        run(office, f"r-{begins}", at(23), at(4, day=2))
        office.pass_time(at(7, day=2) - office.now, step=600)
        assert kinds(office)[before:] == expected


def test_an_asset_is_due_by_the_clock(ledger):
    deadline = {"name": "fresh", "asset": "s3://b/k", "fresh_by": "09:00", "warn": 1}
    office = Clockwork(ledger, deadline)
    office.now = at(1)
    office.look()
    office.pass_time(at(10) - office.now, step=600)
    assert kinds(office) == ["opened"]
    office.see(Fact(kind="asset", status="noted", time=office.now, subject="s3://b/k", dag_id="load", run_id="r1"))
    office.pass_time(120)
    assert kinds(office) == ["opened", "resolved"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"run_finishes_by": "9:00"},
        {"run_finishes_by": "24:10"},
        {"fresh_by": "09:00"},
        {"day_begins": "18:00", "starts_by": "06:00"},
    ],
)
def test_what_cannot_mean_what_it_says_is_refused(wrong):
    with pytest.raises(ValueError, match=r"finishes_by|fresh|day_begins|asset"):
        Deadline.model_validate({"name": "x", "dag": "load", **wrong})


ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Sydney",
    "America/Santiago",
    "Asia/Kolkata",
    "Pacific/Apia",
    "UTC",
)


def minutes_of(day, zone):
    """Each minute of a local day as (local wall clock, UTC seconds), counted one by one."""
    begin = datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp() - 26 * 3600
    for minute in range(78 * 60):
        moment = begin + 60 * minute
        local = datetime.fromtimestamp(moment, ZoneInfo(zone))
        if local.date() == day:
            yield local.strftime("%H:%M"), moment


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(ZONES),
    st.dates(date(2011, 12, 20), date(2030, 1, 1)),
    st.times().map(lambda clock: clock.strftime("%H:%M")),
)
def test_a_time_of_day_is_the_last_minute_that_a_clock_on_the_wall_shows_it(zone, day, clock):
    shown = list(minutes_of(day, zone))
    if not shown:
        return  # a zone may leave a whole day out, as Apia did in 2011
    exact = [moment for wall, moment in shown if wall == clock]
    skipped = [moment for wall, moment in shown if wall > clock]
    found = moment_of(day, clock, zone)
    if exact:
        assert found == exact[-1]
    elif skipped:
        assert skipped[0] <= found <= skipped[0] + 3600


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(ZONES), st.floats(1.4e9, 1.9e9), st.sampled_from(["00:00", "06:00", "18:00"]))
def test_days_follow_each_other_without_a_gap(zone, now, since):
    days = list(clock_days("09:00", zone, [], now, since=since))
    assert days[0].begins <= now
    for later, earlier in pairwise(days):
        assert later.date - earlier.date == timedelta(days=1)
        assert earlier.begins < later.begins
        assert earlier.begins < earlier.due


@pytest.mark.parametrize("rule", [{"run_finishes_by": "09:00"}, {"run_finishes_by": None, "starts_by": "09:00"}])
def test_nothing_is_due_on_a_holiday_and_the_next_day_is_due_again(ledger, rule):
    office = office_at(ledger, at(1), holidays=["2026-07-01"], **rule)
    office.pass_time(at(23) - office.now, step=1800)
    assert kinds(office) == []
    office.pass_time(at(10, day=2) - office.now, step=1800)
    assert kinds(office) == ["opened"]


def test_a_holiday_beside_a_condition_that_knows_no_day_is_refused():
    with pytest.raises(ValueError, match="holidays does nothing beside run_finishes_within"):
        Deadline.model_validate(
            {"name": "x", "dag": "a", "run_finishes_within": "1h", "holidays": ["2026-12-25"], "warn": 1}
        )
