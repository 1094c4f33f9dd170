"""Read the runs of the past from Airflow's API into the ledger, so that what is usual is known on the first day.

The newest runs come first. Each step reads one window of time and writes its runs down together with how far it has
come, so that a watcher that is killed goes on where it was. After each request the reader rests as long as the answer
took, and longer when answers become slow: Airflow has the time for its own users.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import structlog

from observability.timestamps import iso
from observability.watch.facts import Fact, seconds
from observability.watch.ledger import schema
from observability.watch.ledger.database import insert_new, read_cursor, write_cursor
from observability.watch.run_times import RunTimes, save_runs
from observability.watch.runs import RunMark, is_current, marks_of
from observability.watch.sources.api import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.watch.ledger.database import Ledger
    from observability.watch.sources.api import AirflowApi

__all__ = ["AS_GUEST", "HistoryImport", "HistoryReader", "Pace", "Progress", "read_progress"]

_CURSOR = "history"
_RUNS, _TASKS = "/dags/~/dagRuns", "/dags/~/dagRuns/~/taskInstances"
_MOST_ROWS = 20_000
"""A window with more rows is halved."""
_SHORTEST_S, _FIRST_S, _LONGEST_S = 1.0, 3600.0, 7 * 86_400.0
_MOST_REQUESTED = 200_000
_SLOW = 3.0
_FIRST_AGAIN_S, _LAST_AGAIN_S = 1.0, 30.0
"""The wait after a question that failed, which doubles: an API server that starts beside the watcher is soon there."""
_ENDED = {"success": True, "failed": False}


@dataclass
class Progress:
    """The part of the history that has been read: all runs from ``until`` back to ``reached``; the goal is ``wanted``.

    Times are in seconds since 1970, ``window_s`` is the size of the next window. ``left_out`` counts rows that could
    not be understood, or that a window of a second had beyond what one may hold.
    """

    wanted: float
    until: float
    reached: float
    window_s: float = _FIRST_S
    runs: int = 0
    tasks: int = 0
    requests: int = 0
    left_out: int = 0
    busy_s: float = 0.0
    problem: str = ""

    @property
    def is_done(self) -> bool:
        """True if everything that was wanted has been read."""
        return self.reached <= self.wanted

    @property
    def share(self) -> float:
        """The part of the wanted time that has been read, from 0 to 1."""
        return 1.0 if self.until <= self.wanted else (self.until - self.reached) / (self.until - self.wanted)


def read_progress(connection: Any) -> Progress | None:
    """The progress that the ledger remembers; None where nothing was begun."""
    found = read_cursor(connection, _CURSOR)
    known = {one.name for one in fields(Progress)}
    return Progress(**{name: value for name, value in found.items() if name in known}) if found else None


@dataclass(frozen=True, slots=True)
class Pace:
    """The rows that are asked for at a time, and the rest that Airflow has after it.

    ``page`` is the rows of a request, ``rows`` those for which a window's size is chosen. After a request comes a rest
    of ``times`` as long as its answer took, and at least ``least_s``.
    """

    page: int = 100
    rows: int = 4_000
    times: float = 1.0
    least_s: float = 0.002


AS_GUEST = Pace(page=25, rows=1_000, times=20.0, least_s=5.0)
"""Inside the API server, where every request of ours holds up those of people: one in a hundred meets one of these."""


class HistoryImport:
    """Reads one window after another. ``rest`` is called with the seconds to wait after each request."""

    def __init__(
        self, api: AirflowApi, ledger: Ledger, days: int, rest: Callable[[float], object], pace: Pace | None = None
    ) -> None:
        self._api, self._ledger, self._days, self._rest = api, ledger, days, rest
        self._pace = pace or Pace()
        self._typical_s = 0.0
        self._asked, self._busy_s = 0, 0.0

    def begin(self, now: float) -> Progress:
        """The progress to go on from; the first call of all decides which time is wanted."""
        with self._ledger.transaction(lock=True) as connection:
            found = read_progress(connection)
            if found is None:
                found = Progress(wanted=now - self._days * 86_400.0, until=now, reached=now)
                write_cursor(connection, _CURSOR, asdict(found))
        return found

    def step(self, progress: Progress) -> Progress:
        """Read the next window and write it down. Raises ApiError and LedgerUnavailable; then nothing was written."""
        self._asked, self._busy_s = 0, 0.0
        until, size = progress.reached, progress.window_s
        since = max(progress.wanted, until - size)
        while (rows := self._count(since, until)) > _MOST_ROWS and until - since > _SHORTEST_S:
            size = max(_SHORTEST_S, (until - since) / 2)
            since = until - size
        runs, marks, left_out = self._window(since, until, rows)
        grown = size * min(4.0, max(0.25, self._pace.rows / max(1, rows)))
        after = Progress(
            wanted=progress.wanted, until=progress.until, reached=since,
            window_s=min(_LONGEST_S, max(_SHORTEST_S, grown)),
            runs=progress.runs + len(runs),
            tasks=progress.tasks + sum(task.instances for run in runs for task in run.tasks.values()),
            requests=progress.requests + self._asked, left_out=progress.left_out + left_out,
            busy_s=round(progress.busy_s + self._busy_s, 3),
        )  # fmt: skip
        with self._ledger.transaction(lock=True) as connection:
            insert_new(
                connection,
                schema.history,
                [row for run in runs for row in _measures(run, marks[run.dag_id, run.run_id])],
            )
            save_runs(connection, runs)
            write_cursor(connection, _CURSOR, asdict(after))
        return after

    def note(self, progress: Progress, problem: str) -> None:
        """Write down why it does not go on at present."""
        progress.problem = problem
        with self._ledger.transaction(lock=True) as connection:
            write_cursor(connection, _CURSOR, asdict(progress))

    def _count(self, since: float, until: float) -> int:
        answer = self._ask(_TASKS, limit=1, **_between(since, until))
        return int(answer.get("total_entries") or 0)

    def _window(
        self, since: float, until: float, rows: int
    ) -> tuple[list[RunTimes], dict[tuple[str, str], RunMark], int]:
        """The runs of a window that have ended, what they are about, and how many rows were left out."""
        runs: dict[tuple[str, str], RunTimes] = {}
        marks: dict[tuple[str, str], RunMark] = {}
        left_out = max(0, rows - _MOST_REQUESTED)
        for row in self._pages(_RUNS, "dag_runs", since, until, state=list(_ENDED)):
            try:
                found = _run(row)
            except (KeyError, TypeError, ValueError, AttributeError):
                left_out += 1
                continue
            if found is not None:
                run, mark = found
                runs[run.dag_id, run.run_id], marks[run.dag_id, run.run_id] = run, mark
        for row in self._pages(_TASKS, "task_instances", since, until) if runs else ():
            try:
                known = runs.get((row["dag_id"], row["dag_run_id"]))
                if known is not None and row.get("start_date"):
                    end = row.get("end_date")
                    known.add(str(row["task_id"]), seconds(row["start_date"]), seconds(end) if end else None)
            except (KeyError, TypeError, ValueError, AttributeError):
                left_out += 1
        return list(runs.values()), marks, left_out

    def _pages(self, path: str, key: str, since: float, until: float, **more: Any) -> Iterator[dict[str, Any]]:
        size = self._pace.page
        for number in range(_MOST_REQUESTED // size):
            asked = {**_between(since, until), **more, "order_by": "id"}
            answer = self._ask(path, limit=size, offset=number * size, **asked)
            page = answer.get(key)
            if not isinstance(page, list):
                raise ApiError(f"{self._api.url}{path} answered without the list {key!r}")
            yield from (row for row in page if isinstance(row, dict))
            if len(page) < size:
                return

    def _ask(self, path: str, **asked: Any) -> dict[str, Any]:
        """One answer, after which Airflow is left alone for as long as it took; longer while it is slow."""
        began = time.monotonic()
        answer = self._api.get(path, **asked)
        took = time.monotonic() - began
        self._asked, self._busy_s = self._asked + 1, self._busy_s + took
        typical = self._typical_s or took
        self._typical_s = 0.95 * typical + 0.05 * min(took, 2 * typical)
        self._rest(max(self._pace.least_s, self._pace.times * took * (_SLOW if took > 2 * typical else 1.0)))
        return answer if isinstance(answer, dict) else {}


class HistoryReader(threading.Thread):
    """Reads the history in a thread of its own, until everything that is wanted has been read."""

    def __init__(self, api: AirflowApi, ledger: Ledger, days: int, pace: Pace | None = None) -> None:
        super().__init__(name="history", daemon=True)
        self._over = threading.Event()
        self._api = api
        self._import = HistoryImport(api, ledger, days, self._over.wait, pace)

    def stop(self) -> None:
        """End after the request that is under way; the next watcher goes on from there."""
        self._over.set()

    def run(self) -> None:
        """The thread."""
        log = structlog.get_logger("contrail.watch")
        try:
            progress = self._import.begin(time.time())
            if not progress.is_done:
                log.info("reading the history from Airflow", since=iso(progress.wanted), reached=iso(progress.reached))
                progress = self._read(progress)
            if progress.is_done:
                log.info("the history is read", runs=progress.runs, tasks=progress.tasks)
        except Exception:
            log.exception("the history could not be read; the next start goes on with it")
        finally:
            self._api.close()

    def _read(self, progress: Progress) -> Progress:
        again_s = _FIRST_AGAIN_S
        while not progress.is_done and not self._over.is_set():
            try:
                progress = self._import.step(progress)
                again_s = _FIRST_AGAIN_S
            except Exception as error:  # noqa: BLE001 - an API or a ledger that is away now comes back
                problem = f"{type(error).__name__}: {error}" if not isinstance(error, ApiError) else str(error)
                structlog.get_logger("contrail.watch").warning("the history waits", reason=problem)
                self._note(progress, problem)
                self._over.wait(again_s)
                again_s = min(_LAST_AGAIN_S, 2 * again_s)
        return progress

    def _note(self, progress: Progress, problem: str) -> None:
        try:
            self._import.note(progress, problem)
        except Exception:  # noqa: BLE001 - it is the ledger that is away; the log has said so
            structlog.get_logger("contrail.watch").debug("the ledger does not take it", exc_info=True)


def _between(since: float, until: float) -> dict[str, str]:
    """The condition of a window, both ends included: a microsecond before the next one, which is read already."""
    return {"run_after_gte": iso(since, "microseconds"), "run_after_lte": iso(until - 1e-6, "microseconds")}


def _run(row: dict[str, Any]) -> tuple[RunTimes, RunMark] | None:
    """The run of a row of the API, and what it is about; None for one without a begin and an end."""
    if row.get("state") not in _ENDED or not (row.get("start_date") and row.get("end_date")):
        return None
    begun = seconds(row["start_date"])
    evidence = {f"airflow.{name}": row.get(name) for name in ("logical_date", "run_after", "partition_key")}
    fact = Fact(
        kind="run", status="noted", time=begun, dag_id=row["dag_id"], run_id=row["dag_run_id"],
        evidence=evidence, about={"run_type": row.get("run_type")},
    )  # fmt: skip
    run = RunTimes(
        row["dag_id"], row["dag_run_id"], begun, seconds(row["end_date"]), _ENDED[row["state"]], is_current(fact)
    )
    return run, RunMark.of(fact, begun)


def _measures(run: RunTimes, mark: RunMark) -> Iterator[dict[str, Any]]:
    """The rows that the deadlines ask for, as they are written when the watcher sees a run itself."""
    ended, lasted = float(run.ended or 0), float(run.ended or 0) - run.begun
    found = [("started", "", run.begun, run.begun if run.ordinary else 0.0), ("ended", "", ended, ended)]
    found += [("outcome", "", ended, float(bool(run.succeeded)))]
    if run.succeeded:
        found += [("duration", "", ended, lasted)] if lasted > 0 else []
        found += [("success", "", ended, float(run.ordinary))]
    found += [(measure, subject, run.begun, value) for measure, subject, value in marks_of(mark)]
    for measure, subject, when, value in found:
        yield {
            "measure": measure, "dag_id": run.dag_id, "subject": subject, "occasion": run.run_id, "time": when,
            "value": value,
        }  # fmt: skip
