"""Sinks: one module per service, imported when it is named in ``[relay] sinks``."""

from __future__ import annotations

from observability.relay.sinks.sink import Batch, Rejected, SendResult, Sink, SinkUnavailable, open_sink

__all__ = ["Batch", "Rejected", "SendResult", "Sink", "SinkUnavailable", "open_sink"]
