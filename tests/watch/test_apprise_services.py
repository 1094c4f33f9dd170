"""Every service that Apprise knows: where it connects, and that no part of its address is looked up or written down."""

from __future__ import annotations

import base64
import re
import socket
import subprocess
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from apprise_walk import MESSAGE, open_service, outcome, outside, page, services
from sqlalchemy import select
from webhook_server import Receiver

from observability import redact
from observability.watch.ledger import schema
from observability.watch.notify.channels.apprise import OWN_HOST, open_channel
from observability.watch.notify.channels.audit import Audit, AuditError, audited
from observability.watch.notify.channels.channel import ChannelError, ChannelRefused, ChannelUnavailable
from observability.watch.notify.notifier import enqueue
from observability.watch.notify.outbox import ChannelWorker
from observability.watch.rules.config import ChannelSpec

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="session")
def walked():
    """Every service with a made-up address, and the plugins for which none could be made up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, left = services()
    return [one for one in found if one.plugin.enabled], left


class Nobody:
    def connection(self, conn_id):
        raise LookupError(conn_id)

    def variable(self, key):
        raise LookupError(key)


def parts(service):
    """The secret parts of a service's address, as they are and as base64 and hex."""
    found = [piece for secret in service.secrets for piece in re.split(r"[:/@]", secret) if len(piece) > 6]
    coded = [base64.b64encode(piece.encode()).decode().rstrip("=")[:-2] for piece in found]
    return [*found, *coded, *(piece.encode().hex() for piece in found)]


def echo(request):
    """A service that refuses everything and repeats all that it was sent."""
    said = requests.Response()
    said.status_code, said.request, said.url = 400, request, request.url
    body = request.body.encode() if isinstance(request.body, str) else request.body or b""
    said._content = f"no: {request.url} {dict(request.headers)} ".encode() + (body if isinstance(body, bytes) else b"")
    return said


def test_nearly_every_service_was_given_an_address(walked):
    tried, left = walked
    assert len(tried) >= 165
    assert len(left) <= 5


def test_no_part_of_a_secret_is_asked_of_a_name_server(walked, tmp_path):
    asked = [(one, " ".join(outcome(one, tmp_path)[2].looked_up).lower()) for one in walked[0]]
    assert [(one.name, part) for one, names in asked for part in parts(one) if part.lower() in names] == []


@pytest.mark.parametrize("answer", [None, echo], ids=["unreachable", "refuses and repeats what it was sent"])
def test_no_part_of_a_secret_is_written_down(  # noqa: PLR0913, PLR0917 - fixtures
    walked, answer, ledger, tmp_path, monkeypatch, caplog
):
    shown = []
    for number, service in enumerate(walked[0]):
        caplog.clear()
        told = written_of(service, answer, ledger, tmp_path, monkeypatch, number)
        told += [record.getMessage() for record in caplog.records if record.name != "apprise"]
        text = " ".join(told).lower()
        shown += [(service.name, part) for part in parts(service) if part.lower() in text]
    assert shown == []


def written_of(service, answer, ledger, home, monkeypatch, number):  # noqa: PLR0913, PLR0917 - the parts of a worker
    """All that a worker writes of one message that is not taken: outbox, events, facts."""
    redact.forget_secrets()
    monkeypatch.setenv("THE_URL", service.url)
    spec = ChannelSpec.model_validate({"type": "apprise", "url": "env:THE_URL", "timeout": 2})
    written, channel = [], f"chat{number}"
    worker = ChannelWorker(
        channel, spec, ledger, Nobody(), home, fallback=None, report=written.append, emit=written.append
    )
    with ledger.transaction(lock=True) as connection:
        enqueue(connection, channel, MESSAGE, time.time())
    with outside(answer):
        worker.step(time.time())
    with ledger.transaction() as connection:
        asked = select(schema.outbox.c.error).where(schema.outbox.c.channel == channel)
        written += connection.execute(asked).scalars().all()
    return [str(one.document() if hasattr(one, "document") else one) for one in written]


