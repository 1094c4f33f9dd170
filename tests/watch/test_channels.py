"""Channels through kept parts: Apprise, SNS, SMTP and Slack, against servers that answer."""

from __future__ import annotations

import json
import socketserver
import threading
import uuid

import boto3
import pytest
from moto import mock_aws
from webhook_server import Receiver

from observability import redact
from observability.watch.notify.channels.channel import ChannelRefused, ChannelUnavailable, Contact, open_channel
from observability.watch.notify.messages import Message
from observability.watch.rules.config import ChannelSpec

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise looks for it


class Contacts:
    """One Connection, and no Variables."""

    def __init__(self, **contact):
        self._contact = Contact(**contact)

    def connection(self, conn_id):
        if not self._contact.host and not self._contact.uri:
            raise LookupError(conn_id)
        return self._contact

    def variable(self, key):
        raise LookupError(key)


MESSAGE = Message(
    kind="opened", severity="error", title="load.t: app", summary="ValueError: <b>no</b>", dedup_key="i:1",
    incident_id="i",
    incident_key="run:load:r", cause="app", dag_id="load", details=(("Run", "r"),), links=(("Airflow", "http://airflow"),),
)  # fmt: skip


def open_one(tmp_path, contacts=None, **spec):
    return open_channel("one", ChannelSpec.model_validate(spec), contacts or Contacts(), tmp_path)


def test_apprise_delivers_by_url(tmp_path, monkeypatch):
    with Receiver() as receiver:
        monkeypatch.setenv("SERVICE", receiver.url.replace("http://", "json://"))
        open_one(tmp_path, type="apprise", url="env:SERVICE", allow=["127.0.0.1"]).send(MESSAGE, resent=False)
        said = receiver.wait_for(1)[0]
    assert said["title"] == "load.t: app"
    assert "ValueError: <b>no</b>" in said["message"]


def test_apprise_says_why_a_service_did_not_take_it(tmp_path, monkeypatch):
    with Receiver() as receiver:
        receiver.answers = [(500, {})] * 5
        monkeypatch.setenv("SERVICE", receiver.url.replace("http://", "json://"))
        with pytest.raises(ChannelUnavailable, match="one: "):
            open_one(tmp_path, type="apprise", url="env:SERVICE", allow=["127.0.0.1"]).send(MESSAGE, resent=False)


@pytest.mark.parametrize(
    "url", ["json://169.254.169.254/x", "jsons://10.0.0.1", "form://localhost:8080", "mailto://me:pw@192.168.0.1"]
)
def test_apprise_leads_to_no_private_address(tmp_path, monkeypatch, url):
    monkeypatch.setenv("SERVICE", url)
    with pytest.raises(ChannelRefused, match="not public"):
        open_one(tmp_path, type="apprise", url="env:SERVICE")


def test_a_url_that_apprise_does_not_know_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SERVICE", "nonsense://x")
    with pytest.raises(ChannelRefused, match="env:SERVICE"):
        open_one(tmp_path, type="apprise", url="env:SERVICE")


def test_slack_gets_blocks_and_its_retry_after_is_passed_on(tmp_path, monkeypatch):
    with Receiver() as receiver:
        receiver.answers = [(429, {"Retry-After": "7"})]
        monkeypatch.setenv("SLACK", receiver.url)
        channel = open_one(tmp_path, type="slack", url="env:SLACK", allow=["127.0.0.1"])
        with pytest.raises(ChannelUnavailable) as caught:
            channel.send(MESSAGE, resent=False)
        channel.send(MESSAGE, resent=True)
        said = receiver.wait_for(1)[0]
    assert caught.value.retry_after_s == 7.0
    assert said["blocks"][0]["text"]["text"] == "load.t: app"
    assert "<b>" not in json.dumps(said)


def test_sns_publishes_to_the_topic_with_attributes(tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        region = {"region_name": "eu-central-1"}
        topic = boto3.client("sns", **region).create_topic(Name="alerts")["TopicArn"]
        queue = boto3.resource("sqs", **region).create_queue(QueueName="inbox")
        boto3.client("sns", **region).subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.attributes["QueueArn"])
        monkeypatch.setenv("TOPIC", topic)
        open_one(tmp_path, type="sns", topic="env:TOPIC").send(MESSAGE, resent=False)
        body = json.loads(queue.receive_messages()[0].body)
    assert body["Subject"] == "load.t: app"
    assert body["MessageAttributes"]["cause"]["Value"] == "app"


