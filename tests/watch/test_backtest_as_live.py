"""The backtest beside the engine: on the same random history both say the same, in the same order."""

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from test_by_the_clock import at
from test_deadlines import HOUR, Clockwork
from watch_office import failed, run_ended

from observability.watch.backtest import backtest
from observability.watch.facts import Fact
from observability.watch.ledger.database import Ledger
from observability.watch.rules.config import Deadline, parse_rules

STEP_S = 1800.0
DAYS = 3
RULES = """
channels: {file: {type: file}}
receivers: {everybody: {channels: [file]}}
routes: [{receiver: everybody}]
"""
CONDITIONS = (
    {"run_finishes_by": "09:00"},
    {"run_finishes_by": "05:00", "day_begins": "18:00", "timezone": "Australia/Sydney"},
    {"run_finishes_by": "09:00", "holidays": ["2026-07-02"]},
    {"run_finishes_by": "09:00", "logical_day": -1},
    {"run_finishes_by": "09:00", "partition": "%Y-%m-%d"},
    {"task_finishes_by": "09:00", "task": "t"},
    {"starts_by": "06:00"},
    {"run_finishes_within": "3h"},
    {"success_within": "20h"},
    {"slower_than_usual": True, "history_least": 3},
    {"fails_more_than_usual": True, "history_least": 3},
    {"ready_by": "09:00", "parts": [{"dag": "load"}]},
)
WITH_WARNING = {"run_finishes_by", "task_finishes_by", "starts_by", "run_finishes_within", "success_within", "ready_by"}
BY_DURATION = ({"run_finishes_within": "3h"}, {"slower_than_usual": True, "history_least": 3})
"""Those of which each run has more time by a pause."""
runs = st.tuples(
    st.integers(0, 47 * DAYS),
    st.integers(0, 60),
    st.sampled_from(("good", "good", "good", "failed", "backfill", "never ends")),
    st.integers(-2, 1),
)
"""A run: the step at which it begins, how many steps it lasts, how it ends, and of which day it is."""
histories = st.lists(runs, max_size=5)
pauses = st.lists(st.tuples(st.integers(0, 47 * DAYS), st.integers(1, 60)), max_size=3)
"""The steps at which the DAG is paused, and how many steps that lasts."""


class Lived(Clockwork):
    """An office that hears of runs as Airflow tells of them, and looks when something may have changed."""

    def hear(self, name, begun, ended, ends_as, day):
        """Give the facts of a run with its task, each with its moment."""
        logical = f"2026-07-{day:02}T00:00:00+00:00" if day > 0 else f"2026-06-{30 + day:02}T00:00:00+00:00"
        kind = "backfill" if ends_as == "backfill" else "manual"
        about = {"run_type": kind}
        evidence = {"airflow.logical_date": logical, "airflow.partition_key": logical[:10]}
        one = {"dag_id": "load", "run_id": name, "about": about, "evidence": evidence}
        task = {"kind": "task", "dag_id": "load", "run_id": name, "task_id": "t", "try_number": 1}
        yield begun, (Fact(kind="run", status="noted", time=begun, **one), Fact(status="noted", time=begun, **task))
        if ends_as == "failed":
            lasted = {**evidence, "event.duration": int((ended - begun) * 1e9)}
            over = run_ended("firing", run=name, time=ended, evidence=lasted, about=about)
            yield ended, (failed(run=name, time=ended), over)
        elif ends_as != "never ends":
            lasted = {"event.duration": int((ended - begun) * 1e9)}
            good = run_ended("resolved", run=name, time=ended, evidence={**evidence, **lasted}, about=about)
            yield ended, (Fact(status="resolved", time=ended, **task), good)


