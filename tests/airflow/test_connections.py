"""Airflow Connections, as what opens Elasticsearch and AWS."""

from __future__ import annotations

import json

import pytest

from observability.airflow.connections import resolve
from observability.credentials import CredentialsError


def test_the_schema_of_a_connection_is_obeyed(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_ES_TWO", json.dumps({"conn_type": "elasticsearch", "host": "h", "schema": "http"}))

    assert resolve("es_two").url == "http://h:9200"


def test_an_aws_connection_becomes_keys_and_region(monkeypatch):
    connection = {"conn_type": "aws", "login": "AKIA", "password": "s/+", "extra": {"region_name": "eu-west-1"}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_ONE", json.dumps(connection))

    found = resolve("aws_one")

    assert (found.login, found.password, found.extra) == ("AKIA", "s/+", {"region_name": "eu-west-1"})


def test_a_connection_that_is_not_there_is_named_with_the_remedy():
    with pytest.raises(CredentialsError, match=r"no Airflow Connection 'nowhere'.*airflow connections add"):
        resolve("nowhere")
