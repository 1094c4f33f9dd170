"""A year of log lines is counted while it is read: what is held does not grow with it, and a bound says so."""

from __future__ import annotations

import tracemalloc
from datetime import datetime, timedelta, timezone

import orjson
import pytest
from stores import at, embedded, fill, journal

from observability.settings import load_settings
from observability.store import Query, StoreError, open_store, tallies
from observability.store import cloudwatch as stores
from observability.store.cloudwatch import CloudWatchStore
from observability.store.tables import Ask

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
YEAR = timedelta(days=365)
PAGE = 500
MIB = 1024 * 1024


class LongLog:
    """A client whose log group has ``pages`` pages of lines, made when they are asked for; refuses what AWS would."""

    def __init__(self, pages, text=lambda _: "x" * 1000):
        self._pages, self._text = pages, text
        self.read = 0

    def filter_log_events(self, *, logGroupName, startTime=0, nextToken="0"):  # noqa: N803 - AWS's names
        assert logGroupName
        assert startTime >= 0
        page = int(nextToken)
        assert page == self.read, "a page is asked for twice or left out"
        self.read += 1
        events = [self._event(page * PAGE + n) for n in range(PAGE)]
        return {"events": events} | ({"nextToken": str(page + 1)} if page + 1 < self._pages else {})

    def _event(self, number):
        when = START + number * YEAR / (self._pages * PAGE)
        fields = {
            "@timestamp": when.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "airflow.dag_id": f"dag{number % 3}",
            "event": self._text(number),
            "rows": number % 7,
        }
        moment = int(when.timestamp() * 1000)
        return {
            "eventId": f"{number:056}", "timestamp": moment, "ingestionTime": moment,
            "message": orjson.dumps(fields).decode(),
        }  # fmt: skip


def store_of(log):
    return CloudWatchStore(lambda: log, load_settings(environ={}))


def ask(*measures, by=("airflow.dag_id",)):
    return Ask(("airflow.task",), {}, START, START + YEAR, measures=measures or (("count", ""),), by=by)


def peak_of(action):
    tracemalloc.start()
    try:
        found = action()
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


MEASURES = (
    ("count", ""),
    ("sum", "rows"),
    ("max", "event"),
    ("last", "event"),
    ("unique", "rows"),
    ("average", "rows"),
)


@pytest.mark.parametrize("pages", [4, 60])
def test_a_table_of_many_lines_holds_a_page_of_them(pages):
    log = LongLog(pages)

    found, peak = peak_of(lambda: store_of(log).table(ask(*MEASURES)))

    assert log.read == pages
    assert sum(values[0] for values in found.values()) == pages * PAGE
    assert sum(values[1] for values in found.values()) == sum(number % 7 for number in range(pages * PAGE))
    assert peak < 6 * MIB  # the lines are 2 MiB, or 30


def test_percentiles_hold_a_number_for_each_line_and_no_line():
    _, peak = peak_of(lambda: store_of(LongLog(60)).table(ask(("p95", "rows"))))

    assert peak < 6 * MIB


def test_the_newest_lines_are_all_that_is_held():
    newest = Query("airflow.task", limit=40, newest=True)

    found, peak = peak_of(lambda: list(store_of(LongLog(60)).documents(newest)))

    assert len(found) == 40
    assert peak < 6 * MIB


def test_following_holds_no_line_that_was_given():
    def read():
        lines = store_of(LongLog(60)).follow(Query("airflow.task"))
        return sum(1 for _, _ in zip(range(60 * PAGE), lines, strict=False))

    found, peak = peak_of(read)

    assert found == 60 * PAGE
    assert peak < 6 * MIB


def test_a_table_with_too_many_rows_says_so_and_how_to_ask_for_less(monkeypatch):
    monkeypatch.setattr(tallies, "MOST_ROWS", 1000)
    log = LongLog(60, text=lambda number: f"line {number}")

    with pytest.raises(StoreError, match="after 1001 documents: the table has more than 1000 rows, so the rest was"):
        store_of(log).table(ask(by=("event",)))
    assert log.read == 3


@pytest.mark.parametrize(
    ("measure", "by"),
    [(("unique", "event"), ()), (("last", "event"), ("event",)), (("p95", "rows"), ("event",))],
)
def test_values_that_take_too_many_bytes_are_refused_by_name_while_they_are_read(monkeypatch, measure, by):
    monkeypatch.setattr(tallies, "MOST_BYTES", 4 * MIB)
    log = LongLog(60, text=lambda number: f"{number}" * 200)

    def read():
        with pytest.raises(
            StoreError, match="more than 4 MiB, so the rest was not read; choose a shorter time"
        ) as told:
            store_of(log).table(ask(measure, by=by))
        return str(told.value)

    _, peak = peak_of(read)

    assert log.read < 20
    assert peak < 4 * MIB + 6 * MIB


