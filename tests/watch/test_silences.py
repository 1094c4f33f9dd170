"""Times of a silence or a route: nights, weekdays, zones, clock changes; and the way back from a silence."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

import pytest
from typer.testing import CliRunner
from watch_office import RULES, Office, failed

from observability.cli.alerts import app
from observability.errors import ArgumentError
from observability.watch.incidents import Incident
from observability.watch.ledger import schema
from observability.watch.ledger.database import Ledger
from observability.watch.rules.config import Match, Window, matches

ONE = Incident(
    id="1", key="k", state="open", kind="task", severity="error", cause="app", reason="", certainty=3,
    first_seen=0, last_seen=0, dag_id="load", about={"owner": "ann, bob"},
)  # fmt: skip


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-07-03T21:59", False),  # Friday
        ("2026-07-03T22:00", True),
        ("2026-07-04T05:59", True),  # the night of Friday goes on
        ("2026-07-04T06:00", False),
        ("2026-07-04T22:30", False),  # the night of Saturday
        ("2026-07-03T05:00", False),  # the night of Thursday
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_began(moment, holds):
    match = Match(hours="22:00-06:00", days="fri")
    assert (matches(match, ONE, at(moment)) is None) is holds


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-03-28T20:59", False),  # Berlin, winter: 21:59
        ("2026-03-28T21:00", True),
        ("2026-03-29T03:59", True),  # summer begins in this night: 05:59
        ("2026-03-29T04:00", False),
        ("2026-10-24T20:00", True),  # summer: 22:00
        ("2026-10-25T04:59", True),  # winter begins in this night: 05:59
        ("2026-10-25T05:00", False),
    ],
)
def test_hours_are_those_of_the_rules_zone_on_both_sides_of_a_clock_change(moment, holds):
    match = Match(hours="22:00-06:00", days=["Saturday"], timezone="Europe/Berlin")
    assert (matches(match, ONE, at(moment)) is None) is holds


def test_a_day_may_end_at_24_and_a_minute_counts_to_its_end():
    match = Match(hours="18:00-24:00", days=["wed"])
    assert matches(match, ONE, at("2026-07-01T23:59:59.9")) is None
    assert matches(match, ONE, at("2026-07-02T00:00")) is not None


@pytest.fixture(params=["UTC", "Pacific/Auckland", "America/New_York"])
def host(request, monkeypatch):
    """A host in some time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("given", "begin", "end"),
    [
        ({"starts": "2026-10-25T02:30", "ends": "2026-10-25T02:45"}, "2026-10-25T00:30", "2026-10-25T01:45"),
        ({"starts": "2026-03-29T02:30", "ends": "2026-03-29T04:00"}, "2026-03-29T00:30", "2026-03-29T02:00"),
        ({"starts": "2026-03-29T01:00", "ends": "2026-03-29T02:30"}, "2026-03-29T00:00", "2026-03-29T01:30"),
        ({"starts": "2026-03-29T01:00Z", "ends": "2026-03-29T06:00+05:00"}, "2026-03-29T01:00", "2026-03-29T01:00"),
        ({"starts": "2026-01-01", "ends": "2026-01-02"}, "2025-12-31T23:00", "2026-01-01T23:00"),
    ],
    ids=["an hour that is twice", "begins in an hour that is not", "ends in one", "written with zones", "dates"],
)
def test_a_window_is_in_the_zone_of_the_rule_and_covers_both_of_an_hour_that_is_twice(given, begin, end):
    if begin == end:
        with pytest.raises(ValueError, match="before it begins"):
            Window.model_validate({"match": {"timezone": "Europe/Berlin"}, **given})
        return
    window = Window.model_validate({"match": {"dag": "load", "timezone": "Europe/Berlin"}, **given})
    assert (window.begins_at, window.ends_at) == (at(begin), at(end))


@pytest.mark.parametrize(
    ("owner", "holds"), [("ann", True), ("bob", True), ("b*", True), ("ann, bob", True), ("al", False)]
)
def test_a_dag_of_two_owners_is_each_ones(owner, holds):
    assert (matches(Match(owner=owner), ONE, 0.0) is None) is holds


