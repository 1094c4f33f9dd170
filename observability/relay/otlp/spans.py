"""Events as spans: run → task attempt → step, each sent once it has ended.

A run or an attempt ends with the first event that says so; what another process says of the same end later is a log
record only. A killed attempt ends with the relay's own ``task.killed``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from observability.events import provider_of
from observability.relay.otlp import ids
from observability.relay.otlp.log_records import NAMES, OF_RESOURCE
from observability.relay.otlp.open_spans import Link, OpenSpan, OpenSpans
from observability.relay.otlp.wire import value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Spans"]

_RUN_ENDS = frozenset({"dag_run.succeeded", "dag_run.failed"})
_ATTEMPT_ENDS = frozenset(
    {"task.succeeded", "task.failed", "task.retried", "task.skipped", "task.killed", "task.removed"}
)
_STEP_ENDS = frozenset({"step.measured", "step.failed"})
_BEGINS = frozenset({"task.started", "dag_run.started"})
_SAID_TWICE = "relay+reconciler"
"""The source of a failure that the relay of the attempt's own host has told of as ``task.killed``."""
_FROM_AFAR = "reconciler"
"""The watcher, which asks Airflow of every host: what began on another host, the relay there sends."""
_LEFT_OUT = frozenset(
    {"@timestamp", "event.id", "event.kind", "event.sequence", "event.duration", "log.level", "message", "trace.id",
     "process.pid", *OF_RESOURCE}
)  # fmt: skip
_ERROR = ("error.type", "error.message", "error.stack_trace")
_RUN_PATH: Final = re.compile(r"dags/([^/]+)/runs/([^/]+)(?:/tasks/([^/?]+)(?:/mapped/(\d+))?)?")
_FLAGS = 0x01
"""Sampled (W3C trace context)."""


class Spans:
    """Makes spans of events, one at a time in the order of the journal; ``memory`` holds what is open."""

    def __init__(self, memory: OpenSpans) -> None:
        self._memory = memory

    def trace_of(self, fields: Mapping[str, Any]) -> bytes:
        """The trace of the run that ``fields`` are about: as its events say, b"" where none was seen."""
        run = ids.run_key(fields)
        return self._memory.trace(run) if run else b""

    def take(self, fields: dict[str, Any]) -> Span | None:
        """The span that ends with the event ``fields``; None where none does."""
        run, action = ids.run_key(fields), str(fields.get("event.action"))
        if run is None or "canary.probe" in fields or not isinstance(fields.get("event.id"), str):
            return None
        trace = self._trace(run, fields)
        attempt = ids.attempt_span(fields)
        self._note_links(run, fields, trace, attempt)
        if action in _STEP_ENDS:
            return self._step(fields, trace, attempt)
        if action in _RUN_ENDS and "airflow.task_id" not in fields:
            return self._ended(fields, trace, ids.run_span(fields, trace), b"", self._memory.links(run))
        if action in _ATTEMPT_ENDS and attempt is not None:
            return self._ended(fields, trace, attempt, ids.run_span(fields, trace), self._triggered(fields))
        span = attempt if "airflow.task_id" in fields else ids.run_span(fields, trace)
        if span is not None and action in _BEGINS:
            self._memory.note_start(span, ids.nanoseconds_of(fields.get("@timestamp")))
        elif span is not None:
            self._memory.add_event(span, fields["event.id"], orjson.dumps(fields))
        return None

    def _trace(self, run: bytes, fields: Mapping[str, Any]) -> bytes:
        """Airflow's trace of the run, as this or an earlier event says; else one derived from DAG and run."""
        told, known = ids.trace_in(fields), self._memory.trace(run)
        trace = told or known or ids.derived_trace(fields)
        if trace != known:
            self._memory.note_run(run, trace)
        return trace

    def _ended(
        self, fields: dict[str, Any], trace: bytes, span: bytes, parent: bytes, links: list[Link]
    ) -> Span | None:
        if provider_of(fields) == _SAID_TWICE:
            self._memory.add_event(span, fields["event.id"], orjson.dumps(fields))
            return None
        begun = provider_of(fields) == _FROM_AFAR
        found = self._memory.end(span, fields["event.id"], begun=begun)
        if found is None:
            return None
        made = _span(fields, trace, span, parent, found)
        made.name = str(fields.get("airflow.task_id") or fields.get("airflow.dag_id"))
        for link in links:
            made.links.add(trace_id=link.trace, span_id=link.span, flags=_FLAGS)
        return made

    def _step(self, fields: dict[str, Any], trace: bytes, attempt: bytes | None) -> Span:
        """A step, below its attempt."""
        parent = attempt or ids.run_span(fields, trace)
        made = _span(fields, trace, ids.event_span(fields["event.id"]), parent, OpenSpan(0, [], 0))
        made.name = str(fields.get("etl.step"))
        return made

    def _note_links(self, run: bytes, fields: Mapping[str, Any], trace: bytes, attempt: bytes | None) -> None:
        """Remember which spans began which run: updates of assets, and tasks that trigger a DAG."""
        for path in fields.get("airflow.upstream") or ():
            link = self._link_to(path)
            if link is not None:
                self._memory.add_link(run, link)
        triggered = _at(fields.get("airflow.triggered"))
        if triggered is not None and attempt is not None and (other := ids.run_key(triggered)) is not None:
            self._memory.add_link(other, Link(trace, attempt))

    def _triggered(self, fields: Mapping[str, Any]) -> list[Link]:
        """The run that a task has triggered, where an event of it was seen."""
        link = self._link_to(fields.get("airflow.triggered"))
        return [link] if link else []

    def _link_to(self, path: Any) -> Link | None:
        """The span of the run, or of the attempt, at a path in Airflow's UI."""
        about = _at(path)
        run = ids.run_key(about) if about else None
        if about is None or run is None:
            return None
        trace = self._memory.trace(run) or ids.derived_trace(about)
        return Link(trace, ids.run_span(about, trace))


