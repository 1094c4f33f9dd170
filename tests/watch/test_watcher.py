"""The whole watcher in processes that are killed, doubled and cut off from their ledger."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

from benchmarks import storm, watcher_chaos
from benchmarks.figure import Options
from benchmarks.watched import Watched, failure
from observability.watch.ledger.database import Ledger, LedgerError, LedgerUnavailable
from observability.watch.ledger.lease import Lease


@pytest.fixture
def watched(tmp_path):
    made = Watched(tmp_path / "home")
    made.start()
    made.wait_until_watching()
    yield made
    made.stop()


def runs_told(watched, number, within=120):
    return Counter(one["run_id"] for one in watched.wait_for(number, within) if one["kind"] == "opened")


def test_nothing_is_lost_or_doubled_when_it_is_killed_again_and_again():
    assert [figure.met for figure in watcher_chaos.run(Options(quick=True))] == [True, True]


def test_a_storm_is_few_messages_and_no_failure_is_missing():
    assert all(figure.met is not False for figure in storm.run(Options(quick=True)))


def test_a_failure_is_delivered_within_a_second_of_its_callback(watched):
    waits = []
    for number in range(20):
        began = time.time()
        watched.report(failure("load", f"r{number}"))
        runs_told(watched, number + 1)
        waits.append(time.time() - began)
    assert (
        sorted(waits)[18] <= 1.5
    )  # the figure that is promised is measured by `benchmarks latency`, alone on a machine


def test_of_two_watchers_one_is_active_and_the_other_takes_over(watched, tmp_path):
    second = Watched(tmp_path / "home")
    second.start()
    try:
        watched.report(failure("load", "r0"))
        assert runs_told(watched, 1) == {"r0": 1}
        watched.kill()
        watched.report(failure("load", "r1"))
        began = time.monotonic()
        assert runs_told(second, 2) == {"r0": 1, "r1": 1}
        assert time.monotonic() - began < 30
    finally:
        second.stop()


def test_what_happens_while_the_ledger_is_away_is_told_when_it_is_back(watched):
    path = watched.home / "ledger.db"
    lock = Ledger(f"sqlite:///{path}")
    with lock.transaction(lock=True):
        watched.report(failure("load", "r0"))
        time.sleep(2)
        assert watched.said() == []
    lock.close()
    assert runs_told(watched, 1) == {"r0": 1}


def test_a_lease_changes_hands_only_after_20_silent_seconds_of_the_rivals_own_clock(ledger):
    holder, rival = Lease(ledger), Lease(ledger)
    holder.me, rival.me = "far:1:0.0", "near:2:0.0"
    assert holder.acquire(0.0)
    assert not rival.acquire(1000.0)
    with ledger.transaction(lock=True) as connection:
        assert holder.keep(connection)
    assert not rival.acquire(1019.0)
    assert not rival.acquire(1038.0)
    assert rival.acquire(1039.5)
    with ledger.transaction(lock=True) as connection:
        assert not holder.keep(connection)


def test_a_lease_of_a_dead_process_of_this_host_is_taken_at_once(ledger):
    dead, heir = Lease(ledger), Lease(ledger)
    host, process, _, space = dead.me.rsplit(":", 3)
    dead.me = f"{host}:{process}:1.00:{space}"
    assert dead.acquire(0.0)
    assert heir.acquire(0.1)


def test_a_lease_of_a_killed_process_whose_parent_has_not_asked_for_it_is_taken_at_once(ledger):
    killed, heir = Lease(ledger), Lease(ledger)
    host, _, _, space = killed.me.rsplit(":", 3)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        killed.me = f"{host}:{child.pid}:{psutil.Process(child.pid).create_time():.2f}:{space}"
        assert killed.acquire(0.0)
        assert not heir.acquire(0.1)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert heir.acquire(0.2)
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("space", [":0badc0de", ""])
def test_a_lease_of_another_host_of_the_same_name_is_left_while_it_beats(ledger, space):
    other, rival = Lease(ledger), Lease(ledger)
    host, process, _, _ = other.me.rsplit(":", 3)
    other.me = f"{host}:{process}:1.00{space}"  # a watcher of before had no fourth part
    assert other.acquire(0.0)
    assert not rival.acquire(0.1)


def test_a_ledger_of_a_newer_contrail_is_refused(tmp_path):
    from sqlalchemy import update

    from observability.watch.ledger import schema

    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    first = Ledger(url)
    with first.transaction() as connection:
        connection.execute(update(schema.meta).values(value="99"))
    first.close()
    with pytest.raises(LedgerError, match="version 99"), Ledger(url).transaction():
        pass


def test_a_ledger_that_does_not_answer_is_said_without_its_password():
    away = Ledger("postgresql+psycopg2://me:hunter2@127.0.0.1:9/ledger")
    with pytest.raises(LedgerUnavailable) as caught, away.transaction():
        pass
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_a_transaction_that_fails_leaves_nothing(ledger):
    from sqlalchemy import insert, select

    from observability.watch.ledger import schema

    with pytest.raises(ZeroDivisionError), ledger.transaction(lock=True) as connection:  # noqa: PT012 - that is the point
        connection.execute(insert(schema.cursors).values(name="x", value=1))
        raise ZeroDivisionError
    with ledger.transaction() as connection:
        assert connection.execute(select(schema.cursors.c.name)).all() == []