@pytest.fixture
def office(home):
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    made = Office(ledger, RULES.replace("escalate: [{after: 30m, receiver: chief}]", "escalate: []"))
    made.now = time.time()
    yield made
    ledger.close()


def run(*words):
    done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_a_silence_is_listed_edited_and_ended_by_its_id(office):
    made = run("silence", "--until", "30d", "--dag", "load", "--comment", "wrong")
    assert run("silences") == [made]
    changed = run("edit-silence", str(made["id"]), "--until", "2h", "--dag", "lo*", "--comment", "better")
    assert (changed["match"], changed["comment"], changed["state"]) == ({"dag": ["lo*"]}, "better", "in force")
    assert changed["until"] < made["until"]
    office.see(failed(time=office.now))
    office.pass_time(120, step=5)
    assert office.said() == []
    assert run("unsilence", str(made["id"]))["state"] == "ended"
    assert run("silences") == []
    assert [one["id"] for one in run("silences", "--all")] == [made["id"]]
    office.pass_time(61, step=1)
    assert [kind for kind, *_ in office.said()] == ["opened"]


def test_a_reminder_that_a_silence_held_back_comes_when_a_person_ends_it(office):
    office.see(failed(time=office.now))
    office.pass_time(5)
    made = run("silence", "--until", "30d", "--dag", "load")
    office.pass_time(5 * 3600, step=30)
    assert [kind for kind, *_ in office.said()] == ["opened"]
    run("unsilence", str(made["id"]))
    office.pass_time(90, step=5)
    assert [kind for kind, *_ in office.said()] == ["opened", "reminder"]


def test_a_window_that_begins_later_may_be_moved_and_called_off(office):
    made = run("silence", "--from", "2h", "--until", "4h", "--dag", "load")
    assert made["state"] == "to come"
    assert made["from"] > datetime.fromtimestamp(office.now + 7000, timezone.utc).isoformat()
    moved = run("edit-silence", str(made["id"]), "--from", "3h")
    assert moved["from"] > made["from"]
    assert run("unsilence", str(made["id"]))["state"] == "ended"
    assert run("silences") == []


@pytest.mark.parametrize(
    "words",
    [
        ("unsilence", "7"),
        ("unsilence", "seven"),
        ("unsilence", "9" * 30),
        ("unsilence", "rules:0"),
        ("edit-silence", "1", "--until", "2020-01-01"),
        ("edit-silence", "1", "--from", "40d"),
        ("edit-silence", "1", "--dag", "a b"),
        ("silence", "--until", "soon"),
        ("silence", "--until", f"{'9' * 400}d"),
        ("silence", "--until", "2h", "--dag", "load,clean"),
        ("silence", "--until", "2026-02-30"),
    ],
)
def test_what_cannot_be_silenced_so_is_refused_and_nothing_changes(office, words):
    made = run("silence", "--until", "30d", "--dag", "load")
    with pytest.raises(ArgumentError):
        CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert run("silences") == [made]


def test_silences_of_the_rules_file_are_listed_too(home):
    rules = "silences: [{match: {dag: load}, comment: known}, {match: {dag: x}, ends: 2020-01-01}]\n"
    (home / "alerts.yaml").write_text(RULES + rules)
    found = run("silences")
    assert [(one["id"], one["state"], one["match"]) for one in found] == [("rules:0", "in force", {"dag": ["load"]})]
    assert [one["id"] for one in run("silences", "--all")] == ["rules:0", "rules:1"]


def test_a_silence_that_an_older_version_wrote_is_obeyed_as_it_stands(office):
    row = {"kind": "silence", "matchers": {"dag": ["load, x"], "colour": "red"}, "starts": office.now - 1,
           "ends": office.now + 999, "who": "me", "comment": ""}  # fmt: skip
    with office.ledger.transaction(lock=True) as connection:
        connection.execute(schema.silences.insert().values(**row))
    office.see(failed(time=office.now))
    office.pass_time(5)
    assert [kind for kind, *_ in office.said()] == ["opened"]
    assert run("silences")[0]["match"] == {"dag": ["load, x"]}
