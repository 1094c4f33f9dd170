"""Every endpoint under each auth manager, asked by readers of none, one, two and all DAGs."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from api_server import api_server
from auth_manager import BARE_RUNS, LISTED, NO_ASSETS, ONLY_RUNS, PASSWORD
from every_kind import ASSET
from fastapi.routing import APIRoute
from keycloak_stand_in import keycloak

from observability.airflow.ui import access, boards
from observability.airflow.ui.app import create_app

pytestmark = pytest.mark.airflow

DAGS = ("open_dag", "second_dag", "closed_dag")
REASONS = {dag: f"why-{dag}-failed" for dag in DAGS}
NOBODYS = "why-a-file-is-broken"
EVERY_ROUTE = [route for route in create_app().routes if isinstance(route, APIRoute)]
ROUTES = [route for route in EVERY_ROUTE if not route.path.startswith(("/incidents/", "/links/"))]
"""Those that read the store; :mod:`test_acts` asks those of the ledger."""
MANAGERS = {
    "simple": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    "fab": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "narrow": "auth_manager.ListingAuthManager",
    "keycloak": "airflow.providers.keycloak.auth_manager.keycloak_auth_manager.KeycloakAuthManager",
}


WITH_MANY_READERS = ("fab", "keycloak", "narrow")
NAMED_BELOW = ("operations/panels/failing-tasks", "logs/panels/lines", "data/panels/assets", "platform/panels/broken")


def panels(route, turn):
    """The addresses of all panels, or of every ninth: test_rights_of_panels asks all of them for each set of rights."""
    found = [
        route.path_format.format(board=key, panel=panel["key"])
        for key, board in boards.boards().items()
        for row in board["rows"]
        for panel in row["panels"]
    ]
    if turn is None:
        return found
    return [one for number, one in enumerate(found) if number % 9 == turn or one.endswith(NAMED_BELOW)]


def pages(route, turn):
    """Every address of a route: each DAG, board and panel (of these a few, where ``turn`` says which)."""
    if "{panel}" in route.path:
        return panels(route, turn)
    if route.path == "/search":
        return ["/search?q=why"]
    if "{board}" in route.path:
        return [route.path_format.format(board=key) for key in boards.boards()]
    return [
        route.path_format.format(dag_id=dag, run_id="r1", task_id="load")
        for dag in (DAGS if "{" in route.path else DAGS[:1])
    ]


LONG = ("narrow", *(f"{name} whole" for name in WITH_MANY_READERS))
"""``narrow`` lists as Keycloak does, for the same readers; Keycloak's own provider is in the short form."""
WORLDS = [one for one in MANAGERS if one not in LONG] + [pytest.param(one, marks=pytest.mark.slow) for one in LONG]


@pytest.fixture(scope="module", params=WORLDS)
def seen(request, tmp_path_factory):
    """For each reader of an auth manager: what every page said, by its address."""
    manager, whole, _ = request.param.partition(" whole")
    turn = None if whole or manager not in WITH_MANY_READERS else WITH_MANY_READERS.index(manager)
    if manager == "keycloak":
        pytest.importorskip("airflow.providers.keycloak", reason="its provider needs Python 3.11")
    users = {"all": PASSWORD} if manager == "simple" else dict.fromkeys(LISTED, PASSWORD)
    found = {}
    with (
        keycloak() as settings,
        api_server(
            tmp_path_factory,
            tmp_path_factory.mktemp(f"rights-{manager}"),
            users,
            dags=DAGS,
            fill={**REASONS, None: NOBODYS},
            whole=True,
            AIRFLOW__CORE__AUTH_MANAGER=MANAGERS[manager],
            **(settings if manager == "keycloak" else {}),
        ) as (url, tokens),
        httpx.Client(base_url=f"{url}/contrail", timeout=60) as client,
    ):
        for name, token in tokens.items():
            client.headers["Authorization"] = f"Bearer {token}"
            found[name] = {page: client.get(page) for route in ROUTES for page in pages(route, turn)}
    return found


