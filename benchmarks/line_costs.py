"""The cost of each part of a line's way alone, on the machine and in the run that measures the whole.

Read, cut into lines, parse, encode, compress, write: each by the library or system call that does it fastest from
Python, over the same log. They say what bounds a shipper that is written in Python.
"""

from __future__ import annotations

import gzip
import hashlib
import socket
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from benchmarks.figure import Figure, Sample
from benchmarks.task_log import NAME, write_task_log

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["line_costs", "put_costs"]

_LINES = 20_000
_ROUNDS = 7
_READ = 1 << 20
_EVENTS = 2_000
"""So many of these lines fill a request of a megabyte."""
_MORE = (b"1", b"2", b"3", b"4", b"5", b"6", b"7")


def line_costs(lines: int = _LINES) -> list[Figure]:
    """Processor time a line of each part, in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "logs", NAME)
        write_task_log(path, lines)
        parts = _parts(path)
        found = {name: [_us(part, lines) for _ in range(_ROUNDS)] for name, part in parts.items()}
    return [Figure(f"of a line, alone: {name}", "us", Sample(tuple(taken))) for name, taken in found.items()]


def put_costs(lines: int = _LINES) -> list[Figure]:
    """Processor time a line of what a request of PutLogEvents cannot do without, in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "logs", NAME)
        write_task_log(path, lines)
        documents = path.read_bytes().splitlines()
    places = range(0, lines, _EVENTS)
    events = [
        [{"timestamp": 1, "message": one.decode()} for one in documents[start : start + _EVENTS]] for start in places
    ]
    bodies = [orjson.dumps({"logGroupName": "g", "logStreamName": "s", "logEvents": some}) for some in events]
    parts = {
        "an event of each line": lambda: [{"timestamp": 1, "message": one.decode()} for one in documents],
        "the body, by orjson": lambda: [orjson.dumps({"logEvents": some}) for some in events],
        "SHA-256 of the body": lambda: [hashlib.sha256(body).hexdigest() for body in bodies],
        "signed by botocore, SHA-256 included": lambda: [_signed(body) for body in bodies],
        "sendall of the body": lambda: _send(b"".join(bodies)),
    }
    found = {name: [_us(part, lines) for _ in range(_ROUNDS)] for name, part in parts.items()}
    return [
        Figure(f"of a line in a request, alone: {name}", "us", Sample(tuple(taken))) for name, taken in found.items()
    ]


def _signed(body: bytes) -> AWSRequest:
    request = AWSRequest("POST", "https://logs.eu-central-1.amazonaws.com/", data=body)
    SigV4Auth(Credentials("testing", "testing"), "logs", "eu-central-1").add_auth(request)
    return request


def _parts(path: Path) -> dict[str, Callable[[], object]]:
    data = path.read_bytes()
    lines = data.splitlines()
    parsed: list[dict[str, Any]] = [orjson.loads(line) for line in lines]
    return {
        "read(2)": lambda: _read(path),
        "a copy of its bytes": lambda: bytearray(data),
        "cut from the others": lambda: data.split(b"\n"),
        "one call of a function": lambda: [_nothing(line) for line in lines],
        "one join of eight parts": lambda: [
            b"".join((b"1", line, b"2", b"3", b"4", b"5", b"6", b"7")) for line in lines
        ],
        "parsed by orjson": lambda: [orjson.loads(line) for line in lines],
        "its time, by datetime": lambda: [datetime.fromisoformat(one["timestamp"]).timestamp() for one in parsed],
        "encoded by protobuf": lambda: [_record(one) for one in parsed],
        "gzip, level 1": lambda: gzip.compress(data, 1),
        "sendall": lambda: _send(data),
    }


def _us(part: Callable[[], object], lines: int) -> float:
    began = time.thread_time_ns()
    part()
    return (time.thread_time_ns() - began) / lines / 1000


def _read(path: Path) -> None:
    with path.open("rb", buffering=0) as log:
        while log.read(_READ):
            pass


def _nothing(line: bytes) -> bytes:
    return line


def _record(fields: dict[str, Any]) -> bytes:
    """A record with the line's keys as attributes, by the official classes."""
    values = {name: _value(one) for name, one in fields.items()}
    made: bytes = LogRecord(
        time_unix_nano=1, severity_number=9, severity_text=fields["level"], body=values.pop("event"),  # type: ignore[arg-type]
        attributes=[KeyValue(key=name, value=one) for name, one in values.items()],
    ).SerializeToString()  # fmt: skip
    return made


def _value(one: str | int) -> AnyValue:
    return AnyValue(string_value=one) if isinstance(one, str) else AnyValue(int_value=one)


def _send(data: bytes) -> None:
    """Send the bytes through a socket to a thread that drops them; the time of that thread is not counted."""
    ours, theirs = socket.socketpair()

    def drop() -> None:
        while theirs.recv(_READ):
            pass

    dropping = threading.Thread(target=drop)
    dropping.start()
    for start in range(0, len(data), _READ):
        ours.sendall(data[start : start + _READ])
    ours.close()
    dropping.join()
    theirs.close()
