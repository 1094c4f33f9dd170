"""Spans of the journal that the library itself wrote, as a strict receiver has them."""

import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from otlp_receiver import OtlpReceiver, attributes

from observability.emit import emit
from observability.events import (
    DagRunFailed,
    DagRunStarted,
    DagRunSucceeded,
    Identity,
    RowsRejected,
    StepFailed,
    StepMeasured,
    TaskFailed,
    TaskKilled,
    TaskRetried,
    TaskStarted,
    TaskSucceeded,
    ui_path,
)
from observability.relay.otlp.open_spans import Link, OpenSpans
from observability.relay.relay import Relay

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
TRACE = "0af7651916cd43dd8448eb211c80319c"
SECOND = 1_000_000_000


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def ns(seconds):
    return int(NOON.timestamp()) * SECOND + seconds * SECOND


def run_of(run_id="r1", dag_id="flights", trace=TRACE):
    return Identity(dag_id=dag_id, run_id=run_id, trace_id=trace)


def attempt(number=1, task_id="load", trace=TRACE, run_id="r1", **more):
    return Identity(
        dag_id="flights", task_id=task_id, run_id=run_id, try_number=number, map_index=-1, trace_id=trace, **more
    )


@pytest.fixture
def receiver():
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def carry(settings, receiver):
    """Send what is in the journal; each call is a relay of its own."""
    otlp = replace(
        settings, relay=replace(settings.relay, sinks=("otlp",)), otlp=replace(settings.otlp, url=receiver.url)
    )

    def once():
        assert Relay(otlp, statsd=False).run(once=True, patience_s=20)
        return {span.name: span for span in receiver.spans}

    once.settings = otlp
    return once


def test_a_run_its_attempts_and_its_steps_are_one_tree_in_airflows_own_trace(carry, receiver):
    emit(DagRunStarted(identity=run_of(), time=at(0)))
    emit(TaskStarted(identity=attempt(), time=at(1)))
    emit(StepMeasured(identity=attempt(), step="read", rows_in=5, time=at(3), duration_ns=SECOND))
    emit(TaskSucceeded(identity=attempt(), time=at(5), duration_ns=3 * SECOND))
    emit(DagRunSucceeded(identity=run_of(), time=at(6), duration_ns=6 * SECOND))
    spans = carry()
    assert sorted(spans) == ["flights", "load", "read"]
    assert {span.trace_id.hex() for span in receiver.spans} == {TRACE}
    assert spans["flights"].parent_span_id == b""
    assert spans["load"].parent_span_id == spans["flights"].span_id
    assert spans["read"].parent_span_id == spans["load"].span_id
    times = {name: (span.start_time_unix_nano, span.end_time_unix_nano) for name, span in spans.items()}
    assert times == {"flights": (ns(0), ns(6)), "load": (ns(1), ns(5)), "read": (ns(2), ns(3))}
    assert attributes(spans["read"])["etl.rows_in"] == 5
    assert {span.status.code for span in receiver.spans} == {0}


def test_a_span_may_begin_in_one_relay_and_end_in_another(carry, receiver):
    emit(TaskStarted(identity=attempt(), time=at(1)))
    emit(RowsRejected(identity=attempt(), step="check", rule="positive", rows_rejected=17, time=at(2)))
    assert carry() == {}
    emit(TaskSucceeded(identity=attempt(), time=at(5)))
    span = carry()["load"]
    assert span.start_time_unix_nano == ns(1)
    assert [(one.name, one.time_unix_nano) for one in span.events] == [("rows.rejected", ns(2))]
    told = attributes(span.events[0])
    assert (told["etl.rule"], told["etl.rows_rejected"]) == ("positive", 17)
    assert "airflow.dag_id" not in told


def test_a_failure_has_its_status_and_its_exception(carry):
    emit(TaskStarted(identity=attempt(), time=at(1)))
    emit(
        TaskRetried(
            identity=attempt(), time=at(2), cause="data", reason="rows are missing",
            error_type="ValueError", error_message="no rows", stack_trace="Traceback …",
        )
    )  # fmt: skip
    span = carry()["load"]
    assert (span.status.code, span.status.message) == (2, "rows are missing")
    exception = attributes(span.events[-1])
    assert span.events[-1].name == "exception"
    assert exception["exception.type"] == "ValueError"
    assert exception["exception.stacktrace"] == "Traceback …"
    assert attributes(span)["airflow.cause"] == "data"


