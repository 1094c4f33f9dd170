"""The trials of the alert path: a watcher of its own process, and receivers that behave as badly as they can."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from datetime import datetime, timezone

import orjson
import pytest
from webhook_server import Receiver

from benchmarks.watched import Watched, failure
from observability.events import DagRunStarted, Identity

PATIENCE_S = 120.0
"""Two minutes: beside other work on two cores, what takes a second may take one of them."""

RULES = """
timing: {storm_messages: 100000, flap_messages: 100000}
channels:
  file: {type: file, rate_per_minute: 1000000}
  hook: {type: webhook, url: env:HOOK, allow: [127.0.0.1], timeout: 2s, rate_per_minute: 1000000}
  refusing: {type: webhook, url: env:REFUSING, allow: [127.0.0.1]}
  failing: {type: webhook, url: env:FAILING, allow: [127.0.0.1]}
receivers: {everybody: {channels: %s}}
routes: [{receiver: everybody}]
"""


@pytest.fixture
def hook(monkeypatch):
    with Receiver() as receiver:
        monkeypatch.setenv("HOOK", receiver.url)
        yield receiver


@pytest.fixture
def watched(tmp_path):
    made = Watched(tmp_path / "home")
    yield made
    made.stop()


def start(watched, rules):
    (watched.home / "alerts.yaml").write_text(rules)
    watched.start()
    watched.wait_until_watching()


def late(moments, share):
    return sorted(moments)[int(len(moments) * share)]


def test_a_webhook_has_it_within_a_second_of_the_callback(watched, hook):
    start(watched, RULES % "[hook]")
    waits = []
    for number in range(20):
        began = time.time()
        watched.report(failure("load", f"r{number}"))
        hook.wait_for(number + 1)
        waits.append(time.time() - began)
    assert late(waits, 0.5) <= 1.5  # half of them; the tail is measured by `benchmarks latency`, alone on a machine


def test_channels_that_hang_refuse_or_fail_delay_no_other_and_no_task(watched, hook, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as nobody, Receiver() as failing:
        monkeypatch.setenv("REFUSING", f"http://127.0.0.1:{nobody.getsockname()[1]}/")
        monkeypatch.setenv("FAILING", failing.url)
        failing.answers = [(500, {})] * 10_000
        hook.hang = 30.0
        nobody.close()
        start(watched, RULES % "[hook, refusing, failing, file]")
        costs = []
        for number in range(50):
            began = time.perf_counter()
            watched.report(failure(f"dag{number}", f"r{number}"))
            costs.append(time.perf_counter() - began)
        said = watched.wait_for(50, PATIENCE_S)
    assert Counter(one["run_id"] for one in said if one["dag_id"]) == {f"r{number}": 1 for number in range(50)}
    assert late(costs, 0.5) < 0.02
    assert hook.requests == []


def test_what_came_while_a_webhook_asked_to_be_left_alone_arrives_afterwards_once(watched, hook):
    hook.answers = [(429, {"Retry-After": "2"})]
    start(watched, RULES % "[hook]")
    for number in range(20):
        watched.report(failure(f"dag{number}", f"r{number}"))
    said = hook.wait_for(20, PATIENCE_S)
    assert Counter(one["run_id"] for one in said) == {f"r{number}": 1 for number in range(20)}


@pytest.mark.parametrize(("failures", "seconds"), [(300, 3), pytest.param(1000, 10, marks=pytest.mark.slow)])
def test_failures_by_the_hundred_in_three_runs_are_three_notices_and_all_are_listed(watched, failures, seconds):
    start(watched, RULES % "[file]")
    began = time.monotonic()
    for number in range(failures):
        one = failure(f"dag{number % 3}", "r1")
        watched.report(one | {"airflow.task_id": f"t{number}", "event.id": f"e{number}"})
        time.sleep(max(0.0, began + seconds * number / failures - time.monotonic()))
    counts = settled(watched, failures)
    watched.wait_for(3, PATIENCE_S)  # the ledger counts a failure before its message is sent
    watched.stop()
    assert Counter(one["dag_id"] for one in watched.said()) == {"dag0": 1, "dag1": 1, "dag2": 1}
    assert sorted(counts) == sorted(Counter(number % 3 for number in range(failures)).values())


def settled(watched, failures, within=PATIENCE_S):
    """Count the failures that each incident lists, once all have been counted."""
    from observability.watch.ledger import records
    from observability.watch.ledger.database import Ledger

    ledger, until = Ledger(f"sqlite:///{watched.home / 'ledger.db'}"), time.monotonic() + within
    while True:
        with ledger.transaction() as connection:
            found = records.incidents(connection)
        if sum(one.count for one in found) >= failures or time.monotonic() > until:
            ledger.close()
            assert [one.count for one in found] == [len(one.failed_tasks) for one in found]
            return [one.count for one in found]
        time.sleep(0.1)


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_killed_between_sending_and_writing_down_nothing_is_missed_and_a_repeat_has_its_key(watched, hook, kills):
    killed = threading.Semaphore(0)

    def kill():
        watched.kill()
        killed.release()

    def takes(_key):
        """Every other one dies before the service has it, the others before it can write down that it has."""
        if watched.kills < kills and watched.kills % 2:
            kill()
            return False
        return True

    def taken(_key):
        if watched.kills < kills and not watched.kills % 2:
            kill()

    hook.takes, hook.taken = takes, taken
    start(watched, RULES % "[hook]")
    for number in range(kills):
        watched.report(failure(f"dag{number}", f"r{number}"))
        assert killed.acquire(timeout=60)
        watched.start()
    watched.report(failure("last", "last"))
    deadline = time.monotonic() + 60
    while not {f"r{number}" for number in range(kills)} | {"last"} <= set(runs := [*told(hook)]):
        assert time.monotonic() < deadline, f"only {runs}"
        time.sleep(0.05)
    watched.stop()
    keys = {}
    for run_id, key in ((orjson.loads(body)["run_id"], headers["Idempotency-Key"]) for headers, body in hook.requests):
        keys.setdefault(run_id, set()).add(key)
    assert all(len(of_run) == 1 for of_run in keys.values())
    assert len(hook.requests) <= kills + 1 + watched.kills


def told(hook):
    return (orjson.loads(body)["run_id"] for _, body in list(hook.requests))


@pytest.mark.parametrize(
    "within", [20, pytest.param(3, marks=pytest.mark.slow)]
)  # the target holds on a machine of its own
def test_a_hundred_runs_that_miss_their_deadline_are_a_hundred_notices_soon_after_it(watched, within):
    deadline = "deadlines: [{name: quick, dag: '*', run_finishes_within: 5s, warn: 1}]\n"
    start(watched, RULES % "[file]" + deadline)
    dues = {}
    for number in range(100):
        now = time.time()
        about = Identity(dag_id=f"dag{number}", run_id=f"r{number}", run_type="manual")
        begun = DagRunStarted(identity=about, time=datetime.fromtimestamp(now, timezone.utc))
        watched.report(begun.document())
        dues[f"r{number}"] = now + 5
    said = watched.wait_for(100, 60)
    assert Counter((one["run_id"], one["cause"]) for one in said) == {(run, "deadline"): 1 for run in dues}
    waits = [
        datetime.fromisoformat(one["written"].replace("Z", "+00:00")).timestamp() - dues[one["run_id"]] for one in said
    ]
    assert min(waits) >= 0
    assert late(waits, 0.95) <= within
