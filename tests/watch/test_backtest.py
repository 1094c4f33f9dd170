"""A rules file is tried on the runs of the past: what would have been sent, when, to whom, and what it would change."""

from __future__ import annotations

import json
import time

import pytest
from test_forecasts import DAY, HOUR, MIDNIGHT, MINUTE, past
from typer.testing import CliRunner

from benchmarks.backtest import replayed
from observability.cli import alerts
from observability.settings import get_settings
from observability.watch.backtest import backtest, difference
from observability.watch.ledger.database import Ledger
from observability.watch.rules.config import parse_rules
from observability.watch.run_times import RunTimes, save_runs

RULES = """
channels: {{file: {{type: file}}, log: {{type: log}}}}
receivers: {{everybody: {{channels: [file]}}, ann: {{channels: [log]}}}}
routes: [{{match: {{owner: ann}}, receiver: ann}}, {{receiver: everybody}}]
deadlines: [{deadline}]
{more}
"""


def rules(deadline="", more=""):
    return parse_rules(RULES.format(deadline=deadline, more=more), "rules")


def run(day, begin=6.0, minutes=30.0, *, good=True, name=None):
    """A run of one task, from an hour of a day."""
    begun = MIDNIGHT + day * DAY + begin * HOUR
    one = RunTimes("load", name or f"r{day}-{begin}", begun, begun + minutes * MINUTE, good)
    one.add("t", begun, begun + minutes * MINUTE)
    return one


def replay(ledger, found, asked, days=10, dags=None):
    with ledger.transaction(lock=True) as connection:
        save_runs(connection, found)
    return again(ledger, asked, days, dags)


def again(ledger, asked, days=10, dags=None):
    with ledger.transaction() as connection:
        return backtest(connection, asked, dags or {}, MIDNIGHT, MIDNIGHT + days * DAY)


def said(result):
    return [(one.kind, one.rule, round((one.at - MIDNIGHT) / HOUR, 2)) for one in result.sent]


def counted(result):
    (one,) = result.deadlines
    return one.judged, one.missed, one.warned, one.in_vain


def test_a_streak_of_failed_runs_is_one_incident_that_the_next_success_ends(ledger):
    result = replay(ledger, [run(0), run(1, good=False), run(2, good=False), run(3)], rules())
    assert said(result) == [("opened", "run failed", 30.5), ("resolved", "run failed", 78.5)]
    assert result.sent[0].channels == ("file",)


def test_it_goes_to_who_would_hear_of_it_with_the_route(ledger):
    result = replay(ledger, [run(1, good=False)], rules(), dags={"load": {"owner": "ann"}})
    (one,) = result.sent
    assert (one.receivers, one.channels, one.why) == (("ann",), ("log",), "route 1 (ann): matches")


def test_a_run_that_takes_too_long_is_opened_when_due_and_resolved_when_done(ledger):
    late = "{name: soon, dag: load, run_finishes_within: 1h, warn: 1}"
    result = replay(ledger, [run(0), run(1, minutes=90)], rules(late))
    assert said(result) == [("opened", "soon", 31.0), ("resolved", "soon", 31.5)]
    assert counted(result) == (2, 1, 0, 0)


def test_warnings_in_vain_are_counted(ledger):
    late = "{name: soon, dag: load, run_finishes_within: 1h, warn: 0.8}"
    result = replay(ledger, [run(0), run(1, minutes=55), run(2, minutes=70)], rules(late))
    assert counted(result) == (3, 1, 2, 1)


def test_a_day_by_the_clock_is_missed_by_a_late_run_and_by_none(ledger):
    ready = '{name: ready, dag: load, run_finishes_by: "09:00", warn: 1, days: mon-fri}'
    result = replay(ledger, [run(0), run(1, begin=10), run(3)], rules(ready), days=4)
    assert said(result) == [("opened", "ready", 33.0), ("resolved", "ready", 34.5), ("opened", "ready", 57.0),
                            ("resolved", "ready", 78.5)]  # fmt: skip
    assert counted(result) == (4, 2, 0, 0)


@pytest.mark.parametrize("condition", ["run_finishes_by", "starts_by"])
def test_a_holiday_is_not_missed(ledger, condition):
    asked = "{name: ready, dag: load, " + condition + ': "09:00", warn: 1, holidays: [2026-01-06]}'
    result = replay(ledger, [run(0), run(2)], rules(asked), days=3)
    assert counted(result) == (2, 0, 0, 0)


def test_what_never_began_and_what_did_not_succeed_for_long(ledger):
    asked = ('{name: begins, dag: load, starts_by: "07:00", warn: 1}, '
             "{name: fresh, dag: load, success_within: 26h, warn: 1}")  # fmt: skip
    result = replay(ledger, [run(0), run(2)], rules(asked), days=3)
    assert {one.name: (one.judged, one.missed) for one in result.deadlines} == {"begins": (3, 1), "fresh": (1, 1)}


