"""A real API server with our plugin, DAGs in its database and documents of each DAG in the store."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from hashlib import blake2b
from pathlib import Path

import httpx
import orjson
from every_kind import every_kind
from once import once
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from observability.events import (
    AssetUpdated,
    DagImportFailed,
    DagRunFailed,
    Identity,
    IncidentOpened,
    RowsRejected,
    SchemaDrifted,
    StepMeasured,
    TaskFailed,
)
from observability.relay.sinks import Batch
from observability.relay.sinks.embedded import open_sink
from observability.settings import load_settings

HERE = Path(__file__).parent
AIRFLOW = [sys.executable, "-m", "airflow"]
DAGS = ("open_dag", "second_dag", "closed_dag", "заказы.v2")
RAN = "orders"
"""A DAG that ran for real in a database without FAB: its task ``load`` failed, ``publish`` waits for it."""


@contextmanager
def api_server(  # noqa: PLR0913 - a world
    tmp_path_factory, home, users, *, dags=(), ran=(), fill=None, runs=(), base_path="", whole=False, **environ
):
    """The address of a server and a token for each of ``users`` (name: password); each DAG has failed in each run.

    ``ran``: DAGs that ran once, and failed. ``whole``: and every other kind of event happened to it before.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (home / "passwords.json").write_text(json.dumps(users))
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:viewer" for name in users),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}{base_path}",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-of-this-test-and-no-other-0123456789-0123456789",
        "CONTRAIL_CORE__HOME": str(home / "contrail"),
        "CONTRAIL_AIRFLOW__IN_API_SERVER": "false",
        "PYTHONPATH": str(HERE),
        **environ,
    }
    sink = open_sink(load_settings(environ=env))
    for dag, reason in (fill or {}).items():
        for run in ("r1", *runs):
            store_a_failure(sink, dag, reason, run)
            for dataset, event in every_kind(dag, reason, run) if whole else ():
                _send(sink, dataset, event)
    sink.close()
    _database(home, tmp_path_factory, env, (*dags, *ran))
    url = f"http://127.0.0.1:{port}{base_path}"
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*AIRFLOW, "api-server", "--port", str(port), "--host", "127.0.0.1", "--workers", "1"],
            env=env,
            stdout=log,
            stderr=log,
        )
    try:
        yield url, {name: _login(url, name, word, process) for name, word in users.items()}
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:  # a busy machine: it may not outlive the tests
            process.kill()
            process.wait()


def _database(home, tmp_path_factory, env, asked):
    """Put a database of Airflow's into ``home``, with the DAGs asked for, and with FAB's users under FAB.

    A session makes one with every DAG, and one for FAB; what a test did not ask for is taken out of its copy.
    """
    fab = env.get("AIRFLOW__CORE__AUTH_MANAGER", "").endswith("FabAuthManager")
    ran = () if fab else (RAN,)
    assert set(asked) <= {*DAGS, *ran}

    def make(folder):
        program = [sys.executable, str(HERE / "rights_in_the_database.py"), *DAGS, *(f"ran:{dag}" for dag in ran)]
        subprocess.run(program, env=env | {"AIRFLOW_HOME": str(folder)}, check=True, capture_output=True, timeout=300)

    made = once(tmp_path_factory, f"airflow-db{'-fab' if fab else ''}", make)
    shutil.copyfile(made / "airflow.db", home / "airflow.db")
    with closing(sqlite3.connect(home / "airflow.db")) as database, database:
        for table in ("dag", "dag_run"):
            database.execute(f"delete from {table} where dag_id not in ({','.join('?' * len(asked))})", asked)


def store_a_failure(sink, dag, reason, run_id="r1"):
    """A failure of ``dag`` (None: what is about no DAG) with what came of it, and lines that were written."""
    incident = {"incident_key": reason, "severity": "error", "count": 1, "reason": reason}
    if dag is None:
        _send(sink, "etl.event", DagImportFailed(identity=Identity(), reason=reason, file_path=reason, frame=reason))
        about = Identity()
        _send(
            sink, "contrail.alert", IncidentOpened(identity=about, incident_state="open", incident_id="0", **incident)
        )
        _send_line(sink, "airflow.component", {"airflow.component": "dag-processor"}, reason)
        return
    who = Identity(dag_id=dag, run_id=run_id, task_id="load", try_number=1, map_index=-1, owner=f"owner-of-{dag}")
    run = Identity(dag_id=dag, run_id=run_id)
    failure = {"cause": "app", "reason": reason, "error_type": reason, "frame": reason, "fingerprint": reason}
    data = f"data-of-{dag}"
    _send(sink, "etl.event", TaskFailed(identity=who, **failure))
    _send(sink, "etl.event", DagRunFailed(identity=run, reason=reason, duration_ns=1))
    _send(sink, "etl.event", RowsRejected(identity=who, step=data, table=data, rule=data, rows_rejected=1))
    _send(sink, "etl.event", StepMeasured(identity=who, step=data, table=data, rows_in=1, rows_out=1))
    _send(sink, "etl.event", SchemaDrifted(identity=who, table=data, columns_added=(data,)))
    _send(sink, "etl.event", AssetUpdated(identity=who, asset=f"asset-of-{dag}"))
    for about in (who, run):
        number = blake2b(f"{dag} {run_id} {about.task_id}".encode(), digest_size=8).hexdigest()
        opened = IncidentOpened(identity=about, incident_state="open", incident_id=number, **incident)
        _send(sink, "contrail.alert", opened)
    _send_line(
        sink, "airflow.task", {"airflow.dag_id": dag, "airflow.run_id": run_id, "airflow.task_id": "load"}, reason
    )


def _send(sink, dataset, event):
    sink.send(Batch(dataset, dataset, dataset, [event.id.encode()], [orjson.dumps(event.document())]))


def _send_line(sink, dataset, about, text):
    name = f"{dataset}_{'_'.join(about.values())}.log"  # an id is what is before its last hyphen, and a place
    moment = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
    line = {**about, "@timestamp": moment, "level": "error", "logger": text, "event": text}
    sink.send(Batch(dataset, name, name, [f"{name}-0".encode()], [orjson.dumps(line)]))


def _login(url, name, word, process):
    patience = Retrying(
        retry=retry_if_exception_type(httpx.TransportError), stop=stop_after_delay(300), wait=wait_fixed(0.2)
    )
    for attempt in patience:
        with attempt:
            assert process.poll() is None, "the API server ended"
            response = httpx.post(f"{url}/auth/token", json={"username": name, "password": word})
    assert response.status_code == 201, response.text
    return response.json()["access_token"]
