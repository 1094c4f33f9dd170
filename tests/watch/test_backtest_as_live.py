"""The backtest beside the engine: on the same random history both say the same, in the same order."""

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from test_by_the_clock import at
from test_deadlines import HOUR, Clockwork

from observability.watch.backtest import backtest
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
    {"starts_by": "06:00"},
    {"run_finishes_within": "3h"},
    {"success_within": "20h"},
)
histories = st.lists(st.tuples(st.integers(1, 14), st.integers(1, 14)), min_size=DAYS, max_size=DAYS)
"""For each day the hour at which its run begins, and how many steps it lasts: it ends on the same day."""


def lived(ledger, rule, history):
    """Give from when, until when, and the kinds that the engine sent while the history went by."""
    office = Clockwork(ledger, rule, dags={"load": {}})
    office.now = start = at(0) - 2 * HOUR
    office.begin("r0")
    office.end("r0", lasted=60)
    office.look()
    steps = []
    for day, (hour, lasts) in enumerate(history, 1):
        begin, lasted = (
            at(hour, day=day) + 420 * day,
            lasts * STEP_S + 60,
        )  # so that nothing ends at the very moment it is due
        steps += [(begin, 0, f"r{day}", 0.0), (begin + lasted, 1, f"r{day}", lasted)]
    for moment, ends, name, lasted in sorted(steps):
        office.pass_time(max(0.0, moment - office.now), step=STEP_S)
        office.now = max(office.now, moment)
        office.end(name, lasted=lasted, at=moment) if ends else office.begin(name, at=moment)
        office.look()
    office.pass_time(max(0.0, at(23, day=DAYS) - office.now), step=STEP_S)
    return start, office.now, [kind for kind in office.kinds() if kind in {"opened", "resolved"}]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: "-".join(map(str, condition.values())))
@settings(
    deadline=None,
    max_examples=3,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(histories)
@example([(8, 8), (5, 13), (14, 11)])
@example([(5, 12), (3, 8), (12, 11)])
def test_a_replay_says_what_was_said_live(tmp_path_factory, condition, history):
    rule = {"name": "due", "dag": "load", "warn": 1, **condition}
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('replay') / 'ledger.db'}")
    try:
        since, until, live = lived(ledger, rule, history)
        rules = parse_rules(RULES, "rules").model_copy(update={"deadlines": [Deadline.model_validate(rule)]})
        with ledger.transaction() as connection:
            replay = backtest(connection, rules, {}, since, until)
    finally:
        ledger.close()
    assert [one.kind for one in replay.sent] == live
