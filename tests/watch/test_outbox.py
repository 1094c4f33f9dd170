"""Delivery: retried, paced, handed over, listed when dead, and never doubled where the channel can tell."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import replace

import orjson
import pytest
from airflow_platform import wait_until
from sqlalchemy import select
from watch_office import RULES
from webhook_server import Receiver

from observability.events import ChannelBroken
from observability.journal import frames
from observability.watch.engine import IncidentEngine
from observability.watch.facts import observed
from observability.watch.ledger import pending_events, schema
from observability.watch.ledger.database import Ledger, LedgerUnavailable
from observability.watch.notify import outbox
from observability.watch.notify.channels.channel import ChannelRefused, ChannelUnavailable, Contact
from observability.watch.notify.channels.webhook import retry_after, sign, verify
from observability.watch.notify.messages import Links, Message
from observability.watch.notify.notifier import Notifier, enqueue
from observability.watch.notify.outbox import ChannelWorker, backoff, requeue
from observability.watch.rules.config import ChannelSpec, parse_rules


class Nobody:
    """There are no connections and no variables."""

    def connection(self, conn_id):
        raise LookupError(conn_id)

    def variable(self, key):
        raise LookupError(key)


def message(number=1, **more):
    return Message(
        kind="opened", severity="error", title=f"load.t: app {number}", summary="ValueError", dedup_key=f"key{number}",
        incident_id="i", incident_key="run:load:r", cause="app", dag_id="load", **more,
    )  # fmt: skip


@pytest.fixture
def hook(monkeypatch):
    with Receiver() as receiver:
        monkeypatch.setenv("HOOK", receiver.url)
        yield receiver


@pytest.fixture
def office(ledger, tmp_path):
    return Post(ledger, tmp_path)


class Post:
    """An outbox and its workers, driven by hand."""

    def __init__(self, ledger, home):
        self.ledger, self.home = ledger, home
        self.facts, self.events = [], []

    def worker(self, name="hook", fallback=None, **spec):
        given = {"type": "webhook", "url": "env:HOOK", "allow": ["127.0.0.1"], **spec}
        if given["type"] != "webhook":
            given = {key: value for key, value in given.items() if key not in {"url", "allow"}}
        return ChannelWorker(
            name, ChannelSpec.model_validate(given), self.ledger, Nobody(), self.home,
            fallback=fallback, report=self.facts.append, emit=self.events.append,
        )  # fmt: skip

    def put(self, *messages, channel="hook"):
        with self.ledger.transaction(lock=True) as connection:
            for one in messages:
                enqueue(connection, channel, one, time.time())

    def rows(self):
        table = schema.outbox
        with self.ledger.transaction() as connection:
            asked = select(table.c.channel, table.c.state, table.c.attempts, table.c.next_attempt, table.c.error)
            return connection.execute(asked.order_by(table.c.id)).all()

    def states(self):
        return [(row[0], row[1]) for row in self.rows()]


def test_a_message_arrives_signed_and_with_its_key(office, hook, monkeypatch):
    monkeypatch.setenv("KEY_NEW", "new secret")
    monkeypatch.setenv("KEY_OLD", "old secret")
    worker = office.worker(secret=["env:KEY_NEW", "env:KEY_OLD"])
    office.put(message())
    assert worker.step(time.time())
    headers, body = hook.requests[0]
    assert headers["Idempotency-Key"] == "key1"
    assert verify(headers["X-Contrail-Signature"], body, "new secret", time.time())
    assert verify(headers["X-Contrail-Signature"], body, "old secret", time.time())
    assert office.states() == [("hook", "sent")]
    assert [event.action for event in office.events] == ["notification.sent"]


@pytest.mark.parametrize("kind", [ChannelUnavailable, ChannelRefused, ValueError])
def test_what_a_service_says_cannot_steer_a_terminal(office, monkeypatch, kind):
    class Rude:
        def send(self, _message, *, resent):  # noqa: ARG002 - a channel has it
            raise kind("no\x1b[2J\u202e\x9b31m\nSent: 1\x00")

        def close(self): ...

    monkeypatch.setattr("observability.watch.notify.outbox.open_channel", lambda *_: Rude())
    office.put(message())
    office.worker().step(time.time())
    said = [row[4] for row in office.rows()] + [event.reason for event in office.events]
    assert all(one.isprintable() and "Sent: 1" in one for one in said)


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"body": b"{}x"}, False),
        ({"key": "other"}, False),
        ({"now": 1301.0}, False),
        ({"now": 600.0}, False),
        ({"header": sign(b"{}", ["key"], 1000).replace("t=1000", "t=1100"), "now": 1100.0}, False),
        ({"header": "t=1000,t=900,v1=0"}, False),
        ({"header": "v1=0"}, False),
        ({"header": ""}, False),
    ],
)
def test_a_signature_holds_for_this_body_this_key_and_300_seconds(change, holds):
    given = {"header": sign(b"{}", ["key"], 1000), "body": b"{}", "key": "key", "now": 1000.0, **change}
    assert verify(given["header"], given["body"], given["key"], given["now"]) is holds


@pytest.mark.parametrize(
    "header",
    [
        "t=²,v1=0",
        "t=٣,v1=0",
        "t=" + "9" * 5000,
        "t=1000,v1=\ud800",
        "t=1000,v1=ü",
        "\x00",
        "t=1000,=,,v1",
        "t=-1,v1=0",
        ",",
        "=",
    ],
)
def test_an_odd_signature_is_a_no(header):
    assert verify(header, b"{}", "key", 1000.0) is False


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_may_be_too_long_is_tried_once_more_in_short(office, hook, status):
    hook.answers = [(status, {})]
    worker = office.worker()
    office.put(message(details=(("Long", "x" * 4000),), log=("y" * 300,) * 12))
    worker.step(time.time())
    assert office.states() == [("hook", "sent")]
    taken = json.loads(hook.requests[0][1])
    assert (taken["title"], taken["details"], taken["log"]) == ("load.t: app 1", [], [])


@pytest.mark.parametrize(("status", "tries"), [(400, 2), (401, 1), (403, 1), (404, 1), (410, 1), (413, 2)])
def test_an_answer_that_would_be_the_same_for_ever_is_dead_at_once(office, hook, status, tries):
    hook.answers = [(status, {})] * 5
    worker = office.worker(fallback="file")
    office.put(message())
    while worker.step(time.time()):
        pass
    assert office.states() == [("hook", "dead"), ("file", "pending")]
    assert len(hook.answers) == 5 - tries
    assert f"answered {status}" in office.rows()[0][4]


def test_a_500_is_tried_again_later(office, hook):
    hook.answers = [(500, {})]
    worker = office.worker()
    office.put(message())
    worker.step(time.time())
    _, state, attempts, next_attempt, error = office.rows()[0]
    assert (state, attempts, error) == ("pending", 1, "hook: 127.0.0.1 answered 500")
    assert 0 < next_attempt - time.time() < 1.1
    assert not worker.step(time.time())
    worker.step(time.time() + 2)
    assert office.states() == [("hook", "sent")]
    assert len(hook.requests) == 1


def test_a_429_is_obeyed(office, hook):
    hook.answers = [(429, {"Retry-After": "30"})]
    worker = office.worker()
    office.put(message())
    now = time.time()
    worker.step(now)
    assert office.rows()[0][3] - now > 29


def test_a_429_speaks_for_the_channel_and_not_for_one_message(office, hook):
    hook.answers = [(429, {"Retry-After": "20"})]
    worker = office.worker()
    office.put(message(), message(2))
    now = time.time()
    assert [worker.step(now), worker.step(now + 1), worker.step(now + 19)] == [True, False, False]
    assert [worker.step(now + 25), worker.step(now + 25)] == [True, True]
    assert sorted(headers["Idempotency-Key"] for headers, _ in hook.requests) == ["key1", "key2"]


def test_what_is_due_while_a_channel_wants_to_be_left_alone_for_long_goes_to_the_fallback_once(office, hook):
    hook.answers = [(503, {"Retry-After": "1800"})]
    worker, stand_in = office.worker(fallback="file"), office.worker("file", type="file")
    office.put(message(), message(2))
    now = time.time()
    while worker.step(now):
        pass
    assert [fact.status for fact in office.facts] == ["firing"]
    while stand_in.step(now + 60):  # a busy machine takes a while to hand over
        pass
    assert [json.loads(line)["dedup_key"] for line in (office.home / "alerts.jsonl").read_text().splitlines()] == [
        "key1",
        "key2",
    ]
    assert not worker.step(now + 1700)
    while worker.step(now + 1900):
        pass
    assert hook.requests == []  # both were told, by the fallback


def test_a_cut_connection_is_tried_again(office, hook):
    hook.cut = 1
    worker = office.worker()
    office.put(message())
    worker.step(time.time())
    assert office.states() == [("hook", "pending")]
    worker.step(time.time() + 5)
    assert office.states() == [("hook", "sent")]


def test_a_hanging_receiver_costs_its_timeout_and_no_other_channel(office, hook):
    hook.hang = 3.0
    slow, quick = office.worker(timeout=0.3), office.worker("file", type="file")
    office.put(message(), channel="hook")
    office.put(message(), channel="file")
    slow.start()
    quick.start()
    began = time.monotonic()
    while ("file", "sent") not in office.states():
        assert time.monotonic() - began < 2
        time.sleep(0.01)
    while office.rows()[0][4] is None:
        assert time.monotonic() - began < 2.5
        time.sleep(0.01)
    for worker in (slow, quick):
        worker.stop()
        worker.join()
    assert ("hook", "pending") in office.states()


def test_an_answer_that_comes_byte_by_byte_takes_no_longer_than_the_timeout_in_all(office, hook):
    hook.drip = 0.05
    worker = office.worker(timeout=0.5)
    office.put(message())
    began = time.monotonic()
    worker.step(time.time())
    assert time.monotonic() - began < 10  # its thousand bytes would take 50 s
    assert office.states() == [("hook", "pending")]
    assert "ReadTimeout" in office.rows()[0][4]


TLS_1_1 = ssl.TLSVersion(770)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("certificate", "trusted", "state", "reason"),
    [
        ({}, True, "sent", None),
        ({}, False, "dead", "self-signed certificate"),
        ({"host": "other.example"}, True, "dead", "IP address mismatch"),
        ({"days": -1}, True, "dead", "certificate has expired"),
        ({"newest": TLS_1_1}, True, "pending", "protocol"),
    ],
    ids=["good", "signed by nobody", "wrong host", "expired", "TLS 1.1"],
)
def test_only_a_good_certificate_of_this_host_under_a_safe_protocol_is_trusted(  # noqa: PLR0913, PLR0917 - fixtures
    office, tmp_path, monkeypatch, certificate, trusted, state, reason
):
    receiver = Receiver()
    monkeypatch.setenv("HOOK", receiver.with_certificate(tmp_path, **certificate))
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    with receiver:
        worker = office.worker()
        office.put(message())
        worker.step(time.time())
    assert office.states() == [("hook", state)]
    assert reason in office.rows()[0][4] if reason else office.rows()[0][4] is None
    assert len(receiver.requests) == (1 if state == "sent" else 0)


def test_a_handshake_that_is_cut_is_tried_again(office, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut():
            server.accept()[0].close()

        monkeypatch.setenv("HOOK", f"https://127.0.0.1:{server.getsockname()[1]}/")
        cutting = threading.Thread(target=cut)
        cutting.start()
        office.put(message())
        office.worker().step(time.time())
        cutting.join()
    assert office.states() == [("hook", "pending")]


def test_a_fault_that_a_channel_does_not_know_is_a_failed_attempt_and_the_worker_lives(office, monkeypatch):
    class Broken:
        def send(self, *_, **__):
            raise KeyError("surprise")

        def close(self):
            """Nothing is held open."""

    monkeypatch.setattr("observability.watch.notify.outbox.open_channel", lambda *_: Broken())
    worker = office.worker()
    office.put(message())
    worker.start()
    began = time.monotonic()
    while office.rows()[0][4] is None:
        assert time.monotonic() - began < 10
        time.sleep(0.01)
    assert office.rows()[0][1:5:3] == ("pending", "hook: KeyError: 'surprise'")
    assert worker.is_alive()
    worker.stop()
    worker.join()


def test_a_worker_rests_when_there_is_nothing_left_to_send_and_not_before(office, hook, monkeypatch):
    worker, sent_before = office.worker(), []

    class Rest(threading.Event):
        def wait(self, _seconds):
            sent_before.append(len(hook.requests))
            worker.stop()

    monkeypatch.setattr(worker, "_wake", Rest())
    office.put(message(1), message(2), message(3))
    worker.run()
    assert sent_before == [3]


def test_a_connection_that_airflow_denies_is_asked_for_again(office):
    worker = office.worker(url="connection:later")
    office.put(message())
    worker.step(time.time())
    assert office.rows()[0][1:5:3] == ("pending", "connection:later is not known to Airflow now: later")


def test_a_link_local_address_is_refused_and_the_fallback_is_told(office, monkeypatch):
    monkeypatch.setenv("HOOK", "https://169.254.169.254/latest/meta-data/")
    worker = office.worker(fallback="file")
    office.put(message())
    worker.step(time.time())
    assert office.states() == [("hook", "dead"), ("file", "pending")]
    assert "169.254.169.254, which is not public" in office.rows()[0][4]
    assert [(fact.kind, fact.status, fact.subject) for fact in office.facts] == [("delivery", "firing", "hook")]


def test_a_redirect_is_not_followed_even_to_where_it_may_go(office, hook):
    with Receiver() as elsewhere:
        hook.answers = [(307, {"Location": elsewhere.url})]
        worker = office.worker()
        office.put(message())
        worker.step(time.time())
        assert elsewhere.requests == []
    assert office.states() == [("hook", "dead")]


def test_a_channel_that_stays_down_hands_over_and_does_not_say_it_twice(office, hook):
    hook.answers = [(503, {})] * 3
    worker, stand_in = office.worker(fallback="file"), office.worker("file", type="file")
    office.put(message())
    for later in range(3):
        worker.step(time.time() + 10 * later)
    assert office.states() == [("hook", "pending"), ("file", "pending")]
    stand_in.step(time.time() + 100)
    assert office.states() == [("hook", "merged"), ("file", "sent")]
    assert [fact.status for fact in office.facts] == ["firing"]
    office.put(message(2))
    worker.step(time.time() + 200)
    assert [fact.status for fact in office.facts] == ["firing", "resolved"]


def test_a_message_that_cannot_be_delivered_for_long_is_a_dead_letter(office, hook):
    hook.answers = [(503, {})]
    worker = office.worker(give_up_after="0s")
    office.put(message())
    worker.step(time.time())
    assert office.states() == [("hook", "dead")]
    assert office.events[-1].delivery == "dead"


def test_no_more_messages_than_the_rate_allows(office, hook):
    worker = office.worker(rate_per_minute=3)
    office.put(*(message(number) for number in range(5)))
    now = time.time()
    assert [worker.step(now) for _ in range(5)] == [True, True, True, False, False]
    assert not worker.step(now + 59)
    assert worker.step(now + 60)


def test_the_end_of_an_incident_waits_for_what_was_said_before_it_and_for_nothing_else(office, hook):
    hook.answers = [(503, {})]
    worker = office.worker()
    office.put(message(1), replace(message(2), kind="resolved"), replace(message(3), incident_id="j", kind="resolved"))
    now = time.time()
    while worker.step(now):
        hook.answers = []
    assert [state for _, state in office.states()] == ["pending", "pending", "sent"]
    while worker.step(now + 3600):
        pass
    keys = [headers["Idempotency-Key"] for headers, _ in hook.requests]
    assert keys == ["key3", "key1", "key2"]  # that it was refused before is not counted here


def test_what_a_dead_watcher_was_sending_is_sent_again_with_the_same_key(office, hook):
    worker = office.worker()
    office.put(message())
    worker._mark = lambda *_, **__: None  # it dies before it can write down that it was sent
    worker.step(time.time())
    requeue(office.ledger)
    office.worker().step(time.time())
    keys = [headers["Idempotency-Key"] for headers, _ in hook.requests]
    assert keys == ["key1", "key1"]
    assert office.states() == [("hook", "sent")]


def test_a_file_takes_a_message_once_however_often_it_is_sent(office):
    worker = office.worker("file", type="file")
    office.put(message(), message(2), channel="file")
    worker._mark = lambda *_, **__: None
    worker.step(time.time())
    requeue(office.ledger)
    again = office.worker("file", type="file")
    while again.step(time.time()):
        pass
    lines = (office.home / "alerts.jsonl").read_text().splitlines()
    assert [json.loads(line)["dedup_key"] for line in lines] == ["key1", "key2"]


def test_a_torn_line_in_the_file_is_not_taken_for_the_message(office):
    path = office.home / "alerts.jsonl"
    worker = office.worker("file", type="file")
    office.put(message(), channel="file")
    worker._mark = lambda *_, **__: None
    worker.step(time.time())
    path.write_bytes(path.read_bytes()[:-20])
    requeue(office.ledger)
    office.worker("file", type="file").step(time.time())
    assert json.loads(path.read_text().splitlines()[-1])["dedup_key"] == "key1"


def test_the_same_message_is_queued_once(office):
    office.put(message(), message())
    assert office.states() == [("hook", "pending")]


def test_waits_double_and_have_jitter_and_an_end():
    assert [backoff(attempt, None, 1.0) for attempt in (1, 2, 3, 20)] == [1.0, 2.0, 4.0, 300.0]
    assert backoff(1, None, 0.0) == 0.5
    assert backoff(1, 77.0, 0.5) == 77.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("99999", 3600.0),
        ("Thu, 01 Jan 1970 00:20:00 GMT", 200.0),
        ("soon", None),
        (None, None),
        ("", None),
    ],
)
def test_retry_after_in_both_of_its_forms(header, seconds):
    assert retry_after(header, 1000.0) == seconds


def test_a_contact_never_shows_its_secrets():
    shown = repr(Contact(host="h", password="hunter2", uri="slack://T0KEN", extra={"key": "T0KEN"}))
    assert "hunter2" not in shown
    assert "T0KEN" not in shown


def test_a_worker_that_is_hired_anew_says_that_a_channel_which_broke_before_takes_messages_again(office, hook):
    broken = observed(ChannelBroken(channel="hook", reason="503"))
    engine = IncidentEngine(Notifier(parse_rules(RULES, "rules"), Links(), "test"))
    with office.ledger.transaction(lock=True) as connection:
        engine.take(connection, [broken], time.time())
    worker = office.worker()  # the rules were read again, or the watcher started again
    for number in range(2):
        office.put(message(number))
        worker.step(time.time())
    assert [(fact.kind, fact.status, fact.subject) for fact in office.facts] == [("delivery", "resolved", "hook")]


_KILLED_HERE = """
import os, signal, sys, time
from pathlib import Path
from observability.watch.ledger.database import Ledger
from observability.watch.notify.messages import Message
from observability.watch.notify.notifier import enqueue
from observability.watch.notify.outbox import ChannelWorker
from observability.watch.rules.config import ChannelSpec

