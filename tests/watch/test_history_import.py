"""Airflow's past is read once, gently, and goes on where a killed reader was."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import func, select
from test_deadlines import HOUR, Clockwork
from typer.testing import CliRunner

from benchmarks.past_api import PastApi
from observability.cli import alerts
from observability.settings import get_settings
from observability.watch import history_import
from observability.watch.history_import import AS_GUEST, HistoryImport, HistoryReader, Pace, read_progress
from observability.watch.ledger import records, schema
from observability.watch.ledger.database import Ledger
from observability.watch.run_times import earlier_runs
from observability.watch.sources.api import AirflowApi, ApiError

DAY = 86_400.0


@pytest.fixture(autouse=True)
def _with_token(monkeypatch):
    monkeypatch.setenv("CONTRAIL_API_TOKEN", "none")


@contextmanager
def past(runs=40, tasks=3, days=10, kind=PastApi):
    server = kind(runs, tasks, days * DAY, time.time())
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def read(server, ledger, days=30, *, steps=1000, rest=lambda _seconds: None, pace=None):  # noqa: PLR0913 - its options
    with closing(AirflowApi(server.url)) as api:
        reader = HistoryImport(api, ledger, days, rest, pace)
        progress = reader.begin(time.time())
        for _ in range(steps):
            if progress.is_done:
                break
            progress = reader.step(progress)
        return progress


def counted(ledger):
    with ledger.transaction() as connection:
        measures = select(schema.history.c.measure, func.count()).group_by(schema.history.c.measure)
        runs = connection.execute(select(func.count()).select_from(schema.run_times)).scalar()
        return dict(connection.execute(measures).all()), runs


def test_every_run_is_read_once_with_its_tasks_and_nothing_is_read_twice(ledger):
    with past() as server:
        progress = read(server, ledger)
        assert (progress.runs, progress.tasks, progress.left_out) == (40, 120, 0)
        asked = progress.requests
        assert read(server, ledger).requests == asked
    each = dict.fromkeys(("duration", "ended", "outcome", "start_delay", "started", "success"), 40)
    assert counted(ledger) == (each, 40)
    with ledger.transaction() as connection:
        (run,) = earlier_runs(connection, "dag_007", time.time(), 5)
    assert {name: (one.start, one.end) for name, one in run.tasks.items()} == {
        "task_00": (0.0, 200.0), "task_01": (200.0, 400.0), "task_02": (400.0, 600.0)
    }  # fmt: skip


def test_only_the_days_that_are_wanted_are_read(ledger):
    with past(runs=100, days=10) as server:
        progress = read(server, ledger, days=5)
    assert 49 <= progress.runs <= 51


def test_a_reader_that_ends_goes_on_where_it_was(ledger):
    small = Pace(rows=30)
    with past() as server:
        half = read(server, ledger, steps=4, pace=small)
        assert 0 < half.runs < 40
        whole = read(server, ledger, pace=small)
    assert whole.runs == 40
    assert counted(ledger)[1] == 40


def test_a_window_with_too_many_rows_is_halved(ledger, monkeypatch):
    monkeypatch.setattr(history_import, "_MOST_ROWS", 20)
    monkeypatch.setattr(history_import, "_FIRST_S", 10 * DAY)
    with past() as server:
        progress = read(server, ledger)
    assert progress.runs == 40


def test_it_rests_as_long_as_airflow_worked_and_longer_while_airflow_is_slow(ledger):
    class Slowing(PastApi):
        asked = 0

        def answer(self, path, asked):
            self.asked += 1
            time.sleep(0.2 if self.asked == 12 else 0.01)
            return super().answer(path, asked)

    rests = []
    with past(kind=Slowing) as server:
        progress = read(server, ledger, rest=rests.append)
    assert len(rests) == progress.requests
    assert sum(rests) >= progress.busy_s
    assert max(rests) >= 3 * 0.2


def test_an_answer_that_is_not_understood_ends_the_step_and_writes_nothing(ledger):
    class Odd(PastApi):
        def answer(self, path, asked):
            found = super().answer(path, asked)
            return found if asked["limit"] == ["1"] else {"detail": "no"}

    with past(kind=Odd) as server, pytest.raises(ApiError, match="without the list 'dag_runs'"):
        read(server, ledger)
    assert counted(ledger) == ({}, 0)


@pytest.mark.parametrize("broken", [{"start_date": "soon"}, {"dag_id": None}, {"dag_run_id": 7, "start_date": "x"}])
def test_a_row_that_is_not_understood_is_counted_and_the_others_are_read(ledger, broken):
    class OneOdd(PastApi):
        def _task(self, number, task):
            row = super()._task(number, task)
            return row | broken if (number, task) == (5, 1) else row

    with past(kind=OneOdd) as server:
        progress = read(server, ledger)
    assert progress.runs == 40
    assert progress.tasks == 119


def test_runs_that_have_not_ended_are_left_to_the_watcher_and_backfills_are_not_usual(ledger):
    class Mixed(PastApi):
        def _run(self, number):
            row = super()._run(number)
            if number == 0:
                return row | {"state": "running", "end_date": None}
            if number == 1:
                return row | {"run_type": "backfill", "logical_date": "2020-01-01T00:00:00+00:00"}
            return row | {"state": "failed"} if number == 2 else row

    with past(runs=4, kind=Mixed) as server:
        assert read(server, ledger).runs == 3
    with ledger.transaction() as connection:
        assert [len(earlier_runs(connection, f"dag_00{one}", time.time(), 5)) for one in range(4)] == [0, 0, 0, 1]
        assert records.last_time(connection, "started", "dag_001", current=True) is None
        assert records.last_time(connection, "ended", "dag_002") is not None
        assert records.last_time(connection, "success", "dag_002") is None


def test_runs_of_the_past_that_took_too_long_are_no_news(ledger):
    office = Clockwork(ledger, {"name": "soon", "dag": "dag_*", "run_finishes_within": "5m"})
    office.now = time.time()
    with ledger.transaction(lock=True) as connection:
        history_import.write_cursor(connection, "since", office.now - 300)
    with past(runs=40, days=5) as server:
        read(server, ledger)
    office.pass_time(HOUR)
    assert office.said() == []


def test_as_a_guest_it_asks_for_little_at_a_time_and_leaves_airflow_alone_for_most_of_it(ledger):
    limits, rests = [], []

    class Watched(PastApi):
        def answer(self, path, asked):
            limits.append(int(asked["limit"][0]))
            return super().answer(path, asked)

    with past(runs=60, kind=Watched) as server:
        progress = read(server, ledger, rest=rests.append, pace=AS_GUEST)
    assert (progress.runs, progress.tasks, max(limits)) == (60, 180, 25)
    assert min(rests) >= 1.0
    assert sum(rests) >= 20 * progress.busy_s - 0.01


def test_the_thread_waits_for_an_airflow_that_is_away_and_reads_on(ledger, monkeypatch):
    monkeypatch.setattr(history_import, "_FIRST_AGAIN_S", 0.05)

    class Away(PastApi):
        asked = 0

        def answer(self, path, asked):
            self.asked += 1
            return {"task_instances": "none"} if self.asked < 4 else super().answer(path, asked)

    with past(kind=Away) as server:
        reader = HistoryReader(AirflowApi(server.url), ledger, 30)
        reader.start()
        reader.join(60)
    with ledger.transaction() as connection:
        progress = read_progress(connection)
    assert (progress.runs, progress.problem, progress.is_done) == (40, "", True)


@pytest.fixture
def shown(tmp_path, monkeypatch):
    get_settings.cache_clear()
    monkeypatch.setenv("CONTRAIL_WATCH__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")

    def ask(*words):
        done = CliRunner().invoke(alerts.app, ["history", *words])
        assert done.exit_code == 0, done.output
        return done.output

    yield ask
    get_settings.cache_clear()


def test_the_progress_is_shown_to_people_and_machines(tmp_path, shown):
    assert "No watcher has begun" in shown()
    assert json.loads(shown("--json"))["state"] == "not begun"
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    with past() as server:
        read(server, ledger, steps=1)
        assert "of the wanted time" in shown()
        read(server, ledger)
    ledger.close()
    assert "40 runs and 120 task instances" in shown()
    told = json.loads(shown("--json"))
    assert (told["state"], told["share"], told["runs"]) == ("done", 1.0, 40)
