"""Everything that reads bytes that somebody else wrote: one function for each, which raises where a law is broken.

The laws: no input raises, nothing is doubled, every byte is accounted for, what comes out is JSON with exactly one
identity, and what was good beside the input is still there.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import os
import shutil
import tempfile
import zlib
from functools import cache
from html import escape
from pathlib import Path
from unittest.mock import patch
from urllib.parse import quote, quote_plus

import orjson

from observability import redact, secrets_search
from observability.contain import take_losses
from observability.journal import Journal, frame, frames
from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.fingerprint import identify
from observability.relay.sources.files.journal import journal_stream, record_id
from observability.relay.sources.files.tail import Cursor, Replaced, read
from observability.relay.sources.files.tailed_file import TailedFile
from observability.relay.sources.statsd.listener import Statsd
from observability.relay.sources.statsd.spool import _read, _records
from observability.relay.steps.line_time import origin_of
from observability.relay.steps.own_keys import user_keys
from observability.relay.steps.splice import repair, splice
from observability.secrets_search import Search, cut

__all__ = ["TARGETS"]

NAME = "dag_id=d/run_id=r/task_id=t/attempt=1.log"
IDENTITY = {
    "airflow.dag_id": "d",
    "airflow.run_id": "r",
    "airflow.task_id": "t",
    "airflow.try_number": 1,
    "log_id": "d-t-r--1-1",
}
GOOD = b'{"timestamp":"2026-01-31T12:00:00.000000Z","level":"info","event":"good"}\n'
_FOLDER = Path(tempfile.mkdtemp(prefix="contrail-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_STREAM = log_stream(NAME, "h", "test")
_COMPONENT = log_stream("components/scheduler.log", "h", "test")
_JOURNAL = journal_stream("etl.event-20260131-000.journal")


def journal_frames(data: bytes) -> None:
    """Whole records, and damage that costs its own line only."""
    end = 0
    for found in frames(data):
        assert end <= found.start < found.end
        assert found.document is None or (
            found.document.startswith(b"{") and frame(found.document) == data[found.start : found.end]
        )
        end = found.end
    record = frame(b'{"event.id":"0123456789abcdef"}')
    noisy = list(frames(data + b"\n" + record + data))
    assert any(found.document == record[9:-1] for found in noisy)
    for found in noisy:
        if found.document is not None:
            assert record_id(found.document)


def log_lines(data: bytes) -> None:
    """A document for every line that is not blank, valid after repair, with exactly one identity and one time."""
    for stream, changed in ((_STREAM, 0.0), (_COMPONENT, 1769860900.0)):
        file = TailedFile(stream, Path("x"), 1, 1, "0" * 16, origin_of(data.partition(b"\n")[0]), changed=changed)
        made = splice(file, data, 0)
        assert len(made.ids) == len(made.documents) == len(set(made.ids))
        assert len(made.ids) == sum(bool(line) and not line.isspace() for line in data.split(b"\n"))
        for document in made.documents:
            _one_identity(document, stream)


def _one_identity(document: bytes, stream) -> None:
    try:
        fields = orjson.loads(document)
    except orjson.JSONDecodeError:
        document = repair(document, stream.prefix)
        assert document is not None
        fields = orjson.loads(document)
    if stream is _STREAM:
        assert {name: fields[name] for name in IDENTITY} == IDENTITY
    assert fields["host.name"] == "h"
    assert isinstance(fields["offset"], int)
    assert len(fields["@timestamp"]) == 27
    assert not {"offset", "@timestamp", "airflow.dag_id"} & set(user_keys(fields)) or b"extra." in document
    assert not any(isinstance(fields.get(name), (dict, list)) for name in ("airflow", "host", "log", "service"))
    mended = repair(document, stream.prefix)
    if mended is not None:
        assert set(user_keys(orjson.loads(mended))) == {"timestamp", "level", "event"}


def names_of_files(data: bytes) -> None:
    """A name is a stream with one identity, or none."""
    name = os.fsdecode(data.replace(b"\0", b""))
    for path in (name, f"dag_id={name}/run_id=r/task_id=t/attempt=1.log", NAME.replace("=1.log", f"={name}.log")):
        stream = log_stream(path, "h", "test")
        if stream is not None:
            fields = orjson.loads(stream.prefix + b'"x":1}')
            stream.name.encode()
            assert fields["log.file.path"] == stream.name
            identify(stream.name, b"")


def datagrams(data: bytes) -> None:
    """A good metric beside the input is counted, and all that is written is JSON."""
    statsd = _statsd()
    statsd.take(data)
    statsd.take(b"fuzz.good:1|c")
    written: list[bytes] = []
    statsd._append = written.append
    statsd._write("1-1-1", {}, 1.0, [], 10.0)
    found = [orjson.loads(document) for document in written]
    assert any(one["metric.name"] == "fuzz.good" for one in found)
    for one in found:
        one["metric.name"].encode()
    take_losses()


def _statsd() -> Statsd:
    if not hasattr(_statsd, "made"):
        _statsd.made = Statsd(Journal(_FOLDER / "journal"), "127.0.0.1", 0, interval_s=60)
    return _statsd.made


def statsd_spool(data: bytes) -> None:
    """A spool holds whole records; anything else ends in an error that is expected there."""
    for kind, content in _records(data):
        assert kind in range(256)
        assert bytes(content) in data
    path = _FOLDER / "1-1-1.datagrams"
    path.write_bytes(data)
    with contextlib.suppress(ValueError, TypeError):
        found = _read(path)
        for round_ in found.rounds:
            assert zlib.crc32(round_, 1) is not None
    take_losses()


def tailed_log(data: bytes) -> None:
    """The lines of a log come once, in order, with the same ids and texts, however it is cut into chunks."""
    _tailed(_STREAM, data, GOOD, most=1 + len(data) // 3)


def tailed_journal(data: bytes) -> None:
    """Every whole record of a journal comes, however it is cut."""
    record = frame(b'{"event.id":"0123456789abcdef"}')
    documents = _tailed(_JOURNAL, data, b"\n" + record, most=1 + len(data) // 3)
    assert record[9:-1] in documents


SECRET = "hunter2!/Zürich & <more>"
FORMS = {
    "plain": SECRET.encode(),
    "quoted": quote(SECRET, safe="").encode(),
    "form": quote_plus(SECRET).encode(),
    "twice": quote(quote(SECRET, safe=""), safe="").encode(),
    "hex": SECRET.encode().hex().upper().encode(),
    "json": orjson.dumps(SECRET)[1:-1],
    "escaped": escape(SECRET).encode(),
    "base64": base64.b64encode(b"xy" + SECRET.encode() + b"z"),
    "broken": base64.encodebytes(b"x" * 44 + SECRET.encode() + b"y" * 60),
}
_WINDOW = 64


@cache
def _mask():
    """The rules with one known secret, and the scan that says clean; what the process knows is as it was."""
    with patch.dict(redact._secrets, {SECRET: None}, clear=True):
        redact._forget_rules()
        made = redact._rules(), redact._ready.scan
    redact._forget_rules()
    return made


def masking(data: bytes) -> None:
    """A known secret stands nowhere, whatever is around it; what is clean stays; how it is cut makes no difference."""
    rules, scan = _mask()
    data = data.decode("utf-8", "replace").encode()
    before, _, after = data.partition(b"\n")
    form = list(FORMS.values())[len(data) % len(FORMS)]
    for raw in (data, before + b" " + form + b" " + after):
        spans = sorted(Search(rules, raw).spans())
        with patch.object(secrets_search, "_WINDOW", _WINDOW):
            assert sorted(Search(rules, raw).spans()) == spans
        shown = cut(raw, spans) if spans else raw.decode()
        if not scan(raw.lower()) and (b"@" not in raw or b"://" not in raw):
            assert not spans
        low = shown.lower()
        assert not any(found.decode().lower() in low for found in FORMS.values())


def _tailed(stream, data: bytes, good: bytes, most: int) -> list[bytes]:
    path = _FOLDER / "tailed"
    content = data + (b"" if data.endswith(b"\n") or not data else b"\n") + good
    path.write_bytes(content)
    status = path.stat()
    first = content.partition(b"\n")[0][:1024]
    identity = identify(stream.name, first if stream.prefix else b"")
    file = TailedFile(
        stream, path, status.st_dev, status.st_ino, identity, origin_of(first), len(content), 1769860900.0
    )
    ids, documents = [], []
    cursor = Cursor(identity)
    for _ in range(len(content) + 10):
        try:
            stretch = read(file, cursor, max(most, 64), final=True)
        except Replaced as error:
            raise AssertionError from error
        if stretch is None:
            break
        assert stretch.cursor.offset > cursor.offset
        assert not stretch.failed
        ids += stretch.spliced.ids
        documents += stretch.spliced.documents
        cursor = stretch.cursor
    assert cursor.offset == len(content)
    if stream.prefix:
        assert len(ids) == len(set(ids))
        whole = splice(file, content, 0)
        assert (ids, documents) == (whole.ids, whole.documents)
    return documents


TARGETS = {
    one.__name__: one
    for one in (
        journal_frames,
        log_lines,
        names_of_files,
        datagrams,
        statsd_spool,
        tailed_log,
        tailed_journal,
        masking,
    )
}
