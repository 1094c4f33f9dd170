"""OpenTelemetry: log records, metric points and spans to any receiver of OTLP over HTTP, at least once.

A request that was not acknowledged is sent again, and what is in it has the same ids as before. A receiver that takes
a part of a request does not say which: those records are counted as lost, by its reason. What it drops after it
answered 200 cannot be known here.
"""

from __future__ import annotations

import socket
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import orjson

from observability.__about__ import __version__
from observability.catalog import RECEIVED
from observability.contain import count_loss
from observability.credentials import CredentialsError
from observability.relay.otlp.attributes import Attributes
from observability.relay.otlp.destination import Signal, destination, resource
from observability.relay.otlp.log_records import LogRecords
from observability.relay.otlp.open_spans import OpenSpans, open_spans
from observability.relay.otlp.receiver import Accepted, Receiver, Refused
from observability.relay.otlp.wire import attributes, delimited, varint
from observability.relay.sinks.sink import Batch, Rejected, SendResult, Sink, SinkUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from observability.relay.otlp.spans import Spans
    from observability.settings import Settings

__all__ = ["OtlpSink", "datasets", "open_sink"]

_DATASETS: dict[str, tuple[Signal, ...]] = {
    "airflow.task": ("logs",),
    "airflow.component": ("logs",),
    "etl.event": ("traces", "logs"),  # the records then know the traces
    "contrail.alert": ("logs",),
    "airflow.audit": ("logs",),
    "contrail.probe": ("logs",),
    "airflow.statsd": ("metrics",),
    **{dataset: (signal,) for dataset, signal in RECEIVED.items()},
}
_T = TypeVar("_T")
_ATTRIBUTES: Final = b"\x0a"
_MEMORY = "otlp-spans.db"


class _Items(NamedTuple):
    """Records as bytes, and the ids of the documents that they are made of."""

    ids: Sequence[bytes]
    records: Sequence[bytes]

    def halves(self) -> list[_Items]:
        """The second half and the first, for a stack."""
        middle = len(self.ids) // 2
        return [
            _Items(self.ids[middle:], self.records[middle:]),
            _Items(self.ids[:middle], self.records[:middle]),
        ]

    def without(self, ids: set[bytes]) -> _Items:
        """The records but those of ``ids``."""
        left = [one for one in zip(self.ids, self.records, strict=True) if one[0] not in ids]
        return _Items([key for key, _ in left], [record for _, record in left])


@dataclass(slots=True)
class _Progress:
    """The part of a batch that the receiver has acknowledged: a retry asks for the rest only."""

    taken: dict[Signal, list[Sequence[bytes]]] = field(default_factory=dict)
    refused: dict[bytes, str] = field(default_factory=dict)
    unnamed: int = 0

    def settled(self, signal: Signal) -> set[bytes]:
        """The ids that need not be sent (again)."""
        return set(self.refused).union(*self.taken.get(signal, ()))