def test_a_failure_that_was_told_needs_no_deadline(ledger):
    late = "{name: soon, dag: load, run_finishes_within: 1h, warn: 1}"
    result = replay(ledger, [run(0), run(1, minutes=30, good=False), run(2)], rules(late))
    assert {one.rule for one in result.sent} == {"run failed"}


def test_a_run_slower_than_usual_is_found_and_a_usual_one_is_not(ledger):
    runs = [run(day, minutes=30 + day % 3) for day in range(20)] + [run(20, minutes=90)]
    result = replay(ledger, runs, rules("{name: usual, dag: load, slower_than_usual: true, warn: 1}"), days=22)
    assert counted(result)[1] == 1
    assert [one.kind for one in result.sent] == ["opened", "resolved"]


def test_a_forecast_warns_in_the_past_as_it_would_have_then(ledger):
    runs = list(past(12, hour=6))
    hangs = runs[-1]
    hangs.tasks["load"].end += 40 * MINUTE
    hangs.ended += 40 * MINUTE
    asked = rules("{name: soon, dag: load, run_finishes_within: 45m}")
    result = replay(ledger, runs, asked, days=13)
    assert [one.kind for one in result.sent] == ["early_warning", "opened", "resolved"]
    assert "load takes" in result.sent[0].reason


def test_silences_of_the_rules_hold_and_what_is_still_wrong_after_them_is_told_then(ledger):
    window = "silences: [{match: {dag: load}, starts: 2026-01-05T00:00:00Z, ends: 2026-01-08T00:00:00Z}]"
    assert said(replay(ledger, [run(1, good=False)], rules(more=window))) == [("opened", "run failed", 72.0)]
    assert again(ledger, rules(more=window), days=2).sent == ()


def test_what_is_not_replayed_is_named(ledger):
    result = replay(ledger, [run(0)], rules("{name: rows, dag: load, rows_at_least: 5}"))
    assert result.left_out == ("deadline rows: rows_at_least is not replayed",)
    assert result.deadlines == ()


def test_the_same_past_and_rules_give_the_same_byte_for_byte_and_others_their_difference(ledger):
    runs = [run(day, minutes=30 + 20 * (day % 3), good=day % 4 != 3) for day in range(8)]
    old = rules("{name: soon, dag: load, run_finishes_within: 1h, warn: 1}")
    new = rules("{name: soon, dag: load, run_finishes_within: 40m, warn: 1}")
    before = replay(ledger, runs, old)
    assert repr(again(ledger, old)) == repr(before)
    more, fewer = difference(again(ledger, new), before)
    assert {one.rule for one in more} == {"soon"}
    assert {(one.kind, one.rule) for one in fewer} <= {("opened", "soon")}
    assert difference(before, before) == ([], [])


def test_everything_that_was_planted_in_many_dags_is_found():
    _seconds, found, planted = replayed(8)
    assert {one.name: one.missed for one in found.deadlines}["takes-long"] == planted["late"]
    assert {one.name: one.missed for one in found.deadlines}["begins"] == planted["absent"]
    assert sum(one.rule == "run failed" and one.kind == "opened" for one in found.sent) == planted["failed"]


@pytest.fixture
def asked(tmp_path, monkeypatch):
    get_settings.cache_clear()
    monkeypatch.setenv("CONTRAIL_WATCH__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("CONTRAIL_WATCH__RULES_FILE", str(tmp_path / "alerts.yaml"))
    (tmp_path / "alerts.yaml").write_text(RULES.format(deadline="", more=""))
    (tmp_path / "new.yaml").write_text(
        RULES.format(deadline="{name: soon, dag: load, run_finishes_within: 10m, warn: 1}", more="")
    )
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    with ledger.transaction(lock=True) as connection:
        begun = time.time() - 5 * HOUR
        one = RunTimes("load", "r1", begun, begun + 30 * MINUTE, succeeded=True)
        save_runs(connection, [one])
    ledger.close()

    def ask(*words):
        done = CliRunner().invoke(alerts.app, ["backtest", *words])
        assert done.exit_code == 0, done.output
        return done.output

    yield ask
    get_settings.cache_clear()


def test_the_command_shows_the_difference_to_the_rules_in_force(asked, tmp_path):
    shown = asked(str(tmp_path / "new.yaml"), "--since", "1d")
    assert "2 more (+), 0 fewer (-)" in shown
    assert "opened  load (soon)" in shown
    told = json.loads(asked(str(tmp_path / "new.yaml"), "--since", "1d", "--json"))
    assert [one["kind"] for one in told["difference"]["only_new"]] == ["opened", "resolved"]
    assert told["deadlines"][0] | {"missed": 1, "kept": 0.0} == told["deadlines"][0]
    assert json.loads(asked("--json"))["sent"] == []
