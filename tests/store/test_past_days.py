"""Days that are over are counted once, and counted again as soon as one of their events came or went."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import orjson
import pytest

from observability.relay.sinks.embedded import EmbeddedSink
from observability.relay.sinks.sink import Batch
from observability.store.embedded import EmbeddedStore
from observability.store.past_days import PastDays
from observability.store.questions import Ask
from observability.store.schema import open_writer

DAY_S = 86_400
NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
FIRST = datetime(2026, 1, 18, tzinfo=timezone.utc)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def store(path):
    store = EmbeddedStore(path)
    yield store
    store.close()


def put(path, *days_ago, dag="flights", action="dag_run.succeeded"):
    """An event for each of the days, with an id that is new."""
    sink = EmbeddedSink(path)
    documents = [
        {"event.id": f"{time.monotonic_ns()}-{number}", "@timestamp": (NOON - timedelta(days=days)).isoformat(),
         "event.action": action, "airflow.dag_id": dag, "event.duration": 10}
        for number, days in enumerate(days_ago)
    ]  # fmt: skip
    ids = [document["event.id"].encode() for document in documents]
    sink.send(Batch("etl.event", "journal", "j", ids, [orjson.dumps(one) for one in documents]))
    sink.close()


def counted(store, *, until=NOON + timedelta(hours=1), since=FIRST, **more):
    """Days ago → events, as the store says it."""
    asked = Ask(("etl.event",), {"event.action": ("dag_run.succeeded",)}, since, until, bucket_s=DAY_S, **more)
    today = NOON.timestamp() // DAY_S * DAY_S
    return {int((today - day) / DAY_S): count for (day,), (count,) in store.table(asked).items()}


def test_what_arrives_late_for_a_day_that_is_over_counts_at_once(store, path):
    put(path, 3, 1, 0)
    assert counted(store) == {3: 1, 1: 1, 0: 1}
    put(path, 3, 2)
    assert counted(store) == {3: 2, 2: 1, 1: 1, 0: 1}


def test_today_is_counted_at_each_question(store, path):
    put(path, 1, 0)
    assert counted(store) == {1: 1, 0: 1}
    put(path, 0)
    assert counted(store) == {1: 1, 0: 2}


@pytest.mark.parametrize("days_ago", [(), (2,)], ids=["", "its number is given again"])
def test_what_was_forgotten_counts_no_more(store, path, days_ago):
    put(path, 1, 5)
    assert counted(store) == {5: 1, 1: 1}
    writer = open_writer(path)
    writer.execute("delete from events where at < ?", ((NOON - timedelta(days=4)).isoformat(),))
    writer.close()
    put(path, *days_ago)
    assert counted(store) == {1: 1, **dict.fromkeys(days_ago, 1)}


def test_another_file_at_the_same_path_is_counted_anew(store, path):
    put(path, 1)
    assert counted(store) == {1: 1}
    store.close()
    for one in path.parent.glob("store.db*"):
        one.unlink()
    put(path, 2)
    assert counted(store) == {2: 1}


def test_questions_that_differ_in_one_thing_have_answers_of_their_own(store, path):
    put(path, 2, 1)
    put(path, 2, dag="other")
    assert counted(store) == {2: 2, 1: 1}
    assert counted(store, dags=("other",), homeless=False) == {2: 1}
    assert counted(store, dags=("flights",), homeless=False) == {2: 1, 1: 1}
    assert counted(store, since=NOON - timedelta(days=1, hours=12)) == {1: 1}
    assert counted(store, until=NOON - timedelta(days=1, hours=1)) == {2: 2}


def test_the_days_that_are_over_are_read_once_for_all_readers(path):
    put(path, 2, 1, 0)
    stores = [EmbeddedStore(path) for _ in range(2)]
    asked = []
    for store in stores:
        table = store._table
        store._table = lambda *about, table=table: (asked.append(about[2].since), table(*about))[1]
        assert counted(store) == {2: 1, 1: 1, 0: 1}
        store.close()
    assert asked.count(FIRST) == 1


def test_what_is_remembered_is_bounded():
    past, counts = PastDays(most=10), []

    def ask(question, rows):
        return past.table(question, "mark", lambda: counts.append(question) or {(n,): (1,) for n in range(rows)})

    for question, rows in (("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4), ("large", 11), ("b", 4)):
        assert len(ask(question, rows)) == rows
    assert counts == ["a", "b", "c", "b", "large"]
