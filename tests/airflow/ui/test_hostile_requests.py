"""Requests of nobody in particular to every route lead nowhere else, and their bodies are not read without end."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from observability.airflow.ui.app import create_app

pytestmark = pytest.mark.airflow

ROUTES = [route for route in create_app().routes if isinstance(route, APIRoute)]
WRITING = [route.path for route in ROUTES if "POST" in route.methods]
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
