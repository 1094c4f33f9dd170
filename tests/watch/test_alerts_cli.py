"""The commands, as a person and a machine use them."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import update
from typer.testing import CliRunner
from watch_office import Office, failed

from observability.cli.alerts import app, moment_of
from observability.doctor.link import Broken
from observability.doctor.notifications import LINKS
from observability.errors import ArgumentError, RulesError
from observability.settings import get_settings
from observability.watch.ledger import schema
from observability.watch.ledger.database import Ledger, write_cursor
from observability.watch.notify.outbox import ChannelWorker
from observability.watch.rules.config import ChannelSpec
from observability.watch.rules.in_force import keep_rules


@pytest.fixture
def office(home):
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    made = Office(ledger)
    made.now = time.time()
    yield made
    ledger.close()


def run(*arguments, status=0):
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == status, done.output
    return done.output


def parsed(*arguments):
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def deliver(office, home):
    worker = ChannelWorker(
        "file", ChannelSpec(type="file"), office.ledger, None, home,
        fallback=None, report=lambda _fact: None, emit=lambda _event: None,
    )  # fmt: skip
    while worker.step(time.time() + 60):
        pass


def told(office, home):
    office.see(failed(time=office.now, map_index=3, about={"owner": "ann"}))
    office.pass_time(5)
    deliver(office, home)


def test_each_notification_is_an_object_with_what_it_is_about(office, home):
    told(office, home)
    found = parsed("sent", "--since", "1h")
    assert len(found) == 1
    wanted = ("dag_id", "task_id", "run_id", "map_index", "kind", "cause", "severity", "channel")
    assert {name: found[0][name] for name in wanted} == {
        "dag_id": "load", "task_id": "t", "run_id": "r1", "map_index": 3, "kind": "opened", "cause": "app",
        "severity": "error", "channel": "file",
    }  # fmt: skip
    assert found[0]["time"].endswith("Z")


def test_what_was_promised_is_in_each_object_and_in_the_same_words(office, home):
    told(office, home)
    assert {"dag_id", "task_id", "run_id", "map_index", "kind", "cause", "severity", "channel", "time"} <= parsed(
        "sent"
    )[0].keys()


def test_what_waited_for_its_channel_was_sent_when_it_arrived(office, home):
    office.see(failed(time=office.now))
    office.pass_time(5)
    with office.ledger.transaction() as connection:
        connection.execute(update(schema.outbox).values(created=time.time() - 7200))
    assert parsed("sent", "--since", "1d") == []
    deliver(office, home)
    assert [one["kind"] for one in parsed("sent", "--since", "10m")] == ["opened"]


def test_the_time_is_a_span_a_date_or_an_iso_moment(office, home):
    told(office, home)
    now = datetime.now(timezone.utc)
    sooner, later = now - timedelta(hours=1), now + timedelta(hours=1)
    for since in (
        "1h",
        "2d",
        "90",
        sooner.isoformat(),
        sooner.strftime("%Y-%m-%dT%H:%M:%SZ"),
        sooner.strftime("%Y-%m-%d"),
    ):
        assert len(parsed("sent", "--since", since)) == 1, since
    for since in (later.isoformat(), (now + timedelta(days=2)).strftime("%Y-%m-%d")):
        assert parsed("sent", "--since", since) == [], since


def test_no_name_is_markup_or_acts_on_the_terminal(office, home):
    nasty = "[/red] [bold]x[/bold] :boom: \x1b[31m\x07"
    office.see(failed(time=office.now, reason=nasty, task=nasty, about={"owner": nasty}))
    office.pass_time(5)
    deliver(office, home)
    for shown in (run("list"), run("sent"), run("show", parsed("list")[0]["id"])):
        assert "\x1b" not in shown
        assert "\x07" not in shown
    assert "[/red]" in run("list").replace("\n", "")


def test_nothing_was_sent_is_an_empty_list(office):
    assert parsed("sent", "--since", "1h") == []
    assert parsed("list") == []
    assert "Nothing" in run("sent")


def test_an_incident_is_listed_shown_taken_and_resolved(office, home):
    told(office, home)
    incident = parsed("list")[0]
    assert (incident["state"], incident["owner"], incident["count"]) == ("open", "ann", 1)
    shown = parsed("show", incident["id"][:6])
    assert shown["notifications"][0]["state"] == "sent"
    assert parsed("ack", incident["id"], "--by", "bob")["acknowledged_by"] == "bob"
    assert parsed("resolve", incident["id"])["state"] == "resolved"
    assert parsed("list") == []
    assert parsed("list", "--all")[0]["state"] == "resolved"
    deliver(office, home)
    assert [one["kind"] for one in parsed("sent")] == ["opened", "resolved"]


def test_an_incident_that_is_not_there_is_said(office):
    done = CliRunner().invoke(app, ["show", "nothing"])
    assert isinstance(done.exception, ArgumentError)
    assert "alerts list" in str(done.exception)


def test_a_silence_holds_back_until_its_end(office):
    said = parsed("silence", "--until", "2h", "--dag", "load", "--comment", "known")
    assert said["match"] == {"dag": ["load"]}
    office.see(failed(time=office.now))
    office.pass_time(60)
    assert office.said() == []
    assert parsed("silences")[0]["comment"] == "known"
    assert "known" in parsed("list")[0]["inhibited_by"]


def test_a_silence_must_end_after_it_begins(office):
    done = CliRunner().invoke(app, ["silence", "--until", "2020-01-01T00:00:00Z"])
    assert isinstance(done.exception, ArgumentError)


def test_explain_says_who_and_why(office):
    said = parsed("explain", "load", "--cause", "oom", "--owner", "ann")
    assert (said["dag_id"], said["cause"], said["owner"], said["channels"]) == ("load", "oom", "ann", ["file"])
    assert said["why"]


def test_a_test_that_nobody_delivers_fails_and_says_so(office):
    assert "Is the watcher running?" in CliRunner().invoke(app, ["test", "--wait", "0.2"]).output


def test_the_rules_in_force_are_checked(office):
    assert "no mistakes" in run("check")


def test_a_deadline_of_a_dag_that_airflow_has_not_is_named_with_the_one_that_is_meant(office, home):
    rules = """
