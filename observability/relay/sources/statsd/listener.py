"""The StatsD socket: reads datagrams, adds them up, writes each interval's series to the metric journal.

Understood are plain StatsD (``name:1|c``), DogStatsD (``name:1:2|ms|@0.5|#tag:value``) and Influx tags
(``name,tag=value:1|c``). Airflow's ``[metrics] statsd_prefix`` is taken off, and ``airflow.`` too.
What cannot be read is counted, never guessed.
A sample belongs to the interval in which it came, whatever its own timestamp (``|T``); DogStatsD's events and
service checks are no metrics and are counted apart.

What a round receives is on disk (``statsd_spool.py``) before it is added up; an interval that was killed is
written by the next relay, under the ids that it would have had.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from observability.contain import contained, count_loss, own_fault
from observability.errors import StatsdUnavailable
from observability.journal import frames
from observability.regular_files import is_regular, open_regular
from observability.relay.sources.statsd.series import Aggregate, Key, Series, bounded, metric_document
from observability.relay.sources.statsd.spool import StatsdSpool
from observability.relay.sources.statsd.stream import StatsdStream
from observability.timestamps import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from observability.journal import Journal
    from observability.relay.sources.statsd.spool import Interval

__all__ = ["Statsd", "StatsdUnavailable"]

_KINDS = {b"c": "counter", b"g": "gauge", b"ms": "timer", b"h": "timer", b"d": "timer", b"s": "set"}
_NAME = re.compile(r"[\w.:/%~ -]{1,250}", re.ASCII)
_RECEIVE_BUFFER = 16_777_216
_MOST_DATAGRAM = 65_535
_ROUND = 512
"""So many datagrams are read, and put on disk by one write, before the clock is looked at."""
_MOST_ROUND_BYTES = 1_048_576
_MOST_SPOOL_BYTES = 16_777_216
"""An interval that received more ends early."""
_WAIT_MS = 200
_JOURNALS_SEARCHED = 2
_ID = slice(22, 54)
"""The place of a metric document's id in a journal's line: behind the checksum and the name of the field."""
_INFLUX_COMMA = re.compile(r"(?<!\\),")
_INFLUX_ESCAPED = re.compile(r"\\([,= \\])")
_NO_METRIC = (b"_e{", b"_sc|")
_MOST_SHAPES_BYTES = 8_388_608
"""So many bytes of names and tags as they came are remembered with what they mean; then that begins anew."""
_MOST_HEAD_BYTES = 4_096
"""Longer names and tags are nobody's metric."""
_SHAPE_OVERHEAD = 700
"""The bytes of a remembered shape beside its text."""
_LEAST_RATE = 1e-6
"""One sample that stands for more than a million is a mistake, or an attack on the sum."""
_MOST_VALUE = 1e24
"""Sums of such values, weighted, stay finite."""
_FORCE_RCVBUF = 33
_Shape = tuple[Key, float, bool]
"""Series, weight of a sample, and whether a gauge with a sign is a step (StatsD) or a value (DogStatsD)."""