class OtlpSink(Sink):
    """The receivers that ``connect`` gives for each signal, when its first batch comes and again after a failure."""

    name = "otlp"
    gathers = True

    def __init__(
        self,
        connect: Callable[[Signal], Receiver],
        signals: Sequence[Signal],
        who: Mapping[str, str],
        told: Mapping[str, str],
        open_memory: Callable[[], OpenSpans],
    ) -> None:
        self._connect = connect
        self._signals = frozenset(signals)
        self._told = told
        self._resource = delimited(b"\x0a", attributes(_ATTRIBUTES, who))
        self._open_memory = open_memory
        self._memory: OpenSpans | None = None
        self._spans: Spans | None = None
        self._attributes = Attributes(told)
        self._records = LogRecords(self._attributes, self._trace_of)
        self._receivers: dict[Signal, Receiver] = {}
        self._progress = _Progress()
        self._has_taken: set[Signal] = set()
        self._unnamed = 0

    def send(self, batch: Batch) -> SendResult:
        """Send the records of the batch. Raises :class:`SinkUnavailable`."""
        return self.send_all([batch])

    def send_all(self, batches: Sequence[Batch]) -> SendResult:
        """Send the records of all batches, in one request a signal where the receiver takes so much."""
        ids = [key for batch in batches for key in batch.ids]
        dataset = batches[0].dataset
        for signal in _DATASETS[dataset]:
            if signal in self._signals:
                self._deliver(signal, dataset, self._items(signal, batches))
        done, self._progress = self._progress, _Progress()
        refused = done.refused
        rejected = [Rejected(place, refused[key]) for place, key in enumerate(ids) if key in refused] if refused else []
        lost = min(done.unnamed, len(ids) - len(rejected))
        return SendResult(len(ids) - len(rejected) - lost, rejected=rejected, dropped=lost)

    def prune(self) -> None:
        """Forget spans that nothing was heard of for long."""
        if self._memory is not None:
            self._guarded(self._memory.prune)

    def close(self) -> None:
        """Close the connections and the memory of open spans."""
        for receiver in self._receivers.values():
            receiver.close()
        self._receivers.clear()
        if self._memory is not None:
            self._memory.close()
            self._memory = self._spans = None

    def _items(self, signal: Signal, batches: Sequence[Batch]) -> _Items:
        """The records of a signal; a document that is not JSON is refused here."""
        if batches[0].dataset in RECEIVED:
            return self._received_items(batches)
        if signal == "traces":
            return self._span_items(batches)
        ids: list[bytes] = []
        records: list[bytes] = []
        refused = self._progress.refused
        for batch in batches:
            ids += batch.ids
            records += (self._records.encode if signal == "logs" else self._metric_records)(batch, refused)
        return _Items(ids, records)

    def _received_items(self, batches: Sequence[Batch]) -> _Items:
        """Requests that people's own code sent, one for each item, with their own ids."""
        from observability.relay.otlp.received_requests import request_in

        ids: list[bytes] = []
        records: list[bytes] = []
        for batch in batches:
            for key, document in zip(batch.ids, batch.documents, strict=True):
                try:
                    records.append(request_in(document))
                    ids.append(key)
                except ValueError as error:
                    self._progress.refused[key] = str(error)
        return _Items(ids, records)

    def _metric_records(self, batch: Batch, refused: dict[bytes, str]) -> list[bytes]:
        """The metrics of each document, nothing for one that is refused."""
        from observability.relay.otlp.metric_points import metrics_of

        out: list[bytes] = []
        for key, document in zip(batch.ids, batch.documents, strict=True):
            made = metrics_of(orjson.loads(document), self._told)
            if not made:
                refused[key] = "not a series of the metric journal"
            out.append(b"".join(delimited(b"\x12", one.SerializeToString()) for one in made))
        return out

    def _span_items(self, batches: Sequence[Batch]) -> _Items:
        """The spans that end in these batches; what they leave open is on disk before anything is sent."""
        spans, memory = self._open()
        ids: list[bytes] = []
        records: list[bytes] = []

        def read() -> None:
            for batch in batches:
                for key, span in zip(batch.ids, spans.of(batch.documents), strict=True):
                    if span:
                        ids.append(key)
                        records.append(span)
            memory.commit()

        try:
            self._guarded(read)
        finally:
            memory.undo()
        return _Items(ids, records)

    def _open(self) -> tuple[Spans, OpenSpans]:
        if self._memory is None or self._spans is None:
            from observability.relay.otlp.spans import Spans

            self._memory = self._guarded(self._open_memory)
            self._spans = Spans(self._memory, self._attributes)
        return self._spans, self._memory

    def _trace_of(self, fields: Mapping[str, Any]) -> bytes:
        """The trace of a run whose line names none."""
        if "traces" not in self._signals:
            return b""
        spans, _ = self._open()
        return self._guarded(lambda: spans.trace_of(fields))

    def _guarded(self, use: Callable[[], _T]) -> _T:
        try:
            return use()
        except (sqlite3.Error, OSError) as error:
            raise SinkUnavailable(f"the memory of open spans, {_MEMORY}, cannot be used: {error}") from error

    def _deliver(self, signal: Signal, dataset: str, items: _Items) -> None:
        """Send what the receiver has neither taken nor refused yet; a request that it refuses is halved."""
        refused, taken = self._progress.refused, self._progress.taken.setdefault(signal, [])
        if taken or refused:
            items = items.without(self._progress.settled(signal))
        stack = [items] if items.ids else []
        while stack:
            some = stack.pop()
            answer = self._post(signal, self._request(dataset, some.records))
            if isinstance(answer, Accepted):
                self._has_taken.add(signal)
                taken.append(some.ids)
                if answer.rejected >= len(some.ids):
                    refused.update(dict.fromkeys(some.ids, answer.reason or "refused by the receiver"))
                else:
                    self._count_unnamed(signal, answer)
            elif len(some.ids) > 1:
                stack += some.halves()
            elif isinstance(answer, Refused) and not answer.own_words and signal not in self._has_taken:
                raise SinkUnavailable(answer.reason)  # nothing says that a receiver of OTLP is there at all
            else:
                refused[some.ids[0]] = answer.reason

    def _post(self, signal: Signal, body: bytes) -> Any:
        try:
            if signal not in self._receivers:
                self._receivers[signal] = self._connect(signal)
            return self._receivers[signal].send(body)
        except CredentialsError as error:
            raise SinkUnavailable(str(error)) from error
        except SinkUnavailable:
            if (receiver := self._receivers.pop(signal, None)) is not None:
                receiver.close()  # the Connection may have been corrected by the next time
            raise

    def _request(self, dataset: str, records: Sequence[bytes]) -> bytes:
        """An ``Export…ServiceRequest``: one resource, one scope; the three signals have the same shape."""
        if dataset in RECEIVED:
            return b"".join(records)
        scope = delimited(b"\x0a", b"contrail" if dataset != "contrail.probe" else b"contrail.probe")
        scope = delimited(b"\x0a", scope + delimited(b"\x12", __version__.encode()))
        size = len(scope) + sum(map(len, records))
        inner = b"\x12" + varint(size)
        whole = b"\x0a" + varint(len(self._resource) + len(inner) + size)
        return b"".join((whole, self._resource, inner, scope, *records))

    def _count_unnamed(self, signal: Signal, answer: Accepted) -> None:
        """Count what the receiver refused of a request that it took; OTLP forbids to send that again."""
        if answer.rejected:
            self._unnamed += answer.rejected
            self._progress.unnamed += answer.rejected
            count_loss("relay.otlp", f"{signal} that the receiver refused without naming them", answer.rejected)
            self.remark = f"the receiver refused {self._unnamed} records without naming them: {answer.reason}"


def datasets(settings: Settings) -> frozenset[str]:
    """The datasets of which ``[otlp] signals`` makes something."""
    wanted = set(settings.otlp.signals)
    return frozenset(name for name, signals in _DATASETS.items() if wanted & set(signals))


def open_sink(settings: Settings) -> OtlpSink:
    """The sink that ``[otlp]`` or OpenTelemetry's variables describe; nothing is asked before the first batch."""
    host = socket.gethostname()
    told = {"host.name": host, "service.environment": settings.core.environment, "service.name": "airflow"}
    return OtlpSink(
        lambda signal: Receiver(destination(settings, signal)),
        settings.otlp.signals,
        resource(settings, host),
        told,
        lambda: open_spans(settings.home / _MEMORY),
    )
