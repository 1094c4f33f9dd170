"""Each line that a task prints is stored once, and in no store, log or journal stands a secret in any form."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import orjson
import pytest
import urllib3
from airflow_platform import Platform, started_platform, wait_until
from airflow_runs import DONE, trigger

from observability.credentials import Credentials
from observability.settings import load_settings
from observability.store import Query, open_store
from observability.store.cluster import Cluster
from observability.store.elasticsearch_setup import install

pytestmark = pytest.mark.airflow

SECRETS = {"variable": "hunter2/very+secret", "connection": "Correct Horse & Battery"}
FORMS = ("plain", "quoted", "quoted twice", "hexadecimal", "base64")
EXPECTED = Counter(
    f"{how} {whose} {form}" for how in ("printed", "complained", "bypassed") for whose in SECRETS for form in FORMS
)
_HTTP = urllib3.PoolManager()


def forms(secret):
    """The forms as the DAG writes them."""
    import base64
    from urllib.parse import quote

    code = base64.b64encode(f"me:{secret}".encode()).decode()
    return {secret, quote(secret, safe=""), quote(quote(secret, safe=""), safe=""), secret.encode().hex(), code[4:-4]}


@dataclass
class Printed:
    """A platform on which the DAG has printed: its stores by their names, with the settings that open them."""

    platform: Platform
    stores: dict[str, dict[str, str]] = field(default_factory=dict)

    def lines(self, store, dataset):
        settings = load_settings(environ={"CONTRAIL_CORE__HOME": str(self.platform.layout.home), **self.stores[store]})
        opened = open_store(settings)
        try:
            return [
                str(document.get("event") or document.get("message")) for document in opened.documents(Query(dataset))
            ]
        finally:
            opened.close()

    def is_whole(self, store):
        """True once the store has what the task printed, and what the scheduler said behind it."""
        there = sum(said(self.lines(store, "airflow.task")).values()) >= EXPECTED.total()
        return there and any("Marking run" in line for line in self.lines(store, "airflow.component"))

    def everything(self):
        """All that was written, by where: each file below the home, and each store read raw."""
        home = self.platform.layout.home
        with sqlite3.connect(home / "store.db") as store:
            kept = {"store.db": "\n".join(store.iterdump())}
        if "elasticsearch" in self.stores:
            kept["elasticsearch"] = raw_documents(self.stores["elasticsearch"]["CONTRAIL_ELASTICSEARCH__URL"])
        secrets = {home / "airflow" / "airflow.db", home / "airflow" / "airflow.db-wal"}  # Airflow keeps them there
        for path in home.rglob("*"):
            if path.is_file() and path not in secrets and path.name != "store.db":
                kept[str(path.relative_to(home))] = path.read_bytes().decode("utf-8", "replace")
        return kept


def raw_documents(url):
    """Every document of every index, hidden ones too, as the cluster gives them back."""
    _HTTP.request("POST", f"{url}/*/_refresh?expand_wildcards=all")
    after, pages = [], []
    while True:
        body = {"size": 5000, "sort": [{"_doc": "asc"}], **({"search_after": after} if after else {})}
        answer = _HTTP.request("POST", f"{url}/*/_search?expand_wildcards=all", json=body)
        hits = orjson.loads(answer.data)["hits"]["hits"]
        if not hits:
            return "\n".join(pages)
        pages.append(orjson.dumps(hits).decode())
        after = hits[-1]["sort"]


def said(found):
    """The lines that the DAG's task printed, by their beginning."""
    return Counter(
        line.partition(":")[0] for line in found if line.startswith(("printed ", "complained ", "bypassed "))
    )


def let_it_print(platform, stores):
    """One finished run of the DAG that prints, all of it in the stores."""
    printed = Printed(platform, stores)
    with platform.api() as api:
        variable = {"key": "printing_password", "value": SECRETS["variable"]}
        connection = {"connection_id": "printing", "conn_type": "http", "password": SECRETS["connection"]}
        api.call("POST", "/variables", json=variable)
        api.call("POST", "/connections", json=connection)
        run = trigger(platform, api, "printing")
        wait_until(lambda: run.state() in DONE, within=120)
        assert run.state() == "success"
        for store in stores:
            wait_until(partial(printed.is_whole, store), within=60)
    return printed


@pytest.fixture(scope="module")
def printed(platform):
    """The shared platform, whose components do not repeat what tasks say."""
    return let_it_print(platform, {"embedded": {}})


@pytest.fixture(scope="module")
def repeated(tmp_path_factory, elasticsearch_url):
    """A platform whose scheduler repeats what tasks say, as on an Airflow of one's own, with two stores."""
    stores = {
        "embedded": {"CONTRAIL_STORE__BACKEND": "embedded"},
        "elasticsearch": {
            "CONTRAIL_STORE__BACKEND": "elasticsearch",
            "CONTRAIL_ELASTICSEARCH__URL": elasticsearch_url,
            "CONTRAIL_CORE__ENVIRONMENT": "printed",
        },
    }
    more = {**stores["elasticsearch"], "CONTRAIL_AIRFLOW__TASK_LOGS_TO_STDOUT": "True"}
    more["CONTRAIL_RELAY__SINKS"] = "embedded,elasticsearch"
    cluster = Cluster(Credentials(url=elasticsearch_url))
    install(cluster)
    cluster.close()
    with started_platform(tmp_path_factory.mktemp("repeated"), **more) as platform:
        yield let_it_print(platform, stores)


def test_each_line_of_a_task_is_stored_once_and_in_no_components_log(printed):
    assert said(printed.lines("embedded", "airflow.task")) == EXPECTED
    assert said(printed.lines("embedded", "airflow.component")) == Counter()
    components = printed.platform.layout.log_folder / "components"
    kept = "".join(path.read_text("utf-8", "replace") for path in components.iterdir())
    assert [how for how in ("printed variable", "complained connection") if how in kept] == []


@pytest.mark.parametrize("whose", SECRETS)
def test_no_form_of_a_secret_is_in_any_file_or_the_store(printed, whose):
    leaks = [
        (where, form) for where, text in printed.everything().items() for form in forms(SECRETS[whose]) if form in text
    ]
    assert leaks == []


@pytest.mark.elasticsearch
@pytest.mark.slow
@pytest.mark.parametrize("store", ["embedded", "elasticsearch"])
def test_each_line_is_stored_once_where_the_scheduler_repeats_it(repeated, store):
    assert said(repeated.lines(store, "airflow.task")) == EXPECTED
    assert said(repeated.lines(store, "airflow.component")) == Counter()
    log = (repeated.platform.layout.log_folder / "components" / "scheduler.log").read_text()
    assert "printed variable plain: *** ." in log


@pytest.mark.elasticsearch
@pytest.mark.slow
@pytest.mark.parametrize("whose", SECRETS)
def test_no_form_of_a_secret_is_anywhere_where_the_scheduler_repeats_it(repeated, whose):
    kept = repeated.everything()
    assert "printed variable plain" in kept["elasticsearch"]
    assert [(where, form) for where, text in kept.items() for form in forms(SECRETS[whose]) if form in text] == []
