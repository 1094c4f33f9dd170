"""One notice each for warning, breach and recovery, whatever kind of run a day waits for, and whoever restarts."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_deadlines import HOUR, Clockwork
from watch_office import run_ended

from observability.watch.facts import Fact
from observability.watch.ledger.database import Ledger

DAYS = [date(2026, 10, 24) + timedelta(days=number) for number in range(3)]
"""On the second one the clocks of Berlin are set back."""
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Sydney")
runs = st.tuples(
    st.sampled_from(("scheduled", "manual", "asset_triggered")), st.integers(1, 66), st.integers(1, 32), st.booleans()
)
"""A run: its kind, the hour at which it begins, how many hours it lasts, and if it ever ends."""


def wall(day, clock, zone):
    return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=ZoneInfo(zone)).timestamp()


def expected(good, looks, zone):
    """The words of each look, by a count of the days by hand; ``good`` holds the begin and end of each good run."""
    said, about = [], None

    def is_done(day, now):
        return any(begun >= wall(day, "00:00", zone) and ended <= now for begun, ended in good)

    for now in looks:
        if about is not None and is_done(about[0], now):
            said.append("resolved")
            about = None
        day = max(day for day in DAYS if wall(day, "00:00", zone) <= now)
        due = wall(day, "09:00", zone)
        if is_done(day, now):
            continue
        if now >= due and about in {None, (day, "early_warning")}:
            about = (day, "opened")
        elif now < due and now >= due - 0.2 * (due - wall(day, "00:00", zone)) and about is None:
            about = (day, "early_warning")
        else:
            continue
        said.append(about[1])
    return said


@settings(deadline=None, max_examples=12, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(runs, max_size=4), st.sampled_from(ZONES), st.integers(1, 15))
@example([("asset_triggered", 1, 31, True)], "Europe/Berlin", 5)  # done while the next day is warned of
@example([("scheduled", 2, 32, True), ("manual", 30, 8, True)], "Australia/Sydney", 9)  # and while it is missed
@example([], "America/New_York", 3)
def test_each_day_is_warned_of_missed_and_recovered_once(tmp_path_factory, history, zone, restart):
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('once') / 'ledger.db'}")
    rule = {"name": "ready", "dag": "load", "run_finishes_by": "09:00", "timezone": zone, "warn": 0.8}
    start, good, facts = wall(DAYS[0], "00:00", zone), [], []
    for number, (kind, begins, lasts, is_good) in enumerate(history):
        run, begun, ended = f"{kind}__{number}", start + begins * HOUR, start + (begins + lasts) * HOUR
        facts.append((begun, Fact(kind="run", status="noted", time=begun, dag_id="load", run_id=run,
                                  about={"run_type": kind})))  # fmt: skip
        if is_good:
            good.append((begun, ended))
            lasted = {"event.duration": int(lasts * HOUR * 1e9)}
            facts.append((ended, run_ended("resolved", run=run, time=ended, about={"run_type": kind}, evidence=lasted)))
    facts.sort(key=lambda one: one[0])
    last = wall(DAYS[-1], "20:00", zone)
    hours = {wall(day, clock, zone) for day in DAYS for clock in ("00:00", "06:30", "07:30", "09:00", "19:30")}
    looks = sorted({*hours, *(moment for moment, _ in facts if moment < last)})
    office = Clockwork(ledger, rule, dags={"load": {}})
    for number, now in enumerate(looks):
        if number == restart:
            office = Clockwork(ledger, rule, dags={"load": {}})
        office.now = now
        while facts and facts[0][0] <= now:
            office.see(facts.pop(0)[1])
        office.look()
    kinds = [kind for kind in office.kinds() if kind != "reminder"]
    ledger.close()
    assert kinds == expected(good, looks, zone)
