"""StatsD metrics from any code: added up in the process, sent by a background thread, at :func:`flush` and on leaving.

A call costs one dictionary update. On the wire stand StatsD lines with tags in Influx style
(``name,tag=value:1|c``), the form that Airflow's own ``statsd_influxdb_enabled`` produces. Counters travel
summed, gauges as their last value, timers sample by sample, sets as their distinct values. A metric of the
catalogue takes the tags that it declares there, and no other.
"""

from __future__ import annotations

import atexit
import math
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from observability.contain import contained, count_loss, text_of
from observability.errors import MetricError
from observability.identity import current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from observability.catalog import MetricType
    from observability.events import Identity

__all__ = ["MetricError", "flush", "gauge", "increment", "listen", "send", "set", "timing"]

_MOST_BYTES = 1432
"""Payload of a datagram that no Ethernet path splits."""
_MOST_SAMPLES = 20_000
"""The number of waiting samples of one series at which they are sent before the interval is over."""
_BURST = 1000
"""Lines after which sending pauses, so that a receiver with a default buffer (about 90 datagrams) keeps up."""
_PAUSE_S = 0.005
_UNBOUNDED = frozenset({"run_id", "ti_id", "map_index", "try_number", "trace_id", "logical_date"})
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+/-]+")
_LONGEST = 200

_Key = tuple[str, int, tuple[tuple[str, Any], ...]]
"""Name, ``id()`` of the identity, tags."""


class _Pending:
    """The samples of this process that are not yet sent."""

    def __init__(self) -> None:
        self.counters: dict[_Key, float] = {}
        self.gauges: dict[_Key, float] = {}
        self.timers: dict[_Key, list[float]] = {}
        self.sets: dict[_Key, dict[str, None]] = {}
        self.names: dict[_Key, str] = {}
        self.alive: list[Identity | None] = []

    def lines(self) -> Iterator[tuple[str, str, Any]]:
        """(method of a StatsD client, name with tags, value) of all that is pending."""
        for method, values in (("incr", self.counters), ("gauge", self.gauges)):
            for key, value in values.items():
                yield method, self.names[key], value
        for key, samples in self.timers.items():
            for sample in samples:
                yield "timing", self.names[key], sample
        for key, members in self.sets.items():
            for member in members:
                yield "set", self.names[key], member


_lock = threading.RLock()
_sending = threading.Lock()
_wake = threading.Event()
_pending = _Pending()
_thread: threading.Thread | None = None
_WAIT_S = 1.0
"""So long the end of a process waits for the thread that sends."""
_connected: tuple[tuple[str, int], Any] | None = None
_listeners: list[Callable[[str, str, Any], None]] = []


def increment(name: str, value: float = 1, **tags: str) -> None:
    """Add ``value`` to the counter ``name``; dag_id, task_id and env are added where the metric has them."""
    who = current()
    key = (name, id(who), tuple(tags.items()))
    with _lock:
        try:
            _pending.counters[key] += value
        except (KeyError, TypeError):
            with contained("metrics"):
                _begin("counter", key, who)
                _pending.counters[key] = _pending.counters.get(key, 0) + value


def gauge(name: str, value: float, **tags: str) -> None:
    """Say that ``name`` is ``value`` now."""
    who = current()
    key = (name, id(who), tuple(tags.items()))
    with _lock, contained("metrics"):
        _begin("gauge", key, who)
        _pending.gauges[key] = value


def timing(name: str, ms: float, **tags: str) -> None:
    """Add a duration in milliseconds to the timer ``name``."""
    who = current()
    key = (name, id(who), tuple(tags.items()))
    with _lock, contained("metrics"):
        _begin("timer", key, who)
        samples = _pending.timers.setdefault(key, [])
        samples.append(ms)
        if len(samples) == _MOST_SAMPLES:
            _wake.set()


def set(name: str, value: object, **tags: str) -> None:  # noqa: A001 - StatsD's word for it
    """Count ``value`` once per interval in the set ``name``."""
    who = current()
    key = (name, id(who), tuple(tags.items()))
    with _lock, contained("metrics"):
        _begin("set", key, who)
        members = _pending.sets.setdefault(key, {})
        members[_safe(text_of(value))] = None
        if len(members) == _MOST_SAMPLES:
            _wake.set()


_BY_KIND: dict[MetricType, Callable[..., None]] = {"counter": increment, "gauge": gauge, "timer": timing, "set": set}


def send(name: str, kind: MetricType, value: Any, tags: Mapping[str, str]) -> None:
    """Add a sample of a metric; ``kind`` is counter, gauge, timer (ms) or set."""
    _BY_KIND[kind](name, value, **tags)


def listen(listener: Callable[[str, str, Any], None]) -> None:
    """Hand all that this process sends to ``listener`` too: (incr, gauge, timing or set; name with tags; value)."""
    _listeners.append(listener)


