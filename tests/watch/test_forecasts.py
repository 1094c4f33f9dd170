"""A run that will be late is warned of by its own history, once, and in words; without enough history by the clock."""

from __future__ import annotations

from random import Random

import pytest
from test_deadlines import HOUR, Clockwork
from watch_office import failed

from benchmarks.run_histories import SHAPES, run_histories, seen_at
from observability.watch.deadlines import Deadlines
from observability.watch.facts import Fact
from observability.watch.forecast import LEAST_RUNS, WARN_AT, RunModel, inferred_graph
from observability.watch.forecasts import Forecasts, in_words
from observability.watch.ledger import pending_events, schema
from observability.watch.rules.config import Deadline
from observability.watch.run_times import RunTimes, earlier_runs, save_runs

DAY = 86_400.0
MINUTE = 60.0
MIDNIGHT = 1_767_571_200.0  # a Monday


def past(count=10, tasks=("extract", "transform", "load"), lasts=10 * MINUTE, hour=0):
    """Runs of a chain at one time of day, whose tasks take about as long each day."""
    dice = Random(count)
    for day in range(count):
        run = RunTimes("load", f"r{day}", MIDNIGHT + day * DAY + hour * HOUR, succeeded=True)
        at = run.begun + 2
        for name in tasks:
            end = at + lasts * dice.uniform(0.95, 1.05)
            run.add(name, at, end)
            at = end + 2
        run.ended = at
        yield run


def live(*tasks, day=10):
    """A run under way: its tasks with begin and end in minutes, None while it runs."""
    run = RunTimes("load", "live", MIDNIGHT + day * DAY)
    for name, begin, end in tasks:
        run.add(name, run.begun + begin * MINUTE, None if end is None else run.begun + end * MINUTE)
    return run


def forecast_of(run, minutes, **more):
    model = RunModel.learn(list(past(**more)), run.begun)
    return model.forecast(run, run.begun + minutes * MINUTE)


def test_a_run_that_goes_as_usual_is_expected_as_usual():
    run = live(("extract", 0, 10), ("transform", 10, None))
    found = forecast_of(run, 12)
    low, high = found.interval(0.9)
    assert low < run.begun + 30 * MINUTE < high
    assert high - low < 8 * MINUTE
    assert found.chance_after(run.begun + 60 * MINUTE) <= 0.05
    assert found.slow is None


def test_a_task_that_hangs_moves_the_end_and_is_named():
    run = live(("extract", 0, 10), ("transform", 10, None))
    found = forecast_of(run, 32)
    assert found.expected > run.begun + 42 * MINUTE
    assert found.chance_after(run.begun + 40 * MINUTE) > 0.95
    assert found.slow[0] == "transform"
    assert in_words(found, run.begun + 40 * MINUTE, "UTC").endswith("due 00:40 UTC; transform takes twice its usual")


def test_a_slow_beginning_says_that_the_rest_is_slow_only_in_part():
    usual = forecast_of(live(("extract", 0, 10), ("transform", 10, None)), 10.5).expected
    slow = forecast_of(live(("extract", 0, 20), ("transform", 20, None)), 20.5).expected
    assert 10 * MINUTE <= slow - usual <= 30 * MINUTE


def test_too_little_history_is_no_forecast():
    assert RunModel.learn(list(past(LEAST_RUNS - 1)), MIDNIGHT + 9 * DAY) is None
    assert RunModel.learn(list(past(LEAST_RUNS)), MIDNIGHT + 9 * DAY) is not None


@pytest.mark.parametrize("shape", SHAPES)
def test_no_moment_of_a_run_of_any_shape_is_without_a_likely_end_in_the_future(shape):
    number = SHAPES.index(shape)
    history = list(run_histories(3, number + 1, runs=14))[number]
    one = history.runs[-1]
    for graph in (history.graph, None):
        model = RunModel.learn(history.runs[:-1], one.begun, graph)
        for part in (0.0, 0.3, 0.7, 0.99, 3.0):
            now = one.begun + part * (one.ended - one.begun)
            found = model.forecast(seen_at(one, now), now)
            assert list(found.ends) == sorted(found.ends)
            assert found.ends[0] >= now
            assert found.interval(0.9)[0] <= found.interval(0.5)[0] <= found.expected <= found.interval(0.9)[1]


def test_the_graph_is_found_from_what_began_when():
    graph = inferred_graph(list(past()))
    assert graph == {"extract": {"transform"}, "transform": {"load"}, "load": set()}


def test_what_began_at_once_is_in_no_circle():
    runs = []
    for day in range(6):
        run = RunTimes("load", f"r{day}", MIDNIGHT + day * DAY, MIDNIGHT + day * DAY + 1, succeeded=True)
        for name in "abc":
            run.add(name, run.begun, run.begun + 0.1)
        runs.append(run)
    assert RunModel.learn(runs, MIDNIGHT + 9 * DAY).forecast(runs[-1], runs[-1].begun + 2).expected > 0


