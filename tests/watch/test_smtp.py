"""Mail through a real server on this machine: a Connection's extras mean what Airflow's SMTP provider says."""

from __future__ import annotations

import ssl

import httpx
import pytest
from smtp_server import MailServer
from webhook_server import certificate

from observability.watch.notify.channels import smtp
from observability.watch.notify.channels.channel import ChannelError, ChannelRefused, Contact
from observability.watch.notify.messages import Message

MESSAGE = Message(
    kind="opened", severity="error", title="load failed: ValueError: no", summary="no", dedup_key="i:1",
    incident_id="i", details=(("Run", "r"),), log=("a line",), links=(("Contrail", "https://airflow/contrail/"),),
)  # fmt: skip


@pytest.fixture
def tls(tmp_path, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, "127.0.0.1", 1))
    return context


def channel(server, login="", password="", **extra):
    contact = Contact(host="127.0.0.1", port=server.port, login=login, password=password, extra=extra)
    return smtp._Smtp("mail", contact, ["team@example.com"], 5.0)


def test_a_server_without_tls_gets_text_and_html():
    with MailServer() as server:
        channel(server, disable_ssl=True, disable_tls=True, from_email="etl@example.com").send(MESSAGE, resent=False)
    assert "From: etl@example.com" in server.mails[0]
    assert "Subject: load failed: ValueError: no" in server.mails[0]
    assert server.mails[0].count("Content-Type: text/") == 2


@pytest.mark.parametrize("way", ["tls", "starttls"])
def test_a_certificate_that_nobody_signed_is_refused_unless_the_connection_says_none(tls, way):
    extra = {} if way == "tls" else {"disable_ssl": True}
    with MailServer(**{way: tls}) as server:
        with pytest.raises(ChannelRefused, match="certificate"):
            channel(server, **extra).send(MESSAGE, resent=False)
        channel(server, ssl_context="none", **extra).send(MESSAGE, resent=False)
    assert len(server.mails) == 1


def test_a_token_of_the_connection_is_the_login():
    with MailServer() as server:
        extra = {"disable_ssl": True, "disable_tls": True, "auth_type": "oauth2", "access_token": "the-token"}
        channel(server, login="etl@example.com", **extra).send(MESSAGE, resent=False)
    assert server.logins == [("XOAUTH2", "user=etl@example.com\x01auth=Bearer the-token\x01\x01")]
    assert len(server.mails) == 1


def test_client_credentials_are_changed_for_a_token_that_is_kept(monkeypatch):
    asked = []

    def answer(request):
        asked.append((str(request.url), request.content.decode()))
        return httpx.Response(200, json={"access_token": "fresh", "expires_in": 3600})

    monkeypatch.setattr(smtp, "guarded_client", lambda *_: httpx.Client(transport=httpx.MockTransport(answer)))
    extra = {"auth_type": "oauth2", "client_id": "app", "client_secret": "s3cret", "tenant_id": "t/1"}
    with MailServer() as server:
        mail = channel(server, disable_ssl=True, disable_tls=True, from_email="etl@example.com", **extra)
        mail.send(MESSAGE, resent=False)
        mail.send(MESSAGE, resent=False)
    assert [url for url, _ in asked] == ["https://login.microsoftonline.com/t%2F1/oauth2/v2.0/token"]
    assert "client_secret=s3cret" in asked[0][1]
    assert [said for _, said in server.logins] == ["user=etl@example.com\x01auth=Bearer fresh\x01\x01"] * 2


def test_a_token_that_is_refused_and_one_that_is_missing_are_said_without_it():
    extra = {"disable_ssl": True, "disable_tls": True, "auth_type": "oauth2"}
    with MailServer(refuses_token=True) as server:
        with pytest.raises(ChannelError, match="535") as caught:
            channel(server, login="etl", access_token="the-token", **extra).send(MESSAGE, resent=False)
        with pytest.raises(ChannelRefused, match="needs access_token"):
            channel(server, login="etl", **extra).send(MESSAGE, resent=False)
    assert "the-token" not in str(caught.value)
