"""Following gives each document once and whole, in whatever order of time it arrives: one body, every backend."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections import Counter
from queue import Empty, Queue

import pytest
from botocore.exceptions import EndpointConnectionError
from stores import EVERY_STORE, at, elasticsearch, embedded, environ_of, fill

from observability.relay.sinks.sink import Batch
from observability.settings import load_settings
from observability.store import Query, open_store
from observability.store.cloudwatch import CloudWatchStore

HOUR = 3600


@pytest.fixture(scope="module", params=EVERY_STORE)
def settings(request, tmp_path_factory):
    """The settings of an empty store of that kind."""
    environ = environ_of(request, tmp_path_factory)
    return load_settings(environ=environ)


@pytest.fixture
def dag():
    return f"d{uuid.uuid4().hex[:8]}"


def lines(dag, try_number, seconds, first=0):
    """The lines of one try, one for each moment of ``seconds``."""
    name = f"dag_id={dag}/run_id=r/task_id=t/attempt={try_number}.log"
    prefix = (
        f'{{"airflow.dag_id":"{dag}","airflow.task_id":"t","airflow.run_id":"r","airflow.try_number":{try_number},'
        f'"airflow.map_index":-1,"log_id":"{dag}-{try_number}","log.file.path":"{name}",'
    ).encode()
    documents = [
        prefix + f'"offset":{n},"@timestamp":"{at(second)}","event":"{try_number}.{n}"}}'.encode()
        for n, second in enumerate(seconds, first)
    ]
    ids = [f"{dag}x{try_number}-{n}".encode() for n in range(first, first + len(documents))]
    return Batch("airflow.task", name, name, ids, documents, prefix=prefix)


class Follower:
    """A reader in a thread of its own; ``took`` awaits lines by their number."""

    def __init__(self, store, query):
        self._lines = store.follow(query, poll_s=0.1)
        self._came = Queue()
        self._ends = threading.Event()
        self.seen = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        for document in self._lines:
            self._came.put(document["event"])
            if self._ends.is_set():
                return

    def took(self, number, patience_s=60):
        """The first ``number`` lines, sorted."""
        while len(self.seen) < number:
            try:
                self.seen.append(self._came.get(timeout=patience_s))
            except Empty:
                break
        return sorted(self.seen)

    def end(self, settings, dag):
        """Await one more line, which arrives last, and end; return how often each line came."""
        self._ends.set()
        fill(settings, lines(dag, 99, [0]))
        self.join()
        while not self._came.empty():
            self.seen.append(self._came.get())
        return Counter(self.seen)

    def stop_after_one_more(self):
        """End the thread with the line that comes next."""
        self._ends.set()

    def join(self):
        """Await the end of the thread."""
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def following(settings):
    """A function that follows the lines of a DAG."""
    stores = []

    def follow(dag, **how):
        stores.append(open_store(settings))
        return Follower(stores[-1], Query("airflow.task", {"airflow.dag_id": dag}, **how))

    yield follow
    for store in stores:
        store.close()


def once(*names):
    return Counter([*names, "99.0"])


def test_lines_that_arrive_late_are_given_and_none_twice(settings, dag, following):
    fill(settings, lines(dag, 1, [0, 1]))
    reader = following(dag)
    assert reader.took(2) == ["1.0", "1.1"]

    fill(settings, lines(dag, 2, [-5 * HOUR, -HOUR]))  # long before what was read
    assert reader.took(4) == ["1.0", "1.1", "2.0", "2.1"]
    fill(settings, lines(dag, 3, [-400, 2]))
    assert reader.took(6)[4:] == ["3.0", "3.1"]

    assert reader.end(settings, dag) == once("1.0", "1.1", "2.0", "2.1", "3.0", "3.1")


def test_lines_of_one_millisecond_are_all_given(settings, dag, following):
    fill(settings, lines(dag, 1, [0] * 5))
    reader = following(dag)
    reader.took(5)
    fill(settings, lines(dag, 1, [0] * 5, first=5))
    reader.took(10)
    fill(settings, lines(dag, 2, [0] * 5))
    reader.took(15)

    expected = [f"1.{n}" for n in range(10)] + [f"2.{n}" for n in range(5)]
    assert reader.end(settings, dag) == once(*expected)


def test_lines_that_arrive_while_the_first_are_read_come_once(settings, dag, following):
    """Several writers, and readers that begin in the midst of it."""
    writers = [
        threading.Thread(
            target=lambda number=number: [
                fill(settings, lines(dag, number, [-step * 60] * 20, first=20 * step)) for step in range(5)
            ]
        )
        for number in (1, 2)
    ]
    for writer in writers:
        writer.start()
    fill(settings, lines(dag, 3, [0] * 20))
    readers = [following(dag) for _ in range(2)]
    for writer in writers:
        writer.join()

    expected = [f"{number}.{n}" for number in (1, 2) for n in range(100)] + [f"3.{n}" for n in range(20)]
    assert [reader.took(220) for reader in readers] == [sorted(expected)] * 2
    readers[1].stop_after_one_more()
    assert readers[0].end(settings, dag) == once(*expected)
    readers[1].join()


def test_what_the_limit_left_out_does_not_come_later(settings, dag, following):
    fill(settings, lines(dag, 1, range(9)))
    reader = following(dag, limit=2, newest=True)
    assert reader.took(2) == ["1.7", "1.8"]
    fill(settings, lines(dag, 2, [-HOUR]))
    assert reader.took(3) == ["1.7", "1.8", "2.0"]

    assert reader.end(settings, dag) == once("1.7", "1.8", "2.0")


@pytest.mark.parametrize("settings", [pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)], indirect=True)
def test_a_rollover_loses_nothing_and_what_is_sent_again_after_it_comes_once(settings, dag, following):
    from observability.store.cluster import open_cluster

    cluster = open_cluster(settings)
    fill(settings, lines(dag, 1, [0, 1]))
    reader = following(dag)
    reader.took(2)
    stream = f"logs-airflow.task-{settings.core.environment}"
    assert cluster.ask("POST", f"/{stream}/_rollover", None)["rolled_over"]
    fill(settings, lines(dag, 1, [0, 1]), lines(dag, 2, [-HOUR, 3]))
    assert reader.took(4) == ["1.0", "1.1", "2.0", "2.1"]

    assert reader.end(settings, dag) == once("1.0", "1.1", "2.0", "2.1")
    cluster.close()


@pytest.mark.elasticsearch
def test_a_restart_of_elasticsearch_is_waited_for(elasticsearch_node, dag, caplog):
    settings = load_settings(environ=elasticsearch(elasticsearch_node.url))
    store = open_store(settings)
    fill(settings, lines(dag, 1, [0, 1]))
    reader = Follower(store, Query("airflow.task", {"airflow.dag_id": dag}))
    reader.took(2)
    elasticsearch_node.kill()
    elasticsearch_node.start()
    fill(settings, lines(dag, 2, [-HOUR, 2]))
    assert reader.took(4) == ["1.0", "1.1", "2.0", "2.1"]

    assert reader.end(settings, dag) == once("1.0", "1.1", "2.0", "2.1")
    assert len([one for one in caplog.messages if "shown when the store answers again" in one]) == 1
    store.close()


def test_an_embedded_store_that_is_made_anew_is_followed_into_its_new_file(tmp_path_factory, dag):
    settings = load_settings(environ=embedded(tmp_path_factory))
    fill(settings, lines(dag, 1, [0, 1]))
    store = open_store(settings)
    reader = Follower(store, Query("airflow.task", {"airflow.dag_id": dag}))
    reader.took(2)
    shutil.rmtree(settings.store_path.parent)
    fill(settings, lines(dag, 1, [0, 1, 2]))  # the relay stores again what is still on disk
    assert reader.took(3) == ["1.0", "1.1", "1.2"]

    assert reader.end(settings, dag) == once("1.0", "1.1", "1.2")
    store.close()


@pytest.mark.parametrize("settings", [pytest.param("cloudwatch", marks=pytest.mark.aws)], indirect=True)
def test_an_outage_of_cloudwatch_is_waited_for(settings, dag, caplog):
    from observability.store.aws import logs_client

    away, refused = threading.Event(), threading.Event()
    client = logs_client(settings)

    def fail(**_):
        if away.is_set():
            refused.set()
            raise EndpointConnectionError(endpoint_url="https://logs")

    client.meta.events.register("before-send.cloudwatch-logs.FilterLogEvents", fail)
    store = CloudWatchStore(lambda: client, settings)
    fill(settings, lines(dag, 1, [0, 1]))
    reader = Follower(store, Query("airflow.task", {"airflow.dag_id": dag}))
    reader.took(2)
    away.set()
    fill(settings, lines(dag, 2, [-HOUR, 2]))
    assert refused.wait(30)
    away.clear()
    assert reader.took(4) == ["1.0", "1.1", "2.0", "2.1"]

    assert reader.end(settings, dag) == once("1.0", "1.1", "2.0", "2.1")
    assert len([one for one in caplog.messages if "shown when the store answers again" in one]) == 1
    store.close()
