"""One fact, written once: :func:`emit` turns an event into its record, log line and metrics.

The catalogue says which; the caller says only what happened. Nothing here talks to a network
beyond a UDP datagram, and nothing here raises into a task.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import time
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from observability import catalog, identity, metrics, redact
from observability.contain import contained, count_loss, take_losses
from observability.encode import to_json
from observability.events import TelemetryLost, deed_of, fact_id
from observability.journal import Journal
from observability.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.events import Document, Event

__all__ = ["NOT_OURS", "PROBES", "emit", "forget", "is_recorded", "journal", "report_losses"]

PROBES = "contrail.probe"
"""The data stream of the canary's samples, so that nothing that counts or alerts has to leave them out."""
_SEEN_MOST = 10_000
_LONGEST_RECORD = 200_000
"""CloudWatch takes 262,118 bytes of an event; a longer record has its texts and lists cut."""
_LONGEST_TEXT = 20_000
_LONGEST_LIST = 200
_SAID = ("airflow.cause", "event.reason", "error.type", "error.frame", "error.fingerprint")
"""The fields of an event's log line beside its message: who reads only the log gives the same verdict."""
NOT_OURS = "journal_of_another_user"
"""The reason for the losses of a process that may not write the journal, such as a task with ``run_as_user``."""
_NOT_OURS = frozenset({errno.EACCES, errno.EPERM})
_sequence = itertools.count(1)
_seen: OrderedDict[str, None] = OrderedDict()


@lru_cache(maxsize=1)
def journal() -> Journal:
    """The journal of this process."""
    options = get_settings()
    return Journal(
        options.journal_directory, max_file_bytes=options.journal.max_file_bytes, fsync=options.journal.fsync
    )


def emit(event: Event, *, log: Callable[..., Any] | None = None) -> bool:
    """Record ``event``: journal first, then metrics, then ``log(level, message, **keys)`` if its kind has a line.

    A probe of the canary is recorded only. An event without identity gets the bound one. Returns False for a fact
    that this process has emitted already, and for one that could not be recorded, which is counted.
    """
    recorded = False
    with contained("emit"):
        recorded = _record(event, log)
    if recorded:
        report_losses()
    return recorded


def is_recorded(fact: str) -> bool:
    """True for the id of an event that this process has recorded lately."""
    return fact in _seen


def report_losses(*, last: bool = False) -> bool:
    """Report what was lost so far; True where an event of it was recorded.

    What cannot be recorded is reported with the next event, or where the process ends (``last``) by the metric alone.
    """
    with contained("emit"):
        return _report(take_losses(), last=last)
    return False


def forget() -> None:
    """Begin anew, as a fresh process does: with the journal that the settings name now, and no fact emitted yet."""
    journal.cache_clear()
    _seen.clear()


def _record(event: Event, log: Callable[..., Any] | None) -> bool:
    about = event.identity or identity.current()
    document = event.document()
    if event.identity is None and about is not None:
        document.update(about.document())
        document["event.id"] = fact_id(event.action, about, event.discriminator)
    if document["event.id"] in _seen:
        return False
    spec = catalog.EVENTS[event.action]
    document = _complete(document, spec)
    record = to_json(document)
    if len(record) > _LONGEST_RECORD:
        document = {name: _shortened(value) for name, value in document.items()}
        record = to_json(document)
    if not redact.is_clean(record):
        document = redact.document(document)
        document["message"] = spec.message.format_map(_Words(document))  # the names in it stay, what is said is masked
        record = to_json(document)
    journal().append(spec.dataset if event.probe is None else PROBES, record)
    _remember(document["event.id"])
    if event.probe is not None:
        return True
    for use in spec.metrics:
        _measure(use, document)
    if spec.log and log is not None:
        with contained("emit"):
            said = {name: document[name] for name in _SAID if name in document}
            log(
                spec.level,
                document["message"],
                **{"event.id": document["event.id"], "event.action": event.action},
                **said,
            )
    return True


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:_LONGEST_TEXT]} … {len(value) - _LONGEST_TEXT} characters more"
    return list(value[:_LONGEST_LIST]) if isinstance(value, (list, tuple)) else value


def _complete(document: Document, spec: catalog.EventSpec) -> Document:
    document["event.kind"] = "alert" if spec.dataset == "contrail.alert" else "event"
    document.setdefault("event.outcome", spec.outcome)
    document["event.sequence"] = next(_sequence)
    document["log.level"] = spec.level
    document["message"] = spec.message.format_map(_Words(document))
    document.setdefault("service.name", "airflow")
    document["service.environment"] = get_settings().core.environment
    document["host.name"] = _host()
    document["process.pid"] = os.getpid()
    return document


class _Words(dict[str, Any]):
    """A document seen by a message template, which cannot say a dot.

    A cause has its label as ``cause_label``, a row of Airflow's event log its words as ``deed``.
    A list reads as ``a, b``, an empty one as ``none``.
    """

    def __init__(self, document: Document) -> None:
        super().__init__((name.replace(".", "_"), _in_words(value)) for name, value in document.items())
        cause = document.get("airflow.cause", "?")
        self["cause_label"] = catalog.CAUSE_LABELS.get(cause, cause)
        if "airflow.audit_event" in document:
            self["deed"] = deed_of(document)

    def __missing__(self, name: str) -> str:
        return "?"


def _in_words(value: Any) -> Any:
    return ", ".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else value


def _measure(use: catalog.MetricUse, document: Document) -> None:
    spec = catalog.METRICS[use.metric]
    value = 1 if use.field is None else document.get(use.field)
    if value is None or (use.unless is not None and document.get(use.unless[0]) == use.unless[1]):
        return
    tags = {tag: str(document[field]) for tag in spec.tags if (field := catalog.TAGS[tag]) in document}
    metrics.send(use.metric, spec.type, value if use.field is None else value * use.scale, tags)


def _remember(fact: str) -> None:
    _seen[fact] = None
    if len(_seen) > _SEEN_MOST:
        _seen.popitem(last=False)


def _report(losses: dict[tuple[str, str], int], *, last: bool) -> bool:
    reported = False
    while losses:
        (stage, reason), number = losses.popitem()
        about = f"{os.getpid()}:{time.time_ns()}:{next(_sequence)}"
        try:
            reported |= _record(TelemetryLost(stage=stage, lost_reason=reason, lost=number, discriminator=about), None)
        except OSError as error:
            not_ours = error.errno in _NOT_OURS
            if not_ours or last:  # no later event of this process will be written: only the metric can say it
                tags = {"stage": stage, "reason": NOT_OURS if not_ours else reason}
                metrics.send("contrail.telemetry.losses", "counter", number, tags)
                continue
            losses[stage, reason] = number
            break
    for (stage, reason), number in losses.items():
        count_loss(stage, reason, number)
    return reported


@lru_cache(maxsize=1)
def _host() -> str:
    return socket.gethostname()
