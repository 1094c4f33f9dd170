"""The time of a page in the Airflow UI with 1,000 DAGs, 100 thousand runs and ten million log lines in the store.

The question to the embedded store and the rendering are timed; Airflow's own login check comes on top. The processor
time stands beside it, because others may use the machine.
"""

from __future__ import annotations

import tempfile
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.sampling import wall_ms
from observability.airflow.ui import boards, pages
from observability.airflow.ui.app import render
from observability.events import (
    AuditRecorded,
    DagRunFailed,
    DagRunStarted,
    DagRunSucceeded,
    DeadlineKept,
    DeadlineUpcoming,
    Identity,
    IncidentOpened,
    NotificationSent,
    StepMeasured,
    TaskFailed,
    TaskRetried,
    TaskStarted,
    TaskSucceeded,
)
from observability.relay.sinks import Batch
from observability.relay.sinks.embedded import open_sink
from observability.settings import load_settings
from observability.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from observability.events import Event

_DAGS = 1_000
_DAYS = 14
"""Days of deadlines that the store holds of each DAG."""
_BATCH = 5_000
_ASKED = 40
_LONG, _WARNS_EVERY = 500, 25
"""Lines of one log, and every so many of them warns."""
_FAILS_EVERY, _TASKS_BEFORE, _DEEDS = 50, 10, 5
"""One run of so many fails, after so many tasks that were tried twice each; people did so much about it."""


def run(options: Options) -> list[Figure]:
    """Fill a store, then ask for each kind of page over and over."""
    runs, lines = (1_000, 10_000) if options.quick else (100_000, 10_000_000)
    with tempfile.TemporaryDirectory() as folder:
        options = load_settings(environ={"CONTRAIL_CORE__HOME": folder})
        sink = open_sink(options)
        stored = sum(sink.send(batch).stored for batch in _logs(lines, runs))
        if stored != lines:
            raise RuntimeError(f"{stored} of {lines} log lines were stored")
        for batch in _batches("etl.event", _events(runs)):
            sink.send(batch)
        for batch in _batches("airflow.audit", _deeds(runs)):
            sink.send(batch)
        for batch in _batches("contrail.alert", _alerts(runs)):
            sink.send(batch)
        sink.close()
        store = open_store(options)
        figures = [_time(name, ask) for name, ask in _pages(store, runs).items()]
        store.close()
    return figures


def _pages(store: Store, runs: int) -> dict[str, Callable[[int], str]]:
    def about(number: int) -> tuple[str, str]:
        picked = (number * 7919) % runs // _FAILS_EVERY * _FAILS_EVERY
        return f"dag_{picked % _DAGS}", f"r{picked}"

    def panels(key: str) -> Callable[[int], str]:
        """Every panel of a board in turn, over the board's own stretch of time."""
        view = boards.View.of(boards.boards()[key], None, {})
        drawn = [panel for row in view.board["rows"] for panel in row["panels"]]
        return lambda n: render("panel.html", boards.shown(store, view, drawn[n % len(drawn)]), view=view)

    asked = {
        "first page": lambda _: render("overview.html", pages.overview(store)),
        "days of the first page": lambda _: render("days.html", pages.days_page(store)),
        "DAGs page": lambda _: render("dags.html", pages.days_page(store, every=True)),
        "deadlines page": lambda _: render("deadlines.html", pages.deadlines_page(store)),
        "DAG page": lambda n: render("dag.html", pages.dag_page(store, about(n)[0])),
        "run page": lambda n: render("run.html", pages.run_page(store, *about(n))),
        "task page": lambda n: render("task.html", pages.task_page(store, about(n)[0], "load", about(n)[1], -1)),
    }
    return asked | {f"panel of the {key} board": panels(key) for key in boards.boards()}


