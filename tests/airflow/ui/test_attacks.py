"""Addresses made by hand: nothing is told about a DAG that is not the reader's, not even that it is there."""

from __future__ import annotations

import re

import pytest
from acts_world import WORLDS

pytestmark = [pytest.mark.airflow, pytest.mark.parametrize("world", WORLDS, indirect=True)]

THEIRS, NOBODYS = "closed_dag", "cl0sed_dag"
NAMED = (
    "/search?q=why&dag={}",
    "/search?q=why-{}&hours=8000",
    "/search?q=w.y&pattern=true&dag={}&run=r1&task=load",
    "/dags?q={}",
    "/days?q={}&every=true",
    "/boards/operations?dag={}",
    "/boards/operations/panels/failing-tasks?dag={}",
    "/boards/logs/panels/lines?dag={}",
    "/boards/data/panels/assets?dag={}&dag=open_dag",
    "/dags/{}",
    "/dags/{}/",
    "/dags/{}%00",
    "/dags//{}",
    "/dags/{}/runs/r1",
    "/dags/{}/tasks/load",
    "/dags/{}/runs/r1/tasks/load?map_index=-1",
    "/dags/open_dag%2F..%2F{}",
    "/dags/open_dag/../{}",
    "/dags/%2e%2e/dags/{}",
    "/dags/open_dag/runs/r1%2F..%2F..%2F..%2F{}%2Fruns%2Fr1",
    "/dags/open_dag/runs/../../{}/runs/r1/tasks/load",
    "/dags/open_dag/runs/r1/tasks/..%2f..%2f..%2f{}",
    "/dags/open_dag?dag_id={}",
    "/dags/open_dag/runs/r1?dag_id={}&dag={}",
)
NEVER = (
    "/static/..%2fapp.py",
    "/static/../app.py",
    "/static/%2e%2e/%2e%2e/settings.py",
    "/static//etc/passwd",
    "/runbooks?page=..%2f..%2fREADME",
    "/boards/..%2f..",
    "/links/%0d%0aX-A:1",
    "/incidents/%0d%0aX-A:1",
    f"/search?q={'x' * 30_000}",
    f"/dags/{'x' * 30_000}",
    f"/boards/operations?{'dag=x&' * 3_000}",
)
VOLATILE = re.compile(
    r'name="(?:token|form)" value="[^"]*"|\d{4}-\d\d-\d\d[T ][\d:.]+Z?|\d+ (?:second|minute)s?|[\d.]+ (?:ms|s|min|h)\b'
)


def told(answer, name):
    return answer.status_code, VOLATILE.sub("", answer.text.replace(name, "a_dag"))


def test_an_answer_about_a_dag_that_is_not_theirs_is_that_about_one_that_is_not_there(world):
    if not world.strangers:
        pytest.skip("everybody may read every DAG there")
    for who in (*world.readers, *world.strangers):
        for address in NAMED:
            answer = world.ask(who, "GET", address.replace("{}", THEIRS), headers={"Accept": "text/html"})
            other = world.ask(who, "GET", address.replace("{}", NOBODYS), headers={"Accept": "text/html"})
            assert told(answer, THEIRS) == told(other, NOBODYS), (who, address)
            assert answer.status_code < 500, (who, address)
            assert f"why-{THEIRS}" not in answer.text or "q=why-" in address, (who, address)


def test_an_answer_is_for_its_reader_alone_and_no_address_leaves_the_app(world):
    for who in (None, world.editor):
        for address in (*(one.replace("{}", THEIRS) for one in NAMED), *NEVER):
            answer = world.ask(who, "GET", address)
            assert answer.status_code < 500, (who, address[:80])
            assert "X-A" not in answer.headers, address[:80]
            assert "root:" not in answer.text
            assert "import annotations" not in answer.text
            if "%0d" in address:
                continue  # Airflow itself refuses a line break in a path
            assert answer.headers.get("cache-control") == "private, no-store", (who, address[:80])
            assert answer.headers.get("x-content-type-options") == "nosniff", (who, address[:80])
