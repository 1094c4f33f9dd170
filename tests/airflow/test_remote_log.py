"""Task logs for the UI: read from the store, and delivered at the end of a task where no relay runs."""

from __future__ import annotations

import fcntl
import os
import threading
import time
import traceback
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest
from airflow._shared.logging.remote import RemoteLogStreamIO
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import ConnectionResponse
from airflow.sdk.execution_time.supervisor import ActivitySubprocess

from observability.airflow import flush, logging_config, remote_log
from observability.airflow.connections import resolve
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
    monkeypatch.setattr(flush, "_failed", flush._Failures())
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
    monkeypatch.setenv("CONTRAIL_RELAY__FLUSH_TIMEOUT_S", "0.5")
    get_settings.cache_clear()
    with (get_settings().home / "relay.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        ContrailLogIO().upload(PATH)
    assert 0.4 < time.monotonic() - began < 3


def test_a_store_that_is_down_holds_the_worker_no_longer_than_allowed(home, monkeypatch):
    monkeypatch.setenv("CONTRAIL_RELAY__FLUSH_TIMEOUT_S", "1")
    monkeypatch.setenv("CONTRAIL_RELAY__SINKS", "elasticsearch")
    monkeypatch.setenv("CONTRAIL_ELASTICSEARCH__URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CONTRAIL_ELASTICSEARCH__CONNECTION_ID", "")
    get_settings.cache_clear()
    began = time.monotonic()
    ContrailLogIO().upload(PATH)
    assert time.monotonic() - began < 15


def test_a_worker_whose_store_is_away_is_held_for_less_and_less(home, monkeypatch):
    allowed, away = [], True
    monkeypatch.setattr(flush, "flush_within", lambda _, limit_s: allowed.append(limit_s) or not away)
    for _ in range(5):
        ContrailLogIO().upload(PATH)
    away = False
    for _ in range(2):
        ContrailLogIO().upload(PATH)
    assert allowed == [10.0, 5.0, 2.5, 1.25, 1.0, 1.0, 10.0]


@pytest.fixture
def thread(monkeypatch):
    """The delivery beside the triggerer's loop, with nothing of another test's in it."""
    monkeypatch.setattr(flush, "_thread", flush._Thread())
    monkeypatch.setattr(flush, "_LONGEST_REST_S", 0.05)
    return flush._thread


def test_the_ends_of_triggers_are_delivered_by_one_thread_that_nobody_waits_for(home, monkeypatch, thread):
    begun, go, callers = threading.Semaphore(0), threading.Event(), []
    real = flush.flush_within

    def held(settings):
        callers.append(threading.current_thread().name)
        begun.release()
        assert go.wait(30)
        return real(settings)

    monkeypatch.setattr(flush, "flush_within", held)
    for number in range(50):
        ContrailLogIO().upload(f"{PATH}.trigger.{number}.log")
    assert begun.acquire(timeout=30)
    for number in range(50):
        ContrailLogIO().upload(f"{PATH}.trigger.{number}.log")
    go.set()
    assert thread._done.wait(30)
    assert [document["event"] for document in stored("airflow.task")] == [each["event"] for each in LINES]
    assert (set(callers), len(callers) <= 3) == ({"contrail-delivery"}, True)


def test_what_a_sink_did_not_take_from_the_triggerer_is_tried_again_unasked(home, monkeypatch, thread):
    answers = iter([False, False, True])
    monkeypatch.setattr(flush, "flush_within", lambda _settings: next(answers))
    ContrailLogIO().upload(f"{PATH}.trigger.1.log")
    assert thread._done.wait(30)
    assert next(answers, "all were asked for") == "all were asked for"


class Answering(Client):
    """The supervisor's client, which knows two Connections."""

    def __init__(self):
        self.asked = []

    @property
    def connections(self):
        return SimpleNamespace(get=self._get)

    def _get(self, connection_id):
        self.asked.append(connection_id)
        kind, host = ("elasticsearch", "es.example") if connection_id == "es_of_ours" else ("generic", "aws.example")
        empty = dict.fromkeys(("schema", "port", "extra"))
        return ConnectionResponse(
            conn_id=connection_id, conn_type=kind, host=host, login="ann", password="hunter2", **empty
        )


def test_each_sink_has_its_credentials_at_the_end_of_a_task(home, monkeypatch):
    environ = {
        "CONTRAIL_RELAY__SINKS": "embedded,elasticsearch,cloudwatch",
        "CONTRAIL_ELASTICSEARCH__CONNECTION_ID": "es_of_ours",
        "CONTRAIL_CLOUDWATCH__CONNECTION_ID": "aws_of_ours",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    io = ContrailLogIO()
    assert io.connection_id == "es_of_ours"
    hosts = []

    def deliver(settings):
        hosts.extend(resolve(one).url for one in remote_log.connection_ids(settings))

    monkeypatch.setattr(remote_log, "deliver", deliver)
    monkeypatch.setattr("airflow.sdk.log.load_remote_log_handler", lambda: io)
    monkeypatch.setattr("airflow.sdk.log.load_remote_conn_id", lambda: io.connection_id)
    monkeypatch.setattr("airflow.sdk.log.relative_path_from_logger", lambda _: Path(PATH))
    log = SimpleNamespace(_logger=None, exception=lambda *_, **__: traceback.print_exc())
    supervisor = SimpleNamespace(client=Answering(), process_log=log, ti=None, id="", pid=1)
    before = dict(os.environ)
    ActivitySubprocess._upload_logs(supervisor)
    assert hosts == ["http://es.example:9200", "https://aws.example"]
    assert dict(os.environ) == before


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


@pytest.mark.parametrize(
    "path",
    [
        "dag_id=päivä.ä/run_id=manual__2026-01-31T00:00:00+00:00/task_id=group.sub.täsk/map_index=3/attempt=12.log",
        "dag_id=d/run_id=run with spaces/task_id=t t/attempt=1.log",
        "dag_id=d/run_id=a/b/task_id=c/run_id=x/task_id=t/attempt=1.log",
        "dag_id=100%d/run_id=%s%d%%/task_id=%(x)s/attempt=1.log",
        "dag_id=d/run_id=r'\";--\\/task_id={}{0}/attempt=1.log",
        f"dag_id={'d' * 240}/run_id={'é' * 120}/task_id={'t' * 240}/attempt=1.log",
        "dag_id=日本語/run_id=🛫/task_id=-.~:/map_index=0/attempt=1.log",
    ],
)
def test_every_id_that_a_file_can_be_named_after_is_read_back(home, path):
    file = home / "logs" / path
    file.parent.mkdir(parents=True)
    (home / "logs" / PATH).rename(file)
    ContrailLogIO().upload(path)
    file.unlink()
    _, [lines] = ContrailLogIO().stream(path, DONE)
    assert [orjson.loads(each) for each in lines] == LINES


class Web:
    """A server that answers every request in the same way, or never."""

    def __init__(self, status, body):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                if status is None:
                    server.over.wait(20)
                    return
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_DELETE = do_POST  # noqa: N815 - the library's names

            def log_message(self, *_): ...

        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (None, b""),
        (503, b"<html>gateway</html>"),
        (401, b'{"error":{"type":"security_exception","reason":"missing credentials"}}'),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"_shards":{"total":1},"id":"x"}'),
        (500, b'{"error":"string"}'),
    ],
)
def test_whatever_is_wrong_with_a_store_is_a_sentence_above_what_airflow_finds(home, monkeypatch, status, body, local):
    web = Web(status, body)
    monkeypatch.setenv("CONTRAIL_STORE__BACKEND", "elasticsearch")
    monkeypatch.setenv("CONTRAIL_ELASTICSEARCH__URL", web.url)
    monkeypatch.setenv("CONTRAIL_ELASTICSEARCH__REQUEST_TIMEOUT_S", "0.3")
    get_settings.cache_clear()
    if not local:
        (home / "logs" / PATH).unlink()
    try:
        sources, lines = shown()
    finally:
        web.close()
    assert lines == []
    assert sources[0].startswith("Contrail cannot read this log from its store: Elasticsearch")


def test_a_connection_that_is_not_there_is_named_where_the_log_would_stand(home, monkeypatch):
    monkeypatch.setenv("CONTRAIL_STORE__BACKEND", "elasticsearch")
    get_settings.cache_clear()
    assert "no Airflow Connection 'elasticsearch_default'" in shown()[0][0]


def test_a_template_of_somebody_elses_is_named_with_the_remedy(home):
    sources, streams = ContrailLogIO().stream("flights/load/2026-01-31/1.log", DONE)
    assert streams == []
    assert "log_filename_template" in sources[0]


def test_a_name_that_no_file_can_have_is_no_error_of_the_page(home):
    sources, streams = ContrailLogIO().stream(PATH.replace("load", "x" * 400), DONE)
    assert (len(sources), streams) == (1, [])
