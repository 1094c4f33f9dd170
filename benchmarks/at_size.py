"""Pages, logs and the watcher's own questions with 100 thousand runs and 10 million log lines in store and ledger.

Minutes and 5 GB of disk: a store of a file per attempt, as the relay fills it, and a ledger with each run's history.
"""

from __future__ import annotations

import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import insert

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.pages import _DAGS, _batches, _events, _pages
from benchmarks.sampling import wall_ms
from benchmarks.watched import Watched, failure
from observability.events import Identity, StepMeasured, TaskStarted, TaskSucceeded
from observability.relay.sinks import Batch
from observability.relay.sinks.embedded import open_sink
from observability.relay.sources.files.tail import Cursor
from observability.settings import load_settings
from observability.store import Query, Store, open_store
from observability.watch.deadlines import Deadlines
from observability.watch.incidents import Incident
from observability.watch.ledger import records, schema
from observability.watch.ledger.database import Ledger
from observability.watch.notify.history import with_memory
from observability.watch.rules.config import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection

_ASKED = 40
_FILES_A_COMMIT = 50
_MEASURES = ("started", "ended", "duration", "success", "rows")
_SUBJECTS = {"rows": "load:load"}
_PAGE_MS, _QUESTION_MS, _ROUND_MS, _TOLD_MS = 500, 20, 2000, 1000


def run(options: Options) -> list[Figure]:
    """Fill store and ledger, then ask."""
    runs, lines = (1_000, 20) if options.quick else (100_000, 100)
    with tempfile.TemporaryDirectory() as folder:
        return [*_store(Path(folder) / "store", runs, lines), *_watcher(Path(folder) / "watch", runs)]


def _store(home: Path, runs: int, lines: int) -> list[Figure]:
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(home)})
    sink = open_sink(options)
    began = time.monotonic()
    checkpoint = sink.checkpoint()  # as the relay does: a commit is made when a cursor is saved
    for number, batch in enumerate(_logs(runs, lines), 1):
        sink.send(batch)
        if number % _FILES_A_COMMIT == 0 or number == runs:
            checkpoint.save([(batch.source, Cursor(batch.ids[0].partition(b"-")[0].decode()))])
    rate = runs * lines / (time.monotonic() - began)
    for batch in _batches("etl.event", _events(runs)):
        sink.send(batch)
        checkpoint.save([(batch.source, Cursor("0" * 16))])
    sink.close()
    store = open_store(options)
    asked = _pages(store, runs) | _questions(store, runs, lines)
    figures = [_time(name, ask, _PAGE_MS) for name, ask in asked.items()]
    store.close()
    size = options.store_path.stat().st_size
    notes = {"lines": runs * lines, "runs": runs}
    filled = Figure("lines stored", "per s", Sample((rate,)), notes=notes)
    return [filled, Figure("store on disk, per line", "bytes", Sample((size / (runs * lines),)), notes=notes), *figures]


def _questions(store: Store, runs: int, lines: int) -> dict[str, Callable[[int], object]]:
    now = datetime.now(timezone.utc)

    def attempt(number: int) -> Query:
        of = number * 7919 % runs
        return Query("airflow.task", {"airflow.dag_id": f"dag_{of % _DAGS}", "airflow.run_id": f"r{of}",
                                      "airflow.task_id": "load"})  # fmt: skip

    def log(number: int) -> None:
        found = len(list(store.documents(attempt(number))))
        if found != lines:
            raise RuntimeError(f"the log of an attempt has {lines} lines, and {found} were found")

    hour = now - timedelta(hours=1)
    return {
        "log of an attempt": log,
        "newest 100 lines of a DAG": lambda n: list(
            store.documents(Query("airflow.task", {"airflow.dag_id": f"dag_{n % _DAGS}"}, limit=100, newest=True))
        ),
        "failures of the last hour by DAG": lambda _: store.count(
            Query("etl.event", {"event.action": "task.failed"}, since=hour), "airflow.dag_id"
        ),
    }


def _logs(runs: int, lines: int) -> Iterator[Batch]:
    """A file per attempt, its lines under the prefix that the relay splices in."""
    now = datetime.now(timezone.utc)
    for number in range(runs):
        dag = f"dag_{number % _DAGS}"
        path = f"dag_id={dag}/run_id=r{number}/task_id=load/attempt=1.log"
        prefix = (
            f'{{"airflow.dag_id":"{dag}","airflow.task_id":"load","airflow.run_id":"r{number}","airflow.try_number":1,'
            f'"airflow.map_index":-1,"log.file.path":"{path}",'
        ).encode()
        when = (now - timedelta(minutes=runs - number)).isoformat()
        bodies = [_line(prefix, when, line, last=line == lines - 1) for line in range(lines)]
        ids = [b"%016x-%d" % (number, line) for line in range(lines)]
        yield Batch("airflow.task", path, path, ids, bodies, prefix=prefix)


def _line(prefix: bytes, when: str, number: int, *, last: bool) -> bytes:
    level = b"error" if last else b"info"
    return b'%b"offset":%d,"@timestamp":"%b","level":"%b","event":"line %d of a task","logger":"task"}' % (
        prefix, number, when.encode(), level, number,
    )  # fmt: skip


