"""An auth manager that does not answer: a page that says so, and nothing of anybody's."""

from __future__ import annotations

import httpx
import pytest
from api_server import api_server
from auth_manager import ASKED, LISTED, PASSWORD
from keycloak_stand_in import keycloak
from test_rights import DAGS, MANAGERS, NOBODYS, REASONS, ROUTES, pages

pytestmark = pytest.mark.airflow

HTML = {"Accept": "text/html"}
OURS = (*DAGS, *REASONS.values(), NOBODYS)
PAGES = [pages(route, None)[0] for route in ROUTES]
"""An address of every route."""
OPEN = ("/runbooks", "/boards/", "/setup")
"""Pages that hold nothing of a DAG: they need a login only."""


def needs_rights(page):
    return not page.startswith(OPEN) or "/panels/" in page


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """A client of a reader of everything, and what makes the auth manager fail."""
    home = tmp_path_factory.mktemp("failing")
    fails = home / "fails"
    fails.write_text("nothing yet")
    about = {"dags": DAGS, "fill": {**REASONS, None: NOBODYS}}
    manager = {"AIRFLOW__CORE__AUTH_MANAGER": "auth_manager.FailingAuthManager"}
    with (
        api_server(tmp_path_factory, home, {"all": PASSWORD, "one": PASSWORD}, **about, **manager) as (url, tokens),
        httpx.Client(base_url=f"{url}/contrail", timeout=60, headers=HTML) as client,
    ):
        client.headers["Authorization"] = f"Bearer {tokens['all']}"
        assert all(client.get(page).status_code == 200 for page in PAGES)
        yield client, fails, tokens


def says_that_rights_are_unknown(response):
    assert response.status_code == 503, (response.url, response.status_code)
    assert "Your rights cannot be asked now" in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert_empty(response)


def assert_empty(response):
    about = response.text.replace(str(response.url.path), "")
    assert [word for word in (*OURS, "the words of a service") if word in about] == []


@pytest.mark.parametrize("method", [one for one in ASKED if one != "batch_is_authorized_dag"])
def test_a_question_that_raises_is_a_page_that_says_so_on_every_route(failing, method):
    client, fails, _ = failing
    fails.write_text(method)
    for page in PAGES:
        response = client.get(page)
        if needs_rights(page) and not (response.status_code == 200 and method.endswith("_asset")):
            says_that_rights_are_unknown(response)
        else:
            assert response.status_code in {200, 503}
            assert method.endswith("_asset") or "cannot be asked" in response.text or not needs_rights(page)
    fails.write_text("nothing yet")


@pytest.mark.parametrize("method", ASKED)
def test_a_question_without_an_answer_opens_nothing(failing, method):
    client, fails, tokens = failing
    fails.write_text(f"{method} nothing")
    for page in PAGES:
        response = client.get(page, headers={"Authorization": f"Bearer {tokens['one']}"})
        assert response.status_code in {200, 403, 503}
        others = [dag for dag in DAGS if dag not in LISTED["one"] and f"/dags/{dag}" not in page]
        assert [word for dag in others for word in (dag, REASONS[dag]) if word in response.text] == []
        assert NOBODYS not in response.text
    fails.write_text("nothing yet")


def test_who_asks_for_json_is_told_by_json(failing):
    client, fails, _ = failing
    fails.write_text("get_authorized_dag_ids")
    response = client.get("/", headers={"Accept": "application/json"})
    fails.write_text("nothing yet")
    assert response.status_code == 503
    assert response.json()["detail"].startswith("Your rights cannot be asked now")


@pytest.mark.slow
def test_a_keycloak_that_is_down_shows_nobody_anything(tmp_path_factory):
    pytest.importorskip("airflow.providers.keycloak", reason="its provider needs Python 3.11")
    state = [0]
    with (
        keycloak(lambda: state[0]) as settings,
        api_server(
            tmp_path_factory,
            tmp_path_factory.mktemp("down"),
            {"all": PASSWORD},
            dags=DAGS,
            fill={**REASONS, None: NOBODYS},
            AIRFLOW__CORE__AUTH_MANAGER=MANAGERS["keycloak"],
            **settings,
        ) as (url, tokens),
        httpx.Client(base_url=f"{url}/contrail", timeout=60, headers=HTML) as client,
    ):
        client.headers["Authorization"] = f"Bearer {tokens['all']}"
        assert REASONS["open_dag"] in client.get("/").text
        for state[0] in (500, 503, -1):
            for page in PAGES:
                response = client.get(page)
                if needs_rights(page):
                    says_that_rights_are_unknown(response)
                else:
                    assert response.status_code == 200
                    assert_empty(response)
        state[0] = 0
        assert REASONS["open_dag"] in client.get("/").text
