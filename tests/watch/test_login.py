"""A process logs in to Airflow's API once for all its sessions, and again when it is refused."""

from __future__ import annotations

import threading

import httpx
import pytest

from observability.credentials import Credentials, CredentialsError, use_resolver
from observability.errors import ApiUnavailable
from observability.watch.sources import login as module
from observability.watch.sources.login import Login

REQUEST = httpx.Request("GET", "http://airflow/auth/token")


class Server:
    """Airflow's ``/auth/token``: its answers in turn, the last one again and again."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def ask(self, who):
        self.asked.append(who)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, int):
            return httpx.Response(found, request=REQUEST)
        return httpx.Response(201, json={"access_token": f"{found}{len(self.asked)}"}, request=REQUEST)


@pytest.fixture
def connection(monkeypatch):
    """The Connection, and the number of times that it was read."""
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"CONTRAIL_API_{name}", raising=False)
    found = {"reads": 0, "is": Credentials(login="ann", password="a-password")}

    def read(_):
        found["reads"] += 1
        if isinstance(found["is"], Exception):
            raise found["is"]
        return found["is"]

    use_resolver(read)
    yield found
    module.resolve.__globals__["_own"].clear()


def test_sessions_share_a_token_and_the_connection_is_read_once(connection):
    server, login = Server("token"), Login("http://airflow", "airflow_api")
    tokens = set()
    threads = [threading.Thread(target=lambda: tokens.add(login.token(server.ask, ""))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tokens, len(server.asked), connection["reads"]) == ({"token1"}, 1, 1)


def test_a_refused_token_is_asked_for_again_by_one_session_only(connection):
    server, login = Server("token"), Login("http://airflow", "airflow_api")
    old = login.token(server.ask, "")
    assert [login.token(server.ask, old) for _ in range(3)] == ["token2"] * 3
    assert (len(server.asked), connection["reads"]) == (2, 1)


@pytest.mark.parametrize(("status", "reads"), [(500, 1), (503, 1), (401, 2), (403, 2)])
def test_a_connection_is_read_again_where_it_may_be_wrong_and_not_where_the_server_is_away(connection, status, reads):
    server, login = Server(status, "token"), Login("http://airflow", "airflow_api")
    with pytest.raises(httpx.HTTPStatusError):
        login.token(server.ask, "")
    assert login.token(server.ask, "") == "token2"
    assert connection["reads"] == reads


def test_a_connection_that_is_corrected_is_used_after_a_minute(connection, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    connection["is"] = CredentialsError("there is no Connection")
    server, login = Server(500, "token"), Login("http://airflow", "airflow_api")
    with pytest.raises(ApiUnavailable, match=r"there is no Connection.*CONTRAIL_API_USERNAME"):
        login.token(server.ask, "")
    connection["is"] = Credentials(login="ann", password="a-password")
    now[0] += 61
    login.token(server.ask, "")
    assert server.asked == [None, {"username": "ann", "password": "a-password"}]
