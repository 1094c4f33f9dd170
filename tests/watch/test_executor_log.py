"""Lines of Kubernetes' executor about a pod in the scheduler's log become the cause and the words of a failure."""

from __future__ import annotations

import ast
import importlib.util
from datetime import datetime, timezone
from pathlib import Path

import orjson
import pytest

from observability.relay.sinks import Batch
from observability.relay.sinks.embedded import open_sink
from observability.settings import load_settings
from observability.watch.facts import SEEN
from observability.watch.sources.diagnose import diagnose_task
from observability.watch.sources.executor_log import asks_for_pod, scheduler_lines, words_about_pod
from observability.watch.sources.logs import LastWords

NOW = 1_767_960_000.0
TASK = {
    "id": "01a21b5b-0000-7000-8000-000000000001", "dag_id": "load", "dag_run_id": "r1", "task_id": "t", "map_index": -1,
    "try_number": 1, "state": "failed", "start_date": "2026-01-09T11:59:00Z",
    "end_date": datetime.fromtimestamp(NOW, timezone.utc).isoformat(),
}  # fmt: skip
KEY = "TaskInstanceKey(dag_id='load', task_id='t', run_id='r1', try_number=1, map_index=-1)"
MISMATCH = (
    "Executor KubernetesExecutor(parallelism=32) reported that the task instance <TaskInstance: load.t r1 [running]> "
    "finished with state failed, but the task instance's state attribute is running. Learn more: https://x"
)


def written(begins, *values):
    """A line as the installed provider formats it."""
    package = importlib.util.find_spec("airflow.providers.cncf.kubernetes").submodule_search_locations[0]
    for name in ("kubernetes_executor.py", "kubernetes_executor_utils.py"):
        tree = ast.parse(Path(package, "executors", name).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(begins):
                return node.value % values
    raise LookupError(begins)


def ended(key=KEY, *, pod_reason=None, message=None, state="terminated", reason="Error", code=137):  # noqa: PLR0913
    return written("Task %s failed in pod %s/%s. Pod phase", key, "airflow", "load-t-x1", "Failed", pod_reason, message,
                   "main", "base", state, reason, None, code)  # fmt: skip


def stuck(reason, key="load.t.1"):
    return written("Event: %s has container %s with fatal", "load-t-x1", "base", reason, key)


def mismatch(extra=""):
    return {"event": "state mismatch", "extra": MISMATCH + extra, "task_id": "t", "map_index": -1, "try_number": 1,
            "when": TASK["end_date"]}  # fmt: skip


LOW = "The node was low on resource: memory. Container base was using 3Gi, request is 0."
SAID = [
    (ended(reason="OOMKilled"), "oom", "pod airflow/load-t-x1: container base terminated: OOMKilled (exit code 137)"),
    (ended(pod_reason="Evicted", message=LOW), "killed", "Evicted"),
    (ended(f"TaskInstanceUuid(id=UUID('{TASK['id']}'))", reason="OOMKilled"), "oom", "OOMKilled"),
    (ended(state="waiting", reason="CreateContainerConfigError", code=None), "platform", "CreateContainerConfigError"),
    (ended(reason="StartError", code=128), "platform", "StartError (exit code 128)"),
    (ended(pod_reason="NodeShutdown", reason=None, code=None), "killed", "NodeShutdown"),
    (ended(pod_reason="OutOfmemory", reason=None, code=None), "platform", "OutOfmemory"),
    (ended(reason="Error", code=1), "killed", "container base terminated: Error (exit code 1)"),
    (stuck("ErrImagePull"), "platform", "pod load-t-x1: container base waiting: ErrImagePull"),
    (stuck("InvalidImageName"), "platform", "InvalidImageName"),
]


@pytest.mark.parametrize(("line", "cause", "words"), SAID, ids=[f"{words[-40:]}" for _, _, words in SAID])
def test_a_pods_end_is_the_cause_and_the_words(line, cause, words):
    pod = words_about_pod(TASK, [line])
    verdict = diagnose_task(TASK, [mismatch(" Extra info: Pod failed because of None")], LastWords(), pod)
    assert (verdict.cause, verdict.certainty) == (cause, SEEN)
    assert words in verdict.reason


@pytest.mark.parametrize("other", ["dag_id='loads'", "task_id='t2'", "run_id='r2'", "try_number=2", "map_index=3"])
def test_another_attempts_pod_says_nothing(other):
    name = other.partition("=")[0]
    mine = next(part for part in KEY[len("TaskInstanceKey(") : -1].split(", ") if part.startswith(name))
    assert words_about_pod(TASK, [ended(KEY.replace(mine, other), reason="OOMKilled")]) == []
    assert words_about_pod(TASK, [stuck("ErrImagePull", "load.t.2")]) == []


@pytest.mark.parametrize(
    ("extra", "asked"),
    [
        (" Extra info: Pod failed because of None", True),
        ("", True),
        (" Extra info: Pod failed because of Evicted", False),
    ],
)
def test_the_schedulers_log_is_asked_only_where_airflow_does_not_say(extra, asked):
    assert asks_for_pod([mismatch(extra)]) is asked
    assert not asks_for_pod([{**mismatch(extra), "extra": MISMATCH.replace("Kubernetes", "Local")}])


@pytest.mark.parametrize(
    ("reason", "cause"), [("Evicted", "killed"), ("Terminated", "killed"), ("DeadlineExceeded", "killed")]
)
def test_what_airflow_says_of_the_pod_itself_is_enough(reason, cause):
    verdict = diagnose_task(TASK, [mismatch(f" Extra info: Pod failed because of {reason}")], LastWords())
    assert (verdict.cause, verdict.reason) == (cause, f"Pod failed because of {reason}")


def test_the_lines_come_from_the_store_that_the_schedulers_relay_fills(tmp_path):
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)})
    assert scheduler_lines(options, NOW) is None  # there is no store yet
    sink = open_sink(options)
    about = {"airflow.component": "scheduler", "level": "warning", "event": ended(reason="OOMKilled")}
    for number, at in enumerate((NOW - 3600, NOW + 1)):
        line = {**about, "@timestamp": datetime.fromtimestamp(at, timezone.utc).isoformat()}
        key = f"s-{number}"
        sink.send(Batch("airflow.component", key, key, [key.encode()], [orjson.dumps(line)]))
    sink.close()
    assert scheduler_lines(options, NOW) == [about["event"]]
