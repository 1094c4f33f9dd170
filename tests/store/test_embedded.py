import threading
from datetime import datetime, timedelta, timezone

import orjson
import pytest

from observability.relay.sinks.embedded import EmbeddedSink
from observability.relay.sinks.sink import Batch, SinkUnavailable
from observability.store.embedded import EmbeddedStore
from observability.store.schema import open_writer
from observability.store.store import Query, StoreError

START = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def sink(path):
    sink = EmbeddedSink(path, retention_days=30)
    yield sink
    sink.close()


@pytest.fixture
def store(path):
    store = EmbeddedStore(path)
    yield store
    store.close()


def stamp(second):
    return (START + timedelta(seconds=second)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def lines(file, *events, task="load", start=0, level="info"):
    prefix = orjson.dumps(
        {"airflow.dag_id": "flights", "airflow.task_id": task, "airflow.run_id": "r", "airflow.try_number": 1}
    )
    prefix = prefix[:-1] + b","
    ids = [b"%b-%d" % (file, 100 * number) for number in range(len(events))]
    documents = [
        prefix
        + orjson.dumps({"offset": 100 * number, "@timestamp": stamp(start + number), "level": level, "event": event})[
            1:
        ]
        for number, event in enumerate(events)
    ]
    return Batch("airflow.task", "a.log", "g", ids, documents, prefix=prefix)


def event(identity, action="task.failed", dataset="etl.event", second=0, **fields):
    document = {
        "event.id": identity,
        "@timestamp": stamp(second),
        "event.action": action,
        "airflow.dag_id": "flights",
        **fields,
    }
    return Batch(dataset, "j", "journal", [identity.encode()], [orjson.dumps(document)])


def sample(identity, name, second=0, **tags):
    document = {"event.id": identity, "@timestamp": stamp(second), "metric.name": name, "metric.value": 1.0, **tags}
    return Batch("airflow.statsd", "j", "journal", [identity.encode()], [orjson.dumps(document)])


def test_a_line_comes_back_whole(sink, store):
    batch = lines(b"f", "one", "zwei \U0001f600")
    assert sink.send(batch).stored == 2
    assert list(store.documents(Query("airflow.task"))) == [orjson.loads(document) for document in batch.documents]


@pytest.mark.parametrize(
    "make", [lambda: lines(b"f", "one", "two"), lambda: event("e" * 16), lambda: sample("m" * 16, "x")]
)
def test_sending_again_stores_nothing_and_counts_duplicates(sink, store, make):
    first, again = sink.send(make()), sink.send(make())
    assert (first.stored, first.duplicates) == (len(make().ids), 0)
    assert (again.stored, again.duplicates) == (0, len(make().ids))
    assert store.count(Query(make().dataset)) == {"": len(make().ids)}


def test_a_document_that_is_no_json_is_rejected_alone(sink, store):
    batch = lines(b"f", "one", "two", "three")
    batch.documents[1] = batch.documents[1][:-3]
    answer = sink.send(batch)
    assert (answer.stored, [refused.index for refused in answer.rejected]) == (2, [1])
    assert [document["event"] for document in store.documents(Query("airflow.task"))] == ["one", "three"]


def test_files_are_mixed_by_time_and_each_keeps_its_own_order(sink, store):
    sink.send(lines(b"a", "a0", "a1", "a2"))
    sink.send(lines(b"b", "b1", "b2", task="other", start=1))
    assert [document["event"] for document in store.documents(Query("airflow.task"))] == ["a0", "a1", "b1", "a2", "b2"]


def test_what_is_asked_for_is_what_comes(sink, store):
    sink.send(lines(b"a", "a0", "a1"))
    sink.send(lines(b"b", "b0", task="other", level="error"))
    for where, found in (
        ({"airflow.task_id": "load"}, ["a0", "a1"]),
        ({"airflow.task_id": ("load", "other")}, ["a0", "b0", "a1"]),
        ({"log.level": "error"}, ["b0"]),
        ({"offset": 100}, ["a1"]),
        ({"airflow.dag_id": "nobody's"}, []),
        ({"o'\"dd": "x"}, []),
    ):
        assert [document["event"] for document in store.documents(Query("airflow.task", where))] == found


def test_since_is_inclusive_until_is_not_and_newest_keeps_the_order(sink, store):
    sink.send(lines(b"a", "0", "1", "2", "3"))
    span = Query("airflow.task", since=START + timedelta(seconds=1), until=START + timedelta(seconds=3))
    assert [document["event"] for document in store.documents(span)] == ["1", "2"]
    assert [document["event"] for document in store.documents(Query("airflow.task", limit=2, newest=True))] == [
        "2",
        "3",
    ]
    assert [document["event"] for document in store.documents(Query("airflow.task", limit=2))] == ["0", "1"]


def test_counting_by_a_field(sink, store):
    sink.send(event("1" * 16))
    sink.send(event("2" * 16, "task.killed"))
    sink.send(event("3" * 16))
    assert store.count(Query("etl.event"), by="event.action") == {"task.failed": 2, "task.killed": 1}
    assert store.count(Query("etl.event"), by="airflow.task_id") == {"": 3}
    assert store.count(Query("contrail.alert")) == {"": 0}


def test_series_are_counted_by_name_and_tags(sink, store):
    for number, tags in enumerate([{}, {"airflow.dag_id": "a"}, {"airflow.dag_id": "b"}, {"airflow.dag_id": "a"}]):
        sink.send(sample(str(number) * 16, "x", number, **tags))
    assert store.series() == 3


def test_following_gives_what_is_there_and_then_what_arrives_in_whatever_time_order(sink, store):
    sink.send(lines(b"a", "there", start=50))
    followed = store.follow(Query("airflow.task"), poll_s=0.01)
    assert next(followed)["event"] == "there"
    sink.send(lines(b"b", "late", start=10))
    assert next(followed)["event"] == "late"


def test_readers_read_while_a_writer_writes(sink, store, path):
    sink.send(lines(b"a", "one"))
    writer = open_writer(path)
    writer.execute("begin immediate")
    assert store.count(Query("airflow.task")) == {"": 1}
    with pytest.raises(SinkUnavailable, match=r"store\.db is locked by another process"):
        EmbeddedSink(path).send(lines(b"b", "two"))
    writer.execute("rollback")
    writer.close()


def test_closing_while_another_thread_reads_does_not_end_the_process(sink, store):
    """A SQLite connection that closes under a running step is a segmentation fault."""
    sink.send(lines(b"a", *map(str, range(2000))))
    ends = []

    def read():
        while len(ends) < 40:
            try:
                ends.append(len(list(store.documents(Query("airflow.task")))))
            except StoreError as error:
                ends.append("closed" in str(error))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    while any(reader.is_alive() for reader in readers):
        store.close()
    assert set(ends) <= {2000, True}


def test_a_writer_in_each_of_several_threads_loses_nothing(path, store):
    def write(number):
        sink = EmbeddedSink(path)
        for step in range(20):
            sink.send(lines(b"%d.%d" % (number, step), *map(str, range(10))))
        sink.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count(Query("airflow.task")) == {"": 800}


def test_what_is_older_than_the_retention_is_forgotten(path, store):
    sink = EmbeddedSink(path, retention_days=30)
    now = (datetime.now(timezone.utc) - START).total_seconds()
    sink.send(lines(b"old", "old"))
    sink.send(lines(b"new", "new", start=now))
    sink.send(sample("1" * 16, "old"))
    sink.send(event("2" * 16, second=now - 86_400 * 100))
    sink.send(event("3" * 16, second=now - 86_400 * 400))
    sink.prune()
    assert [document["event"] for document in store.documents(Query("airflow.task"))] == ["new"]
    assert (store.series(), store.count(Query("etl.event"))) == (0, {"": 1})
    sink.send(lines(b"old2", "stored again"))
    assert store.count(Query("airflow.task")) == {"": 2}
    sink.close()


def test_no_store_yet_is_said_with_the_remedy(store, path):
    with pytest.raises(StoreError, match=r"no store at .* yet; start the relay"):
        store.count(Query("airflow.task"))
    assert "start the relay" in store.health()
    path.write_bytes(b"no database at all" * 100)
    assert "damaged" in store.health()


def test_a_store_of_a_newer_contrail_is_refused(sink, path):
    sink.send(event("1" * 16))
    writer = open_writer(path)
    writer.execute("pragma user_version = 99")
    writer.close()
    with pytest.raises(StoreError, match="upgrade Contrail"):
        open_writer(path)


def test_a_million_lines_are_no_hindrance_to_asking_for_one_task(sink, store):
    for number in range(300):
        sink.send(lines(b"%d" % number, *map(str, range(100)), task=f"t{number}"))
    plan = store._connect().execute(
        "explain query plan select * from logs r join sources s using (source) where s.dataset = 'airflow.task'"
        " and s.dag_id in ('flights') and s.run_id in ('r') and s.task_id in ('t7')"
    )
    steps = " ".join(row[3] for row in plan)
    assert "USING INDEX sources_by_attempt" in steps
    assert "SCAN" not in steps


def test_what_it_remembers_of_logs_does_not_grow_with_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr("observability.relay.sinks.embedded._MOST_SOURCES", 10)
    sink = EmbeddedSink(tmp_path / "store.db")
    for turn in range(2):
        for log in range(35):
            prefix = b'{"airflow.dag_id":"d","airflow.run_id":"r%d",' % log
            document = prefix + b'"@timestamp":"2026-03-01T00:00:0%dZ","event":"e"}' % turn
            batch = Batch("airflow.task", f"{log}.log", str(log), [b"f%d-%d" % (log, turn)], [document], prefix=prefix)
            assert sink.send(batch).stored == 1
    assert len(sink._sources) <= 10
    assert sink._connection.execute("select count(*) from sources").fetchone() == (35,)
    sink.close()


@pytest.mark.parametrize(
    "query",
    [
        Query("airflow.component", limit=50, newest=True),
        Query("airflow.task", {"airflow.task_id": "nobody"}, since=START - timedelta(days=9), limit=50, newest=True),
    ],
)
def test_a_question_about_a_log_that_is_not_there_reads_no_lines(sink, store, query):
    sink.send(lines(b"f1", *["said"] * 2000))
    steps = []
    assert list(store.documents(query)) == []  # opens it
    store._connect().set_progress_handler(lambda: steps.append(1), 100)
    assert list(store.documents(query)) == []
    assert len(steps) < 5
