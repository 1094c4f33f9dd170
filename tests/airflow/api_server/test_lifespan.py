"""Delivery and watching begin and end with the API server, and can do it no harm."""

from __future__ import annotations

import asyncio
import fcntl
import time
from contextlib import closing

import orjson
import pytest
from airflow_platform import wait_until
from fastapi import FastAPI
from fastapi.routing import Mount

from observability.airflow.api_server.status import read_status
from observability.airflow.plugin import ContrailPlugin
from observability.settings import get_settings
from observability.store import Query, open_store
from observability.timestamps import iso

LOG = "dag_id=orders/run_id=r1/task_id=load/attempt=1.log"


@pytest.fixture
def mounted():
    """An app with ours mounted as Airflow mounts it."""
    app = FastAPI()
    for one in ContrailPlugin.fastapi_apps:
        app.mount(one["url_prefix"], one["app"])
    return app


def serve(app, meanwhile):
    """Run the lifespans as Airflow's app does, and ``meanwhile`` beside them."""

    async def served():
        route = next(route for route in app.routes if isinstance(route, Mount) and isinstance(route.app, FastAPI))
        async with route.app.router.lifespan_context(route.app):
            await asyncio.to_thread(meanwhile)

    asyncio.run(served())


def is_free(home):
    with (home / "api-server.lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def test_what_tasks_wrote_is_in_the_store_while_the_api_server_runs_and_the_place_is_free_after_it(
    home, tmp_path, mounted
):
    path = tmp_path / "logs" / LOG
    path.parent.mkdir(parents=True)
    lately = iso(time.time())  # what is older than the retention is forgotten at the first look
    path.write_bytes(orjson.dumps({"timestamp": lately, "level": "info", "event": "loaded"}) + b"\n")

    def arrives():
        wait_until(lambda: read_status(home).relay == "running", within=60)
        assert not is_free(home)
        with closing(open_store(get_settings())) as store:
            wait_until(lambda: [each["event"] for each in store.documents(Query("airflow.task"))], within=60)

    serve(mounted, arrives)
    assert is_free(home)
    assert read_status(home).relay == "off"


def test_one_setting_turns_it_off(home, mounted, monkeypatch):
    monkeypatch.setenv("CONTRAIL_AIRFLOW__IN_API_SERVER", "false")
    serve(mounted, lambda: None)
    assert not home.exists()


def test_a_setting_at_fault_does_not_keep_the_api_server_from_starting(home, mounted, monkeypatch):
    monkeypatch.setenv("CONTRAIL_RELAY__SINKS", "nowhere")
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # under a test our faults are raised again
    seen = []
    serve(mounted, lambda: seen.append("served"))
    assert seen == ["served"]


def test_a_home_that_cannot_be_written_does_not_end_the_api_server(home, mounted, monkeypatch):
    home.write_text("a file where a folder should be")
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    seen = []
    serve(mounted, lambda: seen.append("served"))
    assert seen == ["served"]
