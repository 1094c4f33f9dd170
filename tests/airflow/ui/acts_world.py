"""An API server with a ledger, on which people act: shared by the tests of forms and those in a browser."""

from __future__ import annotations

import re
import time

import httpx
import pytest
from api_server import RAN, api_server
from auth_manager import PASSWORD
from itsdangerous import URLSafeTimedSerializer

from observability.watch.incidents import Incident
from observability.watch.ledger import acts as rows
from observability.watch.ledger import records
from observability.watch.ledger.database import Ledger

DAGS = ("open_dag", "closed_dag")
WORLDS = {
    "simple": {
        "manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "editor": "ann", "readers": ("vic",), "strangers": (),
    },
    "fab": {
        "manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "editor": "editor", "readers": ("one", "runs_of_one"), "strangers": ("none",),
    },
    "narrow": {
        "manager": "auth_manager.ListingAuthManager",
        "editor": "editor", "readers": ("one", "runs_of_one", "bare_runs_of_one"), "strangers": ("none",),
    },
}  # fmt: skip


def incident(dag, number, **more):
    now = time.time()
    about = {
        "kind": "task",
        "severity": "error",
        "cause": "app",
        "reason": f"why-{dag}",
        "certainty": 3,
        "run_id": "r1",
    }
    return Incident(
        id=f"{number:016x}", key=f"run:{dag}:{number}", state="open", first_seen=now - 60, last_seen=now, count=1,
        notified="opened", notified_at=now, dag_id=dag, task_id="load",
        failed_tasks=("load",), **(about | more),
    )  # fmt: skip


FILLED = {"to": {"value": "bob"}, "until": {"value": "success"}, "note": {"note": "a reason"}}
"""The fields that a person fills in, by what an act asks for."""


class World:
    """An API server with a ledger, a client for each person, and the key of its links."""

    def __init__(self, url, tokens, ledger, about):
        self.url, self.tokens, self.ledger = url, tokens, ledger
        self.editor, self.readers, self.strangers = about["editor"], about["readers"], about["strangers"]
        with ledger.transaction(lock=True) as connection:
            self.key = rows.key(connection)

    def fresh(self, dag="open_dag", number=1, **more):
        """The incident, open, with nothing done about it."""
        one = incident(dag, number, **more)
        with self.ledger.transaction(lock=True) as connection:
            records.save_incident(connection, one)
            rows.forget(connection, time.time() + 1)
        return one

    def now(self, one):
        with self.ledger.transaction() as connection:
            return records.incident(connection, one.id)

    def acts(self, one):
        with self.ledger.transaction() as connection:
            return rows.of_incident(connection, one.id)

    def ask(self, who, method, path, **more):
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        headers |= more.pop("headers", {})
        return httpx.request(method, f"{self.url}/contrail{path}", headers=headers, timeout=60, verify=False, **more)

    def airflow_asked(self, method, path):
        """The answer of Airflow's own REST API to the editor."""
        headers = {"Authorization": f"Bearer {self.tokens[self.editor]}"}
        answer = httpx.request(method, f"{self.url}/api/v2{path}", headers=headers, timeout=60, verify=False)
        return answer.raise_for_status().json()

    def form(self, who, about):
        """The token that a page of ours would give ``who``, whose id is their name or their number in FAB."""
        page = self.ask(who, "GET", about).text
        found = re.search(r'name="(?:token|form)" value="([^"]+)"', page)
        return found[1] if found else ""

    def id_of(self, who):
        """Airflow's id of a person, by which a form is theirs."""
        token = self.form(who, f"/incidents/{self.fresh(number=9).id}")
        return URLSafeTimedSerializer(self.key, salt="contrail.form").loads(token)[0]

    def act(self, who, one, name, **fields):
        data = {"token": self.form(self.editor, f"/incidents/{one.id}") if who == self.editor else "", **fields}
        return self.ask(who, "POST", f"/incidents/{one.id}/acts/{name}", data=data)


@pytest.fixture(scope="session", params=("simple", "fab"))
def world(request, tmp_path_factory):
    home, about = tmp_path_factory.mktemp(f"acts-{request.param}"), WORLDS[request.param]
    people = (about["editor"], *about["readers"], *about["strangers"])
    ledger = Ledger(f"sqlite:///{home}/contrail/ledger.db")
    roles = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ann:op,vic:viewer"} if request.param == "simple" else {}
    settings = {"AIRFLOW__CORE__AUTH_MANAGER": about["manager"], **roles}
    with api_server(
        tmp_path_factory,
        home,
        dict.fromkeys(people, PASSWORD),
        dags=DAGS,
        ran=(RAN,) if request.param == "simple" else (),
        fill={dag: f"why-{dag}" for dag in DAGS},
        **settings,
    ) as (url, tokens):
        found = World(url, tokens, ledger, about)
        found.airflow = home / "airflow.db"
        yield found
    ledger.close()