def lived(ledger, rule, history, pauses=(), also=()):
    """Give from when, until when, and the kinds that the engine sent while the history went by.

    ``also`` are moments at which it looks besides those of the rules in CONDITIONS.
    """
    dags = {"load": {}}
    office, start, until = Lived(ledger, rule, dags=dags), at(0) - 2 * HOUR, at(23, day=DAYS)
    paused = [(start + first * STEP_S, start + (first + lasts) * STEP_S) for first, lasts in pauses]
    told = [*office.hear("r0", start, start + STEP_S, "good", 0)]
    looks = {start + step * 6 * STEP_S for step in range(int((until - start) // (6 * STEP_S)) + 1)}
    looks |= {at(0, day=day) + hour * HOUR for day in range(1, DAYS + 1) for hour in (5.8, 6, 7.2, 9, 16.8, 19)}
    for number, (step, lasts, ends_as, back) in enumerate(history, 1):
        begun = start + step * STEP_S
        day = 1 + int((begun - at(0)) // (24 * HOUR)) + back
        told += office.hear(f"r{number}", begun, begun + lasts * STEP_S, ends_as, day)
    told.sort(key=lambda one: one[0])
    for moment, _ in told:
        looks |= {moment + hours * HOUR for hours in (0, 2.4, 3, 16, 20)}
    looks |= {moment for pause in paused for moment in pause} | set(also)
    for moment in sorted(one for one in looks if start <= one <= until):
        office.now = moment
        dags["load"]["paused"] = any(first <= moment < last for first, last in paused)
        while told and told[0][0] <= moment:
            office.see(*told.pop(0)[1])
        office.look()
    return start, until, [kind for kind in office.kinds() if kind in {"opened", "early_warning", "resolved"}]


def said_alike(make_ledger, condition, history, warn, pauses=()):
    rule = {"name": "due", "dag": "load", "warn": warn, **condition}
    if "parts" in condition:
        del rule["dag"]
    if not WITH_WARNING & condition.keys():
        del rule["warn"]
    live, sent = both(make_ledger(), rule, history, pauses)
    if pauses or "slower_than_usual" in condition:  # the moments at which it looks are not those of every rule
        live, sent = both(make_ledger(), rule, history, pauses, [one.at for one in sent])
    assert [one.kind for one in sent] == live


def both(ledger, rule, history, pauses, also=()):
    try:
        since, until, live = lived(ledger, rule, history, pauses, also)
        rules = parse_rules(RULES, "rules").model_copy(update={"deadlines": [Deadline.model_validate(rule)]})
        with ledger.transaction() as connection:
            return live, backtest(connection, rules, {}, since, until).sent
    finally:
        ledger.close()


@pytest.fixture
def ledgers(tmp_path_factory):
    """Make a ledger of its own for each history."""
    return lambda: Ledger(f"sqlite:///{tmp_path_factory.mktemp('replay') / 'ledger.db'}")


BOTH = {
    "deadline": None,
    "derandomize": True,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}
EACH = pytest.mark.parametrize(
    "condition", CONDITIONS, ids=lambda condition: "-".join(f"{name} {value}" for name, value in condition.items())
)


@EACH
@settings(max_examples=3, **BOTH)
@given(histories, st.sampled_from((1, 0.8)))
@example([(16, 6, "good", 0), (20, 60, "failed", 0), (64, 2, "good", 0), (66, 6, "failed", -1)], 1)
@example([(2, 6, "good", -1), (44, 12, "failed", 0), (60, 24, "never ends", 0), (90, 12, "backfill", 0)], 0.8)
def test_a_replay_says_what_was_said_live(ledgers, condition, history, warn):
    said_alike(ledgers, condition, history, warn)


@pytest.mark.parametrize("condition", BY_DURATION, ids=lambda condition: next(iter(condition)))
@settings(**{**BOTH, "phases": [Phase.explicit]})
@given(histories, st.sampled_from((1, 0.8)), pauses)
@example([(11, 41, "good", -1), (11, 41, "good", -1), (86, 55, "good", 0)], 0.8, [])
@example([(20, 60, "good", 0), (90, 40, "never ends", 0)], 0.8, [(30, 9), (96, 3)])
def test_a_replay_says_what_was_said_live_of_a_dag_that_was_paused(ledgers, condition, history, warn, pauses):
    said_alike(ledgers, condition, history, warn, pauses)


@pytest.mark.slow
@EACH
@settings(max_examples=150, **BOTH)
@given(histories, st.sampled_from((1, 0.8)))
def test_a_replay_says_what_was_said_live_in_many_histories(ledgers, condition, history, warn):
    said_alike(ledgers, condition, history, warn)


@pytest.mark.slow
@EACH
@settings(max_examples=50, **BOTH)
@given(histories, st.sampled_from((1, 0.8)), pauses)
def test_a_replay_says_what_was_said_live_of_pauses_in_many_histories(ledgers, condition, history, warn, pauses):
    said_alike(ledgers, condition, history, warn, pauses)
