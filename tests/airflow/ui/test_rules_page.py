"""The page of the rules: who hears of what, and rules that are tried before they stand in a file."""

from __future__ import annotations

import re
import time

import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient

from observability.airflow.api_server.status import Status, write_status
from observability.airflow.ui.app import create_app
from observability.airflow.ui.scope import Reader
from observability.settings import get_settings
from observability.watch.incidents import Incident
from observability.watch.ledger import records
from observability.watch.ledger.database import Ledger, write_cursor

RULES = """
channels: {chat: {type: webhook, url: "env:CHAT"}, desk: {type: file}}
receivers: {data: {channels: [chat]}, all: {channels: [desk]}}
routes:
- {match: {owner: data}, receiver: data}
- {receiver: all}
"""
OTHERS = RULES.replace("owner: data", "dag: nothing")
SECRET_REASON = "a reason that only some may read"


class Person:
    def __init__(self, name):
        self.name = name

    def get_id(self):
        return self.name

    def get_name(self):
        return self.name


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


@pytest.fixture
def broken(home):
    """A home with rules and an incident of the DAG ``orders``, which belongs to ``data``."""
    (home / "alerts.yaml").write_text(RULES)
    ledger = Ledger(get_settings().ledger_url)
    now = time.time()
    one = Incident(
        id="abc", key="k", state="open", kind="task", severity="error", cause="app", reason=SECRET_REASON,
        certainty=3, first_seen=now, last_seen=now, dag_id="orders", task_id="load", about={"owner": "data"},
    )  # fmt: skip
    with ledger.transaction(lock=True) as connection:
        records.save_incident(connection, one)
        write_cursor(connection, "reconcile", {"dags": {"orders": {"owner": "data"}, "closed": {"owner": "boss"}}})
    ledger.close()
    return home


@pytest.fixture
def reader(monkeypatch):
    """A client as a person with these rights."""

    def client(name="ada", *, whole=True, dags=("orders",)):
        app = create_app()
        app.dependency_overrides[get_user] = lambda: Person(name)
        every = frozenset(dags)
        monkeypatch.setattr(Reader, "of", classmethod(lambda _cls, _user: Reader(every, every, every, whole=whole)))
        return TestClient(app, base_url="http://airflow")

    return client


def form_of(page):
    return re.search(r'name="token" value="([^"]+)"', page.text)[1]


def tried(client, text, **more):
    data = {"token": form_of(client.get("/rules")), "text": text, **more}
    return client.post("/rules", data=data)


def test_it_says_who_hears_of_the_reader_s_dags_and_of_no_other(broken, reader):
    page = reader(whole=False).get("/rules")
    assert page.status_code == 200
    assert "chat" in page.text
    assert "route 1 (data): matches" in page.text
    assert "closed" not in page.text
    assert "boss" not in page.text
    assert "<textarea" not in page.text


def test_it_is_there_before_any_watcher_has_run(home, reader):
    (home / "alerts.yaml").write_text(RULES)
    assert "desk" in reader().get("/rules").text
    assert reader().get("/setup").status_code == 200
    assert not (home / "ledger.db").exists()


def test_why_the_guests_of_the_api_server_left_is_said(home, reader):
    write_status(home, Status(time=time.time(), server_problem="it did not answer"))
    assert "it did not answer" in reader().get("/setup").text
    write_status(home, Status(time=time.time() - 60, server_problem="it did not answer"))
    assert "it did not answer" not in reader().get("/setup").text


def test_rules_are_tried_on_what_happened_lately(broken, reader):
    page = tried(reader(), OTHERS)
    assert page.status_code == 200
    assert "These rules can be used" in page.text
    assert re.search(r"<b>chat</b></td><td><b>desk</b>", page.text)
    assert SECRET_REASON not in page.text
    assert (broken / "alerts.yaml").read_text() == RULES


def test_a_mistake_is_named_with_line_and_key(broken, reader):
    page = tried(reader(), RULES.replace("receiver: all}", "receiver: nobody}"))
    assert "These rules cannot be used" in page.text
    assert "these rules:6: routes" in page.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 500, "these rules"),
        ("a: &a [x]\nb: [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n", "aliases"),
        (RULES + "calendars: {days: /etc/passwd}\n", "calendar"),
        (RULES + "calendars: {days: ../alerts.yaml}\n", "calendar"),
        ("\x00", "these rules"),
        ('a: b\nc: "\\UFFFFFFFF"\n', "these rules:2"),
    ],
)
def test_what_would_grow_or_read_a_file_of_the_host_is_refused(broken, reader, text, said):
    page = tried(reader(), text)
    assert page.status_code == 200
    assert "cannot be used" in page.text
    assert said in page.text
    assert "root:" not in page.text


def test_a_text_without_end_is_refused(broken, reader):
    assert tried(reader(), "#" * 70_000).status_code == 422


def test_trying_takes_the_right_to_read_everything(broken, reader):
    form = form_of(reader().get("/rules"))
    page = reader(whole=False).post("/rules", data={"token": form, "text": RULES})
    assert page.status_code == 403
    assert "chat" not in page.text


@pytest.mark.parametrize(
    ("who", "form", "headers"),
    [
        ("ada", "", {}),
        ("ada", "made up", {}),
        ("eve", None, {}),
        ("ada", None, {"sec-fetch-site": "cross-site"}),
        ("ada", None, {"origin": "https://elsewhere.example"}),
    ],
)
def test_a_form_that_is_not_theirs_is_refused(broken, reader, who, form, headers):
    made_for_ada = form_of(reader("ada").get("/rules"))
    token = made_for_ada if form is None else form
    page = reader(who).post("/rules", data={"token": token, "text": RULES}, headers=headers)
    assert page.status_code == 403


def test_a_name_that_holds_markup_is_shown_as_it_is(broken, reader):
    page = reader(dags=("<script>alert(1)</script>",)).get("/rules")
    assert "<script>alert" not in page.text
