"""Events as spans: run → task attempt → step, each sent once it has ended.

A run or an attempt ends with the first event that says so; what another process says of the same end later is a log
record only. A killed attempt ends with the relay's own ``task.killed``.
"""

from __future__ import annotations

import re
import struct
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import orjson

from observability.events import provider_of
from observability.relay.otlp import ids
from observability.relay.otlp.attributes import OF_RESOURCE, Attributes
from observability.relay.otlp.open_spans import Link, OpenSpan, OpenSpans
from observability.relay.otlp.wire import delimited, varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Spans"]

_RUN_ENDS = frozenset({"dag_run.succeeded", "dag_run.failed"})
_ATTEMPT_ENDS = frozenset(
    {"task.succeeded", "task.failed", "task.retried", "task.skipped", "task.killed", "task.removed"}
)
_STEP_ENDS = frozenset({"step.measured", "step.failed"})
_BEGINS = frozenset({"task.started", "dag_run.started"})
_SAID_TWICE = "relay+reconciler"
"""The source of a failure that the relay of the attempt's own host has reported as ``task.killed``."""
_FROM_AFAR = "reconciler"
"""The watcher, which asks Airflow of every host: what began on another host, the relay there sends."""
_LEFT_OUT = frozenset(
    {"@timestamp", "event.id", "event.kind", "event.sequence", "event.duration", "log.level", "message", "trace.id",
     "process.pid", *OF_RESOURCE}
)  # fmt: skip
_ERROR = ("error.type", "error.message", "error.stack_trace")
_UNSAID = _LEFT_OUT.union(_ERROR)
_ABOUT = frozenset(
    f"airflow.{name}"
    for name in ("dag_id", "task_id", "run_id", "try_number", "map_index", "run_path", "ti_id", "operator", "owner",
                 "pool", "queue", "run_type", "logical_date", "bundle", "tags")
) | {"event.action"}  # fmt: skip
"""Fields of a span's event that the span itself has."""
_RUN_PATH: Final = re.compile(r"dags/([^/]+)/runs/([^/]+)(?:/tasks/([^/?]+)(?:/mapped/(\d+))?)?")
_SAMPLED: Final = 0x01
"""The flag of W3C trace context."""
_INTERNAL: Final = b"\x30\x01"
"""The kind of every span: internal."""
_FAILED: Final = 2
_TOGETHER = 500
"""So many documents are looked at together, and what is known of their spans is read at once."""
_bytes_8, _bytes_16 = struct.Struct("<BB8s").pack, struct.Struct("<BB16s").pack
_times = struct.Struct("<BQBQ").pack
_time = struct.Struct("<BQ").pack
_flags = struct.Struct("<HI").pack


