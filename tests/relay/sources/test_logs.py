"""The files that are logs, and the meaning of their names."""

import orjson
import pytest

from observability.relay.sources.files.airflow_logs import log_stream, looks_like_a_log

ATTEMPT = "dag_id=d/run_id=r/task_id=body.step"


def fields(name):
    return orjson.loads(log_stream(name, "h", "test").prefix + b'"x":1}')


@pytest.mark.parametrize(
    ("path", "map_index", "iteration", "attempt"),
    [
        ("attempt=2.log", -1, None, 2),
        ("map_index=3/attempt=1.log", 3, None, 1),
        ("pass=1/attempt=2.log", -1, "1", 2),
        ("pass=0.2/attempt=1.log", -1, "0.2", 1),
        ("map_index=2/pass=1/map=2/attempt=1.log", 2, "1", 1),
        ("map_index=2/pass=1/map=2/attempt=1.log.trigger.7.log", 2, "1", 1),
    ],
)
def test_the_path_of_an_attempt_says_which_it_is(path, map_index, iteration, attempt):
    found = fields(f"{ATTEMPT}/{path}")
    said = found["airflow.map_index"], found.get("airflow.iteration"), found["airflow.try_number"]
    assert said == (map_index, iteration, attempt)
    assert found["airflow.task_id"] == "body.step"


def test_iterations_are_files_and_groups_of_their_own():
    groups = {log_stream(f"{ATTEMPT}/pass={one}/attempt=1.log", "h", "test").group for one in ("0", "1", "0.2")}
    assert len(groups) == 3


@pytest.mark.parametrize(
    "name",
    [
        f"{ATTEMPT}/attempt=99999999999999999999999.log",
        f"{ATTEMPT}/map_index=99999999999999999999999/attempt=1.log",
        f"{ATTEMPT}/attempt=\u0663.log",
        f"{ATTEMPT}/step=1/attempt=1.log",
        f"{ATTEMPT}/pass=x/attempt=1.log",
        "executor_callbacks/d/r/some.txt",
        "triggerer_callbacks/d/r/some.log",
    ],
)
def test_a_name_that_fits_no_template_looks_like_a_log_all_the_same(name):
    assert log_stream(name, "h", "test") is None
    assert looks_like_a_log(name)


@pytest.mark.parametrize(
    "name", ["components/scheduler.log.2.gz", "scheduler/x.log-20260131.xz", f"{ATTEMPT}/attempt=1.log.zst"]
)
def test_a_log_that_a_rotation_packed_is_neither_carried_nor_missed(name):
    assert log_stream(name, "h", "test") is None
    assert not looks_like_a_log(name)


def test_bytes_that_are_no_utf8_are_spelled_out_and_told_apart():
    names = [f"dag_id={byte}/run_id=r/task_id=t/attempt=1.log" for byte in ("\udcff", "\udcfe")]
    assert [fields(name)["airflow.dag_id"] for name in names] == ["\\xff", "\\xfe"]
