"""The record of a real watcher, played again: the same messages, byte for byte."""

from __future__ import annotations

import shutil
import time
from datetime import datetime, timezone

import orjson
import pytest
from typer.testing import CliRunner

from benchmarks.watched import Watched, failure
from observability.cli.alerts import app
from observability.events import DagRunStarted, DagRunSucceeded, Identity
from observability.watch.recording import open_recording
from observability.watch.replayed import replay

RULES = """
timing: {storm_messages: 8, flap_messages: 8}
channels:
  file: {type: file, rate_per_minute: 1000000}
  chief: {type: file, path: chief.jsonl, rate_per_minute: 1000000}
receivers:
  everybody: {channels: [file], escalate: [{after: 2s, receiver: chief}]}
  chief: {channels: [chief]}
routes: [{receiver: everybody}]
deadlines: [{name: soon, dag: slow, run_finishes_within: 4s, warn: 0.2}]
"""
OTHER_RULES = RULES.replace("everybody: {channels: [file]", "everybody: {channels: [file, chief]")


def of_run(kind, dag, run, **more):
    about = Identity(dag_id=dag, run_id=run, owner="bench", run_type="manual")
    return kind(identity=about, time=datetime.now(timezone.utc), **more).document()


def wait_for(watched, kind):
    until = time.monotonic() + 60
    while not any(one["kind"] == kind for one in watched.said()):
        assert time.monotonic() < until, f"no {kind}; see {watched.home}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A watcher that was killed in the midst of its work and went on, and its record."""
    home = tmp_path_factory.mktemp("recorded")
    record = home / "record"
    watched = Watched(home / "home", rules=RULES, more={"CONTRAIL_WATCH__RECORD": str(record)})
    watched.start()
    try:
        watched.wait_until_watching()
        watched.report(of_run(DagRunStarted, "slow", "s1"))
        watched.report(failure("load", "r1"))
        wait_for(watched, "early_warning")
        watched.report(of_run(DagRunSucceeded, "load", "r2", duration_ns=1_000_000_000))
        wait_for(watched, "resolved")
        watched.kill()
        for number in range(20):
            watched.report(failure(f"storm_{number}", f"n{number}"))
        watched.start()
        wait_for(watched, "digest")
    finally:
        watched.stop()
    return watched, record


def written(path):
    """The messages of a file channel, without the moment of writing and the links that work once."""
    found = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    said = [{name: value for name, value in one.items() if name != "written"} for one in found]
    return [orjson.dumps({**one, "acts": ()}) for one in said]


def test_a_replay_gives_byte_for_byte_what_was_sent(recorded):
    watched, record = recorded
    found = replay(record)
    assert {one.message["kind"] for one in found.again} >= {
        "opened",
        "early_warning",
        "escalated",
        "digest",
        "resolved",
    }
    for channel, path in (("file", "alerts.jsonl"), ("chief", "chief.jsonl")):
        assert [one.as_bytes for one in found.again if one.channel == channel] == written(watched.home / path)
    assert (found.differing, found.gaps) == ([], ())


def test_the_command_says_that_they_are_the_same_and_what_other_rules_would_send(recorded, tmp_path):
    _, record = recorded
    same = CliRunner().invoke(app, ["replay", str(record), "--json"])
    said = orjson.loads(same.stdout)
    assert (same.exit_code, said["same"], said["differing"]) == (0, said["sent"], [])
    (tmp_path / "other.yaml").write_text(OTHER_RULES)
    other = orjson.loads(
        CliRunner().invoke(app, ["replay", str(record), str(tmp_path / "other.yaml"), "--json"]).stdout
    )
    assert {"opened", "early_warning", "resolved"} <= {one["message"]["kind"] for one in other["only_new"]}
    assert {one["channel"] for one in other["only_new"]} == {"chief"}


def test_a_message_that_differs_is_shown_and_the_command_fails(recorded, tmp_path):
    _, record = recorded
    shutil.copytree(record, tmp_path / "record")
    rounds = tmp_path / "record" / "rounds.jsonl"
    lines = rounds.read_bytes().splitlines(keepends=True)
    told = next(at for at, line in enumerate(lines) if b"ValueError: no" in line and line.startswith(b'{"round"'))
    lines[told] = lines[told].replace(b"ValueError: no", b"ValueError: other", 1)
    rounds.write_bytes(b"".join(lines))
    found = CliRunner().invoke(app, ["replay", str(tmp_path / "record")])
    assert found.exit_code == 1
    assert "differs" in found.stdout
    assert "ValueError: other" in found.stdout


def test_a_folder_that_holds_no_record_is_named(tmp_path):
    found = CliRunner().invoke(app, ["replay", str(tmp_path)])
    assert found.exit_code != 0
    assert f"{tmp_path} is no record of a watcher" in str(found.exception or found.output)


def test_a_record_that_cannot_be_written_ends_and_the_watcher_goes_on(tmp_path):
    (tmp_path / "record").write_text("a file stands where the folder is to be")
    watched = Watched(tmp_path / "home", more={"CONTRAIL_WATCH__RECORD": str(tmp_path / "record")})
    watched.start()
    try:
        watched.report(failure("load", "r1"))
        assert [one["kind"] for one in watched.wait_for(1, 60)] == ["opened"]
    finally:
        watched.stop()
    assert "the record ends here" in (watched.home / "watcher.log").read_text()


def test_no_name_is_no_record():
    assert open_recording("") is None