class Statsd(threading.Thread):
    """Listens on ``host:port``, and on the Unix socket ``socket_path`` if one is named, until :meth:`stop`.

    ``own`` gives the relay's own numbers for each interval; ``also`` gets each series that is written.
    """

    def __init__(  # noqa: PLR0913 - its options
        self,
        journal: Journal,
        host: str,
        port: int,
        *,
        spool: Path | None = None,
        interval_s: float,
        budget: int = 2000,
        prefix: str = "airflow",
        forward: str = "",
        socket_path: str = "",
        environment: str = "dev",
        own: Callable[[], list[tuple[str, str, float, dict[str, str]]]] = list,
        also: Callable[[Key, Series], None] = lambda _key, _series: None,
    ) -> None:
        super().__init__(name="relay-statsd", daemon=True)
        self.aggregate = Aggregate(budget)
        self.garbage = self.ignored = self.unforwarded = self.recovered = self._lines = 0
        self._recovering = False
        self.spool = StatsdSpool(spool, socket.gethostname())
        self._interval = ""
        self._journal = journal
        self._interval_s = interval_s
        self._own = own
        self._also = also
        self._prefixes = tuple(f"{one.strip('.')}." for one in dict.fromkeys((prefix, "airflow")) if one.strip("."))
        self._common: dict[str, Any] = {
            "service.name": "airflow",
            "service.environment": environment,
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
        }
        self._shapes: dict[tuple[bytes, bytes], _Shape | None] = {}
        self._shapes_bytes = 0
        self._stopping = threading.Event()
        self._socket = _bound(host, port)
        self._stream = _stream(socket_path, self._socket) if socket_path else None
        self._forward = _connected(forward) if forward else None
        self.port: int = self._socket.getsockname()[1]

    @property
    def received(self) -> int:
        """Metrics that came over the socket."""
        return 0 if self._recovering else self._lines - self.recovered

    def run(self) -> None:
        """Receive until stopped; the series of the last interval are written before it ends."""
        self._recovering = True
        with contained("relay.statsd"):
            self._recover()
        self._recovering = False
        with contained("relay.statsd"):
            self._begin()
        began = time.monotonic()
        while not self._stopping.is_set():
            with contained("relay.statsd"):
                if self._await():
                    self._receive()
                now = time.monotonic()
                if now - began >= self._interval_s:
                    self.flush()
                    began = now - (now - began) % self._interval_s
                elif self.spool.size > _MOST_SPOOL_BYTES:
                    self.flush(now - began)
                    began = now
        with contained("relay.statsd"):
            until = time.monotonic() + 1.0
            while self._receive() and time.monotonic() < until:
                pass
            self.flush()
        self.close()

    def close(self) -> None:
        """Let go of the sockets."""
        self.spool.close()
        self._socket.close()
        if self._stream is not None:
            self._stream.close()
        if self._forward is not None:
            self._forward.close()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Write what there is and end."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout_s)

    def flush(self, seconds: float | None = None) -> None:
        """Write the series of this interval, which took ``seconds`` where it ends early, to the journal."""
        if not self._interval:
            self._begin()
        when, own = time.time(), self._own()
        self.spool.end(when, own)
        self._write(self._interval, self._common, when, own, seconds or self._interval_s)
        self._begin()

    def take(self, datagram: bytes) -> None:
        """Add up the samples of one datagram, or of several that newlines join."""
        for line in datagram.split(b"\n"):
            if line:
                try:
                    self._line(line)
                except Exception as error:
                    if not own_fault("relay.statsd", error):
                        raise
                    count_loss("relay.statsd", f"passed over at {type(error).__name__}")

    def _begin(self) -> None:
        self._interval = self.spool.begin(self.aggregate.gauges())

    def _recover(self) -> None:
        """Write the intervals that were killed; what the journal holds of them already is left out."""
        for found in self.spool.orphans():
            try:
                self._recover_one(found)
            except Exception as error:
                if not own_fault("relay.statsd", error):
                    raise
                self.aggregate.take()
                self.spool.set_aside(found.path)
        self.recovered, self.garbage, self.ignored = self._lines, 0, 0

    def _recover_one(self, found: Interval) -> None:
        again = found.end is not None
        self.aggregate.remember(found.gauges)
        for datagrams in found.rounds:
            self.take(bytes(datagrams))
        if self.spool.seal(found) and found.end is not None:
            who = {"host.name": found.host or self._common["host.name"], "process.pid": found.process}
            self._write(found.name, self._common | who, *found.end, self._interval_s, again=again)
            self.spool.forget(found)
        else:
            self.aggregate.take()  # on a full disk: the next relay tries again

    def _write(  # noqa: PLR0913 - an interval
        self, name: str, common: dict[str, Any], when: float, own: list[Any], seconds: float, *, again: bool = False
    ) -> None:
        for metric, kind, value, tags in own:
            with contextlib.suppress(ValueError):  # of a spool that somebody else wrote
                key = (metric, kind, bounded(iter(tags.items())))
                _add(self.aggregate.series(key, always=True), repr(value).encode(), 1.0)
        if folded := self.aggregate.folded:
            about: Key = ("contrail.telemetry.folded_series", "counter", (("stream", "airflow.statsd"),))
            _add(self.aggregate.series(about, always=True), b"%d" % folded, 1.0)
        stamp = iso(when, "microseconds")
        documents: dict[bytes, bytes] = {}
        for key, series in self.aggregate.take():
            try:
                document = metric_document(key, series, name, int(seconds * 1000), stamp, common)
                documents[document["event.id"].encode()] = orjson.dumps(document)
                self._also(key, series)
            except Exception as error:
                if not own_fault("relay.statsd", error):
                    raise
                count_loss("relay.statsd", "series that cannot be written")
        known = self._known(documents.keys()) if again else frozenset()
        for identity, text in documents.items():
            if identity not in known:
                self._append(text)

    def _append(self, document: bytes) -> None:
        try:
            self._journal.append("airflow.statsd", document)
        except OSError as error:
            count_loss("relay.statsd", error.strerror or "journal")

    def _known(self, ids: Collection[bytes]) -> frozenset[bytes]:
        """Those ids of whose documents the newest journals hold whole ones."""
        files = sorted(
            filter(is_regular, self._journal.directory.glob("airflow.statsd-*.journal")),
            key=lambda path: path.stat().st_mtime,
        )
        found = set()
        for path in files[-_JOURNALS_SEARCHED:]:
            with io.BufferedReader(open_regular(path, follow=False)) as lines:
                found |= {line[_ID] for line in lines if line[_ID] in ids and _is_whole(line)}
        return frozenset(found)

    def _await(self) -> bool:
        """Wait for something to read, for a moment."""
        waiting = select.poll()
        for one in (self._socket, *(self._stream.sockets() if self._stream is not None else ())):
            waiting.register(one, select.POLLIN)
        return bool(waiting.poll(_WAIT_MS))

    def _receive(self) -> int:
        """One round: what waits, put on disk, then added up; the number of datagrams."""
        datagrams = self._waiting()
        if self._stream is not None:
            datagrams += self._stream.read(_MOST_ROUND_BYTES)
        if datagrams:
            together = b"\n".join(datagrams)
            self.spool.keep(together)
            self.take(together)
        if self._forward is not None:
            for datagram in datagrams:
                try:
                    self._forward.send(datagram)
                except OSError:
                    self.unforwarded += 1
        return len(datagrams)

    def _waiting(self) -> list[bytes]:
        receive, size = self._socket.recv, 0
        found: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while len(found) < _ROUND and size < _MOST_ROUND_BYTES:
                datagram = receive(_MOST_DATAGRAM)
                found.append(datagram)
                size += len(datagram)
        return found

    def _line(self, line: bytes) -> None:
        head, _, rest = line.partition(b":")
        value, _, kind = rest.partition(b"|")
        if b"," in head:  # Influx: a tag's value may hold a colon
            before, _, kind = line.partition(b"|")
            head, _, value = before.rpartition(b":")
        self._lines += 1
        shape = self._shapes.get((head, kind))
        if shape is None:
            shape = self._shape(head, kind)
            if shape is None:
                self._refuse(line)
                return
        key, weight, steps = shape
        series = self.aggregate.series(key)
        try:
            _add(series, value, weight, steps=steps)
        except ValueError:
            if not self._several(series, value, weight, steps=steps):
                self._refuse(line)

    def _several(self, series: Series, values: bytes, weight: float, *, steps: bool) -> bool:
        parts = values.split(b":")
        try:
            for part in parts:
                _number(part)
        except ValueError:
            return False
        for part in parts:
            _add(series, part, weight, steps=steps)
        return True

    def _shape(self, head: bytes, kind: bytes) -> _Shape | None:
        if len(head) + len(kind) > _MOST_HEAD_BYTES:
            return None
        try:
            shape = _parsed(head.decode(), kind, self._prefixes)
        except (UnicodeDecodeError, ValueError):
            return None
        self._shapes_bytes += 3 * (len(head) + len(kind)) + _SHAPE_OVERHEAD
        if self._shapes_bytes > _MOST_SHAPES_BYTES:
            self._shapes.clear()
            self._shapes_bytes = 0
        self._shapes[head, kind] = shape
        return shape

    def _refuse(self, line: bytes) -> None:
        if line.startswith(_NO_METRIC):
            self.ignored += 1
            return
        self.garbage += 1
        count_loss("relay.statsd", "unreadable metric")


