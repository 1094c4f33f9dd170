import subprocess
import sys
import time
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import time_machine

from observability import identity, measure
from observability.events import Identity


@pytest.fixture(autouse=True)
def _task():
    about = Identity(dag_id="flights", task_id="load", run_id="r", try_number=1, map_index=-1)
    with identity.bound(about):
        yield


FRAME = pd.DataFrame({"hour": pd.to_datetime(["2013-01-01 05:00", "2013-01-01 07:00"]), "rows": [1, 2]})


def only(told, action):
    return [document for document in told() if document["event.action"] == action]


def test_a_step_tells_what_went_in_and_came_out(told):
    with measure("load", table="flights") as step:
        assert step.input(FRAME) is FRAME
        step.output(1)
    (found,) = told()
    assert found["event.action"] == "step.measured"
    assert {key: found[key] for key in found if key.startswith("etl.")} == {
        "etl.step": "load",
        "etl.table": "flights",
        "etl.rows_in": 2,
        "etl.rows_out": 1,
        "etl.bytes": int(FRAME.memory_usage().sum()),
    }
    assert found["event.duration"] > 0
    assert found["airflow.dag_id"] == "flights"


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (3, 3),
        (np.int64(3), 3),
        ([1, 2], 2),
        (FRAME, 2),
        (FRAME["rows"], 2),
        (pa.table({"a": [1, 2, 3]}), 3),
        (np.zeros((4, 2)), 4),
        ("text is no rows", None),
        ({"a": 1}, None),
        (iter([1]), None),
        (None, None),
    ],
)
def test_rows_are_counted_where_they_can_be(told, value, rows):
    with measure("load") as step:
        step.input(value)
    assert told()[0].get("etl.rows_in") == rows


def test_chunks_add_up(told):
    with measure("load") as step:
        for _ in range(3):
            step.output(step.input(FRAME), size=10)
    assert (told()[0]["etl.rows_in"], told()[0]["etl.rows_out"], told()[0]["etl.bytes"]) == (6, 6, 30)


def test_the_bytes_of_an_arrow_table_are_its_own(told):
    table = pa.table({"a": [1, 2, 3]})
    with measure("load") as step:
        step.output(table)
    assert told()[0]["etl.bytes"] == table.nbytes


def test_rejected_rows_are_told_by_rule_and_add_up(told):
    with measure("validate", table="flights") as step:
        step.rejected(FRAME, rule="air_time_positive")
        step.rejected(3, rule="known_carrier")
        step.rejected(0, rule="never broken")
    rejected = only(told, "rows.rejected")
    assert [(found["etl.rule"], found["etl.rows_rejected"]) for found in rejected] == [
        ("air_time_positive", 2),
        ("known_carrier", 3),
    ]
    assert only(told, "step.measured")[0]["etl.rows_rejected"] == 5


def test_changed_columns_are_told(told):
    with measure("extract", table="flights") as step:
        assert step.columns(FRAME, ["hour", "carrier"]) is FRAME
        step.columns(FRAME, ["rows", "hour"])
    (found,) = only(told, "schema.drifted")
    assert (found["etl.table"], found["etl.columns_added"], found["etl.columns_removed"]) == (
        "flights",
        ["rows"],
        ["carrier"],
    )
    assert found["message"] == "Columns of flights changed (new: rows; gone: carrier)"


def test_a_message_says_that_no_column_is_gone(told):
    with measure("extract", table="flights") as step:
        step.columns(["hour", "gate", "tail"], ["hour"])
    (found,) = only(told, "schema.drifted")
    assert found["message"] == "Columns of flights changed (new: gate, tail; gone: none)"


NEWEST = datetime(2013, 1, 1, 7, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value",
    [
        FRAME["hour"].max(),
        NEWEST,
        datetime(2013, 1, 1, 7),  # noqa: DTZ001 - what a frame gives
        pd.Timestamp("2013-01-01T07:00:00.000000001"),
        np.datetime64("2013-01-01T07:00:00"),
        np.datetime64("2013-01-01T07:00:00.000000001"),
        "2013-01-01T07:00:00Z",
        "2013-01-01T12:00:00.000000001+05:00",
        NEWEST.astimezone(timezone(timedelta(hours=5))),
    ],
)
def test_the_watermark_is_a_moment_in_utc_with_its_age(told, value):
    with time_machine.travel(NEWEST + timedelta(hours=1), tick=False), measure("load") as step:
        step.watermark(value)
    (found,) = told()
    assert (found["etl.watermark"], found["etl.watermark_age"]) == ("2013-01-01T07:00:00.000000Z", 3_600_000_000_000)