channels: {file: {type: file}}
receivers: {all: {channels: [file]}}
routes: [{receiver: all}]
deadlines:
  - {name: soon, dag: sales_dialy, run_finishes_within: 1h}
  - {name: each, dag: "sales_*", run_finishes_within: 1h}
  - {name: report, ready_by: "09:00", parts: [{dag: sales_daily}, {dag: zzz}, {asset: "s3://b/x"}]}
"""
    (home / "alerts.yaml").write_text(rules)
    assert "knows no DAG" not in run("check")
    with office.ledger.transaction(lock=True) as connection:
        write_cursor(connection, "reconcile", {"dags": {"sales_daily": {}}})
    (home / "watch.heartbeat").write_text(json.dumps({"pid": 1, "time": time.time()}))
    said = run("check")
    assert "deadlines.0.dag of soon: Airflow knows no DAG 'sales_dialy'; is 'sales_daily' meant?" in said
    assert "deadlines.2.parts.1.dag of report: Airflow knows no DAG 'zzz'" in said
    assert said.count("knows no DAG") == 2
    link = next(one for one in LINKS if one.name == "deadlines")
    with pytest.raises(Broken, match=r"sales_dialy.*zzz"):
        link.look(get_settings())


BROKEN = "routes: ["


def test_while_the_rules_are_broken_incidents_are_listed_taken_and_resolved_and_silenced(office, home):
    office.see(failed())
    office.pass_time(5)
    (home / "alerts.yaml").write_text(BROKEN)
    (incident,) = parsed("list")
    run("ack", incident["id"])
    run("silence", "--dag", "x", "--until", "1h")
    run("silences")
    said = run("resolve", incident["id"])
    assert "alerts.yaml" in said
    assert parsed("list") == []
    assert isinstance(CliRunner().invoke(app, ["check"]).exception, RulesError)


def test_while_the_rules_are_broken_those_in_force_before_are_used(office, home):
    kept = "channels: {kept: {type: file}}\nreceivers: {all: {channels: [kept]}}\nroutes: [{receiver: all}]\n"
    with office.ledger.transaction(lock=True) as connection:
        keep_rules(connection, kept)
    (home / "alerts.yaml").write_text(BROKEN)
    done = CliRunner().invoke(app, ["explain", "x", "--json"])
    assert json.loads(done.stdout)["channels"] == ["kept"]
    assert "the rules that were in force before are used" in done.stderr


@pytest.mark.parametrize(
    ("text", "moment"),
    [("10m", 400.0), ("2h", -6200.0), ("1970-01-01T00:01:00Z", 60.0), ("1970-01-01T01:00:00+01:00", 0.0), ("42", 42.0)],
)
def test_moments_in_the_forms_that_people_write(text, moment):
    assert moment_of(text, 1000.0) == moment


def test_a_moment_that_is_none_is_said():
    with pytest.raises(ArgumentError, match="2026-01-31"):
        moment_of("soon", 0.0)