def _number(value: bytes) -> float:
    number = float(value)
    if not -_MOST_VALUE <= number <= _MOST_VALUE or b"_" in value:  # Python's own 1_000; NaN compares False
        raise ValueError(value)
    return number


def _add(series: Series, value: bytes, weight: float, *, steps: bool = True) -> None:
    if series.kind == "set":
        series.member(value)
        return
    number = _number(value)
    if series.kind == "timer":
        series.timing(number, weight)
    elif series.kind == "gauge":
        series.count += 1
        last = series.last + number if steps and value[:1] in (b"+", b"-") else number
        series.last = min(max(last, -_MOST_VALUE), _MOST_VALUE)
    else:
        series.count += weight
        series.total += number * weight


def _parsed(head: str, rest: bytes, prefixes: tuple[str, ...]) -> _Shape:
    code, *options = rest.split(b"|")
    kind = _KINDS.get(code.strip())
    name, _, influx = head.partition(",")
    name = name.removeprefix(next((one for one in prefixes if name.startswith(one)), ""))
    if kind is None or not _NAME.fullmatch(name):
        raise ValueError(head)
    tags = [tuple(map(_unescaped, pair.partition("=")[::2])) for pair in _INFLUX_COMMA.split(influx)] if influx else []
    weight = 1.0
    steps = True
    for option in options:
        if option[:1] == b"@":
            rate = float(option[1:])
            if not _LEAST_RATE <= rate <= 1.0:
                raise ValueError(rest)
            weight = 1.0 / rate
        elif option[:1] == b"#":
            tags += [pair.partition(":")[::2] for pair in option[1:].decode().split(",")]
        steps = steps and option[:1] == b"@"
    return (name, kind, bounded((_clean(key), _clean(value)) for key, value in tags)), weight, steps


def _unescaped(text: str) -> str:
    return _INFLUX_ESCAPED.sub(r"\1", text) if "\\" in text else text


def _is_whole(line: bytes) -> bool:
    return any(frame.document is not None for frame in frames(line))


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else "_" for letter in text[:200])


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_DGRAM)
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _FORCE_RCVBUF, _RECEIVE_BUFFER)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StatsdUnavailable(
            error.errno,
            f"cannot listen for StatsD on {host}:{port} ({error.strerror}); free it or set [relay] statsd_port",
        ) from error
    listener.setblocking(False)
    return listener


def _stream(path: str, listener: socket.socket) -> StatsdStream:
    try:
        return StatsdStream(Path(path).expanduser())
    except OSError as error:
        listener.close()
        raise StatsdUnavailable(
            error.errno,
            f"cannot listen for StatsD on {path} ({error.strerror or error}); free it,"
            " or set [relay] statsd_socket_path",
        ) from error


def _connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    forward = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    forward.setblocking(False)
    forward.connect((host.strip("[]"), int(port)))
    return forward