home = Path(sys.argv[1])
ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
message = Message(
    kind="opened", severity="error", title="t", summary="s", dedup_key="k1", incident_id="i", dag_id="load"
)
with ledger.transaction(lock=True) as connection:
    enqueue(connection, "file", message, time.time())
die = lambda _event: os.kill(os.getpid(), signal.SIGKILL)
worker = ChannelWorker("file", ChannelSpec(type="file"), ledger, None, home, fallback=None, report=print, emit=die)
worker.step(time.time())
"""


def test_a_worker_that_is_killed_when_it_has_marked_a_message_loses_no_event(tmp_path):
    from benchmarks.watched import Watched

    watched = Watched(tmp_path / "home")
    killed = subprocess.run([sys.executable, "-c", _KILLED_HERE, watched.home], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(watched.said()) == 1
    watched.start()
    try:
        wait_until(lambda: sent_by(watched.home), within=60)
        ledger = Ledger(f"sqlite:///{watched.home / 'ledger.db'}")
        wait_until(lambda: not waiting_events(ledger), within=60)
        ledger.close()
        assert sent_by(watched.home) == ["load"]
        assert len(watched.said()) == 1
    finally:
        watched.stop()


def waiting_events(ledger):
    """The events that stand in the ledger to be emitted."""
    with ledger.transaction() as connection:
        return connection.execute(select(schema.events.c.id)).all()


def sent_by(home):
    """The DAGs of each ``notification.sent`` in the journal."""
    documents = [
        orjson.loads(frame.document)
        for path in (home / "journal").glob("*.journal")
        for frame in frames(path.read_bytes())
        if frame.document
    ]
    return [one["airflow.dag_id"] for one in documents if one.get("event.action") == "notification.sent"]


class Recorder:
    """A channel that keeps what it was asked to send, and fails as it is told."""

    def __init__(self, *failures):
        self.failures, self.sent = list(failures), []

    def send(self, message, *, resent):
        self.sent.append((message.dedup_key, resent))
        if self.failures:
            raise self.failures.pop(0)

    def close(self):
        """Nothing is held open."""


def test_a_message_is_said_to_be_resent_from_its_second_attempt_on(office, monkeypatch):
    channel = Recorder(ChannelUnavailable("busy"))
    monkeypatch.setattr(outbox, "open_channel", lambda *_: channel)
    worker = office.worker()
    office.put(message())
    now = time.time()
    assert [worker.step(now), worker.step(now + 60), worker.step(now + 60)] == [True, True, False]
    assert channel.sent == [("key1", False), ("key1", True)]
    assert office.rows()[0][1:3] == ("sent", 2)


@pytest.mark.parametrize(
    ("sent", "now", "may"),
    [([0, 50], 59, False), ([0, 50], 60, True), ([0, 50], 61, True), ([49, 50], 61, False), ([99, 99], 50, True)],
)
def test_the_rate_counts_what_was_sent_within_the_last_minute_by_this_clock(office, sent, now, may):
    worker = office.worker(rate_per_minute=2)
    worker._sent.extend(sent)
    assert worker._may_send(now) is may


def test_what_is_handed_over_keeps_its_attempts_until_the_channel_has_rested(office, hook):
    hook.answers = [(503, {"Retry-After": "1800"})]
    worker = office.worker(fallback="file")
    office.put(message(), message(2))
    now = time.time()
    while worker.step(now):
        pass
    mine = [row for row in office.rows() if row[0] == "hook"]
    assert [(row[1], row[2]) for row in mine] == [("pending", 1), ("pending", 0)]
    assert mine[1][3] == worker._rest_until


def test_a_worker_outlives_a_ledger_that_is_away_and_faults_of_its_own(office, monkeypatch):
    worker = office.worker()
    steps = [LedgerUnavailable("away"), ZeroDivisionError(), LedgerUnavailable("away again")]

    def step(_now):
        if steps:
            raise steps.pop(0)
        worker.stop()
        return False

    def away(**_options):
        raise LedgerUnavailable("away")

    monkeypatch.setattr(outbox, "_LEDGER_WAIT_S", 0.0)
    monkeypatch.setattr(outbox, "_IDLE_S", 0.0)
    monkeypatch.setattr(worker, "step", step)
    monkeypatch.setattr(office.ledger, "transaction", away)
    worker.run()
    assert steps == []


def test_what_was_sent_is_written_down_as_soon_as_the_ledger_is_back(office, monkeypatch):
    channel = Recorder()
    monkeypatch.setattr(outbox, "open_channel", lambda *_: channel)
    monkeypatch.setattr(outbox, "_LEDGER_WAIT_S", 0.0)
    worker, whole = office.worker(), office.ledger.transaction
    office.put(message())
    failures = [LedgerUnavailable("away"), LedgerUnavailable("away")]

    def transaction(**options):
        if channel.sent and failures:
            raise failures.pop(0)
        return whole(**options)

    monkeypatch.setattr(office.ledger, "transaction", transaction)
    assert worker.step(time.time())
    assert (failures, len(channel.sent), office.states()) == ([], 1, [("hook", "sent")])


@pytest.mark.parametrize(("recorded", "left"), [(True, 0), (False, 1)])
def test_an_event_stays_in_the_ledger_until_it_stands_in_the_journal(office, monkeypatch, recorded, left):
    monkeypatch.setattr(outbox, "is_recorded", lambda _id: recorded)
    worker, event = office.worker(), ChannelBroken(channel="hook", reason="503")
    with office.ledger.transaction() as connection:
        pending_events.add(connection, event, 0.0)
    worker._say(event)
    assert office.events == [event]
    with office.ledger.transaction() as connection:
        assert len(pending_events.due(connection, time.time())) == left


def test_an_event_that_was_emitted_while_the_ledger_is_away_is_left_to_the_watcher(office, monkeypatch):
    def away(**_options):
        raise LedgerUnavailable("away")

    monkeypatch.setattr(outbox, "is_recorded", lambda _id: True)
    monkeypatch.setattr(office.ledger, "transaction", away)
    event = ChannelBroken(channel="hook", reason="503")
    office.worker()._say(event)
    assert office.events == [event]
