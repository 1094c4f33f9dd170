"""Pipes, folders, devices and links under a file's name hold no reader up and fill none."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress

import pytest

from observability.airflow.api_server.status import read_status as read_api_server
from observability.attempt_notes import _read as read_attempt
from observability.errors import ContrailError
from observability.journal import frame
from observability.relay import alarms
from observability.relay.dead_letters import read_letters
from observability.relay.exemplars import _documents as read_exemplars
from observability.relay.relay import read_status as read_relay
from observability.relay.sources.statsd.spool import _read as read_datagrams
from observability.settings import load_settings
from observability.watch.heartbeat import read_heartbeat
from observability.watch.notify.channels.file import _FileChannel
from observability.watch.rules.loader import RulesFile, _content
from observability.watch.sources.journal import JournalSource
from observability.watch.sources.logs import records_of

JOURNAL = "etl.event-0.journal"
READERS = {
    "the end of a task's log": ("attempt=1.log", records_of),
    "the watcher's heartbeat": ("watch.heartbeat", lambda path: read_heartbeat(path.parent)),
    "the API server's status": ("api-server.json", lambda path: read_api_server(path.parent)),
    "the relay's status": ("relay.status.json", lambda path: read_relay(path.parent)),
    "the relay's alarms": ("alarms.json", alarms._read),
    "exemplars": (JOURNAL, lambda path: read_exemplars(path.parent)),
    "dead letters": ("x.jsonl", lambda path: list(read_letters(path))),
    "kept datagrams": ("1-1-1.datagrams", read_datagrams),
    "notes of an attempt": ("attempt", read_attempt),
    "settings": ("contrail.toml", lambda path: load_settings(path, {})),
    "rules": ("alerts.yaml", RulesFile),
    "a calendar": ("days.txt", _content),
    "a file of messages": ("alerts.jsonl", lambda path: _FileChannel(path)._has("key")),
    "the journal": (JOURNAL, lambda path: JournalSource(path.parent).read({})),
}


def stream_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


THINGS = {
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a socket": stream_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
}


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_goes_on_whatever_has_the_name_of_its_file(reader, thing, tmp_path):
    name, read = READERS[reader]
    THINGS[thing](tmp_path / name)
    ended = []

    def run():
        with suppress(OSError, ContrailError):
            read(tmp_path / name)
        ended.append(thing)

    asked = threading.Thread(target=run, daemon=True)
    asked.start()
    asked.join(20)

    assert ended == [thing]


@pytest.mark.parametrize("thing", THINGS)
def test_the_watcher_reads_the_journals_beside_it(thing, tmp_path):
    THINGS[thing](tmp_path / JOURNAL)
    event = b'{"@timestamp":"2026-01-31T12:00:00.000000Z","event.action":"task.failed","airflow.dag_id":"d"}'
    tmp_path.joinpath("etl.event-1.journal").write_bytes(frame(event))
    source = JournalSource(tmp_path)

    facts, cursor, more = source.read({})

    assert ([fact.dag_id for fact in facts], more) == (["d"], False)
    assert (source.has_grown({}), source.has_grown(cursor)) == (True, False)
