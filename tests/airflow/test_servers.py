"""The servers that Airflow stands on are found where Airflow finds them."""

from __future__ import annotations

import json

import pytest

from observability.airflow.servers import server
from observability.credentials import CredentialsError

SECRET = "p@ss/w ord"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg2://me:p%40ss@db:5433/airflow?sslmode=require&x=1",
         {"host": "db", "port": 5433, "user": "me", "password": "p@ss", "dbname": "airflow", "sslmode": "require"}),
        ("postgresql+asyncpg://db/airflow?ssl=require", {"host": "db", "dbname": "airflow"}),
        ("postgres://me@/airflow?host=/run/postgresql", {"user": "me", "host": "/run/postgresql", "dbname": "airflow"}),
        ("postgresql://[::1]:5432/airflow", {"host": "::1", "port": 5432, "dbname": "airflow"}),
    ],
)  # fmt: skip
def test_the_database_is_airflows_own(monkeypatch, url, expected):
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
    assert server("database").extra == expected


def test_the_database_may_be_a_connection(monkeypatch):
    about = {"conn_type": "postgres", "host": "replica", "port": 6432, "schema": "airflow", "login": "reader"}
    about |= {"password": SECRET, "extra": {"sslmode": "verify-full", "cursor": "dictcursor"}}
    monkeypatch.setenv("AIRFLOW_CONN_STATISTICS", json.dumps(about))
    assert server("database", "statistics").extra == {
        "host": "replica", "port": 6432, "dbname": "airflow", "user": "reader", "password": SECRET,
        "sslmode": "verify-full",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("which", "variable", "url", "named"),
    [
        ("database", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "mysql://me:word@db/airflow", "mysql"),
        ("database", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:////airflow.db", "sqlite"),
        ("broker", "AIRFLOW__CELERY__BROKER_URL", "amqp://me:word@rabbit", "amqp"),
        ("broker", "AIRFLOW__CELERY__BROKER_URL", "sqs://", "sqs"),
        ("broker", "AIRFLOW__CELERY__BROKER_URL", "sentinel://one:1;sentinel://two:2", "sentinel"),
    ],
)
def test_a_server_of_another_kind_is_named_without_its_secret(monkeypatch, which, variable, url, named):
    monkeypatch.setenv(variable, url)
    with pytest.raises(CredentialsError, match=rf"is {named}, and only .* leave {which} out") as refused:
        server(which)
    assert "word@" not in str(refused.value)


def test_the_broker_is_celerys_with_its_options(monkeypatch):
    for name, value in {
        "CELERY__BROKER_URL": "rediss://:word@broker:6380/1", "CELERY__SSL_ACTIVE": "True",
        "CELERY__SSL_CACERT": "/keys/ca.crt", "CELERY__SSL_CERT": "", "CELERY__SSL_KEY": "",
        "CELERY_BROKER_TRANSPORT_OPTIONS__GLOBAL_KEYPREFIX": "prod:", "OPERATORS__DEFAULT_QUEUE": "general",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"AIRFLOW__{name}", value)
    found = server("broker")
    assert found.url == "rediss://:word@broker:6380/1"
    assert found.extra == {
        "default_queue": "general", "global_keyprefix": "prod:", "ssl_ca_certs": "/keys/ca.crt"
    }  # fmt: skip


def test_the_broker_may_be_a_connection(monkeypatch):
    about = {"conn_type": "redis", "host": "broker", "port": 6380, "password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_BROKER", json.dumps(about | {"extra": {"db": 3, "ssl": True}}))
    assert server("broker", "broker").url == "rediss://:p%40ss%2Fw%20ord@broker:6380/3"


def test_a_connection_that_is_not_there_is_named():
    with pytest.raises(CredentialsError, match=r"no Airflow Connection 'nowhere'.*airflow connections add"):
        server("broker", "nowhere")


def test_an_address_that_a_command_prints_is_read_as_airflow_reads_it(monkeypatch):
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD", "echo postgresql://me:word@db/airflow")
    monkeypatch.delenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", raising=False)
    assert server("database").extra["password"] == "word"
