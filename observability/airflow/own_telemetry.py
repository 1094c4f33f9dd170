"""Let OpenTelemetry in people's own code join the attempt: ``[otlp] receive_port`` asks for it.

The attempt's span becomes the current one of the task's process, and ``TRACEPARENT`` says it to the programs that the
task starts. OpenTelemetry's variables name the relay, unless somebody has set one of them.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from observability.events import TaskStarted
from observability.settings import get_settings

if TYPE_CHECKING:
    from observability.events import Identity

__all__ = ["join_attempt"]

_NAMED = re.compile(r"OTEL_EXPORTER_OTLP_(?:[A-Z]+_)?(?:ENDPOINT|PROTOCOL)")
_SAMPLED = 1


def join_attempt(about: Identity) -> None:
    """Have spans, metrics and log records of this process go to the relay, as parts of the attempt ``about``."""
    options = get_settings().otlp
    if not options.receive_port:
        return
    if not any(map(_NAMED.fullmatch, os.environ)):
        host = f"[{options.receive_host}]" if ":" in options.receive_host else options.receive_host
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{host}:{options.receive_port}"
        os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
    from observability.relay.otlp.ids import attempt_span, derived_trace, trace_in

    fields = TaskStarted(identity=about).document()
    trace, span = trace_in(fields) or derived_trace(fields), attempt_span(fields)
    if span is None:
        return
    os.environ.setdefault("TRACEPARENT", f"00-{trace.hex()}-{span.hex()}-01")
    _make_current(trace, span)


def _make_current(trace: bytes, span: bytes) -> None:
    """Make the attempt's span current, unless Airflow records one of its own."""
    from opentelemetry.context import attach
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        get_current_span,
        set_span_in_context,
    )

    if get_current_span().is_recording():
        return
    context = SpanContext(
        int.from_bytes(trace, "big"), int.from_bytes(span, "big"), is_remote=True, trace_flags=TraceFlags(_SAMPLED)
    )
    attach(set_span_in_context(NonRecordingSpan(context)))
