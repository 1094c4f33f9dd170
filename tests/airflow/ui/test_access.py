"""Every endpoint asks Airflow who reads and what they may read: in Airflow's own API server app."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import httpx
import pytest
from api_server import api_server
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount

from observability.airflow.ui import boards
from observability.airflow.ui.app import create_app
from observability.airflow.ui.readable_store import ReadableStore
from observability.airflow.ui.scope import Names, Reader
from observability.events import provider_of
from observability.store import Query, StoreError
from observability.store.tables import Ask

pytestmark = pytest.mark.airflow

VALUES = {"dag_id": "{dag}", "run_id": "r1", "task_id": "load", "board": "operations", "panel": "failing-tasks"}
"""Values for the parameters of our routes; a route with another one fails here until it is thought about."""

EVERY_ROUTE = [route for route in create_app().routes if isinstance(route, APIRoute)]
ROUTES = [
    route for route in EVERY_ROUTE if not route.path.startswith(("/incidents/", "/links/")) and route.methods == {"GET"}
]
"""Those that read; :mod:`test_acts` asks those of the ledger, :mod:`test_rules_page` the trial of rules."""
ABOUT_A_DAG = [f"/contrail{route.path_format.format(**VALUES)}" for route in ROUTES if "{dag_id}" in route.path]
ABOUT_MANY = [f"/contrail{route.path_format.format(**VALUES)}" for route in ROUTES if "{dag_id}" not in route.path]
PANELS = [
    f"/contrail/boards/{key}/panels/{panel['key']}"
    for key, board in boards.boards().items()
    for row in board["rows"]
    for panel in row["panels"]
]
FEW = [
    panel
    for number, panel in enumerate(PANELS)
    if number % 7 == 0 or panel.endswith(("logs/panels/lines", "run/panels/errors", "platform/panels/broken"))
]
"""Those that are asked of a server; :mod:`test_rights_of_panels` asks all of them, also with filters, in process."""
OTHERS = [pytest.param(panel, marks=pytest.mark.slow) for panel in PANELS if panel not in FEW]
ONE = frozenset({"open_dag"})
SECRET = "a-secret-of-the-closed-dag"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real API server with our plugin: its address and a token for each of its users."""
    users = {"narrow": "narrow-password", "wide": "wide-password"}
    fill = {"open_dag": "<script>alert(2)</script>", "closed_dag": SECRET, None: SECRET}
    manager = "auth_manager.OneDagAuthManager"
    with api_server(
        tmp_path_factory,
        tmp_path_factory.mktemp("ui"),
        users,
        dags=("open_dag", "closed_dag"),
        fill=fill,
        AIRFLOW__CORE__AUTH_MANAGER=manager,
    ) as started:
        yield started


@pytest.fixture
def get(server):
    """Ask for a page as a user, or as nobody."""
    url, tokens = server

    def ask(page, user=None, dag="open_dag", **more):
        headers = {"Authorization": f"Bearer {tokens[user]}"} if user else {}
        return httpx.get(url + page.format(dag=dag), headers=headers, timeout=30, verify=False, **more)

    return ask


def test_every_endpoint_is_one_of_those_that_are_tried_here():
    others = [route for route in create_app().routes if route not in EVERY_ROUTE and not isinstance(route, APIRoute)]

    assert [(type(route), route.path) for route in others] == [(Mount, "/static")]
    written = {route.path for route in EVERY_ROUTE if "POST" in route.methods}
    assert written == {"/incidents/{incident_id}/acts/{act}", "/links/{token}", "/rules"}


@pytest.mark.parametrize("page", [*ABOUT_A_DAG, *ABOUT_MANY])
def test_an_anonymous_reader_gets_nothing(get, page):
    assert get(page).status_code == 401


@pytest.mark.parametrize("page", ABOUT_A_DAG)
def test_a_reader_without_the_right_to_the_dag_gets_nothing(get, page):
    assert get(page, "narrow", dag="closed_dag").status_code == 403


@pytest.mark.parametrize("page", [*ABOUT_A_DAG, *ABOUT_MANY])
def test_a_reader_with_the_right_gets_the_page(get, page):
    response = get(page, "narrow")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize("page", [*ABOUT_MANY, *FEW, *OTHERS])
def test_a_page_about_many_dags_holds_nothing_of_one_that_the_reader_may_not_read(get, page):
    response = get(page, "narrow")

    assert response.status_code == 200
    assert SECRET not in response.text
    assert "closed_dag" not in response.text


@pytest.mark.parametrize("field", ["airflow.dag_id", "airflow.owner", "airflow.task_id"])
def test_a_filter_does_not_lead_around_the_right_to_a_dag(get, field):
    value = {"airflow.dag_id": "closed_dag", "airflow.owner": SECRET, "airflow.task_id": "load"}[field]
    for panel in FEW:
        response = get(panel, "narrow", params={field: value, "hours": "24"})
        assert "closed_dag" not in response.text
        assert SECRET not in response.text


def test_those_who_may_read_everything_are_shown_everything(get):
    told = {panel for panel in FEW if SECRET in get(panel, "wide").text}

    assert {panel.rpartition("/contrail/boards/")[2] for panel in told} >= {
        "logs/panels/lines",
        "run/panels/errors",
        "platform/panels/broken",
    }
    assert "closed_dag" in get("/contrail/boards/operations/panels/failing-tasks", "wide").text


