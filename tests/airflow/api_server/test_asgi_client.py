"""The watcher in the API server asks Airflow's app itself, as a reader that exists nowhere else."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from observability import contain
from observability.airflow.api_server import asgi_client
from observability.airflow.api_server.asgi_client import Inside, reader_for
from observability.watch.sources.api import AirflowApi, ApiUnavailable
from observability.watch.sources.isolation import Questions


async def settled():
    """Wait for what was asked and given up."""
    me = asyncio.current_task()
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not me), return_exceptions=True)


@contextmanager
def served(app, user="somebody", why_not=str):
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield Inside(app, loop, user, why_not), loop
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
    monkeypatch.setattr(asgi_client, "get_auth_manager", SimpleAuthManager)
    assert (reader_for().get_name(), reader_for().role) == ("contrail", "viewer")


@pytest.mark.parametrize("manager", [FabAuthManager, ComposerAuthManager])
def test_the_reader_of_fab_may_read_everything_and_change_nothing(monkeypatch, manager):
    monkeypatch.setattr(asgi_client, "get_auth_manager", manager)
    perms = reader_for().perms or []
    assert ("can_read", "DAGs") in perms
    assert ("can_read", "DAG:any") in perms
    assert [action for action in ("can_edit", "can_create", "can_delete") if (action, "DAGs") in perms] == []


def test_for_another_auth_manager_no_reader_is_made(monkeypatch):
    monkeypatch.setattr(asgi_client, "get_auth_manager", KeycloakAuthManager)
    assert reader_for() is None


def test_a_request_that_is_given_up_goes_on_to_its_end_and_a_slow_server_is_not_asked_for_more():
    app, go, ended = FastAPI(), threading.Event(), []

    @app.get("/api/v2/slow")
    def slow():
        go.wait(30)
        ended.append(1)
        return {}

    with served(app) as (transport, _):
        for _ in range(4):
            with pytest.raises(httpx.TimeoutException):
                AirflowApi("http://x", inside=transport, timeout_s=0.05)._send("/slow", {})
        go.set()
    assert ended == [1]


def test_one_question_is_under_way_at_a_time_and_the_server_rests_three_times_as_long_as_each_took():
    app, spans = FastAPI(), []

    @app.get("/api/v2/slow")
    def slow():
        began = time.monotonic()
        time.sleep(0.1)
        spans.append((began, time.monotonic()))
        return {}

    with served(app) as (transport, _):
        ask = [threading.Thread(target=AirflowApi("http://x", inside=transport).get, args=("/slow",)) for _ in range(4)]
        for one in ask:
            one.start()
        for one in ask:
            one.join()
    rests = [after[0] - before[1] for before, after in itertools.pairwise(sorted(spans))]
    assert len(rests) == 3
    assert min(rests) >= 0.3


def test_a_server_that_is_late_is_asked_nothing():
    late = served(app_that_says(), why_not=lambda: "it was late")
    with late as (transport, _), pytest.raises(ApiUnavailable, match="it was late"):
        AirflowApi("http://x", inside=transport).get("/dags")


def test_a_question_that_we_hold_back_ourselves_is_no_lost_observation():
    asked, go = Questions(), threading.Event()
    app = FastAPI()
    app.get("/api/v2/slow")(lambda: go.wait(30))
    with served(app) as (transport, _):
        with pytest.raises(httpx.ReadTimeout):
            AirflowApi("http://x", inside=transport, timeout_s=0.05)._send("/slow", {})
        brief = AirflowApi("http://x", inside=transport, timeout_s=0.05)
        asked.ask("an import", lambda: brief.once("/slow"), None)
        go.set()
    with served(app, why_not=lambda: "it was late") as (transport, _):
        asked.ask("a DAG", lambda: AirflowApi("http://x", inside=transport).once("/slow"), None)
    assert sorted(asked.failed) == ["a DAG", "an import"]
    assert contain.take_losses() == {}


def app_with_a_log(parts):
    app = FastAPI()

    @app.get("/api/v2/dags/d/dagRuns/r/taskInstances/t/logs/1")
    def log(request: Request):
        if request.headers["accept"] != "application/x-ndjson":
            return {"content": "a whole log, made into one document in the event loop"}
        return StreamingResponse(parts, media_type="application/x-ndjson")

    return app


LOG = "/dags/d/dagRuns/r/taskInstances/t/logs/1"


def test_of_a_log_the_end_is_kept_and_it_comes_line_by_line():
    lines = (b'{"event": "line %d"}\n' % number for number in range(100_000))
    with served(app_with_a_log(b"".join(part) for part in itertools.zip_longest(*[lines] * 500))) as (transport, _):
        content = AirflowApi("http://x", inside=transport).get(LOG)["content"]
    assert content[-1] == {"event": "line 99999"}
    assert 5_000 < len(content) < 50_000


def test_a_log_without_end_is_given_up_as_by_a_browser_that_was_closed(monkeypatch):
    monkeypatch.setattr(asgi_client, "_MOST_BYTES", 100_000)
    without_end = itertools.repeat(b'{"event": "again"}\n' * 100)
    with served(app_with_a_log(without_end)) as (transport, _):
        assert AirflowApi("http://x", inside=transport).get(LOG)["content"] == []
