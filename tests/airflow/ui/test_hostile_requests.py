"""Requests of nobody in particular to every route lead nowhere else, and their bodies are not read without end."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient
from test_hostile import carry
from test_rules_page import broken, home, reader  # noqa: F401 - fixtures

from observability.airflow.ui import app
from observability.airflow.ui.app import create_app
from observability.settings import get_settings

pytestmark = pytest.mark.airflow

ROUTES = [route for route in create_app().routes if isinstance(route, APIRoute)]
WRITING = [route.path for route in ROUTES if "POST" in route.methods]
MARKUP = '"><img src=x onerror=alert(1)>'
PARAMETERS = (
    "q", "dag", "run", "task", "level", "until", "hours", "page", "done", "map_index", "iteration", "around", "pattern",
    "dag_id", "airflow.dag_id", "error.type",
)  # fmt: skip
FORMS = {
    "application/x-www-form-urlencoded": b"text=%s",
    "multipart/form-data; boundary=b": b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n%s\r\n--b--\r\n',
    "multipart/form-data; boundary=c": (
        b'--c\r\nContent-Disposition: form-data; name="text"; filename="x"\r\n\r\n%s\r\n--c--\r\n'
    ),
}


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app(), base_url="http://airflow.example", follow_redirects=False) as client:
        yield client


def in_parts(body):
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


@pytest.mark.parametrize("path", WRITING)
@pytest.mark.parametrize("kind", FORMS)
def test_a_body_that_is_too_long_is_refused_before_anybody_is_asked_who_sends_it(path, kind, client):
    body = FORMS[kind] % (b"a" * 2_000_000)
    for content in (body, in_parts(body)):
        answer = client.post(path, content=content, headers={"Content-Type": kind})
        assert answer.status_code == 413
    assert client.post(path, content=FORMS[kind] % b"a", headers={"Content-Type": kind}).status_code == 401


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
def test_no_request_is_led_to_another_host(path, client):
    address = path.replace("{run_id:path}", "r").replace("{", "").replace("}", "")
    for asked in (
        address,
        f"{address}/",
        f"/%2Fevil.example{address}",
        f"{address}//evil.example/",
        f"{address}%0d%0aX-A:b",
    ):
        for headers in (
            {"Host": "evil.example"},
            {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "//evil.example"},
        ):
            answer = client.get(asked, headers={"Accept": "text/html", **headers})
            assert answer.headers.get("Location", "/auth/login?").startswith("/auth/login?"), (asked, headers)
            assert "X-A" not in answer.headers


def asked_with(path, value):
    """The address of a route with ``value`` in each of its places, and in each parameter that a page knows."""
    address = re.sub(r"\{[^}]*\}", quote(value, safe=""), path)
    return f"{address}?{urlencode(dict.fromkeys(PARAMETERS, value))}"


@pytest.fixture
def hostile(broken, reader, monkeypatch):  # noqa: F811 - fixtures
    """A client of a home whose rules, incident, events and lines are there, and full of markup."""
    monkeypatch.setenv("CONTRAIL_RELAY__LOG_FOLDER", str(broken / "logs"))
    get_settings.cache_clear()
    carry(broken, [MARKUP, "{{ 7 * 7 }}"])
    client = reader(dags=("orders", "d", MARKUP))
    client.app.dependency_overrides |= {right.dependency: lambda: None for right in app._RIGHTS.values()}
    return client


def test_no_page_fails_at_what_an_address_says_or_takes_anything_for_markup(hostile):
    asked = {asked_with(route.path, value) for route in ROUTES for value in (MARKUP, "\0")}
    for address in sorted(asked | {re.sub(r"\{[^}]*\}", "d", route.path) for route in ROUTES}):
        answer = hostile.get(address, headers={"Accept": "text/html"}, follow_redirects=False)
        assert answer.status_code < 500, (address, answer.text[-500:])
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            assert "<img src=x" not in answer.text, address
            assert ">49<" not in answer.text, address