def test_the_newest_lines_are_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(stores, "_MOST_BYTES", 4 * MIB)

    with pytest.raises(StoreError, match="the newest 9000 documents take more than 4 MiB; choose a shorter time"):
        list(store_of(LongLog(60)).documents(Query("airflow.task", limit=9000, newest=True)))


def test_counting_by_a_field_holds_its_values_and_no_line():
    found, peak = peak_of(lambda: store_of(LongLog(60)).count(Query("airflow.task"), by="airflow.dag_id"))

    assert found == dict.fromkeys(("dag0", "dag1", "dag2"), 20 * PAGE)
    assert peak < 6 * MIB


def test_values_that_are_too_many_to_count_are_refused_while_they_are_read(monkeypatch):
    monkeypatch.setattr(stores, "_MOST_BYTES", MIB)
    log = LongLog(60, text=lambda number: f"{number}" * 200)

    with pytest.raises(
        StoreError, match="the values of event take more than 1 MiB, so the rest was not read; choose a"
    ):
        store_of(log).count(Query("airflow.task"), by="event")
    assert log.read < 20


def test_series_that_are_too_many_are_refused_while_they_are_read(monkeypatch):
    store = store_of(LongLog(60))
    assert store.series() == 3

    monkeypatch.setattr(stores, "_MOST_SERIES", 2)
    with pytest.raises(StoreError, match="there are more than 2 series, so the rest was not read; choose a shorter"):
        store_of(LongLog(60)).series()


def test_the_embedded_store_bounds_its_rows_too(monkeypatch, tmp_path_factory):
    settings = load_settings(environ=embedded(tmp_path_factory))
    fill(settings, journal("etl.event", [{"event.action": "task.failed", "airflow.dag_id": f"d{n}"} for n in range(9)]))
    store = open_store(settings)
    question = Ask(
        ("etl.event",), {}, datetime.fromisoformat(at(0).replace("Z", "+00:00")), datetime.now(timezone.utc) + YEAR,
        by=("airflow.dag_id",),
    )  # fmt: skip
    assert len(store.table(question)) == 9

    monkeypatch.setattr(tallies, "MOST_ROWS", 8)
    with pytest.raises(StoreError, match="the table has more than 8 rows, so the rest was not read; choose a shorter"):
        store.table(question)
    store.close()


class ShortLog:
    """A client whose log group has these moments, in ms after the start, each with an event."""

    def __init__(self, *moments):
        when = [(moment, START + timedelta(milliseconds=moment)) for moment in moments]
        stamps = [(moment, found.isoformat(timespec="microseconds").replace("+00:00", "Z")) for moment, found in when]
        self._events = [
            {
                "eventId": f"{number:056}", "ingestionTime": 0, "timestamp": int(START.timestamp() * 1000) + moment,
                "message": orjson.dumps({"@timestamp": stamp, "n": number}).decode(),
            }
            for number, (moment, stamp) in enumerate(stamps)
        ]  # fmt: skip

    def filter_log_events(self, *, logGroupName, startTime=0):  # noqa: N803 - AWS's names
        assert logGroupName
        return {"events": [event for event in self._events if event["timestamp"] >= startTime]}


def test_a_reader_of_arrivals_that_stops_goes_on_where_it_was_also_within_a_millisecond():
    store, position, got = store_of(ShortLog(0, 1, 5, 5, 5, 5, 5, 9, 12)), {}, []
    for _ in range(5):
        found = store.arrivals(Query("etl.event", since=START), position)
        got += [document["n"] for _, document in zip(range(2), found, strict=False)]
        found.close()
        position = orjson.loads(orjson.dumps(position))
    assert got == list(range(9))
    assert position.keys() == {"newest", "sweep_at"}


def test_a_number_that_takes_too_long_to_be_counted_is_refused_with_how_far_it_came(monkeypatch):
    monkeypatch.setattr(stores, "_LONGEST_S", -1.0)
    with pytest.raises(StoreError, match=r"after 0 documents \(up to 2026-01-01 00:00\) -1 s were over, so the rest"):
        store_of(LongLog(4)).count(Query("airflow.task"), by="airflow.dag_id")


def test_a_line_that_somebody_else_wrote_into_the_group_hides_no_line_of_ours():
    log = ShortLog(0, 1, 2)
    log._events[1]["message"] = "plain text"
    log._events[2]["message"] = '{"@timestamp":"2026-01-01T00:00:00","n":2}'
    assert [one["n"] for one in store_of(log).documents(Query("etl.event", since=START))] == [0, 2]
