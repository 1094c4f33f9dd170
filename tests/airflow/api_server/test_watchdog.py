"""A server that does not answer is not asked, and its guests leave; where it is well they cost it nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager

from airflow_platform import wait_until
from sqlalchemy import create_engine

from observability.airflow.api_server import lifespan, watchdog
from observability.airflow.api_server.lifespan import Guest
from observability.airflow.api_server.status import read_status
from observability.airflow.api_server.watchdog import Watchdog
from observability.settings import get_settings


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def measured(*answers_s):
    """A watchdog whose server took so long for each answer, one second apart; with its clock."""
    clock = Clock()
    dog = Watchdog(None, clock)  # type: ignore[arg-type]
    for took in answers_s:
        dog.asked(clock.now)
        clock.now += took
        dog.answered(clock.now)
        clock.now += 1
    return dog, clock


@contextmanager
def running_loop():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_prompt_server_may_be_asked_after_three_answers():
    dog, _ = measured(0.01, 0.01)
    assert (dog.why_not(), dog.is_ready) == ("", False)
    dog, _ = measured(0.01, 1.9, 0.01)
    assert (dog.why_not(), dog.is_ready, dog.late_s) == ("", True, 0.0)


def test_after_an_answer_that_was_late_the_server_is_left_alone_and_longer_each_time():
    dog, clock = measured(0.01, 3.0)
    assert "left alone for 9 s" in dog.why_not()
    clock.now += 10
    assert dog.why_not() == ""
    dog, _ = measured(3.0, 3.0, 3.0, 3.0, 3.0)
    assert "left alone for 59 s" in dog.why_not()


def test_what_was_late_once_is_forgiven_after_ten_minutes():
    dog, _ = measured(3.0, 3.0, *[0.01] * 700, 3.0)
    assert "left alone for 9 s" in dog.why_not()


def test_the_time_of_a_server_that_stands_still_counts_before_it_answers():
    dog, clock = measured(0.01)
    dog.asked(clock.now)
    clock.now += 31
    assert "has not answered for 31 s" in dog.why_not()
    assert dog.late_s == 31


def test_one_prompt_answer_ends_the_time_of_being_late():
    assert measured(9.0, 9.0)[0].late_s == 20
    assert measured(9.0, 9.0, 0.1)[0].late_s == 0


def test_a_pool_that_airflow_uses_up_is_left_to_it(monkeypatch, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'airflow.db'}", pool_size=1, max_overflow=0)
    monkeypatch.setattr(watchdog.airflow_settings, "engine", engine)
    dog, _ = measured(0.01)
    with engine.connect():
        assert "all connections" in dog.why_not()
    assert dog.why_not() == ""


def test_it_measures_the_loop_and_the_pool_of_threads(monkeypatch):
    monkeypatch.setattr(watchdog, "LATE_S", 0.3)
    monkeypatch.setattr(watchdog, "_EVERY_S", 0.01)
    with running_loop() as loop:
        dog = Watchdog(loop)
        dog.start()
        wait_until(lambda: dog.is_ready, within=30)
        held = threading.Event()
        loop.call_soon_threadsafe(held.wait)
        wait_until(lambda: dog.late_s > 0.5, within=30)
        assert dog.why_not()
        held.set()
        wait_until(lambda: dog.late_s == 0, within=30)
        dog.stop()
        dog.join()


def test_a_server_that_has_ended_ends_it():
    with running_loop() as loop:
        pass
    dog = Watchdog(loop)
    dog.start()
    dog.join(30)
    assert not dog.is_alive()


def test_the_guests_leave_a_server_that_stands_still_say_so_and_come_back(home, monkeypatch):
    monkeypatch.setattr(watchdog, "LATE_S", 0.2)
    monkeypatch.setattr(lifespan, "_LEAVE_AFTER_S", 1.0)
    monkeypatch.setattr(lifespan, "_AWAY_S", 5.0)
    monkeypatch.setattr(lifespan, "_LOOK_S", 0.1)
    with running_loop() as loop:
        guest = Guest(get_settings(), loop)
        guest.start()
        wait_until(lambda: read_status(home).relay == "running", within=60)
        held = threading.Event()
        loop.call_soon_threadsafe(held.wait)
        wait_until(lambda: "begin again at" in read_status(home).server_problem, within=60)
        assert read_status(home).relay == "off"
        assert not [one for one in threading.enumerate() if one.name == "contrail-relay"]
        held.set()
        wait_until(lambda: read_status(home).relay == "running", within=60)
        assert abs(read_status(home).time - time.time()) < 20
        guest.stop()
        guest.join(30)
        assert not guest.is_alive()