def test_a_date_is_a_watermark_at_its_start(told):
    with measure("load") as step:
        step.watermark(date(2013, 1, 2))
        step.watermark(date(2013, 1, 1))
    assert told()[0]["etl.watermark"] == "2013-01-02T00:00:00.000000Z"


@pytest.mark.parametrize("value", [None, pd.NaT, float("nan"), np.datetime64("NaT")])
def test_an_empty_column_has_no_watermark(told, value):
    with measure("load") as step:
        step.watermark(value)
    assert "etl.watermark" not in told()[0]


def test_a_step_that_raises_is_told_and_the_exception_passes_through(told):
    error = ValueError("bad row")
    step = measure("load")
    step.input(2)
    with pytest.raises(ValueError, match="bad row") as caught, step:
        raise error
    assert caught.value is error
    (found,) = told()
    assert (found["event.action"], found["error.type"], found["error.message"], found["etl.rows_in"]) == (
        "step.failed",
        "ValueError",
        "bad row",
        2,
    )


def test_a_killed_step_is_told_too(told):
    with pytest.raises(KeyboardInterrupt), measure("load"):
        raise KeyboardInterrupt
    assert told()[0]["event.action"] == "step.failed"


@pytest.mark.parametrize("name", ["AirflowSkipException", "TaskDeferred", "AirflowRescheduleException"])
def test_skipping_and_deferring_are_no_failures(told, name):
    kind = type("Derived", (type(name, (BaseException,), {}),), {})
    with pytest.raises(kind), measure("load"):
        raise kind
    assert told()[0]["event.action"] == "step.measured"


def test_the_same_step_in_a_loop_is_told_each_time(told):
    for _ in range(3):
        with measure("load") as step:
            step.rejected(1, rule="x")
    assert len({found["event.id"] for found in told()}) == 6


def test_a_decorated_function_is_measured_at_each_call_and_its_result_is_output(told):
    @measure("load", table="flights")
    def load(number):
        """Load."""
        return [0] * number

    assert (load(2), load(3), load.__name__, load.__doc__) == ([0, 0], [0, 0, 0], "load", "Load.")
    assert [found["etl.rows_out"] for found in told()] == [2, 3]


def test_a_value_that_cannot_be_measured_never_reaches_the_step():
    program = """
import os
os.environ["CONTRAIL_HOME"] = "/proc/no-such-place"
from observability import measure
class Odd:
    def __len__(self): raise RuntimeError("no length")
    @property
    def nbytes(self): raise RuntimeError("no size")
with measure("load") as step:
    step.input(Odd()); step.output(Odd()); step.rejected(Odd(), rule="x")
    step.watermark("not a date"); step.columns(5, 6)
print("unharmed")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "unharmed\n"


def test_measuring_imports_no_data_library():
    program = (
        "import sys\nfrom observability import measure\n"
        "with measure('x') as step: step.input([1]); step.watermark('2013-01-01')\n"
        "print({'pandas', 'numpy', 'pyarrow', 'boto3', 'elasticsearch', 'requests'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("error", [None, ValueError])
def test_a_step_lasts_from_its_begin_to_its_end(told, monkeypatch, error):
    clock = iter([0, 1_000_000_000, 4_500_000_007])
    stopwatch = SimpleNamespace(perf_counter_ns=lambda: next(clock), time_ns=time.time_ns)
    monkeypatch.setattr(import_module("observability.measure"), "time", stopwatch)
    with suppress(ValueError), measure("load"):
        if error is not None:
            raise error
    (found,) = told()
    assert found["event.duration"] == 3_500_000_007


def test_the_newest_watermark_stays(told):
    with measure("load") as step:
        for day in (1, 3, 2):
            step.watermark(date(2013, 1, day))
    (found,) = told()
    assert found["etl.watermark"].startswith("2013-01-03T00:00:00")
