"""The band of what is usual, judged on made histories of many shapes and on the corners of a past."""

from collections import Counter
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observability.watch.baseline import Past, usual_band

DAY = 86_400.0
MONDAY = datetime(2026, 1, 5, 6, tzinfo=timezone.utc).timestamp()


def days(values, begin=MONDAY):
    return [Past(begin + number * DAY, float(value)) for number, value in enumerate(values)]


def after(past, days_on=1):
    return past[-1].time + days_on * DAY


def week(base=1000.0, weekend=0.3, weeks=6):
    return [base * (weekend if number % 7 >= 5 else 1) * (1 + 0.01 * (number % 3)) for number in range(7 * weeks)]


@pytest.mark.parametrize(
    ("days_on", "value", "usual"),
    [
        (1, 1000, True),
        (1, 0, False),
        (1, 480, False),
        (1, 2100, False),
        (6, 300, True),
        (6, 1000, False),
        (6, 100, False),
    ],
)
def test_a_weekend_is_judged_by_weekends(days_on, value, usual):
    past = days(week())
    assert usual_band(past, after(past, days_on)).holds(value) is usual


def test_a_working_day_at_the_level_of_a_weekend_may_be_a_holiday_and_half_of_a_day_is_not():
    past = days(week(weekend=0.2))
    band = usual_band(past, after(past))
    assert band.holds(200)
    assert not band.holds(500)


def test_a_holiday_of_the_calendar_is_no_surprise_and_then_other_days_are_judged_strictly():
    past = days(week(weekend=0.2))
    free = date(2026, 2, 16)
    assert usual_band(past, after(past), holidays=[free]).holds(250)
    assert not usual_band(past, after(past, 2), holidays=[free]).holds(200)


def test_a_new_level_is_usual_after_four_values_and_the_old_one_for_a_while():
    steady = [1000 + 10 * (number % 5) for number in range(40)]
    past = days(steady)
    assert not usual_band(past, after(past)).holds(2000)
    past = days([*steady, 2000, 2010, 1990, 2005])
    band = usual_band(past, after(past))
    assert band.holds(2000)
    assert band.holds(1000)
    assert "at a new level" in band.why
    past = days([*steady, *[2000 + 10 * (number % 5) for number in range(20)]])
    assert not usual_band(past, after(past)).holds(1000)


def test_faults_in_the_past_do_not_teach():
    values = [1000 + 10 * (number % 5) for number in range(60)]
    for number in range(0, 60, 9):
        values[number] = (0, 10_000, 500)[number // 9 % 3]
    past = days(values)
    band = usual_band(past, after(past))
    assert not band.holds(500)
    assert not band.holds(2000)
    assert not band.holds(0)


def test_backfills_are_not_learned_from():
    past = days([1000 + number % 5 for number in range(30)])
    noise = [Past(past[-1].time + number, 50_000.0, ordinary=False) for number in range(40)]
    assert not usual_band([*past, *noise], after(past)).holds(50_000)
    assert usual_band(noise, after(past)) is None


def test_growth_is_followed():
    past = days([1000 * 1.01**number for number in range(90)])
    band = usual_band(past, after(past))
    assert band.holds(1000 * 1.01**90)
    assert not band.holds(1000)


def test_zero_is_usual_where_the_past_has_it():
    past = days([0 if number % 7 == 6 else 500 for number in range(42)])
    assert usual_band(past, after(past, 7)).holds(0)
    assert not usual_band(past, after(past, 1)).holds(0)


@pytest.mark.parametrize(("value", "usual"), [(0, True), (3, True), (400, False)])
def test_a_measure_that_is_nearly_always_zero(value, usual):
    past = days([0] * 30 + [2, 0, 0, 1])
    assert usual_band(past, after(past)).holds(value) is usual


def test_hours_of_a_day_are_told_apart():
    past = [Past(MONDAY + number * 3600, 1000.0 if 8 <= (6 + number) % 24 < 20 else 100.0) for number in range(24 * 21)]
    at_night = past[-1].time + 3600 * ((26 - 6 - len(past)) % 24 + 1)
    assert usual_band(past, at_night).holds(100)
    assert not usual_band(past, at_night).holds(1000)


def test_too_short_a_past_says_nothing():
    assert usual_band(days([5, 5, 5, 5]), MONDAY) is None
    assert usual_band(days([5, 5, 5, 5]), MONDAY, least=4) is not None


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e300), st.booleans()), min_size=0, max_size=40),
    st.floats(0, 4e9),
)
def test_any_past_gives_a_band_that_holds_what_it_expects(values, at):
    past, time = [], MONDAY
    for step, value, ordinary in values:
        time += step
        past.append(Past(time, value, ordinary))
    band = usual_band(past, at)
    if band is not None:
        assert 0 <= band.low <= band.expected <= band.high
        assert band.holds(band.expected)


def test_labelled_histories_of_a_seed_that_the_rule_was_not_shaped_with():
    """A short form of ``python -m benchmarks detector``, with bounds that leave room for so small a sample."""
    from benchmarks.etl_histories import histories

    found, there, false, months = Counter(), Counter(), 0, 0.0
    for history in histories(seed=4711, of_each=1):
        if "hour" in history.name:
            continue
        months += history.months
        past = []
        for one in history.values:
            if one.judged:
                alarm = not usual_band(past, one.time).holds(one.value)
                there[one.fault] += 1
                found[one.fault] += alarm
                false += alarm and one.fault is None
            past.append(Past(one.time, one.value, one.ordinary))
    assert found["zero"] == there["zero"]
    assert found["halved"] + found["doubled"] >= 0.9 * (there["halved"] + there["doubled"])
    assert false / months < 0.15
    assert timedelta(days=30.4 * months) > timedelta(days=3000)
