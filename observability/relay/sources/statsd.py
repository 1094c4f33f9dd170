"""The StatsD socket: reads datagrams, adds them up, writes each interval's series to the metric journal.

Understood are plain StatsD (``name:1|c``), DogStatsD (``name:1:2|ms|@0.5|#tag:value``) and Influx tags
(``name,tag=value:1|c``). Airflow's prefix ``airflow.`` is taken off. What cannot be read is counted, never guessed.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import orjson

from observability.contain import contained, count_loss
from observability.relay.series import Aggregate, Key, Series, bounded, metric_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.journal import Journal

__all__ = ["Statsd", "StatsdUnavailable"]

_KINDS = {b"c": "counter", b"g": "gauge", b"ms": "timer", b"h": "timer", b"d": "timer", b"s": "set"}
_NAME = re.compile(r"[\w.:/%~ -]{1,250}", re.ASCII)
_RECEIVE_BUFFER = 16_777_216
_MOST_DATAGRAM = 65_535
_ROUND = 512
"""So many datagrams are read before the clock is looked at."""
_MOST_REMEMBERED = 20_000
_FORCE_RCVBUF = 33
_Shape = tuple[Key, float]


class StatsdUnavailable(OSError):  # noqa: N818 - like SinkUnavailable, a state
    """The socket cannot be opened; the message names the address and the remedy."""


class Statsd(threading.Thread):
    """Listens on ``host:port`` until :meth:`stop`; ``gauges`` gives the relay's own numbers for each interval."""

    def __init__(  # noqa: PLR0913 - its knobs
        self,
        journal: Journal,
        host: str,
        port: int,
        *,
        interval_s: float = 10.0,
        budget: int = 2000,
        forward: str = "",
        environment: str = "dev",
        own: Callable[[], list[tuple[str, str, float, dict[str, str]]]] = list,
    ) -> None:
        super().__init__(name="relay-statsd", daemon=True)
        self.aggregate = Aggregate(budget)
        self.received = self.garbage = self.unforwarded = 0
        self._journal = journal
        self._interval_s = interval_s
        self._own = own
        self._common = {
            "service.name": "airflow",
            "service.environment": environment,
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
        }
        self._shapes: dict[tuple[bytes, bytes], _Shape | None] = {}
        self._stopping = threading.Event()
        self._socket = _bound(host, port)
        self._forward = _connected(forward) if forward else None
        self.port: int = self._socket.getsockname()[1]

    def run(self) -> None:
        """Receive until stopped; the series of the last interval are written before it ends."""
        due = time.monotonic() + self._interval_s
        while not self._stopping.is_set():
            with contained("relay.statsd"):
                self._receive(due)
                if time.monotonic() >= due:
                    self.flush()
                    due += self._interval_s * max(1, math.ceil((time.monotonic() - due) / self._interval_s))
        with contained("relay.statsd"):
            self._socket.settimeout(0.001)
            self._receive(time.monotonic() + 1.0)
            self.flush()
        self.close()

    def close(self) -> None:
        """Let go of the sockets."""
        self._socket.close()
        if self._forward is not None:
            self._forward.close()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Write what there is and end."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout_s)

    def flush(self) -> None:
        """Write the series of this interval to the journal."""
        for name, kind, value, tags in self._own():
            _add(self.aggregate.series((name, kind, bounded(iter(tags.items())))), repr(value).encode(), 1.0)
        folded = sum(self.aggregate.folded.values())
        if folded:
            _add(
                self.aggregate.series(("contrail.telemetry.folded_series", "counter", (("stream", "airflow.statsd"),))),
                b"%d" % folded,
                1.0,
            )
        when = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
        for key, series in self.aggregate.take():
            document = metric_document(key, series, int(self._interval_s * 1000), when, self._common)
            try:
                self._journal.append("airflow.statsd", orjson.dumps(document))
            except OSError as error:
                count_loss("relay.statsd", error.strerror or "journal")

    def take(self, datagram: bytes) -> None:
        """Add up the samples of one datagram."""
        for line in datagram.split(b"\n"):
            if line:
                self._line(line)

    def _receive(self, until: float) -> None:
        receive, forward = self._socket.recv, self._forward
        for _ in range(_ROUND):
            try:
                datagram = receive(_MOST_DATAGRAM)
            except (TimeoutError, BlockingIOError):
                return
            self.take(datagram)
            if forward is not None:
                try:
                    forward.send(datagram)
                except OSError:
                    self.unforwarded += 1
            if time.monotonic() >= until:
                return

    def _line(self, line: bytes) -> None:
        head, colon, rest = line.partition(b":")
        value, bar, kind = rest.partition(b"|")
        self.received += 1
        shape = self._shapes.get((head, kind))
        if shape is None:
            shape = self._shape(head, kind) if colon and bar else None
            if shape is None:
                self._refuse()
                return
        key, weight = shape
        series = self.aggregate.series(key)
        try:
            _add(series, value, weight)
        except ValueError:
            if not self._several(series, value, weight):
                self._refuse()

    def _several(self, series: Series, values: bytes, weight: float) -> bool:
        parts = values.split(b":")
        if len(parts) == 1:
            return False
        try:
            numbers = [float(part) for part in parts if series.kind != "set"]
        except ValueError:
            return False
        if not all(map(math.isfinite, numbers)):
            return False
        for part in parts:
            _add(series, part, weight)
        return True

    def _shape(self, head: bytes, kind: bytes) -> _Shape | None:
        try:
            shape = _parsed(head.decode(), kind)
        except (UnicodeDecodeError, ValueError):
            return None
        if len(self._shapes) >= _MOST_REMEMBERED:
            self._shapes.clear()
        self._shapes[head, kind] = shape
        return shape

    def _refuse(self) -> None:
        self.garbage += 1
        count_loss("relay.statsd", "unreadable metric")


def _add(series: Series, value: bytes, weight: float) -> None:
    if series.kind == "set":
        series.count += 1
        if len(series.members) < _MOST_REMEMBERED:
            series.members.add(value.decode("utf-8", "replace"))
        return
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    if series.kind == "timer":
        series.timing(number, weight)
    elif series.kind == "gauge":
        series.count += 1
        series.last = series.last + number if value[:1] in (b"+", b"-") else number
    else:
        series.count += weight
        series.total += number * weight


def _parsed(head: str, rest: bytes) -> _Shape:
    code, *options = rest.split(b"|")
    kind = _KINDS.get(code.strip())
    name, _, influx = head.partition(",")
    name = name.removeprefix("airflow.")
    if kind is None or not _NAME.fullmatch(name):
        raise ValueError(head)
    tags = [pair.partition("=")[::2] for pair in influx.split(",")] if influx else []
    weight = 1.0
    for option in options:
        if option[:1] == b"@":
            rate = float(option[1:])
            if not 0.0 < rate <= 1.0:
                raise ValueError(rest)
            weight = 1.0 / rate
        elif option[:1] == b"#":
            tags += [pair.partition(":")[::2] for pair in option[1:].decode().split(",")]
    return (name, kind, bounded((_clean(key), _clean(value)) for key, value in tags)), weight


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
    listener.settimeout(0.2)
    return listener


def _connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    forward = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    forward.setblocking(False)
    forward.connect((host.strip("[]"), int(port)))
    return forward
