"""Names, messages and lines that would steer what reads them: carried by the real relay, and inert on a terminal."""

import re
import subprocess
from datetime import datetime, timezone

import orjson
import pytest
from airflow_platform import CONTRAIL, clean_environment
from test_messages import NASTY

from observability.events import Identity, TaskFailed
from observability.journal import Journal, frames
from observability.redact import inert
from observability.relay.relay import Relay
from observability.settings import load_settings

ENCODABLE = [text for text in NASTY if "\ud800" not in text]
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
FORGED = "2026-01-01 00:00:00.000 critical forged │ all is lost"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    monkeypatch.setenv("CONTRAIL_RELAY__LOG_FOLDER", str(tmp_path / "logs"))
    return tmp_path


def carry(home, texts):
    """A failure and a log line with each text in each of their fields, through journal, log file and relay."""
    now = datetime.now(timezone.utc)
    journal = Journal(home / "journal")
    for number, text in enumerate(texts):
        about = Identity(dag_id=text, task_id=text, run_id=f"r{number}", try_number=1, owner=text, operator=text)
        event = TaskFailed(
            identity=about, time=now, cause="app", reason=text, error_type=text, stack_trace=text
        ).document()
        journal.append("etl.event", orjson.dumps({**event, "message": text}))
    log = home / "logs" / "dag_id=d" / "run_id=r" / "task_id=t" / "attempt=1.log"
    log.parent.mkdir(parents=True)
    lines = [
        {"timestamp": now.isoformat(), "level": "info", "event": text, "logger": text, text: text} for text in texts
    ]
    log.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    assert Relay(load_settings(), statsd=False).run(once=True)


def shown(home, *arguments):
    done = subprocess.run(
        [*CONTRAIL, *arguments], env=clean_environment(CONTRAIL_HOME=str(home)), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode("utf-8")


def test_each_is_one_record_on_the_disk(home):
    carry(home, ENCODABLE)
    (path,) = (home / "journal").glob("etl.event-*.journal")
    assert sum(frame.document is not None for frame in frames(path.read_bytes())) == len(ENCODABLE)
    assert path.read_bytes().count(b"\n") == len(ENCODABLE)


@pytest.mark.parametrize("command", [("events",), ("logs", "d")], ids=lambda command: command[0])
def test_what_a_terminal_gets_steers_nothing_and_forges_no_line(home, command):
    carry(home, [*ENCODABLE, f"x\n{FORGED}", f"x\r{FORGED}", f"x\x85{FORGED}"])
    text = shown(home, *command)
    assert STEERS.findall(text) == []
    assert text.count("│") >= len(ENCODABLE) + 3
    begun = [line for line in text.split("\n") if line and not line.startswith(("    ", "20"))]
    assert begun == []
    assert [line for line in text.split("\n") if line.startswith(FORGED)] == []


@pytest.mark.parametrize("command", [("events", "--json"), ("logs", "d", "--json")], ids=lambda command: command[0])
def test_what_a_machine_gets_is_one_document_a_line_with_every_text_whole(home, command):
    carry(home, ENCODABLE)
    documents = [orjson.loads(line) for line in shown(home, *command).split("\n") if line]
    field = "message" if command[0] == "events" else "event"
    assert [document[field] for document in documents] == ENCODABLE


@pytest.mark.parametrize("text", NASTY)
def test_a_name_that_was_made_inert_is_one_line_and_made_inert_again_the_same(text):
    once = inert(text)
    assert inert(once) == once
    assert len(once.splitlines()) <= 1