def of(responses, *words):
    """The pages on which one of ``words`` stands."""
    return sorted(page for page, response in responses.items() if any(word in response.text for word in words))


def test_no_page_is_an_error(seen):
    answers = {response.status_code for responses in seen.values() for response in responses.values()}
    assert answers <= {200, 403}


def test_nobody_sees_a_name_text_or_row_of_a_dag_that_they_may_not_read(seen):
    for name, responses in seen.items():
        may = LISTED[name]
        for dag in DAGS if may is not None else ():
            if dag not in may:
                others = {page: found for page, found in responses.items() if f"/dags/{dag}" not in page}
                assert (name, of(others, dag)) == (name, [])


def test_a_page_of_a_dag_is_refused_to_who_may_not_read_it(seen):
    for name, responses in seen.items():
        for dag in set(DAGS) - set(DAGS if LISTED[name] is None else LISTED[name]):
            asked = [found.status_code for page, found in responses.items() if page.startswith(f"/dags/{dag}")]
            assert (name, asked) == (name, [403] * len(asked))


def test_everybody_sees_their_own_dags_on_boards_and_pages(seen):
    for name, responses in seen.items():
        for dag in DAGS if LISTED[name] is None else LISTED[name]:
            wanted = {"/", f"/dags/{dag}"}
            if name not in BARE_RUNS:
                wanted |= {f"/dags/{dag}/runs/r1", "/boards/operations/panels/failing-tasks"}
            assert (name, wanted - set(of(responses, dag))) == (name, set())
            if name not in ONLY_RUNS:
                told = of(responses, REASONS[dag])
                assert {"/", f"/dags/{dag}/runs/r1/tasks/load", "/boards/logs/panels/lines"} <= set(told), name


def test_who_may_not_read_task_logs_sees_no_reason_error_or_line(seen):
    for name in ONLY_RUNS:
        assert of(seen.get(name, {}), *REASONS.values(), NOBODYS) == []


def test_what_is_about_no_dag_is_for_readers_of_everything(seen):
    for name, responses in seen.items():
        assert (name, bool(of(responses, NOBODYS))) == (name, name in {"all", *NO_ASSETS})


def test_assets_are_for_those_who_may_read_assets(seen):
    for name, responses in seen.items():
        seen_on = ["/boards/data/panels/assets"] if LISTED[name] is None and name not in NO_ASSETS else []
        assert (name, of(responses, *(f"asset-of-{dag}" for dag in DAGS)) != []) == (name, seen_on != [])
        assert (name, of(responses, *(f">asset-of-{dag}" for dag in DAGS))) == (name, seen_on)


def test_a_late_asset_is_named_to_those_who_may_read_it_and_everything(seen):
    for name, responses in seen.items():
        found = of(responses, *(f"{ASSET}{dag}" for dag in DAGS))
        assert (name, "/" in found, bool(found)) == (name, *[name == "all"] * 2)


def test_who_may_read_runs_alone_sees_no_task_and_nothing_of_one(seen):
    for name in BARE_RUNS:
        assert of(seen.get(name, {}), *(f"{what}-of-{dag}" for dag in DAGS for what in ("task", "owner", "step"))) == []


def test_only_the_routes_of_acts_write_and_each_wants_a_form_that_cannot_be_forged():
    writing = [route for route in EVERY_ROUTE if route.methods - {"GET"}]
    forms = [{field.name for field in route.dependant.body_params} & {"token", "form"} for route in writing]
    assert (len(writing), all(forms)) == (3, True)


def test_the_page_of_who_sees_what_is_that_of_these_routes():
    committed = Path(__file__).parents[3] / "docs" / "reference" / "access.md"
    assert committed.read_text("utf-8") == access.page(), "run make generate and commit docs/reference/access.md"
