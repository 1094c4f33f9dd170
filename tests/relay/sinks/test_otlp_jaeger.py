"""A real Jaeger shows a run, its attempts and their steps as one trace, also after the relay has sent it again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from jaeger import Jaeger

from observability.emit import emit
from observability.events import (
    DagRunFailed,
    Identity,
    RowsRejected,
    StepMeasured,
    TaskFailed,
    TaskKilled,
    TaskStarted,
    TaskSucceeded,
)
from observability.relay.relay import Relay

TRACE = "0af7651916cd43dd8448eb211c80319c"

pytestmark = pytest.mark.slow


def attempt(task, number=1):
    return Identity(
        dag_id="flights", task_id=task, run_id="r", try_number=number, map_index=-1, trace_id=TRACE,
        ti_id=f"{task}{number}",
    )  # fmt: skip


def play():
    """A run in which one attempt is killed, the next succeeds, and another task fails."""
    for who in (attempt("load", 1), attempt("load", 2), attempt("check")):
        emit(TaskStarted(identity=who))
    emit(StepMeasured(identity=attempt("load", 2), step="read", rows_in=2, duration_ns=1000))
    emit(RowsRejected(identity=attempt("load", 2), step="read", rule="x", rows_rejected=1))
    emit(TaskKilled(identity=attempt("load", 1), cause="killed", reason="SIGKILL"))
    emit(TaskSucceeded(identity=attempt("load", 2)))
    emit(
        TaskFailed(
            identity=attempt("check"), cause="data", reason="no header", error_type="ValueError", fingerprint="f00d"
        )
    )
    emit(DagRunFailed(identity=Identity(dag_id="flights", run_id="r", trace_id=TRACE), reason="x", duration_ns=1000))


def tags(about):
    return {one["key"]: one["value"] for one in about["tags"]}


def test_jaeger_gives_back_the_run_its_attempts_and_steps_as_one_trace(settings):
    play()
    with Jaeger() as jaeger:
        otlp = replace(
            settings,
            relay=replace(settings.relay, sinks=("otlp",)),
            otlp=replace(settings.otlp, url=jaeger.url, signals=("traces",)),
        )
        for _ in ("sent", "sent again"):
            assert Relay(otlp, statsd=False).run(once=True, patience_s=60)
            for left in (otlp.home / "checkpoints").glob("otlp.db*"):
                left.unlink()
        assert jaeger.asked("services") == ["airflow"]
        (trace,) = jaeger.asked(f"traces/{TRACE}")
    spans = trace["spans"]
    names = {one["spanID"]: one["operationName"] for one in spans}
    parents = sorted(
        (one["operationName"], [names[up["spanID"]] for up in one["references"] if up["refType"] == "CHILD_OF"])
        for one in spans
    )
    assert parents == [
        ("check", ["flights"]), ("flights", []), ("load", ["flights"]), ("load", ["flights"]), ("read", ["load"]),
    ]  # fmt: skip
    assert len(names) == len(spans)
    by_try = {tags(one).get("airflow.try_number"): one for one in spans if one["operationName"] == "load"}
    assert (tags(by_try[1])["error"], tags(by_try[1])["otel.status_description"]) == (True, "SIGKILL")
    assert "error" not in tags(by_try[2])
    assert [field["value"] for log in by_try[2]["logs"] for field in log["fields"] if field["key"] == "event"] == [
        "rows.rejected"
    ]
    (check,) = [one for one in spans if one["operationName"] == "check"]
    said = {field["key"]: field["value"] for log in check["logs"] for field in log["fields"]}
    assert (said["event"], said["exception.type"]) == ("exception", "ValueError")