def test_a_page_without_a_store_looks_like_a_page():
    app = FastAPI()
    app.mount("/contrail", inner := create_app())
    inner.add_api_route("/broken", _without_a_store)

    response = TestClient(app, raise_server_exceptions=False).get("/contrail/broken", headers={"accept": "text/html"})

    assert response.status_code == 503
    assert "there is no store" in response.text
    assert 'href="/contrail/static/contrail.css"' in response.text


def _without_a_store():
    raise StoreError("there is no store at /x yet")


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ("/contrail/boards/nothing", 404),
        ("/contrail/boards/operations/panels/nothing", 404),
        ("/contrail/boards/operations?hours=0", 422),
        ("/contrail/boards/operations?hours=nan", 422),
        ("/contrail/boards/operations?hours=1e300", 422),
        ("/contrail/boards/../dags/closed_dag", 403),
        ("/contrail/boards/operations/panels/failing-tasks?airflow.dag_id=%27%22)%3B--%00%F0%9F%98%80", 200),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_or_answered_with_nothing(get, page, status):
    assert get(page, "narrow").status_code == status


def test_the_session_cookie_is_a_login(get, server):
    assert get(ABOUT_A_DAG[0], dag="closed_dag", cookies={"_token": server[1]["wide"]}).status_code == 200


def test_a_forged_token_is_refused(get, server):
    forged = server[1]["wide"].rsplit(".", 1)[0] + ".AAAA"
    assert get(ABOUT_A_DAG[0], cookies={"_token": forged}).status_code in (401, 403)


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(get, server):
    response = get("/contrail/", "wide")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "://" not in response.text.replace(server[0], "")
    assert " style=" not in response.text


def test_what_a_task_said_is_escaped(get):
    response = get("/contrail/dags/open_dag/runs/r1/tasks/load", "wide")
    assert "&lt;script&gt;alert(2)" in response.text
    assert "<script>alert(2)" not in response.text


def test_names_are_escaped(get):
    response = get("/contrail/dags/%3Cscript%3Ealert(1)", "wide")
    assert response.status_code == 200
    assert "<script>alert(1)" not in response.text


def some(*names, every=()):
    return Names(lambda name: name in names, lambda: every)


class Store:
    """The questions to the store, which answers with rows about two assets and two pools."""

    def __init__(self):
        self.asked = []

    def table(self, ask):
        self.asked.append(ask)
        first = (0,) if ask.bucket_s else ()
        return {(*first, *([name] if ask.by else [])): (1,) for name in ("one", "two")}

    def documents(self, query):
        self.asked.append(query)
        return iter([{"@timestamp": "1", "airflow.asset": "one"}, {"@timestamp": "2", "airflow.asset": ["one", "two"]}])


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("field", "dataset"), [("airflow.asset", "etl.event"), ("airflow.pool", "airflow.statsd")])
def test_who_may_list_assets_or_pools_sees_those_that_they_may_read(field, dataset, whole):
    reader = Reader(ONE, ONE, ONE, whole=whole, pools=some("one", every=("one", "two")), assets=some("one"))
    store = Store()
    readable = ReadableStore(store, reader)
    now = datetime.now(timezone.utc)
    by = Ask((dataset,), {}, now, now, by=(field,))

    assert set(readable.table(by)) == {("one",)}
    assert set(readable.table(replace(by, bucket_s=60))) == {(0, "one")}
    readable.table(Ask((dataset,), {field: ("one", "two")}, now, now))
    assert store.asked[-1].where[field] == ("one",)
    asked = len(store.asked)
    assert readable.table(Ask((dataset,), {field: ("two",)}, now, now)) == {}
    assert readable.table(Ask((dataset,), {}, now, now, measures=(("unique", field),))) == {}
    assert len(store.asked) == asked
    readable.table(Ask((dataset,), {}, now, now))
    assert (field in store.asked[-1].without) == (field == "airflow.pool")


def test_a_document_about_an_asset_that_is_not_for_the_reader_does_not_name_it():
    readable = ReadableStore(Store(), Reader(ONE, ONE, ONE, whole=True, assets=some("one")))

    assert [one.get("airflow.asset") for one in readable.documents(Query("etl.event"))] == ["one", None]
    assert list(readable.documents(Query("etl.event", {"airflow.asset": "two"}))) == []


def test_an_event_of_an_earlier_version_keeps_who_reported_it_where_its_texts_are_left_out():
    class Before:
        def documents(self, _query):
            return iter([{"airflow.dag_id": "open_dag", "airflow.witness": "reconciler", "event.reason": SECRET}])

    readable = ReadableStore(Before(), Reader(ONE, ONE, frozenset(), whole=False, assets=some()))

    (found,) = readable.documents(Query("etl.event", {"airflow.dag_id": "open_dag"}))
    assert (provider_of(found), "event.reason" in found) == ("reconciler", False)


def test_a_pool_that_is_not_known_to_be_all_is_left_out_of_sums():
    assert not some("one").all
    assert some("one", every=("one",)).all