def test_sns_refuses_a_topic_that_is_not_there(tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("TOPIC", "arn:aws:sns:eu-central-1:123456789012:none")
    with mock_aws(), pytest.raises(ChannelRefused, match="NotFound"):
        open_one(tmp_path, type="sns", topic="env:TOPIC").send(MESSAGE, resent=False)


def connection_to(monkeypatch, moto_url, extra, login="testing", password="testing"):
    """An Airflow AWS Connection as a person writes it down."""
    extra = {"region_name": "eu-central-1", "endpoint_url": moto_url, **extra}
    made = {"conn_type": "aws", "login": login, "password": password, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_ALERTS", json.dumps(made))


def topic_with_inbox(monkeypatch, moto_url):
    """A topic, and a function that answers what came in and the Authorization it was sent with."""
    about = {
        "region_name": "eu-central-1",
        "endpoint_url": moto_url,
        "aws_access_key_id": "a",
        "aws_secret_access_key": "b",
    }
    topic = boto3.client("sns", **about).create_topic(Name=f"alerts-{uuid.uuid4().hex}")["TopicArn"]
    queue = boto3.resource("sqs", **about).create_queue(QueueName=f"inbox-{uuid.uuid4().hex}")
    boto3.client("sns", **about).subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.attributes["QueueArn"])
    monkeypatch.setenv("TOPIC", topic)
    return lambda: [json.loads(one.body)["Subject"] for one in queue.receive_messages()]


@pytest.mark.parametrize(
    ("extra", "token"),
    [
        ({"aws_session_token": "the-token-of-a-session"}, "the-token-of-a-session"),
        ({"role_arn": "arn:aws:iam::123456789012:role/alerts", "service_config": "sts"}, None),
    ],
    ids=["session token", "assumed role"],
)
def test_sns_has_the_session_token_of_its_connection(tmp_path, monkeypatch, moto_url, extra, token):
    if extra.pop("service_config", None):
        extra = {**extra, "service_config": {"sts": {"endpoint_url": moto_url}}}
    connection_to(monkeypatch, moto_url, extra)
    inbox = topic_with_inbox(monkeypatch, moto_url)
    channel = open_one(tmp_path, type="sns", topic="env:TOPIC", connection="aws_alerts")
    used = []
    channel._client.meta.events.register("before-send.sns", lambda request, **_: used.append(request.headers))
    channel.send(MESSAGE, resent=False)
    channel.close()
    assert inbox() == ["load.t: app"]
    sent = used[0]["X-Amz-Security-Token"].decode()
    assert sent == token if token else len(sent) > 100
    assert sent not in redact.text(f"the token is {sent}")


def test_sns_waits_for_its_connection(tmp_path, monkeypatch):
    monkeypatch.setenv("TOPIC", "arn:aws:sns:eu-central-1:123456789012:alerts")
    with pytest.raises(ChannelUnavailable, match="no Airflow Connection 'aws_nowhere'"):
        open_one(tmp_path, type="sns", topic="env:TOPIC", connection="aws_nowhere")


def test_what_is_no_topic_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TOPIC", "alerts")
    with pytest.raises(ChannelRefused, match="env:TOPIC holds no ARN"):
        open_one(tmp_path, type="sns", topic="env:TOPIC")


class Mailbox(socketserver.StreamRequestHandler):
    """Just enough SMTP to take a mail."""

    def handle(self):
        self.wfile.write(b"220 mail\r\n")
        taking = False
        while line := self.rfile.readline():
            if taking:
                self.server.mail.append(line)
                if line == b".\r\n":
                    taking = False
                    self.wfile.write(b"250 taken\r\n")
                continue
            word = line[:4].upper()
            if word == b"RCPT" and b"later@" in line:
                self.wfile.write(b"450 greylisted, come back\r\n")
                continue
            if word == b"RCPT" and b"never@" in line:
                self.wfile.write(b"550 no such mailbox\r\n")
                continue
            taking = word == b"DATA"
            self.wfile.write({b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}.get(word, b"250 ok\r\n"))
            if word == b"QUIT":
                return


def test_a_mail_has_both_forms_and_threads_by_incident(tmp_path):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.mail = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        plain = {"disable_ssl": True, "disable_tls": True, "from_email": "contrail@example.com"}
        contacts = Contacts(host="127.0.0.1", port=server.server_address[1], extra=plain)
        open_one(tmp_path, contacts, type="smtp", to=["a@example.com"]).send(MESSAGE, resent=False)
        server.shutdown()
    mail = b"".join(server.mail).decode()
    assert "Subject: load.t: app" in mail
    assert "text/plain" in mail
    assert "&lt;b&gt;no" in mail
    assert "References: <i@contrail>" in mail


@pytest.mark.parametrize(
    ("to", "kind"), [("later@example.com", ChannelUnavailable), ("never@example.com", ChannelRefused)]
)
def test_a_mailbox_that_takes_nothing_now_is_asked_again_and_one_that_never_will_is_not(tmp_path, to, kind):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.mail = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        contacts = Contacts(
            host="127.0.0.1", port=server.server_address[1], extra={"disable_ssl": True, "disable_tls": True}
        )
        with pytest.raises(kind, match=to):
            open_one(tmp_path, contacts, type="smtp", to=[to]).send(MESSAGE, resent=False)
        server.shutdown()


def test_a_mail_waits_for_its_connection_which_airflow_denies_also_while_its_database_is_down(tmp_path):
    with pytest.raises(ChannelUnavailable, match="smtp_default"):
        open_one(tmp_path, type="smtp", to=["a@example.com"])