class Spans:
    """Makes spans of events, one at a time in the order of the journal; ``memory`` holds what is open."""

    def __init__(self, memory: OpenSpans, encoder: Attributes) -> None:
        self._memory = memory
        self._attributes = encoder

    def of(self, documents: Iterable[bytes]) -> Iterator[bytes]:
        """For each event the span that ends with it, encoded with its tag; b"" where none does."""
        left = iter(documents)
        while some := [orjson.loads(document) for document in islice(left, _TOGETHER)]:
            about = [(ids.run_key(fields), ids.attempt_span(fields)) for fields in some]
            self._memory.load(_key(run, attempt) for run, attempt in about if run and attempt)
            for fields, (run, attempt) in zip(some, about, strict=True):
                yield self._taken(fields, run, attempt)

    def trace_of(self, fields: Mapping[str, Any]) -> bytes:
        """The trace of the run that ``fields`` are about: as its events say, b"" where none was seen."""
        run = ids.run_key(fields)
        return self._memory.trace(run) if run else b""

    def _taken(self, fields: dict[str, Any], run: bytes | None, attempt: bytes | None) -> bytes:
        """The span that ends with the event ``fields``; b"" where none does."""
        action = str(fields.get("event.action"))
        if run is None or "canary.probe" in fields or not isinstance(fields.get("event.id"), str):
            return b""
        trace = self._trace(run, fields)
        self._note_links(run, fields, trace, attempt)
        if action in _STEP_ENDS:
            return self._step(fields, trace, attempt)
        if action in _RUN_ENDS and "airflow.task_id" not in fields:
            return self._ended(run, fields, trace, ids.run_span(fields, trace), b"", self._memory.links(run))
        if action in _ATTEMPT_ENDS and attempt is not None:
            return self._ended(run, fields, trace, attempt, ids.run_span(fields, trace), self._triggered(fields))
        span = attempt if "airflow.task_id" in fields else ids.run_span(fields, trace)
        if span is not None and action in _BEGINS:
            self._memory.note_start(_key(run, span), ids.nanoseconds_of(fields.get("@timestamp")))
        elif span is not None:
            self._memory.add_event(_key(run, span), fields["event.id"], orjson.dumps(fields))
        return b""

    def _trace(self, run: bytes, fields: Mapping[str, Any]) -> bytes:
        """Airflow's trace of the run, as this or an earlier event says; else one derived from DAG and run."""
        given, known = ids.trace_in(fields), self._memory.trace(run)
        trace = given or known or ids.derived_trace(fields)
        if trace != known:
            self._memory.note_run(run, trace)
        return trace

    def _ended(  # noqa: PLR0913, PLR0917 - what a span is made of
        self, run: bytes, fields: dict[str, Any], trace: bytes, span: bytes, parent: bytes, links: list[Link]
    ) -> bytes:
        key = _key(run, span)
        if provider_of(fields) == _SAID_TWICE:
            self._memory.add_event(key, fields["event.id"], orjson.dumps(fields))
            return b""
        begun = provider_of(fields) == _FROM_AFAR
        found = self._memory.end(key, fields["event.id"], begun=begun)
        if found is None:
            return b""
        name = str(fields.get("airflow.task_id") or fields.get("airflow.dag_id"))
        return self._span(fields, name, _context(trace, span, parent) + b"".join(map(_link, links)), found)

    def _step(self, fields: dict[str, Any], trace: bytes, attempt: bytes | None) -> bytes:
        """A step, below its attempt."""
        parent = attempt or ids.run_span(fields, trace)
        context = _context(trace, ids.event_span(fields["event.id"]), parent)
        return self._span(fields, str(fields.get("etl.step")), context, OpenSpan(0, [], 0))

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

    def _span(self, fields: dict[str, Any], name: str, context: bytes, found: OpenSpan) -> bytes:
        """A span that ends with the event ``fields``; ``context`` has its ids and links."""
        end = ids.nanoseconds_of(fields.get("@timestamp"))
        took = fields.get("event.duration")
        began = end - took if isinstance(took, int) and 0 <= took <= end else 0
        start = min(found.start or began or end, end)
        about = {one: content for one, content in fields.items() if one not in _UNSAID}
        if not (found.start or began):
            about["airflow.start_unknown"] = True
        parts = [
            context, delimited(b"\x2a", _text(name)), _INTERNAL, _times(0x39, start, 0x41, end),
            self._attributes.encode(b"\x4a", about), _flags(0x0185, _SAMPLED),
        ]  # fmt: skip
        events = [(ids.nanoseconds_of(one.get("@timestamp")), one) for one in map(orjson.loads, found.events)]
        for when, event in sorted(events, key=lambda pair: pair[0]):
            rest = {one: content for one, content in event.items() if one not in _ABOUT}
            parts.append(self._event(str(event.get("event.action")), when, rest))
        if found.dropped:
            parts.append(b"\x60" + varint(found.dropped))
        if fields.get("event.outcome") == "failure":
            reason = str(fields.get("event.reason") or fields.get("error.message") or fields.get("message"))
            parts.append(delimited(b"\x7a", delimited(b"\x12", _text(reason)) + b"\x18" + varint(_FAILED)))
            if "error.type" in fields:
                error = {one: fields[one] for one in _ERROR if one in fields}
                parts.append(self._event("exception", end, error))
        return delimited(b"\x12", b"".join(parts))

    def _event(self, name: str, when: int, fields: Mapping[str, Any]) -> bytes:
        """An event of a span, with its tag."""
        inner = _time(9, when), delimited(b"\x12", _text(name)), self._attributes.encode(b"\x1a", fields)
        return delimited(b"\x5a", b"".join(inner))


def _key(run: bytes, span: bytes) -> bytes:
    """The key of a span in the memory."""
    return run[:8] + span


def _context(trace: bytes, span: bytes, parent: bytes) -> bytes:
    """The ids of a span and of its parent, b"" where it has none."""
    above = _bytes_8(0x22, 8, parent) if parent else b""
    return _bytes_16(0x0A, 16, trace) + _bytes_8(0x12, 8, span) + above


def _link(link: Link) -> bytes:
    inner = _bytes_16(0x0A, 16, link.trace) + _bytes_8(0x12, 8, link.span) + b"\x35" + struct.pack("<I", _SAMPLED)
    return delimited(b"\x6a", inner)


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _at(path: Any) -> dict[str, Any] | None:
    match = _RUN_PATH.fullmatch(path) if isinstance(path, str) else None
    if match is None:
        return None
    return {"airflow.dag_id": unquote(match[1]), "airflow.run_id": unquote(match[2])}
