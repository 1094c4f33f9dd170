"""Acts on incidents from the command line: each by one declaration, written down, and taken back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner
from watch_office import Office, failed

from observability.cli.alerts import app
from observability.errors import ArgumentError
from observability.settings import get_settings
from observability.watch import acting
from observability.watch.acts import ACTS
from observability.watch.engine import IncidentEngine
from observability.watch.facts import Fact
from observability.watch.ledger import acts as rows
from observability.watch.ledger.database import Ledger
from observability.watch.links import read_link, sign_link
from observability.watch.notify.messages import Message
from observability.watch.rerun import send_to_airflow


@pytest.fixture
def office(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    monkeypatch.setenv("CONTRAIL_WATCH__RULES_FILE", "")
    get_settings.cache_clear()
    ledger = Ledger(get_settings().ledger_url)
    yield Office(ledger)
    ledger.close()
    get_settings.cache_clear()


def run(*arguments):
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def opened(office, **more):
    office.see(failed(time=office.now, **more))
    office.pass_time(2)
    return office.incidents()[0].id


def perform(office, act, one=None, **more):
    asked = acting.Asked(act=act, who="ann", source="cli", **more)
    one = one or office.incidents()[0]
    with office.ledger.transaction(lock=True) as connection:
        return acting.perform(office.engine, connection, one, asked, office.now)


def succeeded(run_id, time):
    return Fact(status="resolved", kind="run", provider="reconciler", time=time, dag_id="load", run_id=run_id)


def test_what_is_done_is_shown_with_who_did_it_and_undone_by_its_number(office):
    one = opened(office)
    assert run("ack", one, "--by", "ann")["state"] == "acknowledged"
    assert run("assign", one, "bob", "--by", "ann")["assigned_to"] == "bob"
    assert run("mark", one, "noise")["verdict"] == "noise"
    assert run("undo", one)["verdict"] is None  # the last one
    assert run("undo", one, "1")["state"] == "open"
    done = [(act["act"], act["who"], act["undone_by"]) for act in run("show", one)["acts"]]
    assert done[:2] == [("acknowledge", "ann", 5), ("assign", "ann", None)]
    assert "ann assigned it to bob" in CliRunner().invoke(app, ["show", one]).stdout
    with pytest.raises(ArgumentError, match="taken back already"):
        run("undo", one, "1")


def test_what_was_resolved_too_early_is_reopened_and_reminds_again(office):
    one = opened(office)
    assert run("resolve", one, "--note", "the disk was full", "--by", "ann")["state"] == "resolved"
    assert office.incidents()[0].evidence["resolved_by"] == "ann: the disk was full"
    assert run("reopen", one)["state"] == "open"
    again = office.incidents()[0]
    assert (again.resolved_at, "resolved_by" in again.evidence, again.remind_at is None) == (None, False, False)


def test_what_went_wrong_again_since_is_not_reopened(office):
    one = opened(office)
    perform(office, "resolve")
    office.now += 60
    office.see(failed(time=office.now, try_number=2))
    office.pass_time(2)
    old = next(found for found in office.incidents() if found.id == one)
    with pytest.raises(ArgumentError, match="went wrong again since"):
        perform(office, "reopen", old)


@pytest.mark.parametrize("until", ["change", "success", "1d"])
def test_a_silenced_error_is_held_back_in_later_runs_and_another_error_is_not(office, until):
    opened(office, run="r1", evidence={"error.fingerprint": "one"})
    perform(office, "silence", value=until)
    perform(office, "resolve")
    said = len(office.said())
    office.now += 60
    office.see(failed(run="r2", time=office.now, evidence={"error.fingerprint": "one"}))
    office.pass_time(5)
    assert len(office.said()) == said
    office.see(failed(run="r3", time=office.now, evidence={"error.fingerprint": "two"}))
    office.pass_time(5)
    assert len(office.said()) == said + 1


def test_a_silence_until_success_ends_with_the_next_success_and_no_other_does(office):
    for until, heard in (("success", 1), ("change", 0)):
        office.now += 1000
        office.see(failed(run=f"a-{until}", time=office.now, evidence={"error.fingerprint": until}))
        office.pass_time(2)
        one = next(found for found in office.incidents() if found.live)
        perform(office, "silence", one, value=until)
        office.now += 60
        office.see(succeeded(f"b-{until}", office.now))
        said = len(office.said())
        office.now += 60
        office.see(failed(run=f"c-{until}", time=office.now, evidence={"error.fingerprint": until}))
        office.pass_time(5)
        assert len(office.said()) - said == heard, until


def test_a_silence_of_an_error_is_listed_edited_without_losing_its_error_and_ended(office):
    one = opened(office)
    number = run("mute", one, "--until", "4h")["act_id"]
    listed = run("silences")[0]
    assert (listed["match"]["until"], listed["match"]["about"]) == ("4h", "ValueError: no")
    assert run("edit-silence", str(listed["id"]), "--until", "1d")["match"]["until"] == "4h"
    run("undo", one, str(number))
    assert run("silences") == []


@pytest.mark.parametrize("until", ["soon", "0s", "31d", "-1h"])
def test_a_silence_that_would_never_end_is_refused(office, until):
    opened(office)
    with pytest.raises(ArgumentError, match="30d at most"):
        perform(office, "silence", value=until)


def test_every_act_is_performed_by_its_name_and_taken_back_by_another_one():
    assert set(acting._DEEDS) == set(ACTS)
    assert {spec.undo for spec in ACTS.values() if spec.undo} <= set(ACTS)


def test_a_message_offers_links_that_name_its_incident_and_end(office):
    one = opened(office)
    message = office.messages()[0]
    with office.ledger.transaction(lock=True) as connection:
        key = rows.key(connection)
        assert rows.key(connection) == key
    assert message.acts == ()  # the office's links have none
    notifier = office.engine.notifier
    office.engine = IncidentEngine(replace(notifier, links=replace(notifier.links, acts=True)))
    office.now += 10
    office.see(failed("other", time=office.now))
    office.pass_time(2)
    message = office.messages()[-1]
    assert [label for label, _ in message.acts] == ["Acknowledge", "Silence this error", "Clear and rerun", "Noise"]
    link = read_link(key, message.acts[0][1].rpartition("/")[2], 72)
    assert (link.incident_id, link.act) == (message.incident_id, "acknowledge") != (one, "acknowledge")
    assert Message.from_json(json.loads(json.dumps(message.as_json()))).acts == message.acts
    with pytest.raises(ArgumentError, match="not a link"):
        read_link("another key", sign_link(key, one, "resolve"), 72)


def test_airflow_is_asked_to_clear_what_failed_in_the_last_run_that_did(office):
    opened(office)
    sent = []

    def change(method, path, body):
        sent.append((method, path, body))
        return {"task_instances": [{"task_id": "t"}, {"task_id": "t"}, {"task_id": "after"}]}

    one = replace(office.incidents()[0], last_run="scheduled__2026-01-01T00:00:00+00:00")
    assert send_to_airflow(change, "rerun", one) == "t, after"
    assert send_to_airflow(change, "stop", one) == "run scheduled__2026-01-01T00:00:00+00:00"
    assert [(method, path) for method, path, _ in sent] == [
        ("POST", "/dags/load/clearTaskInstances"),
        ("PATCH", "/dags/load/dagRuns/scheduled__2026-01-01T00%3A00%3A00%2B00%3A00"),
    ]
    with pytest.raises(ArgumentError, match="nothing to clear"):
        send_to_airflow(lambda *_: {"task_instances": []}, "rerun", one)
