"""Today's code on the files of the version before (``previous/``, made by ``previous/make.py``), and on newer ones."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import orjson
import pytest
from airflow_platform import CONTRAIL, clean_environment, wait_until
from sqlalchemy import select

from observability.events import provider_of
from observability.journal import Journal, frames
from observability.relay import checkpoint
from observability.relay.checkpoint import open_checkpoint
from observability.relay.relay import Relay
from observability.relay.sinks.embedded import EmbeddedSink
from observability.relay.sinks.sink import SinkUnavailable
from observability.settings import load_settings
from observability.store.schema import VERSION, open_reader, open_writer
from observability.store.store import StoreError
from observability.watch.facts import from_document
from observability.watch.ledger import pending_events, records, schema
from observability.watch.ledger.database import Ledger, LedgerError

PREVIOUS = Path(__file__).parent / "previous"
OLD = {
    ("task.started", "works"): 1,
    ("task.succeeded", "works"): 1,
    ("task.started", "breaks"): 1,
    ("task.failed", "breaks"): 1,
}
LINES = [f"line {number}" for number in range(5)]


@pytest.fixture
def home(tmp_path):
    """A home as the previous version left it."""
    home = tmp_path / "home"
    for name in ("journal", "dead-letters", "logs"):
        shutil.copytree(PREVIOUS / name, home / name)
    for name in ("relay.status.json", "watch.heartbeat", "alerts.jsonl"):
        shutil.copy(PREVIOUS / name, home / name)
    (home / "checkpoints").mkdir()
    for dump in PREVIOUS.glob("*.sql"):
        path = home / dump.name.removesuffix(".sql").replace("checkpoints-", "checkpoints/")
        connection = sqlite3.connect(path)
        connection.executescript(dump.read_text("utf-8"))
        connection.close()
    return home


@pytest.fixture
def environment(home):
    return clean_environment(
        CONTRAIL_HOME=str(home), CONTRAIL_RELAY__LOG_FOLDER=str(home / "logs"), CONTRAIL_STATSD__ENABLED="false",
        CONTRAIL_JOURNAL__RETENTION_DAYS="36500",
    )  # fmt: skip


@pytest.fixture
def carry(environment, monkeypatch):
    """A function that has today's relay carry what is there. The fixture is older than what a store keeps."""
    monkeypatch.setattr(EmbeddedSink, "prune", lambda _self: None)
    for name in environment.keys() - os.environ.keys() | {"CONTRAIL_HOME"}:
        monkeypatch.setenv(name, environment[name])
    return lambda **more: Relay(load_settings(), statsd=False, **more).run(once=True, patience_s=2)


