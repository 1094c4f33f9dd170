"""The delay of a run that the clock started, on Airflow's own timetables."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable
from airflow.utils.types import DagRunType

from observability.airflow.schedule_delay import schedule_delay_ns

DUE = datetime(2026, 1, 31, 2, tzinfo=timezone.utc)  # as Airflow's database answers
DAY = timedelta(days=1)
LATE = timedelta(seconds=7)
DAILY = {
    "moments": (CronTriggerTimetable("0 2 * * *", timezone="UTC"), timedelta()),
    "moments of a run a week": (CronTriggerTimetable("0 2 * * 6", timezone="UTC"), timedelta()),
    "cron intervals": (CronDataIntervalTimetable("0 2 * * *", timezone="UTC"), DAY),
    "intervals": (DeltaDataIntervalTimetable(DAY), DAY),
}


def run(timetable="moments", late=LATE, **more):
    asked, length = DAILY[timetable]
    about = {
        "run_type": DagRunType.SCHEDULED, "run_after": DUE, "start_date": DUE + late, "clear_number": 0,
        "data_interval_start": DUE - length, "data_interval_end": DUE, "dag": SimpleNamespace(timetable=asked),
    }  # fmt: skip
    return SimpleNamespace(**about | more)


@pytest.mark.parametrize("timetable", DAILY)
def test_a_run_by_the_clock_is_as_late_as_it_began_after_it_was_due(timetable):
    assert schedule_delay_ns(run(timetable)) == 7_000_000_000
    assert schedule_delay_ns(run(timetable, late=DAY - LATE)) == (DAY - LATE) / timedelta(microseconds=1) * 1000
    assert schedule_delay_ns(run(timetable, late=-LATE)) == 0


@pytest.mark.parametrize("cron", ["*/2 * * * *", "0 * * * *"])
@pytest.mark.parametrize(("late", "delay_ns"), [(LATE, 7_000_000_000), (3 * DAY, None)])
def test_a_run_of_every_hour_or_minute_is_judged_likewise(cron, late, delay_ns):
    often = SimpleNamespace(timetable=CronTriggerTimetable(cron, timezone="Europe/Berlin"))
    assert schedule_delay_ns(run(late=late, dag=often)) == delay_ns


@pytest.mark.parametrize("timetable", DAILY)
def test_a_run_that_catches_up_is_not_late(timetable):
    assert schedule_delay_ns(run(timetable, late=timedelta(days=13 * 365))) is None
    assert schedule_delay_ns(run(timetable, late=timedelta(days=7))) is None


@pytest.mark.parametrize(
    "more",
    [
        {"run_type": DagRunType.MANUAL}, {"run_type": DagRunType.BACKFILL_JOB}, {"run_type": "backfill"},
        {"run_type": DagRunType.ASSET_TRIGGERED}, {"clear_number": 1}, {"run_after": None}, {"start_date": None},
    ],
)  # fmt: skip
def test_no_other_run_has_a_delay(more):
    assert schedule_delay_ns(run(**more)) is None


def test_a_run_whose_timetable_says_nothing_of_the_next_is_by_the_clock():
    once = {"dag": None, "data_interval_start": None, "data_interval_end": None}

    assert schedule_delay_ns(run(**once)) == 7_000_000_000
    assert schedule_delay_ns(run(dag=None)) == 7_000_000_000
    assert schedule_delay_ns(run(start_date=datetime(2026, 1, 31, 2, 0, 7, tzinfo=timezone.utc))) == 7_000_000_000