def _time(name: str, ask: Callable[[int], str]) -> Figure:
    taken: list[float] = []
    processor: list[float] = []
    for number in range(_ASKED):
        began = time.process_time()
        taken.append(wall_ms(lambda number=number: ask(number)))
        processor.append((time.process_time() - began) * 1000)
    place = int(0.95 * _ASKED) - 1
    p95 = sorted(taken)[place]
    return Figure(
        f"{name}, p95",
        "ms",
        Sample((p95,)),
        targets=(Target(at_most=200),),
        notes={
            "p50": round(sorted(taken)[_ASKED // 2], 1),
            "p95 of processor time": round(sorted(processor)[place], 1),
        },
    )


def _events(runs: int) -> Iterator[tuple[bytes, bytes]]:
    now = datetime.now(timezone.utc)
    for number in range(runs):
        when = now - timedelta(minutes=runs - number)
        about: dict[str, Any] = {"dag_id": f"dag_{number % _DAGS}", "run_id": f"r{number}"}
        load = Identity(**about, task_id="load", try_number=1, map_index=-1, owner="data")
        failed = number % _FAILS_EVERY == 0
        ended: list[Event] = _before(about, when) if failed else []
        ended += [StepMeasured(identity=load, time=when, step="load", rows_in=900, rows_out=880, rows_rejected=20)]
        if failed:
            ended.append(
                TaskFailed(identity=load, time=when, cause="app", reason="boom", fingerprint="f00d", duration_ns=9)
            )
            ended.append(DagRunFailed(identity=Identity(**about), time=when, reason="boom", duration_ns=9))
        else:
            ended.append(TaskSucceeded(identity=load, time=when, duration_ns=4_000_000_000))
            ended.append(DagRunSucceeded(identity=Identity(**about), time=when, duration_ns=5_000_000_000))
        yield from _documents(ended)


def _documents(events: Iterable[Event]) -> Iterator[tuple[bytes, bytes]]:
    for event in events:
        document = event.document()
        yield document["event.id"].encode(), orjson.dumps(document)


def _before(about: dict[str, Any], end: datetime) -> list[Event]:
    """The begin of a run, and its tasks that failed once and succeeded then, one after another."""
    at = end - timedelta(seconds=60 * _TASKS_BEFORE)
    found: list[Event] = [DagRunStarted(identity=Identity(**about), time=at)]
    for number in range(_TASKS_BEFORE):
        first, again = (Identity(**about, task_id=f"t{number}", try_number=one, map_index=-1) for one in (1, 2))
        minute = [at + timedelta(seconds=60 * number + second) for second in (5, 15, 40, 55)]
        found += [
            TaskStarted(identity=first, time=minute[0]),
            TaskRetried(identity=first, time=minute[1], cause="app", reason="boom", fingerprint="f00d", duration_ns=9),
            TaskStarted(identity=again, time=minute[2]),
            TaskSucceeded(identity=again, time=minute[3], duration_ns=15_000_000_000),
        ]
    return found


def _deeds(runs: int) -> Iterator[tuple[bytes, bytes]]:
    """Rows of Airflow's event log about each run that failed."""
    now = datetime.now(timezone.utc)
    for number in range(0, runs, _FAILS_EVERY):
        about = Identity(dag_id=f"dag_{number % _DAGS}", run_id=f"r{number}")
        when = now - timedelta(minutes=runs - number)
        yield from _documents(
            AuditRecorded(
                identity=about, time=when + timedelta(seconds=deed), user_name="ann", discriminator=f"{number}:{deed}",
                audit_event="post_clear_task_instances",
            )
            for deed in range(_DEEDS)
        )  # fmt: skip


def _alerts(runs: int) -> Iterator[tuple[bytes, bytes]]:
    """Deadlines of each DAG for each day, and an incident with its message for each run that failed."""
    now = datetime.now(timezone.utc)
    found: list[Event] = []
    for number in range(min(_DAGS, runs)):
        for day in range(_DAYS):
            when = now - timedelta(days=day, minutes=number % 600 + 30)
            due = when + timedelta(hours=1)
            about: dict[str, Any] = {
                "identity": Identity(dag_id=f"dag_{number}"), "deadline": "by the morning", "due": due,
                "occasion": due.date().isoformat(),
            }  # fmt: skip
            found.append(DeadlineUpcoming(**about, time=when, reason="due soon"))
            if day:
                found.append(DeadlineKept(**about, time=when + timedelta(minutes=20), reason="it was done in time"))
    for number in range(0, runs, _FAILS_EVERY):
        when = now - timedelta(minutes=runs - number)
        who = Identity(dag_id=f"dag_{number % _DAGS}", run_id=f"r{number}", task_id="load")
        incident: dict[str, Any] = {"incident_id": f"{number:016x}", "incident_key": f"run:r{number}", "reason": "boom"}
        more = {"severity": "error", "incident_state": "open", "incident_title": "load failed", "count": 1}
        found.append(IncidentOpened(identity=who, time=when, **incident, **more))
        found.append(NotificationSent(identity=who, time=when, channel="slack", kind="opened", **incident))
    yield from _documents(found)


def _logs(lines: int, runs: int) -> Iterator[Batch]:
    """A log for every run of a few, as long as it must be for ``lines`` in all, written in the run's own minute."""
    now = datetime.now(timezone.utc)
    for number in range(0, runs, runs // (lines // _LONG)):
        began = now - timedelta(minutes=runs - number)
        name = f"dag_id=dag_{number % _DAGS}/run_id=r{number}/task_id=load/attempt=1.log"
        prefix = (
            f'{{"airflow.dag_id":"dag_{number % _DAGS}","airflow.task_id":"load","airflow.run_id":"r{number}",'
            f'"airflow.try_number":1,"airflow.map_index":-1,"airflow.component":"task","log.file.path":"{name}",'
        ).encode()
        documents = [
            prefix + b'"offset":%d,"@timestamp":"%b","level":"%b","event":"line %d of a log that says what a task '
            b'usually says","logger":"task"}'
            % (
                place,
                (began + timedelta(milliseconds=100 * place)).isoformat().replace("+00:00", "Z").encode(),
                b"info" if place % _WARNS_EVERY else b"warning",
                place,
            )
            for place in range(_LONG)
        ]
        ids = [f"{number:016x}-{100 * place}".encode() for place in range(_LONG)]
        yield Batch("airflow.task", name, name, ids, documents, prefix=prefix)


def _batches(dataset: str, documents: Iterator[tuple[bytes, bytes]]) -> Iterator[Batch]:
    ids: list[bytes] = []
    bodies: list[bytes] = []
    for key, body in documents:
        ids.append(key)
        bodies.append(body)
        if len(ids) == _BATCH:
            yield Batch(dataset, "benchmark", "benchmark", ids, bodies)
            ids, bodies = [], []
    if ids:
        yield Batch(dataset, "benchmark", "benchmark", ids, bodies)