def _at(path: Any) -> dict[str, Any] | None:
    match = _RUN_PATH.fullmatch(path) if isinstance(path, str) else None
    if match is None:
        return None
    return {"airflow.dag_id": unquote(match[1]), "airflow.run_id": unquote(match[2])}


def _span(fields: dict[str, Any], trace: bytes, span: bytes, parent: bytes, found: OpenSpan) -> Span:
    """A span that ends with the event ``fields``, without its name."""
    end = ids.nanoseconds_of(fields.get("@timestamp"))
    took = fields.get("event.duration")
    told = end - took if isinstance(took, int) and 0 <= took <= end else 0
    start = min(found.start or told or end, end)
    made = Span(
        trace_id=trace, span_id=span, parent_span_id=parent, kind=Span.SPAN_KIND_INTERNAL, flags=_FLAGS,
        start_time_unix_nano=start, end_time_unix_nano=end, dropped_events_count=found.dropped,
    )  # fmt: skip
    made.attributes.extend(_attributes(fields, without=_ERROR))
    if not (found.start or told):
        made.attributes.append(KeyValue(key="airflow.start_unknown", value=AnyValue(bool_value=True)))
    for document in found.events:
        _add_event(made, orjson.loads(document))
    made.events.sort(key=lambda event: event.time_unix_nano)
    if fields.get("event.outcome") == "failure":
        made.status.code = Status.STATUS_CODE_ERROR
        made.status.message = str(fields.get("event.reason") or fields.get("error.message") or fields.get("message"))
        if "error.type" in fields:
            made.events.add(name="exception", time_unix_nano=end).attributes.extend(
                _attributes({name: fields[name] for name in _ERROR if name in fields})
            )
    return made


def _add_event(span: Span, fields: dict[str, Any]) -> None:
    when = ids.nanoseconds_of(fields.get("@timestamp"))
    told = {name: one for name, one in fields.items() if name not in _ABOUT}
    span.events.add(name=str(fields.get("event.action")), time_unix_nano=when).attributes.extend(_attributes(told))


_ABOUT = frozenset(
    f"airflow.{name}"
    for name in ("dag_id", "task_id", "run_id", "try_number", "map_index", "run_path", "ti_id", "operator", "owner",
                 "pool", "queue", "run_type", "logical_date", "bundle", "tags")
) | {"event.action"}  # fmt: skip
"""Fields that the span itself has."""


def _attributes(fields: Mapping[str, Any], without: tuple[str, ...] = ()) -> list[KeyValue]:
    """Fields as attributes, by the names that OpenTelemetry has for them."""
    return [
        KeyValue(key=NAMES.get(name, name), value=AnyValue.FromString(value(content)))
        for name, content in fields.items()
        if content is not None and name not in _LEFT_OUT and name not in without
    ]
