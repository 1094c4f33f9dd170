"""Our own faults are passed over to the byte, counted, kept aside, and hold up nothing else."""

from __future__ import annotations

import base64
import os
import socket
from contextlib import closing

import orjson
import pytest
from relay_lines import TASK, line

from observability import contain
from observability.contain import take_losses
from observability.journal import Journal
from observability.relay import relay as relays
from observability.relay.relay import Relay
from observability.relay.sinks.embedded import EmbeddedSink
from observability.relay.sources.files import tail
from observability.relay.sources.files.scanner import Entry
from observability.store import Query, open_store

OTHER = TASK.replace("load", "other")


@pytest.fixture
def survived(monkeypatch):
    """Bugs of ours are survived, as they are outside of tests."""
    monkeypatch.setattr(contain, "raises_again", lambda: False)
    take_losses()
    yield
    take_losses()


def carry(settings):
    relay = Relay(settings, statsd=False)
    assert relay.run(once=True, patience_s=20)
    return relay


def stored(settings, dataset="airflow.task"):
    with closing(open_store(settings)) as store:
        return [document["event"] for document in store.documents(Query(dataset))]


def set_aside(settings, sink="embedded"):
    path = settings.home / "set-aside" / f"{sink}.jsonl"
    return [orjson.loads(text) for text in path.read_bytes().splitlines()] if path.exists() else []


def test_a_line_at_which_the_parser_fails_costs_that_line_and_no_other(settings, logs, monkeypatch, survived):
    whole = tail.splice

    def failing(file, chunk, *rest):
        if b"poison" in chunk:
            raise RecursionError
        return whole(file, chunk, *rest)

    monkeypatch.setattr(tail, "splice", failing)
    poison = line("poison", 1)
    logs.write(line("before") + poison + line("after", 2))
    logs.write(line("elsewhere"), OTHER)
    relay = carry(settings)
    assert sorted(stored(settings)) == ["after", "before", "elsewhere"]
    [aside] = set_aside(settings)
    assert (aside["file"], aside["offset"], aside["error"]) == (TASK, len(line("before")), "RecursionError")
    assert base64.b64decode(aside["content"]) == poison
    totals = relay.workers[0].stats.totals
    assert (totals["airflow.task", "emitted"], totals["airflow.task", "dropped"]) == (4, 1)
    assert carry(settings).workers[0].stats.totals == totals


@pytest.mark.parametrize("poisons", [(3,), (0, 1, 5), tuple(range(9))], ids=str)
def test_a_document_at_which_a_sink_fails_costs_that_document_and_no_other(
    settings, logs, monkeypatch, survived, poisons
):
    whole = EmbeddedSink._store

    def failing(self, connection, batch):
        answer = whole(self, connection, batch)
        if any(b'"poison' in document for document in batch.documents):
            raise TypeError
        return answer

    monkeypatch.setattr(EmbeddedSink, "_store", failing)
    names = [f"poison {number}" if number in poisons else f"good {number}" for number in range(10)]
    logs.write(b"".join(line(name, second) for second, name in enumerate(names)))
    relay = carry(settings)
    assert stored(settings) == [name for name in names if name.startswith("good")]
    assert sorted(map(text_of, set_aside(settings))) == sorted(name for name in names if name.startswith("poison"))
    assert relay.workers[0].stats.totals["airflow.task", "dropped"] == len(poisons)


def text_of(aside):
    return orjson.loads(base64.b64decode(aside["content"]))["event"]


def test_an_event_of_a_type_that_sqlite_has_not_is_passed_over(settings, survived):
    journal = Journal(settings.journal_directory)
    for number, action in enumerate([b'"a"', b'{"deep":1}', b"99999999999999999999", b'"b"']):
        record = b'{"event.id":"0123456789abcde%d","@timestamp":"2199-01-01T00:00:00Z","event.action":%b}' % (
            number,
            action,
        )
        journal.append("etl.event", record)
    carry(settings)
    with closing(open_store(settings)) as store:
        assert {document["event.action"] for document in store.documents(Query("etl.event"))} >= {"a", "b"}


def test_a_file_at_which_the_registry_fails_is_named_and_the_others_are_carried(settings, logs, monkeypatch, survived):
    def failing(settings, host):
        whole = stream_of(settings, host)
        return lambda name: 1 / 0 if "poison" in name else whole(name)

    stream_of = relays.relay_stream
    monkeypatch.setattr(relays, "relay_stream", failing)
    logs.write(line("x"), TASK.replace("load", "poison"))
    logs.write(line("good"))
    relay = Relay(settings, statsd=False)
    for _ in range(3):
        relay.registry.refresh()
    assert take_losses() == {("relay.registry", "file passed over at ZeroDivisionError"): 1}
    assert [why for path, why in relay.registry.unreadable.items() if "poison" in path] == [
        "Contrail fails at it (ZeroDivisionError); please report it"
    ]
    relay._lock.close()
    carry(settings)
    assert stored(settings) == ["good"]


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "socket"])
def test_what_takes_the_name_of_a_log_between_look_and_open_is_not_opened(settings, logs, tmp_path, monkeypatch, kind):
    elsewhere = tmp_path / "secret.txt"
    elsewhere.write_bytes(line("a secret"))
    path = logs.write(line("a log"))
    relay = Relay(settings, statsd=False)
    found = path.stat()
    path.unlink()
    monkeypatch.chdir(path.parent)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "link":
            path.symlink_to(elsewhere)
        elif kind == "folder":
            path.mkdir()
        else:
            listener.bind(path.name)
        relay.registry._see(relay.registry._sources[0], Entry(str(path), found))
    assert relay.registry._active == {}
    relay._lock.close()
