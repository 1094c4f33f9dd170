"""The watcher in the API server asks Airflow's app itself, as a reader that exists nowhere else."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI, Request

from observability.airflow.api_server import inside
from observability.airflow.api_server.inside import Inside, reader_for
from observability.watch.sources.api import AirflowApi, ApiUnavailable


async def settled():
    """Wait for what was asked and given up."""
    me = asyncio.current_task()
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not me), return_exceptions=True)


@contextmanager
def served(app, user="somebody"):
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield Inside(app, loop, user), loop
    finally:
        asyncio.run_coroutine_threadsafe(settled(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def app_that_says(root_path=""):
    app = FastAPI(root_path=root_path)

    @app.get("/api/v2/dags")
    def dags(request: Request):
        return {
            "user": request.state.user,
            "query": dict(request.query_params),
            "packed": request.headers.get("accept-encoding"),
        }

    @app.get("/api/v2/broken")
    def broken():
        raise RuntimeError("a fault of theirs")

    return app


@pytest.mark.parametrize("root_path", ["", "/airflow"])
def test_an_answer_comes_without_an_address_a_login_or_packing_also_below_a_path(root_path):
    with served(app_that_says(root_path)) as (transport, _):
        answer = AirflowApi("http://nowhere.invalid", inside=transport).get("/dags", limit=3)
    assert answer == {"user": "somebody", "query": {"limit": "3"}, "packed": "identity"}


def test_another_session_with_the_same_server_is_inside_as_well():
    with served(app_that_says()) as (transport, _):
        assert AirflowApi("http://nowhere.invalid", inside=transport).another(timeout_s=3).get("/dags")["user"]


def test_nothing_but_a_read_is_let_through():
    with served(app_that_says()) as (transport, _), httpx.Client(transport=transport, base_url="http://x") as client:
        for method in ("POST", "PATCH", "DELETE", "PUT"):
            with pytest.raises(httpx.UnsupportedProtocol, match="only reads"):
                client.request(method, "/api/v2/dags")


def test_an_app_that_fails_is_an_api_that_does_not_answer():
    with served(app_that_says()) as (transport, _), pytest.raises(ApiUnavailable, match="500"):
        AirflowApi("http://x", inside=transport).get("/broken")


def test_a_server_that_ends_is_an_api_that_does_not_answer():
    with served(app_that_says()) as (transport, loop):
        pass
    assert loop.is_closed()
    with pytest.raises(ApiUnavailable, match="is ending"):
        AirflowApi("http://x", inside=transport).get("/dags")


def test_a_loop_that_stands_still_holds_the_watcher_no_longer_than_allowed():
    with served(app_that_says()) as (transport, loop):
        held = threading.Event()
        loop.call_soon_threadsafe(held.wait)
        try:
            with pytest.raises(ApiUnavailable):
                AirflowApi("http://x", inside=transport, timeout_s=0.05).get("/dags")
        finally:
            held.set()


class SimpleAuthManager:
    """By name, as Airflow's own."""


class FabAuthManager:
    """By name, as FAB's."""


class ComposerAuthManager(FabAuthManager):
    """As of a service that derives its own from FAB's."""


class KeycloakAuthManager:
    """One of which we do not know how it asks for rights."""


def test_the_reader_of_the_simple_auth_manager_is_a_viewer(monkeypatch):
    monkeypatch.setattr(inside, "get_auth_manager", SimpleAuthManager)
    assert (reader_for().get_name(), reader_for().role) == ("contrail", "viewer")


@pytest.mark.parametrize("manager", [FabAuthManager, ComposerAuthManager])
def test_the_reader_of_fab_may_read_everything_and_change_nothing(monkeypatch, manager):
    monkeypatch.setattr(inside, "get_auth_manager", manager)
    perms = reader_for().perms or []
    assert ("can_read", "DAGs") in perms
    assert ("can_read", "DAG:any") in perms
    assert [action for action in ("can_edit", "can_create", "can_delete") if (action, "DAGs") in perms] == []


def test_for_another_auth_manager_no_reader_is_made(monkeypatch):
    monkeypatch.setattr(inside, "get_auth_manager", KeycloakAuthManager)
    assert reader_for() is None


def test_a_request_that_is_given_up_goes_on_to_its_end_and_a_slow_server_is_not_asked_for_more():
    app, go, ended = FastAPI(), threading.Event(), []

    @app.get("/api/v2/slow")
    def slow():
        go.wait(30)
        ended.append(1)
        return {}

    with served(app) as (transport, _):
        for _ in range(6):
            with pytest.raises(httpx.ReadTimeout):
                AirflowApi("http://x", inside=transport, timeout_s=0.05)._send("/slow", {})
        go.set()
    assert ended == [1] * 4
