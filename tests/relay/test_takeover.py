"""A relay of its own takes the place of the one that stands in; the other way round nothing is taken."""

from __future__ import annotations

import os
import threading
import time

import pytest
from airflow_platform import wait_until as awaited
from relay_lines import line

from observability.airflow.flush import relay_lives
from observability.relay import lock as relay_lock
from observability.relay.relay import Relay, RelayError, read_status
from observability.relay.takeover import is_wanted, take_over
from observability.store import Query, open_store


def wait_until(holds):
    return awaited(holds, within=60)


def stands_in(settings):
    return bool((read_status(settings.home) or {}).get("stands_in"))


@pytest.fixture
def guest(settings):
    relay = Relay(settings, statsd=False, stands_in=True)
    runner = threading.Thread(target=relay.run)
    runner.start()
    wait_until(lambda: read_status(settings.home))
    yield runner
    relay.stop()
    runner.join()


def test_the_guest_ends_for_a_relay_that_asks_and_nothing_is_sent_twice(settings, logs, guest):
    logs.write(line("one"))
    wait_until(settings.store_path.exists)
    relay = take_over(settings.home, lambda: stands_in(settings), lambda: Relay(settings, statsd=False))
    guest.join(20)
    assert not guest.is_alive()
    logs.write(line("two"))
    relay.run(once=True)
    store = open_store(settings)
    assert [each["event"] for each in store.documents(Query("airflow.task"))] == ["one", "two"]
    store.close()
    assert not is_wanted(settings.home)


def test_the_guest_ends_soon_for_a_relay_that_listens_for_metrics(settings, guest):
    began = time.monotonic()
    relay = take_over(settings.home, lambda: stands_in(settings), lambda: Relay(settings))
    assert time.monotonic() - began < relay_lock.WAIT_S / 2  # it is asked, not waited for
    relay.stop()
    relay.run()


def test_a_relay_that_is_no_guest_is_not_asked(settings):
    first = Relay(settings, statsd=False)
    with pytest.raises(RelayError, match="already"):
        take_over(settings.home, lambda: stands_in(settings), lambda: Relay(settings, statsd=False))
    assert not is_wanted(settings.home)
    first.stop()
    first.run()


def test_a_wish_of_somebody_who_is_gone_is_forgotten(settings):
    settings.home.mkdir(parents=True)
    wish = settings.home / "relay.wanted"
    wish.write_bytes(b"")
    assert is_wanted(settings.home)
    long_ago = time.time() - 60
    os.utime(wish, (long_ago, long_ago))
    assert not is_wanted(settings.home)


def test_the_end_of_a_task_relies_on_the_guest_as_on_any_relay(settings, guest):
    assert relay_lives(settings)
