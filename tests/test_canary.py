"""The canary through the real path: journal, relay, embedded store."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
import structlog

from observability import catalog
from observability.canary import Arrival, arrival, ask, await_arrival, report, send_round
from observability.emit import journal
from observability.events import Identity
from observability.identity import bound
from observability.relay.relay import Relay
from observability.settings import get_settings
from observability.store.store import Query, open_store

ABOUT = Identity(dag_id="canary", task_id="send_round", run_id="scheduled__1", try_number=1, map_index=-1)
SINCE = datetime.now(timezone.utc) - timedelta(minutes=1)


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A function that lets the relay deliver what is there, and answers with the store."""
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    for cached in (get_settings, journal):
        cached.cache_clear()
    stores = []

    def carry():
        assert Relay(get_settings(), statsd=False).run(once=True, patience_s=20)
        stores.append(open_store(get_settings()))
        return stores[-1]

    yield carry
    for store in stores:
        store.close()
    monkeypatch.undo()
    for cached in (get_settings, journal):
        cached.cache_clear()


def test_a_sample_of_every_kind_arrives_once(carried):
    with bound(ABOUT):
        assert send_round(7) == len(catalog.EVENTS)
    store = carried()
    assert arrival(store, 7, SINCE).complete
    assert await_arrival(store, 7, SINCE, timeout_s=1) is not None


def test_a_round_that_was_not_sent_is_missing_whole(carried):
    with bound(ABOUT):
        send_round(7)
    found = arrival(carried(), 8, SINCE)
    assert set(found.missing) == set(catalog.EVENTS)
    assert str(found).startswith(f"{len(catalog.EVENTS)} kinds missing: ")


def test_samples_are_not_counted_as_facts_and_feed_no_metric(carried, monkeypatch):
    sent = []
    monkeypatch.setattr("observability.metrics.send", lambda *arguments: sent.append(arguments))
    with bound(ABOUT):
        send_round(9)
    assert sent == []
    documents = list(carried().documents(Query("contrail.probe", {"event.action": "task.failed"})))
    assert [document["canary.probe"] for document in documents] == [9]


def test_what_a_round_found_is_a_fact(carried):
    with bound(ABOUT):
        report(7, arrival(carried(), 7, SINCE), None)
    (missing,) = carried().documents(Query("etl.event", {"event.action": "canary.missing"}))
    assert "canary.probe" not in missing
    assert missing["canary.sequence"] == 7


def test_samples_stand_in_a_stream_of_their_own(carried):
    with bound(ABOUT):
        send_round(70)
    store = carried()
    assert store.count(Query("contrail.probe")) == {"": len(catalog.EVENTS)}
    assert [store.count(Query(name)).get("", 0) for name in ("etl.event", "contrail.alert")] == [0, 0]


@pytest.mark.parametrize("complete", [True, False])
def test_a_round_is_told_by_the_logger_of_a_task(carried, complete):
    lines = []
    logger = structlog.wrap_logger(
        structlog.PrintLogger(),
        processors=[lambda _, level, line: _kept(lines, level, line)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),  # a task's: its log() wants a number
    )
    logger = logger.bind()
    with bound(replace(ABOUT, run_id=f"told by a logger, {complete}")):
        report(8 + complete, Arrival() if complete else Arrival(missing=("task.failed",)), 5, logger)
    assert [line["level"] for line in lines] == ["info" if complete else "error"]


def _kept(lines, level, line):
    lines.append({**line, "level": level})
    raise structlog.DropEvent


def test_a_store_that_cannot_be_opened_is_trouble_of_the_round(monkeypatch):
    def unreachable(_settings):
        raise OSError("no route")

    monkeypatch.setattr("observability.canary.open_store", unreachable)
    found, took = ask(get_settings(), 7, SINCE, wait_s=1)
    assert (found.trouble, took) == ("the store cannot be opened: OSError: no route", None)
