"""Requests of OTLP as documents of the journal: one for each span, metric or log record, with its resource and scope.

A document holds an export request with that one item in base64, so that requests can be made of any of them by putting
their bytes one behind the other. Its id is a function of the bytes: what an SDK sends again is the same document.
Secrets are masked before it is on disk, as in a log line: by their values, their looks, and the names of attributes.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import orjson
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from observability import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["documents_of", "request_in"]

_SHAPES: Final[dict[str, tuple[Any, str, str, str]]] = {
    "logs": (ExportLogsServiceRequest, "resource_logs", "scope_logs", "log_records"),
    "metrics": (ExportMetricsServiceRequest, "resource_metrics", "scope_metrics", "metrics"),
    "traces": (ExportTraceServiceRequest, "resource_spans", "scope_spans", "spans"),
}
"""The request of each signal, and the names of its groups by resource, by scope, and of the items in them."""


def documents_of(signal: str, body: bytes, when: str) -> Iterator[bytes]:
    """A document for each item of a request that came at ``when``. Raises ValueError for what is not one."""
    kind, resources, scopes, items = _SHAPES[signal]
    try:
        message = kind.FromString(body)
    except DecodeError as error:
        raise ValueError(f"not a request of OTLP: {error}") from error
    message.DiscardUnknownFields()  # no mask could look into them
    for of_resource in getattr(message, resources):
        for of_scope in getattr(of_resource, scopes):
            alone = kind()
            group = getattr(alone, resources).add(resource=of_resource.resource, schema_url=of_resource.schema_url)
            inner = getattr(group, scopes).add(scope=of_scope.scope, schema_url=of_scope.schema_url)
            for item in getattr(of_scope, items):
                held = getattr(inner, items)
                held.append(item)
                content = alone.SerializeToString()
                if not redact.is_clean(content):
                    _mask(alone)
                    content = alone.SerializeToString()
                del held[:]
                yield orjson.dumps(
                    {
                        "event.id": blake2b(content, digest_size=16).hexdigest(),
                        "@timestamp": when,
                        "otlp": base64.b64encode(content).decode("ascii"),
                    }
                )


def _mask(message: Message, name: str = "") -> None:
    """Mask the texts in a message; ``name`` is that of the attribute which it is the value of."""
    below = str(getattr(message, "key", name))
    for field, content in message.ListFields():
        if isinstance(content, Message):
            _mask(content, below)
        elif isinstance(content, str):
            setattr(message, field.name, _without_secrets(name, content))
        elif field.type == field.TYPE_MESSAGE:
            for one in content:
                _mask(one, below)
        elif field.type == field.TYPE_STRING:
            content[:] = [_without_secrets(name, one) for one in content]


def _without_secrets(name: str, content: str) -> str:
    return str(next(iter(redact.document({name: content}).values()))) if name else redact.text(content)


def request_in(document: bytes) -> bytes:
    """The request in a document. Raises ValueError where it holds none."""
    try:
        return base64.b64decode(orjson.loads(document)["otlp"], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError("not a document of an OTLP request") from error
