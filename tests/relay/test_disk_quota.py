import os
import time

import orjson
import pytest
from relay_lines import TASK, line

from observability.contain import take_losses
from observability.journal import frame
from observability.relay.relay import Relay
from observability.store import Query, open_store


@pytest.fixture
def relay(settings):
    relays = []

    def make():
        relays.append(Relay(settings, statsd=False))
        return relays[-1]

    yield make
    for made in relays:
        made._lock.close()
    take_losses()


def debug(event, second=0):
    return line(event, second).replace(b'"info"', b'"debug"')


def events(settings):
    store = open_store(settings)
    found = [(document["event"], document["offset"]) for document in store.documents(Query("airflow.task"))]
    store.close()
    return found


def orphan(logs, relay, content, name=TASK):
    """A log that Airflow deleted before anything of it was sent."""
    path = logs.write(content, name)
    relay.registry.refresh()
    path.unlink()
    for source in relay.registry._sources:
        source.folder.sweep_soon()
    relay.registry.refresh()


def test_below_the_limit_nothing_goes(settings, logs, relay):
    first = relay()
    orphan(logs, first, line("a") + debug("b"))
    first.bounds.enforce(now=True)
    first._lock.close()
    relay().run(once=True)
    assert [event for event, _ in events(settings)] == ["a", "b"]


def test_at_the_limit_debug_lines_go_first_and_the_rest_keeps_its_place(settings, logs, relay):
    first = relay()
    orphan(logs, first, line("a") + debug("b") * 50 + line("c", 1) + b"plain\n")
    first.bounds._limit = 1000
    first.bounds.enforce(now=True)
    assert first.bounds.held_bytes < 1000
    assert take_losses() == {("relay.spool", "debug lines dropped at the disk limit"): 50}
    assert first.workers[0].stats.totals["airflow.task", "dropped"] == 50
    first._lock.close()
    relay().run(once=True)
    start = 1769860800000000000
    assert events(settings)[:2] == [("a", start), ("c", start + 1_000_000_000)]
    assert len(events(settings)) == 3
    assert list((settings.home / "spool").rglob("*.new")) == []


def test_what_a_sink_had_before_is_not_doubled_by_thinning(settings, logs, relay):
    logs.write(line("a"))
    relay().run(once=True)
    second = relay()
    orphan(logs, second, debug("b") * 30 + line("c", 2))
    second.bounds._limit = 500
    second.bounds.enforce(now=True)
    second._lock.close()
    relay().run(once=True)
    assert [event for event, _ in events(settings)] == ["a", "c"]


def test_where_no_debug_line_is_left_the_oldest_log_goes_and_is_counted(settings, logs, relay):
    first = relay()
    orphan(logs, first, line("old") * 20)
    time.sleep(0.02)
    orphan(logs, first, line("new") * 5, TASK.replace("attempt=1", "attempt=2"))
    first.bounds._limit = 600
    first.bounds.enforce(now=True)
    assert take_losses() == {("relay.spool", "records dropped at the disk limit"): 20}
    first._lock.close()
    relay().run(once=True)
    assert {event for event, _ in events(settings)} == {"new"}


def test_events_are_never_given_up(settings, relay):
    settings.journal_directory.mkdir(parents=True)
    document = orjson.dumps({"event.id": "0" * 16, "@timestamp": "2026-01-31T12:00:00.000000Z", "event": "x" * 5000})
    (settings.journal_directory / "etl.event-20260131-000.journal").write_bytes(frame(document))
    first = relay()
    first.registry.refresh()
    first.bounds._limit = 100
    first.bounds.enforce(now=True)
    first._lock.close()
    relay().run(once=True)
    store = open_store(settings)
    assert store.count(Query("etl.event")) == {"": 1}
    store.close()


def test_a_journal_that_every_sink_has_is_deleted_after_its_days(settings, relay):
    settings.journal_directory.mkdir(parents=True)
    path = settings.journal_directory / "etl.event-20200131-000.journal"
    path.write_bytes(frame(b'{"event.id":"0000000000000000","@timestamp":"2026-01-31T12:00:00.000000Z"}'))
    old = time.time() - 8 * 86_400
    os.utime(path, (old, old))
    first = relay()
    first.registry.refresh()
    first.bounds.enforce(now=True)
    assert path.exists()
    first.run(once=True)
    first.registry.refresh()
    first.bounds.enforce(now=True)
    assert not path.exists()