def contrail(environment, *arguments):
    done = subprocess.run([*CONTRAIL, *arguments], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def told(environment):
    """Every event of a task that the store has, counted."""
    status, lines = contrail(environment, "events", "--json")
    assert status == 0
    found = [json.loads(line) for line in lines.splitlines()]
    return Counter(
        (event["event.action"], event.get("airflow.task_id")) for event in found if event.get("airflow.dag_id")
    )


def fail(home, task):
    """A failure, as a task of today writes it."""
    from observability.events import Identity, TaskFailed

    about = Identity(dag_id="old", task_id=task, run_id="r2", try_number=1, owner="team")
    event = TaskFailed(identity=about, cause="app", reason="again", time=datetime.now(timezone.utc))
    Journal(home / "journal").append("etl.event", orjson.dumps(event.document()))


def test_the_fixture_is_of_a_version_before_this_one():
    assert len(list(PREVIOUS.glob("*.sql"))) == 4
    assert all(path.stat().st_size < 50_000 for path in PREVIOUS.rglob("*") if path.is_file())
    records = [frame for path in (PREVIOUS / "journal").iterdir() for frame in frames(path.read_bytes())]
    assert len(records) == 6
    assert all(frame.document for frame in records)


def test_the_store_of_the_previous_version_is_read(environment):
    assert {key: number for key, number in told(environment).items() if key[0].startswith("task.")} == OLD
    status, lines = contrail(environment, "logs", "old", "works", "--json")
    assert (status, [json.loads(line)["event"] for line in lines.splitlines()]) == (0, LINES)


def test_status_and_doctor_read_what_the_previous_version_said(environment):
    status, shown = contrail(environment, "status", "--json")
    said = json.loads((PREVIOUS / "relay.status.json").read_text())["sinks"].values()
    found = json.loads(shown)["delivery"]
    assert (status, found["lag_bytes"]) == (3, sum(sink["lag_bytes"] for sink in said))
    assert found["dead_letters"] == sum(sink["dead_letters"] for sink in said)
    status, shown = contrail(environment, "doctor", "--json")
    links = {link["link"]: link for link in json.loads(shown)["links"]}
    assert {name: links[name]["state"] for name in ("config", "store", "ledger", "rules")} == {
        "config": "ok", "store": "ok", "ledger": "ok", "rules": "ok",
    }  # fmt: skip


def test_the_relay_goes_on_where_the_previous_one_stopped(home, environment, carry):
    fail(home, "today")
    assert carry()
    expected = {**OLD, ("task.failed", "today"): 1}
    assert {key: number for key, number in told(environment).items() if key[0].startswith("task.")} == expected
    status = json.loads((home / "relay.status.json").read_text())["sinks"]["embedded"]["streams"]
    assert status["airflow.task"]["stored"] == 5  # the count goes on; nothing of the old is stored again
    assert carry()
    assert told(environment)["task.failed", "breaks"] == 1


def test_dead_letters_of_the_previous_version_are_sent_again(environment):
    status, shown = contrail(environment, "relay", "replay")
    assert (status, shown.strip()) == (0, "embedded: 1 stored, 0 were there, 0 still refused")


def test_the_watcher_knows_what_the_previous_one_told(home, environment):
    fail(home, "today")
    command = [sys.executable, "-m", "observability.cli", "watch", "--no-api"]
    watcher = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def messages():
        lines = (home / "alerts.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    try:
        wait_until(lambda: any("today" in json.dumps(one) for one in messages()), within=60)
    finally:
        watcher.send_signal(signal.SIGTERM)
        assert watcher.wait(30) == 0
    opened = Counter(one["dedup_key"] for one in messages() if one["kind"] == "opened")
    assert set(opened.values()) == {1}
    before = [json.loads(line)["dedup_key"] for line in (PREVIOUS / "alerts.jsonl").read_text().splitlines()]
    assert set(before) <= set(opened)


def test_a_checkpoint_of_the_previous_version_gets_a_version_and_keeps_its_cursors(home):
    path = home / "checkpoints" / "elasticsearch.db"
    with sqlite3.connect(path) as connection:
        before = connection.execute("select identity, offset from contrail_cursors").fetchall()
    open_checkpoint(path, "elasticsearch").close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("pragma user_version").fetchone() == (checkpoint.VERSION,)
        assert connection.execute("select identity, offset from contrail_cursors").fetchall() == before
    assert list(path.parent.glob("*.damaged*")) == []


def test_the_kill_detector_goes_on_at_the_cursors_that_it_had_under_its_old_name(home, carry):
    old, path = home / "checkpoints" / "witness.db", home / "checkpoints" / "killed_tasks.db"
    with sqlite3.connect(old) as connection:
        before = connection.execute("select identity, offset from contrail_cursors").fetchall()
    assert len(before) == 1
    assert carry()
    with sqlite3.connect(path) as connection:
        found = connection.execute("select sink, identity, offset from contrail_cursors").fetchall()
        facts = {name for (name,) in connection.execute("select name from contrail_facts")}
    assert found == [("killed_tasks", *row) for row in before]
    assert {name.partition(":")[2] for name in facts} == {"killed_tasks"}
    assert [one.name for one in old.parent.glob("witness*")] == []


def test_the_ledger_of_the_previous_version_is_read_under_the_names_of_today(home):
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    with ledger.transaction() as connection:
        (one,) = records.live_incidents(connection)
        fact, incident_id = records.fact(connection, "ff23be85950be17bb05793c5566b8fac")
        version = connection.execute(select(schema.meta.c.value)).scalar()
    ledger.close()
    assert (one.id, one.kind, one.notified, one.failed_tasks) == ("8a155241c09107b5", "task", "opened", ("breaks",))
    assert one.notified_at == 1795798269.1025846
    assert (fact.kind, fact.status, fact.provider, incident_id) == ("task", "firing", "callback", one.id)
    assert fact.key == "ff23be85950be17bb05793c5566b8fac"
    assert version == str(schema.VERSION)


def test_what_waited_in_a_ledger_of_the_previous_version_still_waits(home):
    """Rows that the fixture has none of, as that version wrote them."""
    said = {
        "identity": {"dag_id": "d"},
        "time": "2026-11-25T13:48:08Z",
        "cause": "app",
        "reason": "no",
        "witness": "listener",
    }
    mark = {"failed": 1.0, "members": ["a", "b"], "try": 2}
    more = {"held_by": "silenced by ann", "suspects": ["k"], "runs": {"r1": mark}, "said_members": 1}
    copy = "select 'k', 'recovered', time, incident_id, json_set(document, '$.sign', 'recovered') from contrail_facts"
    with sqlite3.connect(home / "ledger.db") as connection:
        (document,) = connection.execute("select document from contrail_incidents").fetchone()
        held = json.dumps({**json.loads(document), **more})
        event = json.dumps({"action": "task.failed", "event": said})
        connection.execute("update contrail_incidents set document = ?", (held,))
        connection.execute("insert into contrail_events values ('e', null, 0, ?)", (event,))
        connection.execute("update contrail_outbox set state = 'folded', folded_into = 7")
        connection.execute(f"insert into contrail_facts {copy} limit 1")
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    with ledger.transaction() as connection:
        (one,) = records.live_incidents(connection)
        (waiting,) = pending_events.due(connection, 1.0).values()
        rows = connection.execute(select(schema.outbox.c.state, schema.outbox.c.merged_into)).all()
        assert records.fact(connection, "k")[0].status == "resolved"
    ledger.close()
    assert (one.inhibited_by, one.unconfirmed, one.notified_tasks) == ("silenced by ann", ("k",), 1)
    assert one.runs == {"r1": {"failed": 1.0, "failed_tasks": ["a", "b"], "try": 2}}
    assert (waiting.provider, waiting.identity.dag_id) == ("listener", "d")
    assert set(rows) == {("merged", 7)}


def test_documents_of_the_previous_version_say_who_reported_them(home):
    store = open_reader(home / "store.db")
    documents = [json.loads(row[0]) for row in store.execute("select document from events")]
    store.close()
    ends = [document for document in documents if document["event.action"] in {"task.succeeded", "task.failed"}]
    assert [provider_of(document) for document in ends] == ["callback", "callback"]
    assert {from_document(document).provider for document in ends} == {"callback"}


def newer(path, sql):
    with sqlite3.connect(path) as connection:
        connection.executescript(sql)


def test_a_checkpoint_that_is_newer_is_refused_by_name_and_not_touched(home):
    path = home / "checkpoints" / "elasticsearch.db"
    newer(path, f"alter table contrail_cursors rename to positions; pragma user_version = {checkpoint.VERSION + 1}")
    with pytest.raises(SinkUnavailable, match=rf"{path} was written by a newer Contrail .* upgrade Contrail"):
        open_checkpoint(path, "elasticsearch")
    assert list(path.parent.glob("*.damaged*")) == []


def test_a_relay_says_which_newer_file_it_does_not_touch(home, carry):
    path = home / "checkpoints" / "witness.db"
    newer(path, f"pragma user_version = {checkpoint.VERSION + 1}")
    said = []
    carry(say=said.append)
    assert [line for line in said if "witness.db was written by a newer Contrail" in line] != []


@pytest.mark.parametrize("opened", [open_writer, open_reader])
def test_a_store_that_is_newer_is_refused_by_name(home, opened):
    newer(home / "store.db", f"pragma user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match=r"store\.db was written by a newer Contrail .* upgrade Contrail"):
        opened(home / "store.db")


def test_a_ledger_that_is_newer_is_refused_by_name_and_not_touched(home):
    path = home / "ledger.db"
    newer(path, f"update contrail_meta set value = '{schema.VERSION + 1}' where name = 'version';"
                "drop table contrail_history")  # fmt: skip
    ledger = Ledger(f"sqlite:///{path}")
    with pytest.raises(LedgerError, match=r"ledger\.db has version .* upgrade Contrail"), ledger.transaction():
        pass
    ledger.close()
    with sqlite3.connect(path) as connection:
        names = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    assert "contrail_history" not in names


def test_a_command_says_which_newer_file_it_does_not_read(home, environment):
    newer(home / "store.db", f"pragma user_version = {VERSION + 1}")
    done = subprocess.run([*CONTRAIL, "events"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "store.db was written by a newer Contrail" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
