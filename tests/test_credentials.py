"""Airflow Connections, read by a process that has no Airflow."""

from __future__ import annotations

import json

from observability import credentials
from observability.credentials import Credentials, resolve, use_resolver


def test_a_connection_is_read_without_importing_airflow(monkeypatch):
    connection = {"conn_type": "elasticsearch", "host": "es.example", "port": 9243, "login": "me", "password": "p w"}
    monkeypatch.setenv(
        "AIRFLOW_CONN_ES_ONE", json.dumps(connection | {"extra": {"api_key": "k", "ca_certs": "/ca.pem"}})
    )

    found = resolve("es_one")

    assert found == Credentials("http://es.example:9243", "me", "p w", {"api_key": "k", "ca_certs": "/ca.pem"})


def test_a_process_that_has_airflow_answers_itself(monkeypatch):
    monkeypatch.setattr(credentials, "_own", [])
    use_resolver(lambda connection_id: Credentials(url=f"https://{connection_id}"))

    assert resolve("mine") == Credentials(url="https://mine")
