import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import orjson
import pytest
from relay_lines import TASK, expected, line, stored
from strict_cloudwatch import StrictCloudWatch

from observability.contain import take_losses
from observability.journal import Journal
from observability.relay.relay import Relay, RelayError, read_status
from observability.store import Query, open_store


@pytest.fixture
def command(settings):
    """Start ``contrail relay`` with some options; what is still running at the end is killed."""
    started = []

    def start(*options):
        process = subprocess.Popen(
            [sys.executable, "-m", "observability.cli", "relay", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_until(true, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_once_delivers_what_is_on_disk_and_ends(settings, logs):
    logs.write(line("one") + b"plain\n" + line("two", 5))
    assert Relay(settings, statsd=False).run(once=True)
    assert stored(settings.store_path) == [(TASK, 0), (TASK, len(line("one"))), (TASK, len(line("one")) + 6)]


def test_running_again_stores_nothing_twice(settings, logs):
    logs.write(line("one"))
    for _ in range(3):
        assert Relay(settings, statsd=False).run(once=True)
    assert len(stored(settings.store_path)) == 1
    books = read_status(settings.home)["sinks"]["embedded"]["streams"]["airflow.task"]
    assert books["emitted"] == books["stored"] == 1


def test_a_second_relay_on_the_same_home_is_refused_and_told_who_has_it(settings):
    first = Relay(settings, statsd=False)
    with pytest.raises(RelayError, match=rf"already \(process {os.getpid()}\).*kill {os.getpid()}"):
        Relay(settings, statsd=False)
    first.stop()
    first.run()
    Relay(settings, statsd=False).run(once=True)


def test_a_relay_that_starts_while_the_end_of_a_task_delivers_waits_for_it(settings, logs, command):
    at_the_end_of_a_task = Relay(settings, statsd=False)
    relay = command()
    logs.write(line("one"))
    with pytest.raises(subprocess.TimeoutExpired):
        relay.wait(2)
    assert at_the_end_of_a_task.run(once=True)
    wait_until(lambda: (read_status(settings.home) or {}).get("pid") == relay.pid)
    assert len(stored(settings.store_path)) == 1


def test_of_two_relays_that_stay_the_second_is_refused_at_once(settings, command):
    first = command()
    wait_until(lambda: read_status(settings.home) is not None)
    second = command()
    assert second.wait(60) == 4
    assert f"process {first.pid}" in second.stderr.read()


def test_lines_that_come_while_it_runs_are_readable_at_once_and_sigterm_drains(settings, logs, command):
    relay = command()
    wait_until(lambda: read_status(settings.home) is not None)
    logs.write(line("one"))
    wait_until(settings.store_path.exists)
    store = open_store(settings)
    wait_until(lambda: store.count(Query("airflow.task")) == {"": 1})
    store.close()
    logs.write(line("said right before the end"))
    relay.send_signal(signal.SIGTERM)
    assert relay.wait(15) == 0
    assert len(stored(settings.store_path)) == 2
    assert read_status(settings.home)["state"] == "stopped"


def test_metrics_go_through_socket_journal_and_store(settings):
    relay = Relay(settings)
    runner = threading.Thread(target=relay.run)
    runner.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(50):
            client.sendto(
                b"airflow.ti.finish:1|c|#dag_id:flights,run_id:r1\nbad metric\n", ("127.0.0.1", relay.statsd.port)
            )
    wait_until(lambda: relay.statsd.received == 100)
    relay.stop()
    runner.join()
    store = open_store(settings)
    [sample] = store.documents(Query("airflow.statsd", {"metric.name": "ti.finish"}))
    store.close()
    assert (sample["metric.value"], sample["airflow.dag_id"]) == (50.0, "flights")
    assert relay.statsd.garbage == 50


@contextmanager
def carrying(settings):
    """A relay that runs meanwhile."""
    relay = Relay(settings, statsd=False)
    runner = threading.Thread(target=relay.run)
    runner.start()
    try:
        yield relay
    finally:
        relay.stop()
        runner.join()


@pytest.mark.parametrize("records", [1, 3, 5])
@pytest.mark.parametrize("running", [False, True])
def test_a_journal_that_takes_the_place_of_another_is_carried_from_its_start(settings, records, running):
    def write(first, number):
        journal = Journal(settings.journal_directory)
        for n in range(first, first + number):
            event = {"event.id": f"{n:032}", "@timestamp": "2026-01-01T00:00:00Z", "etl.step": f"step {n}"}
            journal.append("etl.event", orjson.dumps(event))
        journal.close()

    def events():
        store = open_store(settings)
        try:
            return sorted(int(one["event.id"]) for one in store.documents(Query("etl.event")))
        finally:
            store.close()

    write(0, 3)
    Relay(settings, statsd=False).run(once=True)
    if running:
        with carrying(settings) as relay:
            wait_until(lambda: relay.workers[0].idle_since > 1)
            shutil.rmtree(settings.journal_directory)
            write(10, records)
            wait_until(lambda: len(events()) == 3 + records)
    else:
        shutil.rmtree(settings.journal_directory)
        write(10, records)
        Relay(settings, statsd=False).run(once=True)
    assert events() == [0, 1, 2, *range(10, 10 + records)]


def test_a_killed_task_is_told_as_an_event_exactly_once(settings, logs):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime()).encode()
    logs.write(
        b'{"timestamp":"'
        + stamp
        + b'","level":"critical","event":"Process terminated by signal. Likely","logger":"task","signal":-9}\n'
    )
    for _ in range(3):
        Relay(settings, statsd=False).run(once=True)
    store = open_store(settings)
    [death] = store.documents(Query("etl.event", {"event.action": "task.killed"}))
    store.close()
    assert (death["airflow.task_id"], death["airflow.cause"], death["process.exit_code"]) == ("load", "killed", -9)


def test_a_locked_database_is_waited_out(settings, logs):
    logs.write(line("one"))
    Relay(settings, statsd=False).run(once=True)
    logs.write(line("two"))
    holder = sqlite3.connect(settings.store_path, check_same_thread=False, isolation_level=None)
    holder.execute("begin immediate")
    relay = Relay(settings, statsd=False)
    runner = threading.Thread(target=relay.run, kwargs={"once": True})
    runner.start()
    wait_until(lambda: "locked" in relay.workers[0].stats.trouble)
    holder.execute("commit")
    holder.close()
    runner.join(20)
    assert len(stored(settings.store_path)) == 2


def test_a_torn_line_becomes_text_and_costs_no_other(settings, logs):
    torn = b'{"timestamp":"2026-01-31T12:00:00.000000Z","event":"cut he{"timestamp":"x"}\n'
    logs.write(line("one") + torn + line("two"))
    assert Relay(settings, statsd=False).run(once=True)
    assert len(stored(settings.store_path)) == 3
    store = open_store(settings)
    assert [document["event"] for document in store.documents(Query("airflow.task"))][1] == torn[:-1].decode()
    store.close()


def test_once_says_so_when_something_is_left(settings, logs):
    logs.write(line("one"))
    settings.store_path.parent.mkdir(parents=True)
    settings.store_path.write_bytes(b"this is no database" * 100)
    relay = Relay(settings, statsd=False)
    assert not relay.run(once=True, patience_s=1.0)
    assert "is damaged" in read_status(settings.home)["sinks"]["embedded"]["trouble"]


@pytest.mark.parametrize("kills", [pytest.param(20, marks=pytest.mark.slow), 4])
def test_kill_at_random_moments_loses_and_doubles_nothing(settings, logs, command, kills):
    dice = random.Random(kills)
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            for file in range(5):
                name = f"dag_id=d/run_id=r{number // 2000}/task_id=t{file}/attempt=1.log"
                logs.write(
                    b"".join(line(f"{number + step} {'x' * dice.randrange(300)}", step) for step in range(50)), name
                )
            number += 50
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(kills):
        relay = command()
        wait_until(settings.store_path.exists)
        time.sleep(dice.uniform(0.3, 1.5))
        relay.kill()
        relay.communicate()
    stop.set()
    writer.join()
    assert command("--once").wait(120) == 0
    found = stored(settings.store_path)
    assert len(found) == len(set(found))
    assert set(found) == expected(logs.root)
    for path in {path for path, _ in found}:
        offsets = [offset for where, offset in found if where == path]
        assert offsets == sorted(offsets)


@pytest.mark.parametrize("which", ["store.db", "checkpoints/killed_tasks.db"])
def test_a_database_cut_short_is_told_or_made_anew(settings, logs, which):
    logs.write(line("one") * 500)
    Relay(settings, statsd=False).run(once=True)
    path = settings.home / which
    path.write_bytes(path.read_bytes()[:5000])
    relay = Relay(settings, statsd=False)
    delivered = relay.run(once=True, patience_s=1.0)
    if which == "store.db":
        assert not delivered
        assert "move it away" in read_status(settings.home)["sinks"]["embedded"]["trouble"]
    else:
        assert delivered


def test_a_full_disk_stops_nothing_and_is_made_up_for(settings, logs):
    logs.write(line("x" * 1000) * 4000)
    child = subprocess.run(
        [sys.executable, "-m", "observability.cli", "relay", "--once", "--patience", "2"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 1
    assert "does not take records" in child.stderr
    assert Relay(settings, statsd=False).run(once=True)
    assert set(stored(settings.store_path)) == expected(logs.root)


def test_a_clock_that_goes_backwards_changes_neither_order_nor_number(settings, logs):
    logs.write(line("late", 50) + line("early", 10) + line("later", 55))
    Relay(settings, statsd=False).run(once=True)
    store = open_store(settings)
    assert [document["event"] for document in store.documents(Query("airflow.task"))] == ["late", "early", "later"]
    store.close()


def test_its_memory_does_not_grow_with_the_backlog(settings, logs, command):
    for file in range(4):
        logs.write(
            b"".join(line(f"{step} {'x' * 200}", step) for step in range(25_000)),
            f"dag_id=d/run_id=r/task_id=t{file}/attempt=1.log",
        )
    relay = command()
    wait_until(lambda: (read_status(settings.home) or {}).get("rss_bytes"))
    most = 0
    while _count(settings) < 100_000:
        most = max(most, read_status(settings.home)["rss_bytes"])
        time.sleep(0.05)
    relay.send_signal(signal.SIGTERM)
    relay.wait(15)
    assert most < 80_000_000


def _count(settings):
    try:
        with sqlite3.connect(settings.store_path) as connection:
            number = connection.execute("select count(*) from logs").fetchone()[0]
        connection.close()
    except sqlite3.OperationalError:
        return 0
    return number


def test_its_status_is_one_json_object(settings, logs, command):
    logs.write(line("one"))
    Relay(settings, statsd=False).run(once=True)
    shown = orjson.loads(command("--status").communicate(timeout=30)[0])
    assert shown["sinks"]["embedded"]["state"] == "ok"


def test_a_log_folder_that_is_not_there_is_said_and_waited_for(settings, logs):
    said = []
    logs.root.rmdir()
    assert Relay(settings, statsd=False, say=said.append).run(once=True)
    assert any("there is no log folder" in text and "[relay] log_folder" in text for text in said)
    logs.write(line("came later"))
    assert Relay(settings, statsd=False).run(once=True)
    assert len(stored(settings.store_path)) == 1


def test_what_is_finished_is_neither_opened_nor_sent_again_after_a_restart(settings, logs, monkeypatch):
    names = [f"dag_id=d/run_id=r{number}/task_id=t/attempt=1.log" for number in range(30)]
    for name in names:
        logs.write(line(name) * 3, name)
    Relay(settings, statsd=False).run(once=True)
    logs.write(line("more"), names[7])
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: opened.append(str(path)) or real(path, *rest))
    assert Relay(settings, statsd=False).run(once=True)
    assert [path for path in opened if "attempt=1.log" in path and "r7" not in path] == []
    assert len(stored(settings.store_path)) == 91


def test_a_store_that_was_put_back_to_an_older_state_gets_what_it_lacks(settings, logs):
    logs.write(line("one"), TASK)
    Relay(settings, statsd=False).run(once=True)
    older = settings.store_path.read_bytes()
    logs.write(line("two"), TASK)
    logs.write(line("other"), TASK.replace("load", "other"))
    Relay(settings, statsd=False).run(once=True)
    for path in settings.store_path.parent.glob("store.db*"):
        path.unlink()
    settings.store_path.write_bytes(older)
    assert Relay(settings, statsd=False).run(once=True)
    assert len(stored(settings.store_path)) == 3


def test_logs_that_follow_another_template_are_named_with_the_remedy(settings, logs, monkeypatch):
    monkeypatch.setenv("AIRFLOW__LOGGING__LOG_FILENAME_TEMPLATE", "{{ ti.dag_id }}/{{ ti.task_id }}/{{ ts }}/1.log")
    said = []
    path = logs.write(line("one"), "flights/load/2026-01-31T00:00:00/1.log")
    logs.write(line("two"))
    assert Relay(settings, statsd=False, say=said.append).run(once=True)
    [warning] = [text for text in said if "does not carry" in text]
    assert str(path) in warning
    assert "log_filename_template (it is '{{ ti.dag_id }}/{{ ti.task_id }}/{{ ts }}/1.log' here)" in warning
    assert read_status(settings.home)["unknown"] == [str(path)]
    assert len(stored(settings.store_path)) == 1


def test_logs_of_the_configured_template_and_of_airflows_own_are_both_carried(settings, logs, monkeypatch):
    template = "{{ ti.dag_id }}/{{ ti.run_id }}/{{ ti.task_id }}/{{ try_number }}.log"
    monkeypatch.setenv("AIRFLOW__LOGGING__LOG_FILENAME_TEMPLATE", template)
    logs.write(line("before the change"))
    logs.write(line("since then"), "flights/manual__2026-02-01T00:00:00+00:00/load/2.log")
    logs.write(line("its trigger"), "flights/manual__2026-02-01T00:00:00+00:00/load/2.log.trigger.7.log")
    assert Relay(settings, statsd=False).run(once=True)
    store = open_store(settings)
    found = {one["event"]: one for one in store.documents(Query("airflow.task"))}
    store.close()
    names = "dag_id", "run_id", "task_id", "try_number", "component"
    assert {event: tuple(one[f"airflow.{name}"] for name in names) for event, one in found.items()} == {
        "before the change": ("flights", "manual__2026-01-31T00:00:00+00:00", "load", 1, "task"),
        "since then": ("flights", "manual__2026-02-01T00:00:00+00:00", "load", 2, "task"),
        "its trigger": ("flights", "manual__2026-02-01T00:00:00+00:00", "load", 2, "triggerer"),
    }


def test_files_that_fit_no_template_are_counted_without_a_limit_and_told_once(settings, logs):
    for number in range(70):
        logs.write(line("x"), f"dag_id=d/run_id=r/task_id=t/step={number}/attempt=1.log")
    logs.write(line("good"))
    take_losses()
    for told in (70, 0):
        relay = Relay(settings, statsd=False)
        assert relay.run(once=True, patience_s=20)
        status = read_status(settings.home)
        assert (status["unknown_files"], len(status["unknown"]), status["unknown_told"]) == (70, 20, 70)
        take_losses()
        journals = b"".join(path.read_bytes() for path in settings.journal_directory.glob("*.journal"))
        assert journals.count(b'"telemetry.reason":"log files of a name that fits no known template"') == 1, told


def test_what_is_history_by_the_setting_is_left_out_and_is_no_loss(settings, logs):
    old = logs.write(line("old"), TASK.replace("load", "old"))
    os.utime(old, (time.time() - 40 * 86_400,) * 2)
    logs.write(line("new"))
    take_losses()
    some = replace(settings, relay=replace(settings.relay, ignore_older_days=30))
    assert Relay(some, statsd=False).run(once=True, patience_s=20)
    assert [path for path, _ in stored(settings.store_path)] == [TASK]
    assert take_losses() == {}
    assert Relay(settings, statsd=False).run(once=True, patience_s=20)
    assert len(stored(settings.store_path)) == 2


def test_an_old_log_that_was_begun_is_carried_to_its_end(settings, logs):
    path = logs.write(line("begun"), TASK.replace("load", "old"))
    Relay(settings, statsd=False).run(once=True)
    logs.write(line("left", 1), TASK.replace("load", "old"))
    os.utime(path, (time.time() - 90 * 86_400,) * 2)
    shutil.rmtree(settings.home / "spool", ignore_errors=True)  # as where hard links fail
    some = replace(settings, relay=replace(settings.relay, ignore_older_days=30))
    Relay(some, statsd=False).run(once=True)
    assert len(stored(settings.store_path)) == 2


def test_history_that_cloudwatch_does_not_take_any_more_is_counted_and_is_no_loss(settings, logs, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")

    def at(days):
        stamp = datetime.now(timezone.utc) - timedelta(days=days)
        line = {"timestamp": stamp.isoformat().replace("+00:00", "Z"), "event": f"{days} days ago"}
        return orjson.dumps(line) + b"\n"

    said = []

    def run():
        account = replace(settings.cloudwatch, connection_id="", region="eu-central-1", endpoint_url=fake.url)
        there = replace(settings, cloudwatch=account, relay=replace(settings.relay, sinks=("cloudwatch",)))
        assert Relay(there, statsd=False, say=said.append).run(once=True)
        sink = read_status(settings.home)["sinks"]["cloudwatch"]
        return sink["streams"]["airflow.task"], sink["dead_letters"]

    with StrictCloudWatch() as fake:
        logs.write(b"".join(map(at, (400, 20, 1, 0))))
        first, letters = run()
        assert ({name: first[name] for name in ("emitted", "stored", "history", "rejected")}, letters) == (
            {"emitted": 2, "stored": 2, "history": 2, "rejected": 0},
            0,
        )
        assert len([text for text in said if "before the relay's first start" in text]) == 1
        # A line that was written since the first start and waited for too long is a loss, and is kept.
        with sqlite3.connect(settings.home / "checkpoints" / "cloudwatch.db") as checkpoint:
            began = repr(time.time() - 30 * 86_400)
            checkpoint.execute("update contrail_facts set value = ? where name = 'began:cloudwatch'", (began,))
        logs.write(at(25), TASK.replace("attempt=1", "attempt=2"))
        later, letters = run()
        assert (later["history"], later["rejected"], letters) == (2, 1, 1)
