"""An answer of a service decides by its class: never as it stands, or again later."""

from __future__ import annotations

import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.session
import pytest
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from test_channels import MESSAGE, Contacts, open_one
from webhook_server import Receiver

from observability.watch.notify.channels.channel import ChannelRefused, ChannelUnavailable

_SNS = botocore.session.get_session().get_service_model("sns").operation_model("Publish")
OF_THE_MOMENT = {
    *ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
    *TransientRetryableChecker._TRANSIENT_ERROR_CODES,
    "KMSThrottling",
    "Throttled",
}
MODELLED = {shape.metadata["error"]["code"]: shape.metadata["error"]["httpStatusCode"] for shape in _SNS.error_shapes}
COMMON = {
    "SignatureDoesNotMatch": 403,
    "ExpiredToken": 403,
    "InvalidClientTokenId": 403,
    "UnrecognizedClientException": 403,
    "AccessDenied": 403,
    "MissingAuthenticationToken": 403,
    "OptInRequired": 403,
    "IncompleteSignature": 400,
    "RequestExpired": 400,
    "InvalidParameterValue": 400,
    "InvalidAction": 400,
    "MalformedQueryString": 404,
    "ACodeThatNobodyNamed": 400,
}
PERMANENT = {code: status for code, status in (MODELLED | COMMON).items() if status < 500 and code not in OF_THE_MOMENT}


class Sns:
    """Answers each publish in SNS's own form with ``answer``: a status, and a code or a whole body."""

    def __init__(self):
        self.answer = (200, "")
        self.asked = 0
        own = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                own.asked += 1
                status, said = own.answer
                body = said if said.startswith("<") else _error(said)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


def _error(code: str) -> str:
    return (
        '<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>no</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"
    )


@pytest.fixture(scope="module")
def sns():
    made = Sns()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def channel(sns, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_SNS", f"http://127.0.0.1:{sns.server.server_address[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("TOPIC", "arn:aws:sns:eu-central-1:123456789012:alerts")
        opened = open_one(tmp_path_factory.mktemp("sns"), type="sns", topic="env:TOPIC")
    yield opened
    opened.close()


@pytest.mark.parametrize("code", sorted(PERMANENT))
def test_what_sns_will_never_take_is_refused_at_once(sns, channel, code):
    sns.answer = (PERMANENT[code], code)
    with pytest.raises(ChannelRefused, match=f"SNS answered {PERMANENT[code]}: {code}"):
        channel.send(MESSAGE, resent=False)


@pytest.mark.parametrize("code", sorted(OF_THE_MOMENT))
def test_what_sns_does_not_take_now_is_sent_again(sns, channel, code):
    sns.answer = (400, code)
    with pytest.raises(ChannelUnavailable, match=code):
        channel.send(MESSAGE, resent=False)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, "InternalFailure"),
        (503, "ServiceUnavailable"),
        (429, "Whatever"),
        (408, "Whatever"),
        (502, "<html><body>Bad Gateway</body></html>"),
        (200, "<html><body>Welcome to our network</body></html>"),
        (200, "<p>no end"),
    ],
)
def test_a_service_that_is_ill_or_hidden_behind_a_page_is_asked_again(sns, channel, status, said):
    sns.answer = (status, said)
    with pytest.raises(ChannelUnavailable):
        channel.send(MESSAGE, resent=False)


def test_a_message_that_may_be_too_long_is_worth_one_more_try(sns, channel):
    sns.answer = (400, "InvalidParameter")
    with pytest.raises(ChannelRefused) as refused:
        channel.send(MESSAGE, resent=False)
    assert refused.value.perhaps_too_long


LOGIN = {"login": "me", "password": "it"}


class Mail(socketserver.StreamRequestHandler):
    """An SMTP server that answers each command as ``server.says`` has it."""

    def handle(self):
        self.wfile.write(b"220 mail\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper().strip()
            said = self.server.says.get(word, {b"DATA": b"354 go on", b"QUIT": b"221 bye"}.get(word, b"250 ok"))
            self.wfile.write(said + b"\r\n")
            if word == b"QUIT":
                return
            while said.startswith(b"354") and self.rfile.readline() != b".\r\n":
                pass
            if said.startswith(b"354"):
                self.wfile.write(self.server.says.get(b"END", b"250 taken") + b"\r\n")


@pytest.mark.parametrize(
    ("says", "more", "kind"),
    [
        ({}, LOGIN, ChannelRefused),  # it knows no AUTH
        ({b"EHLO": b"250-mail\r\n250 AUTH LOGIN", b"AUTH": b"535 no"}, LOGIN, ChannelRefused),
        ({b"EHLO": b"250-mail\r\n250 AUTH LOGIN", b"AUTH": b"454 later"}, LOGIN, ChannelUnavailable),
        ({}, {"extra": {"disable_ssl": True}}, ChannelRefused),  # it knows no STARTTLS
        ({b"MAIL": b"421 too many"}, {}, ChannelUnavailable),
        ({b"MAIL": b"553 not you"}, {}, ChannelRefused),
        ({b"END": b"451 later"}, {}, ChannelUnavailable),
        ({b"END": b"554 spam"}, {}, ChannelRefused),
    ],
)  # fmt: skip
def test_a_mail_server_that_never_will_is_told_from_one_that_cannot_now(tmp_path, says, more, kind):
    with mail_server(says) as server:
        with pytest.raises(kind):
            open_one(tmp_path, contact(server, more), type="smtp", to=["a@example.com"]).send(MESSAGE, resent=False)
        server.shutdown()


def test_a_mail_that_is_too_large_is_worth_one_more_try(tmp_path):
    with mail_server({b"END": b"552 too large"}) as server:
        with pytest.raises(ChannelRefused) as refused:
            open_one(tmp_path, contact(server, {}), type="smtp", to=["a@example.com"]).send(MESSAGE, resent=False)
        server.shutdown()
    assert refused.value.perhaps_too_long


def mail_server(says):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
    server.daemon_threads, server.says = True, says
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


def contact(server, more):
    extra = {"disable_ssl": True, "disable_tls": True}
    return Contacts(**{"host": "127.0.0.1", "port": server.server_address[1], "extra": extra} | more)


def test_a_header_that_cannot_be_sent_is_refused_and_not_repeated(tmp_path):
    with Receiver() as receiver:
        contacts = Contacts(host="127.0.0.1", uri=receiver.url, extra={"headers": {"X-Key": "hidden\r\nb"}})
        channel = open_one(tmp_path, contacts, type="webhook", url="connection:hook", allow=["127.0.0.1"])
        with pytest.raises(ChannelRefused, match="cannot be sent") as refused:
            channel.send(MESSAGE, resent=False)
    assert "hidden" not in str(refused.value)