def test_a_message_to_a_name_that_leads_inside_reaches_nobody_and_is_not_tried_again(walked, tmp_path, monkeypatch):
    monkeypatch.setattr("apprise_walk.PUBLIC", "10.0.0.1")
    reached = []
    for service in walked[0]:
        with outside() as seen:
            try:
                open_service(service, tmp_path).send(MESSAGE, resent=False)
            except ChannelRefused:
                again = False
            except ChannelUnavailable:
                again = bool(seen.looked_up)
        if seen.connected or again:
            reached.append(service.name)
    assert reached == []


@pytest.mark.parametrize("schema", sorted(OWN_HOST))
def test_a_service_on_the_watchers_own_host_is_refused(schema, tmp_path, monkeypatch):
    monkeypatch.setenv("THE_URL", f"{schema}://")
    with pytest.raises(ChannelRefused):
        open_channel("chat", SimpleNamespace(url="env:THE_URL", allow=[], timeout=1.0), None, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "mailtos://user:word@mail.example?smtp=10.0.0.5&to=a@mail.example",
        "mailtos://user:word@mail.example?smtp=localhost&to=a@mail.example",
        "jsons://127.0.0.1/",
        "jsons://[::1]/",
        "jsons://169.254.169.254/latest",
        "jsons://hook.example/?verify=No",
        "jsons://hook.example/?VERIFY=0",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js/?template=https://inside.example/t.json",
        "vapid://subscriber@example.com/?keyfile=/etc/passwd",
        "syslog://",
        "mailto://user:word@mail.example?pgp=yes&pgppub=/etc/hostname",
    ],
)
def test_an_address_that_would_lead_inside_or_read_a_file_is_refused_without_its_secrets(url, tmp_path, monkeypatch):
    monkeypatch.setenv("THE_URL", url)
    spec = SimpleNamespace(url="env:THE_URL", allow=[], timeout=1.0)
    with outside() as seen, pytest.raises(ChannelError) as caught:
        open_channel("chat", spec, None, tmp_path).send(MESSAGE, resent=False)
    assert seen.connected == []
    assert "word" not in str(caught.value)
    assert "JHMHI8qBe7bk2ZwO5U711o3dV_js" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, ChannelRefused) for status in (400, 401, 404, 410, 413, 422)),
        *((status, ChannelUnavailable) for status in (408, 425, 429, 500, 503)),
    ],
)
def test_an_answer_that_would_be_the_same_for_ever_is_final(walked, status, kind, tmp_path):
    def answer(request):
        said = requests.Response()
        said.status_code, said.request, said._content = status, request, b'{"message": "the service says why"}'
        return said

    discord = next(one for one in walked[0] if one.plugin.__name__ == "NotifyDiscord")
    with outside(answer), pytest.raises(kind, match=f"Discord answered {status}.*the service says why"):
        open_service(discord, tmp_path).send(MESSAGE, resent=False)


def test_an_allowed_host_is_reached_on_this_machine(tmp_path, monkeypatch):
    with Receiver() as receiver:
        monkeypatch.setenv("THE_URL", receiver.url.replace("http://", "json://"))
        spec = SimpleNamespace(url="env:THE_URL", allow=["127.0.0.1"], timeout=5.0)
        open_channel("chat", spec, None, tmp_path).send(MESSAGE, resent=False)
        assert receiver.wait_for(1)[0]["title"] == MESSAGE.title


def test_a_guarded_thread_starts_no_program_and_others_are_not_touched(tmp_path):
    audit = Audit([])
    with audited(audit):
        for forbidden in (
            lambda: subprocess.run(["true"], check=True),
            lambda: Path("/etc/passwd").read_text("utf-8"),
            lambda: socket.socket(socket.AF_UNIX).connect("/run/some.sock"),
            lambda: socket.create_connection(("127.0.0.1", 9)),
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
        ):
            with pytest.raises(AuditError):
                forbidden()
    assert audit.refused
    subprocess.run(["true"], check=True)
    (tmp_path / "file").write_text("x")


def test_the_page_of_services_is_what_is_seen():
    """Written by ``python tests/watch/apprise_walk.py docs/reference/chat-services.md``."""
    assert Path("docs/reference/chat-services.md").read_text("utf-8") == page()