class Foreseeing(Clockwork):
    """Runs that go through the engine as facts; deadlines with forecasts."""

    def __init__(self, ledger, **deadline):
        super().__init__(ledger)
        self.rule = {"name": "report", "dag": "load", **deadline}
        self.restart()
        self.now = MIDNIGHT - DAY

    def restart(self):
        self.deadlines = Deadlines([Deadline.model_validate(self.rule)], {"load": {}}, forecasts=Forecasts())

    def task(self, run, name, status, **more):
        fact = Fact(
            kind="task", status=status, time=self.now, dag_id="load", run_id=run, task_id=name, try_number=1, **more
        )
        self.see(fact)

    def play(self, run, *minutes, step=120.0, until=None):
        """A run whose tasks take so many minutes each; ``until``: how many of its tasks end."""
        begun = self.now
        self.begin(run)
        for number, lasts in enumerate(minutes):
            self.task(run, f"t{number}", "noted")
            self.pass_time(lasts * MINUTE, step)
            if until == number:
                return
            self.task(run, f"t{number}", "resolved")
        self.end(run, lasted=self.now - begun)

    def days(self, count):
        with self.ledger.transaction(lock=True) as connection:
            save_runs(connection, past(count, ("t0", "t1", "t2"), hour=6))
        self.now = MIDNIGHT + count * DAY
        self.look()
        self.now = MIDNIGHT + count * DAY + 6 * HOUR


@pytest.mark.parametrize("rule", [{"run_finishes_within": "40m"}, {"run_finishes_by": "06:40"}])
def test_a_run_that_hangs_is_warned_of_before_it_is_late_once_and_then_missed_and_recovered(ledger, rule):
    office = Foreseeing(ledger, **rule)
    office.days(8)
    office.play("slow", 10, 28, until=1)
    assert office.kinds() == ["early_warning"]
    (message,) = office.messages()
    assert "expected 06:" in message.summary
    assert "due 06:40 UTC; t1 takes" in message.summary
    (event,) = [one for one in office.engine.take_events() if one.action == "deadline.approached"]
    document = event.document()
    assert document["deadline.chance"] >= WARN_AT
    assert document["deadline.expected"] > document["deadline.due"]
    with ledger.transaction() as connection:
        shown = [
            one for one in pending_events.due(connection, office.now).values() if one.action == "deadline.upcoming"
        ]
    assert shown[-1].document()["deadline.chance"] >= WARN_AT  # the page has it when people do
    office.restart()
    office.pass_time(20 * MINUTE, 120)
    assert office.kinds() == ["early_warning", "opened"]
    office.end("slow", lasted=office.now - (MIDNIGHT + 8 * DAY + 6 * HOUR))
    office.pass_time(10 * MINUTE, 120)
    assert office.kinds() == ["early_warning", "opened", "resolved"]


def test_a_run_as_usual_is_not_warned_of_though_most_of_its_time_is_gone(ledger):
    office = Foreseeing(ledger, run_finishes_within="34m")
    office.days(8)
    office.play("usual", 10, 10, 10, step=60)
    office.pass_time(HOUR, 600)
    assert office.said() == []


def test_without_enough_history_the_share_of_the_time_warns(ledger):
    office = Foreseeing(ledger, run_finishes_within="34m")
    office.days(LEAST_RUNS - 1)
    office.play("usual", 10, 10, 9, step=60, until=2)
    assert office.kinds() == ["early_warning"]
    assert "expected" not in office.messages()[0].summary


def test_a_rule_that_says_when_to_warn_is_obeyed(ledger):
    office = Foreseeing(ledger, run_finishes_within="34m", warn=0.8)
    office.days(8)
    office.play("usual", 10, 10, 9, step=60, until=2)
    assert office.kinds() == ["early_warning"]


def test_a_run_whose_tasks_nobody_hears_of_is_not_foreseen(ledger):
    office = Foreseeing(ledger, run_finishes_within="40m")
    office.days(8)
    office.begin("deaf")
    office.pass_time(31 * MINUTE, 60)
    assert office.said() == []
    office.pass_time(3 * MINUTE, 60)
    assert office.kinds() == ["early_warning"]
    assert "expected" not in office.messages()[0].summary


def test_times_of_a_run_are_kept_as_they_were_whatever_the_order_of_the_news(ledger):
    office = Foreseeing(ledger, run_finishes_within="40m")
    office.now = MIDNIGHT
    begun = office.now
    office.task("r", "t0", "noted")
    office.begin("r", at=begun - 5)
    office.now += 60
    office.task("r", "t0", "resolved")
    office.now += 10
    office.see(failed(run="r", task="t1", time=office.now, status="attempt"))
    office.task("r", "t1", "resolved", evidence={"event.duration": int(8e9)})
    office.end("r", lasted=office.now - begun + 5)
    with ledger.transaction() as connection:
        (run,) = earlier_runs(connection, "load", office.now, 5)
        assert connection.execute(schema.run_times.select()).mappings().all()[0]["succeeded"]
    assert run.begun == begun - 5
    first, second = run.tasks["t0"], run.tasks["t1"]
    assert (first.start, first.end - first.start) == (5, pytest.approx(60, abs=2))
    assert second.end - second.start == 8
