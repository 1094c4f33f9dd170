"""The band of what is usual, judged on made histories of many shapes and on the corners of a past."""

import math
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from random import Random
from zoneinfo import ZoneInfo

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


def noisy(count, level=1000):
    return [level * (1 + 0.02 * ((number * 7) % 5 - 2)) for number in range(count)]


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


def test_hours_that_differ_much_follow_a_change_of_the_clocks_in_their_zone():
    zone, values = ZoneInfo("Europe/Berlin"), []
    for number in range(24 * 50):
        at = datetime(2026, 2, 16, tzinfo=timezone.utc).timestamp() + number * 3600
        hour = datetime.fromtimestamp(at, zone).hour
        values.append(Past(at, 5000 * math.exp(-1.5 * (1 + math.cos(math.tau * (hour - 2) / 24)))))
    changed = next(number for number, one in enumerate(values) if one.time > 1774746000)  # 29 March
    for number in range(changed, changed + 40, 5):
        band = usual_band(values[:number], values[number].time, zone=zone)
        assert band.holds(values[number].value)
        assert not band.holds(values[number].value / 2)


def test_a_second_change_of_level_soon_after_the_first_is_learned_and_so_is_a_change_that_was_taken_back():
    twice = days([*noisy(60), *noisy(8, 1800), *noisy(4, 3200)])
    assert usual_band(twice, after(twice)).holds(3200)
    back = days([*noisy(60), *noisy(10, 2200), *noisy(4)])
    for more in range(20):
        band = usual_band(back, after(back))
        assert band.holds(1000), more
        back = days([*(one.value for one in back), *noisy(1)])


def test_counts_that_chance_moves_are_usual_and_steady_ones_are_judged_strictly():
    dice = Random(1)
    by_chance = days([sum(dice.random() < 0.02 for _ in range(100)) for _ in range(90)])
    assert all(usual_band(by_chance, after(by_chance, day)).holds(value) for day in range(1, 8) for value in range(7))
    assert not usual_band(by_chance, after(by_chance)).holds(40)
    steady = days([3] * 90)
    assert not usual_band(steady, after(steady)).holds(6)


def test_a_zero_that_comes_on_every_third_day_is_usual_on_a_weekday_that_has_had_none():
    past = days([0 if number % 3 == 0 and number % 7 else 500 for number in range(56)])
    assert usual_band(past, after(past)).holds(0)


def test_what_came_several_times_is_usual_and_what_came_once_is_not():
    values = noisy(80)
    once = days([*values[:40], 1600, *values[41:]])
    assert not usual_band(once, after(once)).holds(1600)
    for number in (20, 40, 63, 70):
        values[number] = 1600
    often = days(values)
    assert usual_band(often, after(often)).holds(1550)
    assert not usual_band(often, after(often)).holds(2000)


def test_a_measure_that_is_nearly_always_zero_does_not_learn_from_what_comes_once_a_month():
    past = days([50 if number in {31, 62, 80} else 0 for number in range(90)])
    assert not usual_band(past, after(past)).holds(50)


def test_what_came_twice_on_such_a_day_of_the_month_is_usual_on_it_and_not_on_others():
    begin = datetime(2026, 1, 1, 6, tzinfo=timezone.utc)
    past = [
        Past(at.timestamp(), value * (2.5 if at.day == 15 else 1))
        for at, value in ((begin + timedelta(days=number), value) for number, value in enumerate(noisy(104)))
    ]
    assert usual_band(past, after(past, 1)).holds(2500)
    assert not usual_band(past, after(past, 2)).holds(2500)


def test_what_comes_at_the_end_of_each_month_alone_is_usual_there_after_the_first():
    begin = datetime(2026, 1, 1, 6, tzinfo=timezone.utc)
    all_days = [begin + timedelta(days=number) for number in range(88)]
    past = [Past(at.timestamp(), 500.0 if (at + timedelta(days=1)).day == 1 else 0.0) for at in all_days]
    assert usual_band(past, datetime(2026, 3, 31, 6, tzinfo=timezone.utc).timestamp()).holds(900)
    assert not usual_band(past, after(past, 1)).holds(500)


def rhythm(is_high, count=200, high=4000):
    begin = datetime(2026, 1, 1, 6, tzinfo=timezone.utc)
    moments = [begin + timedelta(days=number) for number in range(count)]
    return [
        Past(at.timestamp(), float(high if is_high(at) else 1000) * (1 + 0.02 * (at.toordinal() % 3))) for at in moments
    ]


@pytest.mark.parametrize(
    "is_high",
    [
        lambda at: at.weekday() == 4 and at.toordinal() % 14 < 7,
        lambda at: at.weekday() == 1 and 8 <= at.day <= 14,
        lambda at: at.month % 3 == 0 and (at + timedelta(days=1)).month != at.month,
    ],
    ids=["every second Friday", "second Tuesdays", "ends of quarters"],
)
def test_what_comes_in_a_rhythm_is_usual_once_it_came_twice_and_on_other_days_it_is_not(is_high):
    known = rhythm(is_high, 480)
    highs = [number for number, one in enumerate(known) if one.value > 3000]
    for number in highs[3:8]:
        assert usual_band(known[:number], known[number].time).holds(known[number].value)
        assert not usual_band(known[: number + 3], known[number + 3].time).holds(4000)


def test_a_long_tail_on_one_side_is_usual_and_the_other_side_is_judged_strictly():
    dice = Random(7)
    past = days([1000 * min(1.0, math.exp(dice.gauss(0, 0.3))) for _ in range(200)])
    band = usual_band(past, after(past))
    assert band.low < 500
    assert band.high < 1600


def test_a_first_of_a_month_at_a_weekend_is_zero_as_weekends_are():
    begin = datetime(2024, 1, 1, 6, tzinfo=timezone.utc)
    moments = [begin + timedelta(days=number) for number in range(152)]  # until the end of May, no first at a weekend
    past = [Past(at.timestamp(), 0.0 if at.weekday() > 4 else 1000.0 + at.day) for at in moments]
    assert usual_band(past, after(past)).holds(0)
    assert not usual_band(past, after(past, 3)).holds(0)