def test_a_killed_attempt_has_one_span_whoever_says_so_afterwards(carry, receiver):
    emit(TaskStarted(identity=attempt(), time=at(1)))
    known = Identity(dag_id="flights", task_id="load", run_id="r1", try_number=1, map_index=-1)  # all a log's path says
    emit(TaskKilled(identity=known, time=at(4), cause="oom", reason="the kernel killed it", signal="SIGKILL"))
    emit(TaskFailed(identity=attempt(), time=at(5), cause="oom", reason="the same", provider="relay+reconciler"))
    emit(TaskRetried(identity=attempt(), time=at(6), cause="lost_heartbeat", reason="given up", provider="listener"))
    carry()
    (span,) = receiver.spans
    assert (span.trace_id.hex(), span.start_time_unix_nano, span.end_time_unix_nano) == (TRACE, ns(1), ns(4))
    assert (attributes(span)["airflow.cause"], attributes(span)["airflow.signal"]) == ("oom", "SIGKILL")
    assert len(receiver.logs) == 4
    assert {record.span_id for record in receiver.logs} == {span.span_id}


def test_what_the_watcher_says_of_another_hosts_attempt_makes_no_span_here(carry, receiver):
    emit(TaskFailed(identity=attempt(), time=at(5), cause="app", reason="it failed", provider="reconciler"))
    assert carry() == {}
    emit(TaskStarted(identity=attempt(2), time=at(6)))
    emit(TaskFailed(identity=attempt(2), time=at(9), cause="app", reason="it failed", provider="reconciler"))
    assert carry()["load"].start_time_unix_nano == ns(6)


def test_a_run_for_which_airflow_has_no_trace_has_one_derived_from_its_name(carry, receiver):
    emit(StepFailed(identity=attempt(trace=None), step="read", time=at(2), duration_ns=SECOND))
    emit(TaskFailed(identity=attempt(trace=None), time=at(3), duration_ns=SECOND, cause="app", reason="x"))
    emit(DagRunFailed(identity=run_of(trace=None), time=at(4), duration_ns=SECOND, reason="x"))
    spans = carry()
    assert len({span.trace_id for span in receiver.spans}) == 1
    assert spans["load"].parent_span_id == spans["flights"].span_id


def test_a_run_that_was_cleared_has_a_span_of_its_own(carry, receiver):
    emit(DagRunSucceeded(identity=run_of(), time=at(1), discriminator="1", duration_ns=SECOND))
    emit(DagRunSucceeded(identity=run_of(trace=TRACE[::-1]), time=at(9), discriminator="2", duration_ns=SECOND))
    carry()
    assert len({span.span_id for span in receiver.spans}) == len({span.trace_id for span in receiver.spans}) == 2


def test_attempts_mapped_tasks_and_iterations_have_spans_of_their_own(carry, receiver):
    for number, index, iteration in (
        (1, -1, None),
        (2, -1, None),
        (1, 0, None),
        (1, 1, None),
        (1, -1, "0"),
        (1, -1, "1"),
    ):
        about = replace(attempt(number), map_index=index, iteration=iteration)
        emit(TaskSucceeded(identity=about, time=at(1), duration_ns=SECOND))
    carry()
    assert len({span.span_id for span in receiver.spans}) == 6


