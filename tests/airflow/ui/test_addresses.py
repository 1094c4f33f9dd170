"""Addresses of pages: Airflow below a path, and ids that mean something in an address."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx
import pytest
from api_server import api_server

from observability.airflow.ui.formatting import Links, web

pytestmark = pytest.mark.airflow

USERS = {"reader": "a-password"}
DAG = "заказы.v2"
ODD_IDS = (
    "manual__2026-01-01T00:00:00+00:00",
    "a#b",
    "a?b=c&d",
    "100%",
    "%2e%2e",
    "a b",
    'say "it\'s"',
    "夜間バッチ",
    "a/b",
    "back\\slash!",
    "<b>",
)
ASK = "import json; from observability.airflow.ui import views; print(json.dumps(views.EXTERNAL_VIEWS))"


@pytest.fixture(scope="module")
def below_a_path(tmp_path_factory):
    """A client of an Airflow whose base_url has a path, logged in; and the address."""
    home = tmp_path_factory.mktemp("below")
    odd = {DAG: "boom"}
    with (
        api_server(tmp_path_factory, home, USERS, base_path="/air/flow", dags=(DAG,), fill=odd, runs=ODD_IDS) as (
            url,
            tokens,
        ),
        httpx.Client(headers={"Authorization": f"Bearer {tokens['reader']}"}, timeout=60) as client,
    ):
        yield client, url


@pytest.mark.parametrize("base_url", ["http://localhost:8080", "https://host/air/flow", "https://host/a/b/"])
def test_the_entries_in_airflows_navigation_lead_below_its_path(base_url, tmp_path):
    environ = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__API__BASE_URL": base_url}
    done = subprocess.run([sys.executable, "-c", ASK], env=environ, capture_output=True, check=True, text=True)
    below = urlsplit(base_url).path.rstrip("/") + "/contrail/"
    for entry in json.loads(done.stdout.splitlines()[-1]):
        for what in ("href", "icon", "icon_dark_mode"):
            assert urlsplit(urljoin(base_url, entry[what])).path.startswith(below), entry


def test_every_link_of_a_page_stays_below_the_path_and_is_answered(below_a_path):
    client, url = below_a_path
    pages = ("/contrail/", "/contrail/boards/operations", f"/contrail/dags/{quote(DAG)}/runs/r1/tasks/load")
    for page in pages:
        found = client.get(url + page)
        assert found.status_code == 200
        links = {html.unescape(one) for one in re.findall(r'(?:href|src|data-panel)="(/[^"]*)"', found.text)}
        ours = {link for link in links if "/contrail" in link}
        assert len(ours) > 3
        assert [link for link in links if not link.startswith("/air/flow/")] == []
        answers = {link: client.get(urljoin(url, link)).status_code for link in sorted(ours)}
        assert {link: status for link, status in answers.items() if status != 200} == {}


def test_an_incident_can_be_read_where_the_watchers_ledger_cannot(below_a_path):
    client, url = below_a_path
    found = client.get(f"{url}/contrail/", headers={"accept": "text/html"}).text
    incidents = set(re.findall(r'href="(/[^"]*/contrail/incidents/[^"]*)"', found))
    assert incidents
    for link in incidents:
        page = client.get(urljoin(url, link), headers={"accept": "text/html"})
        assert page.status_code == 200
        assert "CONTRAIL_WATCH__LEDGER_URL" in page.text
        assert "It was seen for the first time." in page.text
        assert 'method="post"' not in page.text


@pytest.mark.parametrize("run", ODD_IDS)
def test_a_run_with_an_odd_id_has_its_page_and_links_that_lead_to_it(below_a_path, run):
    client, url = below_a_path
    links = Links(root=f"{urlsplit(url).path}/contrail")
    dag_page = client.get(urljoin(url, links.dag(DAG)))
    assert html.escape(links.run(DAG, run)) in dag_page.text
    for page in (links.run(DAG, run), links.task(DAG, "load", run), links.task(DAG, "load", run, 3)):
        found = client.get(urljoin(url, page))
        assert found.status_code == 200
        title = html.unescape(re.search(r"<h1>(.*?)</h1>", found.text)[1])
        assert title == (
            "load" if "/tasks/load" in page.partition("/runs/")[2].rpartition(quote(run, safe=""))[2] else run
        )
        assert "boom" in found.text


@pytest.mark.parametrize("value", ODD_IDS)
def test_an_odd_value_survives_the_way_through_a_boards_filter(below_a_path, value):
    client, url = below_a_path
    board = Links(root=f"{urlsplit(url).path}/contrail").board("run", **{"airflow.run_id": value})
    page = client.get(urljoin(url, board))
    (shown,) = re.findall(r'<input name="airflow\.run_id" value="([^"]*)"', page.text)
    assert html.unescape(shown) == value


@pytest.mark.parametrize("value", ODD_IDS)
def test_a_link_to_kibana_asks_for_exactly_this_run(value):
    link = Links(kibana="https://kibana").kibana_logs("d", value)
    query = unquote(re.search(r"query:'(.*?)'\)\)", link)[1]).replace("!'", "'").replace("!!", "!")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    assert query == f'airflow.dag_id:"d" and airflow.run_id:"{escaped}"'


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://wiki/runbook", "https://wiki/runbook"),
        (" HTTP://wiki ", "HTTP://wiki"),
        ("javascript:alert(1)", None),
        ("java\nscript:alert(1)", None),
        ("data:text/html,x", None),
        ("//elsewhere", None),
        (None, None),
    ],
)
def test_only_web_addresses_become_links(address, expected):
    assert web(address) == expected
