"""Task logs for the UI: read from the store, and delivered at the end of a task where no relay runs."""

from __future__ import annotations

import fcntl
import time
from datetime import datetime, timezone
from importlib import import_module
from types import SimpleNamespace

import orjson
import pytest
from airflow._shared.logging.remote import RemoteLogStreamIO

from observability.airflow import logging_config, remote_log
from observability.airflow.remote_log import ContrailLogIO
from observability.events import Identity, TaskSucceeded
from observability.settings import get_settings
from observability.store import Query, open_store

emit = import_module("observability.emit")
TODAY = datetime.now(timezone.utc).date().isoformat()  # the store forgets what is older than its retention
PATH = "dag_id=flights/run_id=r1/task_id=load/attempt=1.log"
DONE, RUNNING = SimpleNamespace(state="success"), SimpleNamespace(state="running")


def line(number, **more):
    about = {
        "timestamp": f"{TODAY}T00:00:0{number}.000000Z",
        "level": "info",
        "event": f"line {number}",
        "logger": "task",
    }
    return {**about, "try_number": 1, **more}


LINES = [
    line(0, event="::group::Pre Execute"),
    line(1, event="::endgroup::"),
    line(
        2,
        level="error",
        error_detail=[{"exc_type": "KeyError", "frames": [{"filename": "a.py", "lineno": 3, "name": "f"}]}],
    ),
    line(3, **{"trace.id": "8cb019b032603ce96127316a7914670c", "rows": 17}),
]


@pytest.fixture
def home(told, tmp_path, monkeypatch):
    """A worker without a relay, on which one task has ended: its log and one event are on disk."""
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    file = tmp_path / "logs" / PATH
    file.parent.mkdir(parents=True)
    file.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in LINES))
    emit.emit(
        TaskSucceeded(identity=Identity(dag_id="flights", task_id="load", run_id="r1", try_number=1, map_index=-1))
    )
    return tmp_path


def stored(dataset):
    store = open_store(get_settings())
    try:
        return list(store.documents(Query(dataset)))
    finally:
        store.close()


def shown(ti=DONE):
    sources, streams = ContrailLogIO().stream(PATH, ti)
    return sources, [orjson.loads(each) for stream in streams for each in stream]


def test_airflow_takes_it_for_what_it_is():
    assert isinstance(logging_config.REMOTE_TASK_LOG, RemoteLogStreamIO)
    assert logging_config.LOGGING_CONFIG["handlers"]["task"]


def test_the_end_of_a_task_delivers_its_log_and_its_events_once(home):
    for _ in range(2):
        ContrailLogIO().upload(PATH)
    assert [document["event"] for document in stored("airflow.task")] == [each["event"] for each in LINES]
    assert [document["event.action"] for document in stored("etl.event")] == ["task.succeeded"]


def test_where_a_relay_lives_the_end_of_a_task_sends_nothing(home):
    status = {"state": "running", "time": time.time(), "statsd": {"state": "ok"}}
    (get_settings().home / "relay.status.json").write_bytes(orjson.dumps(status))
    ContrailLogIO().upload(PATH)
    assert not get_settings().store_path.exists()


def test_a_relay_that_has_gone_silent_is_not_relied_on(home):
    status = {"state": "running", "time": time.time() - 60, "statsd": {"state": "ok"}}
    (get_settings().home / "relay.status.json").write_bytes(orjson.dumps(status))
    ContrailLogIO().upload(PATH)
    assert len(stored("airflow.task")) == len(LINES)


def test_another_that_delivers_is_waited_for_no_longer_than_allowed(home, monkeypatch):
    monkeypatch.setenv("CONTRAIL_RELAY__CATCH_UP_S", "0.5")
    get_settings.cache_clear()
    with (get_settings().home / "relay.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        ContrailLogIO().upload(PATH)
    assert 0.4 < time.monotonic() - began < 3


def test_a_store_that_is_down_holds_the_worker_no_longer_than_allowed(home, monkeypatch):
    monkeypatch.setenv("CONTRAIL_RELAY__CATCH_UP_S", "1")
    monkeypatch.setenv("CONTRAIL_RELAY__SINKS", "elasticsearch")
    monkeypatch.setenv("CONTRAIL_ELASTICSEARCH__URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CONTRAIL_ELASTICSEARCH__CONNECTION_ID", "")
    get_settings.cache_clear()
    began = time.monotonic()
    ContrailLogIO().upload(PATH)
    assert time.monotonic() - began < 15


def test_the_ui_gets_each_line_as_airflow_wrote_it(home):
    ContrailLogIO().upload(PATH)
    (home / "logs" / PATH).unlink()
    assert shown() == (["Contrail's embedded store"], LINES)


def test_an_airflow_without_streams_gets_the_same_text(home):
    ContrailLogIO().upload(PATH)
    (home / "logs" / PATH).unlink()
    _, [text] = ContrailLogIO().read(PATH, DONE)
    assert [orjson.loads(each) for each in text.splitlines()] == LINES


def test_while_the_task_runs_the_local_file_is_airflows_to_show(home):
    ContrailLogIO().upload(PATH)
    assert shown(RUNNING) == ([], [])


def test_a_local_file_that_has_more_than_the_store_is_airflows_to_show(home):
    ContrailLogIO().upload(PATH)
    assert shown()[1] == LINES
    with (home / "logs" / PATH).open("ab") as file:
        file.write(orjson.dumps(line(4)) + b"\n")
    assert shown() == ([], [])


def test_a_store_that_cannot_answer_says_so_where_the_log_would_stand(home):
    (home / "logs" / PATH).unlink()
    get_settings().store_path.write_bytes(b"this is no database, and never was one" * 100)
    sources, lines = shown()
    assert lines == []
    assert "store.db" in sources[0]


def test_a_log_that_nobody_has_is_nothing(home):
    ContrailLogIO().upload(PATH)
    other = PATH.replace("task_id=load", "task_id=other")
    assert ContrailLogIO().stream(other, DONE) == ([], [])


def test_the_connection_that_airflow_fetches_for_us_is_that_of_the_sink(home, monkeypatch):
    assert ContrailLogIO().connection_id is None
    monkeypatch.setenv("CONTRAIL_RELAY__SINKS", "embedded,cloudwatch")
    get_settings.cache_clear()
    assert ContrailLogIO().connection_id == "aws_default"


def test_what_is_added_to_a_line_is_taken_off_again():
    document = {
        "airflow.dag_id": "flights", "log_id": "x", "host.name": "h", "service.name": "airflow", "log.file.path": PATH,
        "offset": 1, "@timestamp": "2026-01-31T12:00:00.000000Z", "event": "hello", "level": "info", "airflow_rows": 3,
    }  # fmt: skip
    assert orjson.loads(remote_log.as_written(document)) == {
        "timestamp": "2026-01-31T12:00:00.000000Z", "event": "hello", "level": "info", "airflow_rows": 3,
    }  # fmt: skip
