"""What a task prints: each line is stored once, and in no store, log or journal stands a secret in any form."""

from __future__ import annotations

import sqlite3
from collections import Counter

import pytest
from airflow_platform import wait_until
from airflow_runs import DONE, trigger

from observability.settings import load_settings
from observability.store import Query, open_store

pytestmark = pytest.mark.airflow

SECRETS = {"variable": "hunter2/very+secret", "connection": "Correct Horse & Battery"}
FORMS = ("plain", "quoted", "quoted twice", "hexadecimal", "base64")
EXPECTED = Counter(
    f"{how} {whose} {form}" for how in ("printed", "complained", "bypassed") for whose in SECRETS for form in FORMS
)


def forms(secret):
    """The forms as the DAG writes them."""
    import base64
    from urllib.parse import quote

    code = base64.b64encode(f"me:{secret}".encode()).decode()
    return {secret, quote(secret, safe=""), quote(quote(secret, safe=""), safe=""), secret.encode().hex(), code[4:-4]}


@pytest.fixture(scope="module")
def printed(platform):
    """One finished run of the DAG that prints, all of it in the store."""
    with platform.api() as api:
        variable = {"key": "printing_password", "value": SECRETS["variable"]}
        connection = {"connection_id": "printing", "conn_type": "http", "password": SECRETS["connection"]}
        api.call("POST", "/variables", json=variable)
        api.call("POST", "/connections", json=connection)
        run = trigger(platform, api, "printing")
        wait_until(lambda: run.state() in DONE, within=120)
        assert run.state() == "success"
        wait_until(lambda: sum(said(lines(platform, "airflow.task")).values()) >= EXPECTED.total(), within=30)
        yield run


def lines(platform, dataset):
    store = open_store(load_settings(environ={"CONTRAIL_CONTRAIL__HOME": str(platform.layout.home)}))
    try:
        return [str(document.get("event") or document.get("message")) for document in store.documents(Query(dataset))]
    finally:
        store.close()


def said(found):
    """What the DAG's task printed, by its beginning."""
    return Counter(
        line.partition(":")[0] for line in found if line.startswith(("printed ", "complained ", "bypassed "))
    )


@pytest.mark.usefixtures("printed")
def test_each_line_of_a_task_is_stored_once_and_in_no_components_log(platform):
    assert said(lines(platform, "airflow.task")) == EXPECTED
    assert said(lines(platform, "airflow.component")) == Counter()
    kept = "".join(path.read_text("utf-8", "replace") for path in (platform.layout.log_folder / "components").iterdir())
    assert [how for how in ("printed variable", "complained connection") if how in kept] == []


@pytest.mark.usefixtures("printed")
@pytest.mark.parametrize("whose", SECRETS)
def test_no_form_of_a_secret_is_in_a_log_the_journal_or_the_store(platform, whose):
    layout = platform.layout
    with sqlite3.connect(layout.home / "store.db") as store:
        stored = "\n".join(store.iterdump())
    files = [path for path in (*layout.log_folder.rglob("*"), *(layout.home / "journal").iterdir()) if path.is_file()]
    written = {str(path): path.read_bytes().decode("utf-8", "replace") for path in files} | {"store": stored}
    leaks = [(where, form) for where, text in written.items() for form in forms(SECRETS[whose]) if form in text]
    assert leaks == []