def test_a_run_that_a_task_triggered_and_one_that_assets_began_link_to_where_they_came_from(carry):
    emit(DagRunStarted(identity=run_of(), time=at(0)))
    emit(TaskSucceeded(identity=attempt(), time=at(1), duration_ns=SECOND, triggered=ui_path("other/dag", "r 2")))
    emit(DagRunSucceeded(identity=run_of(), time=at(2), duration_ns=SECOND))
    by_task = run_of("r 2", "other/dag", TRACE[::-1])
    emit(DagRunSucceeded(identity=by_task, time=at(3), duration_ns=SECOND))
    by_asset = run_of("r3", "report", "1" * 32)
    emit(DagRunStarted(identity=by_asset, time=at(3), upstream=(ui_path("flights", "r1", "load", 3),)))
    emit(DagRunSucceeded(identity=by_asset, time=at(4), duration_ns=SECOND))
    spans = carry()
    (from_task,), (from_asset,) = spans["other/dag"].links, spans["report"].links
    assert (from_task.trace_id.hex(), from_task.span_id) == (TRACE, spans["load"].span_id)
    assert (from_asset.trace_id.hex(), from_asset.span_id) == (TRACE, spans["flights"].span_id)


def test_lines_of_a_try_belong_to_its_span(carry, receiver, logs):
    from relay_lines import line

    logs.write(
        line("loaded", 1),
        "dag_id=flights/run_id=r1/task_id=load/attempt=1.log",
    )
    emit(TaskStarted(identity=attempt(), time=at(1)))
    emit(TaskSucceeded(identity=attempt(), time=at(5)))
    span = carry()["load"]
    logs.write(line("late", 9), "dag_id=flights/run_id=r1/task_id=load/attempt=1.log")
    carry()
    record = receiver.logs[-1]
    assert (record.trace_id.hex(), record.span_id) == (TRACE, span.span_id)


def test_a_batch_that_is_read_again_makes_the_same_spans(carry, receiver, settings):
    random.seed(1)
    for number in range(30):
        about = attempt(number)
        emit(TaskStarted(identity=about, time=at(number)))
        emit(RowsRejected(identity=about, step="check", rule="x", rows_rejected=number, time=at(number)))
        emit(TaskKilled(identity=about, time=at(number + 2), cause="killed", reason="x"))
        emit(TaskFailed(identity=about, time=at(number + 3), cause="killed", reason="x", provider="listener"))
    carry()
    first = {span.span_id: span.SerializeToString(deterministic=True) for span in receiver.spans}
    (settings.home / "checkpoints" / "otlp.db").unlink()
    for left in (settings.home / "checkpoints").glob("otlp.db-*"):
        left.unlink()
    receiver.spans.clear()
    carry()
    assert {span.span_id: span.SerializeToString(deterministic=True) for span in receiver.spans} == first
    assert len(first) == len(receiver.spans) == 30


def test_a_memory_that_is_lost_or_no_database_costs_a_beginning_and_no_span(carry, receiver, settings):
    emit(TaskStarted(identity=attempt(), time=at(1)))
    carry()
    memory = settings.home / "otlp-spans.db"
    for left in settings.home.glob("otlp-spans.db*"):
        left.unlink()
    memory.write_bytes(b"no database at all" * 100)
    emit(TaskSucceeded(identity=attempt(), time=at(5)))
    span = carry()["load"]
    assert span.start_time_unix_nano == span.end_time_unix_nano == ns(5)
    assert attributes(span)["airflow.start_unknown"] is True


def test_a_span_keeps_as_many_events_as_opentelemetry_does_and_counts_the_rest(carry):
    emit(TaskStarted(identity=attempt(), time=at(1)))
    for number in range(140):
        emit(
            RowsRejected(identity=attempt(), step="s", rule="x", rows_rejected=1, time=at(2), discriminator=str(number))
        )
    emit(TaskSucceeded(identity=attempt(), time=at(5)))
    span = carry()["load"]
    assert (len(span.events), span.dropped_events_count) == (128, 12)


def test_what_was_not_heard_of_for_a_month_is_forgotten(tmp_path):
    memory = OpenSpans(tmp_path / "home" / "spans.db")
    memory.note_start(b"old", 1)
    memory.add_event(b"old", "fact", b"{}")
    memory.note_run(b"run", b"trace")
    memory.add_link(b"run", Link(b"t", b"s"))
    memory.commit()
    memory._database.execute("UPDATE spans_of_runs SET seen = 1")
    memory._database.execute("UPDATE links SET seen = 1")
    memory.prune()
    assert memory.end(b"old", "end", begun=True) is None
    assert (memory.links(b"run"), memory.trace(b"run")) == ([], b"trace")
    memory.close()