def _watcher(home: Path, runs: int) -> list[Figure]:
    watched = Watched(home)
    url = f"sqlite:///{home / 'ledger.db'}"
    ledger = Ledger(url)
    _fill(ledger, runs)
    figures = [_time(name, ask, limit) for name, (ask, limit) in _of_the_watcher(ledger).items()]
    ledger.close()
    return [*figures, _told(watched, runs), _caught_up(watched, runs)]


def _fill(ledger: Ledger, runs: int) -> None:
    """The memory of a watcher for so many runs, a minute apart; one in 50 failed."""
    now = time.time()
    with ledger.transaction() as connection:
        for start in range(0, runs, 10_000):
            rows = [
                {"measure": measure, "dag_id": f"dag_{number % _DAGS}", "subject": _SUBJECTS.get(measure, ""),
                 "occasion": f"r{number}", "time": now - 60.0 * (runs - number), "value": 300.0 + number % 7}
                for number in range(start, min(start + 10_000, runs))
                for measure in _MEASURES
            ]  # fmt: skip
            connection.execute(insert(schema.history), rows)
        for number in range(0, runs, 50):
            records.save_incident(connection, _incident(number, now - 60.0 * (runs - number)))


def _incident(number: int, when: float) -> Incident:
    dag = f"dag_{number % _DAGS}"
    return Incident(
        id=f"i{number:08d}", key=f"task:{dag}:r{number}:load", state="resolved", kind="task", severity="error",
        cause="app", reason="boom", certainty=3, first_seen=when, last_seen=when, count=1, dag_id=dag,
        run_id=f"r{number}", task_id="load", about={}, evidence={"error.fingerprint": f"f{number % 900}"},
    )  # fmt: skip


def _of_the_watcher(ledger: Ledger) -> dict[str, tuple[Callable[[int], object], float]]:
    conditions = [
        {"run_finishes_within": "2h"},
        {"slower_than_usual": 5},
        {"success_within": "1d"},
        {"rows_unlike_usual": 5},
    ]
    declared = [Deadline.model_validate({"name": f"d{n}", "dag": "*", **one}) for n, one in enumerate(conditions)]
    deadlines = Deadlines(declared, {f"dag_{number}": {} for number in range(_DAGS)})

    def inside(ask: Callable[[Connection, int], object]) -> Callable[[int], object]:
        def asked(number: int) -> object:
            with ledger.transaction() as connection:
                return ask(connection, number)

        return asked

    return {
        "watcher: what is usual for a DAG": (
            inside(lambda c, n: records.usual(c, "duration", f"dag_{n % _DAGS}", "")), _QUESTION_MS),
        "watcher: the incident about a key": (
            inside(lambda c, n: records.latest_incident(c, f"task:dag_{50 * n % _DAGS}:r{50 * n}:load")), _QUESTION_MS),
        "watcher: the same error before": (
            inside(lambda c, n: with_memory(c, _incident(50 * n, 0.0))), _QUESTION_MS),
        "watcher: incidents that are due": (inside(lambda c, _: records.due_incidents(c, time.time())), _QUESTION_MS),
        "watcher: 4 deadlines over 100 DAGs": (inside(lambda c, _: deadlines.check(c, time.time())), _ROUND_MS),
    }  # fmt: skip


def _told(watched: Watched, runs: int) -> Figure:
    """Measure how soon a watcher that remembers all these runs notifies of a failure."""
    watched.start()
    watched.wait_until_watching()
    taken = []
    for number in range(_ASKED):
        began = time.monotonic()
        watched.report(failure(f"dag_{number % _DAGS}", f"r{runs + number}"))
        watched.wait_for_next(number + 1, 30)
        taken.append((time.monotonic() - began) * 1000)
    watched.stop()
    return _figure("watcher: a failure written, told", sorted(taken), _TOLD_MS)


def _caught_up(watched: Watched, runs: int) -> Figure:
    """Facts a second, of a watcher that finds a backlog: what tasks that go well tell, and one failure at its end."""
    tasks = max(100, runs // 20)
    before = len(watched.said())
    for number in range(tasks):
        about = Identity(
            dag_id=f"dag_{number % _DAGS}", run_id=f"b{number}", task_id="load", try_number=1, map_index=-1
        )
        step = StepMeasured(identity=about, step="load", rows_in=9, rows_out=9, rows_rejected=0)
        for event in (TaskStarted(identity=about), step, TaskSucceeded(identity=about, duration_ns=9)):
            watched.report(event.document())
    watched.report(failure("dag_0", "the-last"))
    watched.start()
    watched.wait_until_watching()
    began = time.monotonic()
    watched.wait_for_next(before + 1, 300)
    rate = (3 * tasks + 1) / (time.monotonic() - began)
    watched.stop()
    return Figure("watcher: facts of a backlog", "per s", Sample((rate,)), notes={"facts": 3 * tasks + 1})


def _time(name: str, ask: Callable[[int], object], limit_ms: float) -> Figure:
    return _figure(name, sorted(wall_ms(lambda number=number: ask(number)) for number in range(_ASKED)), limit_ms)


def _figure(name: str, taken: list[float], limit_ms: float) -> Figure:
    p95 = taken[int(0.95 * len(taken)) - 1]
    notes = {"p50": round(taken[len(taken) // 2], 1)}
    return Figure(f"{name}, p95", "ms", Sample((p95,)), targets=(Target(at_most=limit_ms),), notes=notes)
