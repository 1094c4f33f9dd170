"""A relay reports a sink, and that its trouble is over."""

from __future__ import annotations

import os
from datetime import datetime
from types import SimpleNamespace

import pytest

from observability.relay.alarms import SinkAlarms
from observability.relay.delivery_stats import DeliveryStats


@pytest.fixture
def stats():
    return DeliveryStats("elasticsearch")


@pytest.fixture
def alarms(tmp_path):
    return SinkAlarms(tmp_path / "alarms.json")


def actions(told):
    return [(one["event.action"], one["event.reason"]) for one in told()]


def test_a_sink_that_is_away_for_a_while_is_reported_once_and_when_it_is_over(told, stats, alarms, tmp_path):
    stats.ill("connection refused")
    began = stats.trouble_since
    alarms.look([stats], began + 29)
    assert actions(told) == []
    for later in (30, 31, 90):
        alarms.look([stats], began + later)
    down = ("sink.failed", "it takes no records: connection refused")
    assert actions(told) == [down]
    stats.well()
    restarted = SinkAlarms(tmp_path / "alarms.json")
    restarted.look([stats], began + 100)
    restarted.look([stats], began + 101)
    assert actions(told) == [down, ("sink.recovered", "it takes records again")]
    assert told()[0]["telemetry.stage"] == told()[1]["telemetry.stage"]


@pytest.mark.parametrize("found", [(0, 0), (9, os.ST_RDONLY)], ids=["full", "read-only"])
def test_what_a_disk_does_not_take_is_reported_when_it_does_with_its_own_time(told, stats, alarms, monkeypatch, found):
    stats.ill("its disk is full")
    began = stats.trouble_since
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=found[0], f_flag=found[1]))
    alarms.look([stats], began + 30)
    stats.well()
    alarms.look([stats], began + 40)
    assert told() == []
    monkeypatch.undo()
    alarms.look([stats], began + 50)
    assert actions(told) == [
        ("sink.failed", "it takes no records: its disk is full"),
        ("sink.recovered", "it takes records again"),
    ]
    failed, recovered = (datetime.fromisoformat(one["@timestamp"]).timestamp() for one in told())
    assert (round(failed - began), round(recovered - began)) == (30, 40)


def test_a_stream_that_is_refused_altogether_is_reported_at_once(told, stats, alarms):
    stats.judged("airflow.task", 0, 100, "strict_dynamic_mapping_exception")
    alarms.look([stats], 1000.0)
    [(action, why)] = actions(told)
    assert (action, "each of the last 100 documents of airflow.task was refused" in why) == ("sink.failed", True)


def test_dead_letters_that_grow_are_reported_until_they_are_sent_again(told, stats, alarms):
    alarms.look([stats], 1000.0)
    stats.add([("etl.event", "rejected", 3), ("etl.event", "stored", 9)])
    stats.judged("etl.event", 9, 3, "too large")
    stats.dead_letters = 3
    alarms.look([stats], 1001.0)
    alarms.look([stats], 1100.0)
    grown = ("sink.failed", "3 documents were refused for good; the last: too large")
    assert (actions(told), told()[0]["telemetry.count"]) == ([grown], 3)
    stats.dead_letters = 0
    alarms.look([stats], 1101.0)
    assert actions(told) == [grown, ("sink.recovered", "they were sent again")]


def test_a_stream_whose_first_refusals_are_reported_is_not_reported_again_when_all_are_refused(told, stats, alarms):
    stats.judged("airflow.task", 0, 5, "illegal")
    stats.dead_letters = 5
    alarms.look([stats], 1000.0)
    stats.judged("airflow.task", 0, 300, "illegal")
    stats.dead_letters = 305
    for moment in (1001.0, 1100.0, 2000.0):
        alarms.look([stats], moment)
    assert stats.refusing
    assert [one["event.action"] for one in told()] == ["sink.failed"]
    stats.judged("airflow.task", 9, 0, "")
    stats.dead_letters = 0
    alarms.look([stats], 2001.0)
    assert [one["event.action"] for one in told()] == ["sink.failed", "sink.recovered"]
    assert all(one["telemetry.stage"].endswith(": dead letters") for one in told())


def test_dead_letters_of_long_ago_are_no_news(told, stats, alarms):
    stats.totals["etl.event", "rejected"] = 500  # by a relay before this one
    stats.dead_letters = 500
    for moment in (1000.0, 1001.0, 5000.0):
        alarms.look([stats], moment)
    assert actions(told) == []
