"""The relay of one host: finds files, listens for metrics, keeps one worker per sink going, and says how it is.

One relay per home: a second one is refused. What it knows of itself is in ``<home>/relay.status.json`` (each
second), in ``<home>/relay.heartbeat``, and in the metrics ``contrail.relay.*``.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import orjson
import psutil

from observability.catalog import DATASETS, RECEIVED
from observability.contain import contained, count_loss
from observability.emit import report_losses
from observability.errors import RelayError
from observability.journal import Journal
from observability.openmetrics import Exposition, MetricsServer
from observability.owner_only_files import replace_file
from observability.regular_files import NotRegular, read_regular
from observability.relay.alarms import SinkAlarms
from observability.relay.backlog import Backlog
from observability.relay.checkpoint import Checkpoint, adopt_checkpoint, open_checkpoint
from observability.relay.dead_letters import DeadLetters
from observability.relay.delivery_stats import Waiting
from observability.relay.disk_quota import DiskQuota
from observability.relay.exemplars import exemplars
from observability.relay.lock import take_lock
from observability.relay.set_aside import SetAside
from observability.relay.sink_worker import SinkWorker
from observability.relay.sinks.killed_tasks import EXIT_MESSAGES, KilledTaskDetector
from observability.relay.sinks.sink import carried, open_sink
from observability.relay.sources.components.servers import readings
from observability.relay.sources.files.airflow_logs import relay_stream
from observability.relay.sources.files.finished import common
from observability.relay.sources.files.journal import journal_stream
from observability.relay.sources.files.registry import FileRegistry, Source
from observability.relay.sources.files.spool import Spool
from observability.relay.sources.statsd.listener import Statsd, StatsdUnavailable
from observability.relay.takeover import is_wanted

if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from pathlib import Path

    from observability.relay.sinks.sink import Sink
    from observability.relay.sources.otlp.listener import OtlpListener
    from observability.relay.sources.statsd.series import Key, Series
    from observability.settings import Settings

__all__ = ["Relay", "RelayError", "read_status"]

_STATUS_EVERY_S = 1.0
_DRAIN_S, _DRAIN_OF_A_GUEST_S = 10.0, 2.0
_OPENING_S = 5.0
_COUNT_EVERY_S = 1.0
_REST_OF_A_GUEST = 3.0
_TASK_LOGS = frozenset({"airflow.task"})


class Relay:
    """Carries until :meth:`stop`. ``say`` gets a sentence when something changes.

    With ``stands_in`` it is a guest in another process: it leaves most of the processor to its host, and ends as soon
    as a relay of its own asks for the place.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        statsd: bool = True,
        stands_in: bool = False,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.settings = settings
        self.home = settings.home
        self._say = say
        self._stands_in = stands_in
        self._stays = False
        self._stopping = threading.Event()
        self._started = time.time()
        self._lock = take_lock(self.home, stays=statsd or stands_in)
        self._process = psutil.Process()
        self._status_due = 0.0
        self._remembered = False
        self._unknown_reported = _unknown_reported(self.home)
        self.spool = Spool(self.home / "spool")
        self.workers = [self._worker(name) for name in dict.fromkeys(settings.relay.sinks)]
        self.workers.append(self._kill_detector())
        self._alarms = SinkAlarms(self.home / "relay.alarms.json") if statsd or stands_in else None
        self._backlogs = [Backlog(worker) for worker in self.workers]
        self.registry = self._file_registry()
        self.bounds = self._disk_quota()
        self._exposition = Exposition(settings.relay.series_budget)
        self._readings = readings(settings, say) if statsd else []
        try:
            self.statsd = self._statsd() if statsd else None
            self.metrics = self._metrics_server() if statsd and settings.relay.metrics_port else None
            self.otlp = self._otlp_listener() if statsd and settings.otlp.receive_port else None
        except StatsdUnavailable:
            self._lock.close()
            raise

    def _file_registry(self) -> FileRegistry:
        logs = Source(self.settings.log_folder, relay_stream(self.settings, socket.gethostname()), self.spool)
        journal = Source(self.settings.journal_directory, journal_stream)
        history_s = 86_400.0 * self.settings.relay.ignore_older_days
        return FileRegistry([logs, journal], self.workers, history_s=history_s)

    def _disk_quota(self) -> DiskQuota:
        return DiskQuota(
            self.registry,
            self.spool,
            self.workers,
            limit_bytes=self.settings.relay.spool_limit_bytes,
            journals=self.settings.journal_directory,
            retention_days=self.settings.journal.retention_days,
        )

    def run(self, *, once: bool = False, patience_s: float = 60.0, limit_s: float = math.inf) -> bool:
        """Carry until stopped, or with ``once`` until all that is on disk is delivered.

        Returns whether nothing was left waiting; with ``once`` it gives up after ``patience_s`` without progress,
        and after ``limit_s`` whatever the progress.
        """
        try:
            return self._run(once=once, patience_s=patience_s, limit_s=limit_s)
        finally:
            self._lock.close()

    def stop(self) -> None:
        """Deliver what is on disk, for ten seconds at most, and end."""
        self._stopping.set()

    def _run(self, *, once: bool, patience_s: float, limit_s: float) -> bool:
        self._stays = not once
        if self.statsd:
            self.statsd.start()
        for thread in (*self.workers, *self._readings):
            thread.start()
        self._say(f"relay: carries {self.settings.log_folder} and {self.settings.journal_directory}")
        if not self.settings.log_folder.is_dir():
            self._say(f"relay: there is no log folder {self.settings.log_folder} yet; otherwise set [relay] log_folder")
        for worker in self.workers:
            worker.tried.wait(_OPENING_S)
        if not once:
            while not self._stopping.is_set() and not (self._stands_in and is_wanted(self.home)):
                self._tick()
                self._stopping.wait(self.settings.relay.poll_ms / 1000)
        self._stop_listening()
        drain_s = _DRAIN_OF_A_GUEST_S if self._stands_in else _DRAIN_S
        drained = self._drain(patience_s if once else drain_s, limit_s, steady=once)
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.join(5.0)
        self._write_status(state="stopped")
        return drained

    def _stop_listening(self) -> None:
        for reading in self._readings:
            reading.stop()
        if self.statsd:
            self.statsd.stop()
        for server in (self.metrics, self.otlp):
            if server:
                server.stop()

    def _tick(self, *, whole: bool = False) -> bool:
        complete = False
        with contained("relay.registry"):
            self._remember()
            complete = self.registry.refresh(whole=whole)
        with contained("relay.disk_quota"):
            self.bounds.enforce()
        for worker in self.workers:
            worker.wake.set()
        self._report_unknown()
        self._refresh_status()
        return complete

    def _report_unknown(self) -> None:
        """Say how many log files fit no template that we know: once, and again when there are more."""
        fresh = self.registry.unknown_files - self._unknown_reported
        if fresh <= 0 or not self.registry.swept:
            return
        self._unknown_reported += fresh
        count_loss("relay.files", "log files of a name that fits no known template", fresh)
        named = f" (it is {one!r} here)" if (one := self.settings.log_filename_template) else ""
        self._say(
            f"relay: does not carry {fresh} log files such as {next(iter(self.registry.unknown), '?')}: their names"
            " are not those of a task's or a component's log;"
            f" the relay reads [logging] log_filename_template{named}"
        )

    def _remember(self) -> None:
        """Once every worker knows what it had read before, look at the rest only."""
        known = [worker.finished for worker in self.workers]
        if not self._remembered and None not in known:
            self._remembered = True
            self.registry.remember(common(stamps for stamps in known if stamps is not None))

    def _refresh_status(self) -> None:
        now = time.monotonic()
        if now >= self._status_due:
            self._status_due = now + _STATUS_EVERY_S
            with contained("relay.status"):
                self._write_status(state="running")
                report_losses()
                if self._alarms:
                    self._alarms.look([worker.stats for worker in self.workers[:-1]], time.time())

    def _drain(self, patience_s: float, limit_s: float, *, steady: bool) -> bool:
        limit = time.monotonic() + limit_s
        deadline = min(time.monotonic() + patience_s, limit)
        left = -1
        before: tuple[tuple[str, int], ...] = ()
        count_due = 0.0
        self.registry.wake()
        while True:
            complete = self._tick(whole=steady) or not steady
            now = tuple((file.identity, file.size) for file in self.registry.files)
            looked = self.registry.round
            while any(worker.idle_since < looked for worker in self.workers) and time.monotonic() < deadline:
                if steady and time.monotonic() > count_due:
                    count_due = time.monotonic() + _COUNT_EVERY_S
                    if (left_now := self._left()) != left:
                        left, deadline = left_now, min(time.monotonic() + patience_s, limit)
                self._refresh_status()
                time.sleep(0.01)
            if complete and now == before and all(worker.idle_since >= looked for worker in self.workers):
                if not report_losses():
                    return True
                now = ()  # what was just told is on disk, and is to be delivered as well
            before = now
            if time.monotonic() > deadline:
                return False

    def _left(self) -> int:
        """Bytes not yet acknowledged, over all workers."""
        return sum(max(0, file.size - worker.position(file)) for file in self.registry.files for worker in self.workers)

    def _worker(self, name: str) -> SinkWorker:
        def ends() -> tuple[Sink, Checkpoint, bool]:
            sink = open_sink(name, self.settings)
            if (own := sink.checkpoint()) is not None:
                return sink, own, True
            return sink, open_checkpoint(self._checkpoint_path(name), name), False

        return self._make_worker(name, ends, carried(name, self.settings) or frozenset(DATASETS))

    def _kill_detector(self) -> SinkWorker:
        def ends() -> tuple[Sink, Checkpoint, bool]:
            path = self._checkpoint_path(KilledTaskDetector.name)
            adopt_checkpoint(path, KilledTaskDetector.name, self._checkpoint_path("witness"), "witness")
            return KilledTaskDetector(), open_checkpoint(path, KilledTaskDetector.name), False

        return self._make_worker(KilledTaskDetector.name, ends, _TASK_LOGS, EXIT_MESSAGES)

    def _make_worker(
        self,
        name: str,
        ends: Callable[[], tuple[Sink, Checkpoint, bool]],
        datasets: frozenset[str] | None = None,
        only: re.Pattern[bytes] | None = None,
    ) -> SinkWorker:
        options = self.settings.relay
        return SinkWorker(
            name,
            ends,
            lambda: self.registry,
            DeadLetters(self.home / "dead-letters", name, options.dead_letter_limit_bytes),
            batch_bytes=options.batch_bytes,
            poll_s=options.poll_ms / 1000,
            datasets=datasets,
            only=only,
            aside=SetAside(self.home / "set-aside", name),
            say=self._say,
            rest=_REST_OF_A_GUEST if self._stands_in else 0.0,
        )

    def _checkpoint_path(self, name: str) -> Path:
        return self.home / "checkpoints" / f"{name}.db"

    def _statsd(self) -> Statsd:
        options = self.settings.relay
        journal = Journal(self.settings.journal_directory, max_file_bytes=self.settings.journal.max_file_bytes)
        return Statsd(
            journal,
            options.statsd_host,
            options.statsd_port,
            spool=self.home / "statsd",
            interval_s=options.statsd_interval_s,
            budget=options.series_budget,
            prefix=self.settings.statsd_prefix,
            forward=options.statsd_forward,
            socket_path=self.settings.statsd_socket_path,
            environment=self.settings.core.environment,
            own=self._own_metrics,
            also=self._expose,
        )

    def _metrics_server(self) -> MetricsServer:
        """Serve /metrics. Raises StatsdUnavailable where the address cannot be had."""
        host, port = self.settings.relay.metrics_host, self.settings.relay.metrics_port

        def text(openmetrics: bool) -> bytes:
            newest = exemplars(self.settings.journal_directory) if openmetrics else None
            return self._exposition.text(newest, openmetrics=openmetrics)

        try:
            return MetricsServer(text, host, port)
        except OSError as error:
            if self.statsd:
                self.statsd.close()
            raise StatsdUnavailable(
                f"cannot listen on {host}:{port} for /metrics: {error.strerror}; change [relay] metrics_port"
            ) from error

    def _otlp_listener(self) -> OtlpListener | None:
        """Take OTLP of people's own code. Raises StatsdUnavailable where the address cannot be had."""
        options = self.settings.otlp
        if "otlp" not in self.settings.relay.sinks:
            self._say("relay: [otlp] receive_port is set, but nothing is received: otlp is not among [relay] sinks")
            return None
        from observability.relay.sources.otlp.listener import OtlpListener

        stats = next(worker.stats for worker in self.workers if worker.stats.sink == "otlp")
        journal = Journal(self.settings.journal_directory, max_file_bytes=self.settings.journal.max_file_bytes)

        def is_full() -> bool:
            waiting = sum(waits.bytes for stream, waits in stats.waiting.items() if stream in RECEIVED)
            return waiting >= options.receive_limit_bytes

        try:
            return OtlpListener(journal, (options.receive_host, options.receive_port), options.signals, is_full)
        except OSError as error:
            if self.statsd:
                self.statsd.close()
            if self.metrics:
                self.metrics.stop()
            raise StatsdUnavailable(
                f"cannot listen on {options.receive_host}:{options.receive_port} for OTLP: {error.strerror};"
                " change [otlp] receive_port"
            ) from error

    def _expose(self, key: Key, series: Series) -> None:
        """Show a series at /metrics too."""
        name, kind, tags = key
        value = {"gauge": series.last, "set": float(len(series.members))}.get(kind, series.total)
        self._exposition.add(name, kind, tags, value, series.samples, series.count)

    def _own_metrics(self) -> list[tuple[str, str, float, dict[str, str]]]:
        env, now = self.settings.core.environment, time.time()
        out: list[tuple[str, str, float, dict[str, str]]] = [
            ("contrail.relay.rss_bytes", "gauge", self._process.memory_info().rss, {"env": env}),
            ("contrail.relay.up", "gauge", 0 if self._stopping.is_set() else 1, {"env": env}),
        ]
        for worker in self.workers[:-1]:
            sink = {"sink": worker.stats.sink, "env": env}
            out.append(("contrail.relay.dead_letters", "gauge", worker.stats.dead_letters, sink))
            for (stream, result), number in worker.stats.take_recent().items():
                out.append(("contrail.relay.records", "counter", number, {**sink, "stream": stream, "result": result}))
            unavailable_s = now - worker.stats.trouble_since if worker.stats.trouble else 0.0
            received = RECEIVED if self.otlp and worker.stats.sink == "otlp" else ()
            for stream in (*DATASETS, *received):  # also what does not wait: nought is news, a missing series is none
                waits = worker.stats.waiting.get(stream, Waiting())
                out.append(("contrail.relay.lag_bytes", "gauge", waits.bytes, {**sink, "stream": stream}))
                age_s = max(waits.age_s(now), unavailable_s if waits.bytes else 0.0)
                out.append(("contrail.relay.lag_ms", "gauge", age_s * 1000, {**sink, "stream": stream}))
        for reading in self._readings:
            out += reading.take()
        return out

    def _measure(self, now: float) -> None:
        """The backlog of each sink and what it refused, also while its worker is held up."""
        for worker, backlog in zip(self.workers, self._backlogs, strict=True):
            backlog.measure(self.registry.files, now)
            worker.count_dead_letters()

    def _write_status(self, *, state: str) -> None:
        now = time.time()
        self._measure(now)
        status = {
            "state": state,
            "pid": os.getpid(),
            "time": now,
            "started": self._started,
            "stays": self._stays,
            "stands_in": self._stands_in,
            "rss_bytes": self._process.memory_info().rss,
            "files": len(self.registry.files),
            "unknown": list(self.registry.unknown),
            "unknown_files": self.registry.unknown_files,
            "unknown_told": self._unknown_reported,
            "unreadable": dict(list(self.registry.unreadable.items())[:20]),
            "spool": {"held_bytes": self.bounds.held_bytes, "refused": self.spool.refused, "why": self.spool.why},
            "statsd": _statsd_report(self.statsd),
            "otlp_in": self.otlp.report() if self.otlp else {"state": "off"},
            "component_metrics": {reading.reads: reading.report() for reading in self._readings},
            "sinks": {worker.stats.sink: worker.stats.report(now) for worker in self.workers[:-1]},
            "killed_tasks": self.workers[-1].stats.report(now),
        }
        with contextlib.suppress(OSError):
            replace_file(self.home / "relay.status.json", orjson.dumps(status, option=orjson.OPT_INDENT_2))
            replace_file(self.home / "relay.heartbeat", f"{now:.3f} {os.getpid()}\n".encode())


def read_status(home: Path) -> dict[str, Any] | None:
    """The last status of the relay of ``home``, None where none has run."""
    try:
        status: dict[str, Any] = orjson.loads(read_regular(home / "relay.status.json"))
    except (FileNotFoundError, NotRegular, orjson.JSONDecodeError):
        return None
    return status


def _unknown_reported(home: Path) -> int:
    """The number of files with unknown names that the relay before this one reported."""
    try:
        reported = (read_status(home) or {}).get("unknown_told", 0)
    except OSError:
        return 0
    return reported if isinstance(reported, int) else 0


def _statsd_report(statsd: Statsd | None) -> dict[str, Any]:
    if statsd is None:
        return {"state": "off"}
    return {
        "state": "ok" if statsd.is_alive() else "stopped",
        "port": statsd.port,
        "received": statsd.received,
        "garbage": statsd.garbage,
        "ignored": statsd.ignored,
        "recovered": statsd.recovered,
        "not_spooled": statsd.spool.why,
        "unforwarded": statsd.unforwarded,
    }
