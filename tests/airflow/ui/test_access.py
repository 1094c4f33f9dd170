"""Every endpoint asks Airflow who reads and what they may read: in Airflow's own API server app."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from observability.events import Identity, TaskFailed
from observability.relay.sinks import Batch
from observability.relay.sinks.embedded import open_sink
from observability.settings import load_settings

pytestmark = pytest.mark.airflow

HERE = Path(__file__).parent
PAGES = [
    "/contrail/dags/{dag}",
    "/contrail/dags/{dag}/runs/r1",
    "/contrail/dags/{dag}/tasks/load",
    "/contrail/dags/{dag}/runs/r1/tasks/load",
    "/contrail/dags/{dag}/runs/r1/tasks/load?map_index=0",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real API server with our plugin: its address and a token for each of its users."""
    home = tmp_path_factory.mktemp("ui")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    passwords = {"narrow": "narrow-password", "wide": "wide-password"}
    (home / "passwords.json").write_text(json.dumps(passwords))
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__AUTH_MANAGER": "auth_manager.OneDagAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "narrow:viewer,wide:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-of-this-test-and-no-other-0123456789-0123456789",
        "CONTRAIL_CONTRAIL__HOME": str(home / "contrail"),
        "PYTHONPATH": str(HERE),
    }
    _store_a_failure(load_settings(environ=env))
    airflow = [sys.executable, "-m", "airflow"]
    subprocess.run([*airflow, "db", "migrate"], env=env, check=True, capture_output=True, timeout=120)
    url = f"http://127.0.0.1:{port}"
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*airflow, "api-server", "--port", str(port), "--host", "127.0.0.1", "--workers", "1"],
            env=env,
            stdout=log,
            stderr=log,
        )
    try:
        tokens = {name: _login(url, name, word, process) for name, word in passwords.items()}
        yield url, tokens
    finally:
        process.terminate()
        process.wait(30)


def _store_a_failure(knobs):
    who = Identity(dag_id="open_dag", run_id="r1", task_id="load", try_number=1, map_index=-1)
    event = TaskFailed(identity=who, cause="app", reason="<script>alert(2)</script>")
    sink = open_sink(knobs)
    sink.send(Batch("etl.event", "journal", "journal", [event.id.encode()], [orjson.dumps(event.document())]))
    sink.close()


def _login(url, name, word, process):
    patience = Retrying(
        retry=retry_if_exception_type(httpx.TransportError), stop=stop_after_delay(90), wait=wait_fixed(0.2)
    )
    for attempt in patience:
        with attempt:
            assert process.poll() is None, "the API server ended"
            response = httpx.post(f"{url}/auth/token", json={"username": name, "password": word})
    assert response.status_code == 201
    return response.json()["access_token"]


@pytest.fixture
def get(server):
    """Ask for a page as a user, or as nobody."""
    url, tokens = server

    def ask(page, user=None, dag="open_dag", **more):
        headers = {"Authorization": f"Bearer {tokens[user]}"} if user else {}
        return httpx.get(url + page.format(dag=dag), headers=headers, timeout=30, **more)

    return ask


def test_every_route_of_ours_is_tried_here():
    from observability.airflow.ui.app import create_app

    routes = {route.path for route in create_app().routes} - {"/static"}
    shapes = {page.partition("?")[0].removeprefix("/contrail") for page in PAGES}
    shapes = {
        shape.replace("{dag}", "{dag_id}").replace("/r1", "/{run_id}").replace("/load", "/{task_id}")
        for shape in shapes
    }
    assert routes == shapes | {"/"}


@pytest.mark.parametrize("page", ["/contrail/", *PAGES])
def test_an_anonymous_reader_gets_nothing(get, page):
    assert get(page).status_code == 401


@pytest.mark.parametrize("page", PAGES)
def test_a_reader_without_the_right_to_the_dag_gets_nothing(get, page):
    assert get(page, "narrow", dag="closed_dag").status_code == 403


@pytest.mark.parametrize("page", ["/contrail/", *PAGES])
def test_a_reader_with_the_right_gets_the_page(get, page):
    response = get(page, "narrow")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_the_session_cookie_is_a_login(get, server):
    assert get(PAGES[0], dag="closed_dag", cookies={"_token": server[1]["wide"]}).status_code == 200


def test_a_forged_token_is_refused(get, server):
    forged = server[1]["wide"].rsplit(".", 1)[0] + ".AAAA"
    assert get(PAGES[0], cookies={"_token": forged}).status_code in (401, 403)


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(get, server):
    response = get("/contrail/", "wide")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "://" not in response.text.replace(server[0], "")
    assert " style=" not in response.text


def test_what_a_task_said_is_escaped(get):
    response = get(PAGES[3], "wide")
    assert "&lt;script&gt;alert(2)" in response.text
    assert "<script>alert(2)" not in response.text


def test_names_are_escaped(get):
    response = get("/contrail/dags/%3Cscript%3Ealert(1)", "wide")
    assert response.status_code == 200
    assert "<script>alert(1)" not in response.text
