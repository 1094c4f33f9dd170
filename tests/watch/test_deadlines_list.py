"""Deadlines that are due, missed and kept: outcomes in the ledger, their events, and ``contrail deadlines list``."""

import json

import pytest
from test_by_the_clock import at, run
from test_deadlines import HOUR, Clockwork
from typer.testing import CliRunner

from observability.cli.deadlines import app
from observability.settings import get_settings
from observability.watch.ledger import pending_events
from observability.watch.ledger.database import Ledger, write_cursor
from observability.watch.outcomes import KEPT, MISSED, UPCOMING, outcomes

BY = {"name": "report", "dag": "load", "run_finishes_by": "09:00"}
WITHIN = {"name": "quick", "dag": "load", "run_finishes_within": "2h"}


def office_at(ledger, moment, *deadlines):
    office = Clockwork(ledger, *deadlines, dags={"load": {}})
    office.now = moment
    office.look()
    return office


def states(office):
    with office.ledger.transaction() as connection:
        return [(one.name, one.occasion, one.state) for one in outcomes(connection, 0)]


def emitted(office):
    """The events about deadlines that wait to be emitted, by their time."""
    with office.ledger.transaction() as connection:
        found = pending_events.due(connection, office.now + 1).values()
    return [(one.action, one.deadline) for one in found if one.action in {"deadline.upcoming", "deadline.kept"}]


def test_each_day_is_kept_or_missed_once(ledger):
    office = office_at(ledger, at(1), BY)
    run(office, "r1", at(7), at(8))
    office.pass_time(at(12, day=2) - office.now, step=900)
    run(office, "r2", office.now, office.now + HOUR)
    office.pass_time(at(3, day=3) - office.now, step=900)
    days = [("report", "2026-07-01", KEPT), ("report", "2026-07-02", MISSED), ("report", "2026-07-03", UPCOMING)]
    assert states(office) == days
    told = emitted(office)
    assert told.count(("deadline.upcoming", "report")) == 3
    assert told.count(("deadline.kept", "report")) == 1


def test_a_watcher_that_was_away_at_the_due_time_judges_by_when_it_was_done(ledger):
    for day, done, expected in ((1, 8, KEPT), (4, 10, MISSED)):
        office = office_at(ledger, at(1, day=day), BY | {"name": f"report-{day}"})
        office.now = at(12, day=day)
        office.begin(f"r{day}", at=at(7, day=day))
        office.end(f"r{day}", at=at(done, day=day), lasted=HOUR)
        office.look()
        assert (f"report-{day}", f"2026-07-0{day}", expected) in states(office)


def test_a_run_with_a_limit_is_upcoming_then_kept_or_missed(ledger):
    office = office_at(ledger, at(1), WITHIN)
    office.begin("r1")
    office.pass_time(HOUR, step=600)
    assert states(office) == [("quick", "r1", UPCOMING)]
    office.end("r1", lasted=HOUR)
    office.begin("r2")
    office.pass_time(3 * HOUR, step=600)
    assert states(office) == [("quick", "r1", KEPT), ("quick", "r2", MISSED)]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    get_settings.cache_clear()
    rules = {
        "channels": {"file": {"type": "file"}}, "receivers": {"all": {"channels": ["file"]}},
        "routes": [{"receiver": "all"}],
        "deadlines": [{"name": "late", "dag": "load", "run_finishes_within": "1h"},
                      {"name": "fine", "dag": "load", "run_finishes_within": "5h", "owner": "finance"}],
    }  # fmt: skip
    (tmp_path / "alerts.yaml").write_text(json.dumps(rules))
    yield rules["deadlines"]
    get_settings.cache_clear()


@pytest.fixture
def listed(home, monkeypatch):
    """A ledger in which one run is two hours old, and another ended in time."""
    ledger = Ledger(get_settings().ledger_url)
    office = office_at(ledger, at(1), *home)
    office.begin("r0")
    office.end("r0", lasted=60)
    office.begin("r1")
    office.pass_time(2 * HOUR, step=600)
    with ledger.transaction() as connection:
        write_cursor(connection, "reconcile", {"dags": {"load": {"owner": "ann"}}})
    ledger.close()
    monkeypatch.setattr("observability.cli.deadlines.time.time", lambda: office.now)


def call(*arguments):
    result = CliRunner().invoke(app, ["list", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.usefixtures("listed")
def test_the_list_is_by_urgency_with_the_share_kept():
    found = [(one["state"], one["name"], one["occasion"], one["kept"]) for one in json.loads(call("--json"))]
    assert found == [
        ("missed", "late", "r1", 0.5), ("upcoming", "fine", "r1", 1.0), ("kept", "late", "r0", 0.5),
        ("kept", "fine", "r0", 1.0),
    ]  # fmt: skip
    assert "50.0% of 2" in call()


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (("--state", "missed"), ["late"]),
        (("--owner", "finance"), ["fine", "fine"]),
        (("--name", "f*", "--state", "upcoming"), ["fine"]),
        (("--dag", "other"), []),
    ],
)
def test_the_list_is_filtered(asked, names):
    assert [one["name"] for one in json.loads(call("--json", *asked))] == names


@pytest.mark.usefixtures("listed")
def test_looking_at_the_list_changes_nothing_in_the_ledger():
    before = Ledger(get_settings().ledger_url)
    with before.transaction() as connection:
        rows = [connection.exec_driver_sql("select name, value from contrail_cursors order by name").all()]
    call()
    with before.transaction() as connection:
        rows.append(connection.exec_driver_sql("select name, value from contrail_cursors order by name").all())
    before.close()
    assert rows[0] == rows[1]


@pytest.mark.usefixtures("home")
def test_without_anything_due_the_list_says_so():
    assert "Nothing is due" in call()
    assert CliRunner().invoke(app, ["list", "--state", "lost"]).exit_code != 0