def flush() -> None:
    """Send what has been added up, now, after what the thread is sending; for the end of a process."""
    is_alone = _sending.acquire(timeout=_WAIT_S)
    try:
        with contained("metrics"):
            _send(_take())
    finally:
        if is_alone:
            _sending.release()


def _begin(kind: MetricType, key: _Key, who: Identity | None) -> None:
    """Give a series that is new in this interval its name on the wire. Raises :class:`MetricError`."""
    if key not in _pending.names:
        _pending.names[key] = _wire_name(kind, key, who)
        _pending.alive.append(who)
        _start()


def _start() -> None:
    global _thread  # noqa: PLW0603 - one per process
    if _thread is None or not _thread.is_alive():
        _thread = threading.Thread(target=_run, name="contrail-metrics", daemon=True)
        _thread.start()


def _run() -> None:
    """Send until there is nothing left, then end: an idle process has no thread for a fork to trip over."""
    global _thread  # noqa: PLW0603 - see _start
    from observability.settings import get_settings

    while True:
        _wake.wait(get_settings().statsd.flush_ms / 1000)
        _wake.clear()
        with _sending:  # from before it is taken: who flushes at the end of a process waits for it
            with _lock:
                taken = _take()
                if not taken.names:
                    _thread = None
                    return
            with contained("metrics"):
                _send(taken)


def _take() -> _Pending:
    global _pending
    with _lock:
        taken, _pending = _pending, _Pending()
    return taken


def _send(taken: _Pending) -> None:
    if not taken.names:
        return
    from observability.settings import get_settings

    for listener in _listeners:
        for method, name, value in taken.lines():
            listener(method, name, value)
    options = get_settings().statsd
    if not options.enabled:
        return
    with _client(options.host, options.port).pipeline() as pipe:
        for number, (method, name, value) in enumerate(taken.lines(), 1):
            if method == "set" or _is_number(value):
                getattr(pipe, method)(name, value)
            else:
                count_loss("metrics", "not a number")
            if number % _BURST == 0:
                pipe.send()
                time.sleep(_PAUSE_S)


def _is_number(value: object) -> bool:
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def _client(host: str, port: int) -> Any:
    """The client for this address; the one for an address that is no longer configured is closed."""
    global _connected  # noqa: PLW0603 - one connection of a process
    from statsd import StatsClient  # type: ignore[import-untyped]

    if _connected is None or _connected[0] != (host, port):
        _disconnect()
        _connected = (host, port), StatsClient(host, port, maxudpsize=_MOST_BYTES)
    return _connected[1]


def _disconnect() -> None:
    global _connected  # noqa: PLW0603 - one connection of a process
    if _connected is not None:
        _connected[1].close()
    _connected = None


def _wire_name(kind: MetricType, key: _Key, who: Identity | None) -> str:
    from observability import catalog, redact
    from observability.settings import get_settings

    name, _, given = key
    spec = catalog.METRICS.get(name)
    if name.startswith("contrail.") and (spec is None or spec.type != kind):
        raise MetricError(f"{name} is no {kind} of the catalogue; declare it in catalog.METRICS")
    allowed = spec.tags if spec else ("dag_id", "task_id", "env")
    tags = {tag: value for tag in allowed if (value := getattr(who, tag, None)) is not None}
    if "env" in allowed:
        tags["env"] = get_settings().core.environment
    for tag, value in given:
        if tag in _UNBOUNDED or (spec and tag not in allowed):
            _refuse(name, tag, allowed)
        else:
            tags[tag] = str(value)
    shown = {tag: value if catalog.TAGS.get(tag) in redact.NAMES else redact.text(value) for tag, value in tags.items()}
    return ",".join([_safe(name), *(f"{_safe(tag)}={_safe(value)}" for tag, value in shown.items())])


def _refuse(name: str, tag: str, allowed: tuple[str, ...]) -> None:
    with contained("metrics"):
        raise MetricError(
            f"{name} has no tag {tag!r}; it has {', '.join(allowed)}, and no metric has {', '.join(sorted(_UNBOUNDED))}"
        )


def _safe(text: str) -> str:
    """``text`` as it may stand in a StatsD line: what would end a name, a tag or a line becomes ``_``."""
    return _UNSAFE.sub("_", text)[:_LONGEST] or "_"


def _after_fork() -> None:
    global _lock, _sending, _wake, _pending, _thread
    _lock, _sending, _wake = threading.RLock(), threading.Lock(), threading.Event()
    _pending, _thread = _Pending(), None
    _disconnect()


def _leave() -> None:
    """Send the rest at the end of the process, and close the socket unless the thread is sending."""
    flush()
    if _sending.acquire(blocking=False):
        _disconnect()
        _sending.release()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_leave)
