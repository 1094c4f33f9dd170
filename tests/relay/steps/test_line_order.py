"""Within a file the order of lines is that of its bytes; across the files of one attempt it is that of time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from observability.relay.sinks.put_log_events import moments
from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.tail import Cursor, read
from observability.relay.sources.files.tailed_file import TailedFile
from observability.relay.steps.line_time import origin_of
from observability.relay.steps.splice import splice

BEGAN = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
TASK = "dag_id=d/run_id=r/task_id=t/attempt=1.log"
TRIGGER = f"{TASK}.trigger.7.log"


def line(microseconds, event):
    stamp = (BEGAN + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return orjson.dumps({"timestamp": stamp, "level": "info", "event": event}) + b"\n"


def file_of(content, name=TASK):
    changed = BEGAN.timestamp() + 600
    first = content.partition(b"\n")[0]
    stream = log_stream(name, "h", "test")
    return TailedFile(stream, None, 1, 1, "0" * 16, origin_of(first), len(content), changed)


def offsets(spliced):
    return [orjson.loads(document)["offset"] for document in spliced.documents]


lines = st.one_of(
    st.builds(line, st.integers(-5_000_000, 5_000_000), st.text(max_size=5)),
    st.builds(lambda times: line(7, "same") * times, st.integers(1, 3)),
    st.sampled_from(
        [b"plain\n", b"  File x, line 1\n", b"INFO: started\n", b"\n", b'{"event":"no time"}\n', b"\xff\n"]
    ),
    st.just(b"2026-01-31 11:59:59 [error] text with a date\n"),
)


@given(st.lists(lines, max_size=30), st.data())
@hypothesis_settings(max_examples=200, deadline=None)
def test_whatever_the_clock_does_the_order_is_that_of_the_bytes_wherever_the_file_is_cut(content, data):
    text = b"".join(content)
    file = file_of(text)
    whole = splice(file, text, 0)
    cut = len(b"".join(content[: data.draw(st.integers(0, len(content)))]))
    first = splice(file, text[:cut], 0, SimpleNamespace(before=lambda: b"", top=lambda: text))
    around = SimpleNamespace(before=lambda: text[:cut], top=lambda: text)
    second = splice(file, text[cut:], cut, around, first.latest)
    assert offsets(whole) == sorted(set(offsets(whole)))
    assert first.ids + second.ids == whole.ids
    assert offsets(first) + offsets(second) == offsets(whole)
    assert moments(whole.documents, len(file.stream.prefix)) is not None


@given(st.lists(st.integers(0, 10_000_000), unique=True, min_size=2, max_size=30), st.data())
@hypothesis_settings(max_examples=100, deadline=None)
def test_lines_of_two_files_whose_clocks_agree_are_in_the_order_of_time(times, data):
    times.sort()
    files = dict.fromkeys((TASK, TRIGGER), b"")
    for at in times:
        name = data.draw(st.sampled_from((TASK, TRIGGER)))
        files[name] += line(at, str(at))
    documents = [
        orjson.loads(document)
        for name, text in files.items()
        for document in splice(file_of(text, name), text, 0).documents
    ]
    documents.sort(key=lambda one: one["offset"])
    assert [one["event"] for one in documents] == [str(at) for at in times]


def test_two_hundred_thousand_lines_of_one_microsecond_stay_in_order():
    text = b"".join(line(0, str(number)) for number in range(200_000)) + line(100, "later")
    made = splice(file_of(text), text, 0)
    found = offsets(made)
    assert found[0] == origin_of(text[:100])
    assert found == sorted(set(found))
    assert orjson.loads(made.documents[-1])["event"] == "later"


def test_pieces_of_a_long_line_stand_between_the_lines_around_it_after_the_clock_went_back():
    text = line(5_000_000, "first") + line(1_000_000, "x" * 3_000_000) + line(0, "last")
    found = offsets(splice(file_of(text), text, 0))
    assert len(found) > 10
    assert found == sorted(set(found))


@pytest.mark.parametrize("most", [64, 1000, 70_000])
def test_a_cursor_carries_the_order_on(logs, most):
    text = b"".join(line(-number * 1000, str(number)) for number in range(300))
    logs.write(text, TASK)
    file, cursor, found = logs.tailed(TASK), Cursor("x"), []
    cursor = Cursor(file.identity)
    while (stretch := read(file, cursor, most)) is not None:
        found += offsets(stretch.spliced)
        cursor = stretch.cursor
    assert found == sorted(set(found))
    assert len(found) == 300
    assert cursor.latest == found[-1]


def test_a_banner_has_the_time_of_the_first_dated_line_below_it():
    text = b"  ____\n |    |\n" + line(0, "begins")
    documents = [orjson.loads(one) for one in splice(file_of(text), text, 0).documents]
    assert {one["@timestamp"] for one in documents} == {"2026-01-31T12:00:00.000000Z"}
    assert [one["event"] for one in sorted(documents, key=lambda one: one["offset"])][-1] == "begins"
