"""The protocol of a sink: what it is given and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, get_args

from observability.errors import SinkUnavailable
from observability.option_types import SinkName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from observability.relay.checkpoint import Checkpoint
    from observability.settings import Settings

__all__ = [
    "Batch",
    "Rejected",
    "SendResult",
    "Sink",
    "SinkUnavailable",
    "carried",
    "joined",
    "open_sink",
]


_CHOOSING = frozenset({"otlp"})
"""Sinks whose module says by ``datasets`` what they take.

They are named here because this is asked before a sink's module is loaded: one that cannot be loaded costs its own
worker, not the relay.
"""
_COUNTS = ("stored", "duplicates", "dropped")


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive documents of one file, in order, all of one dataset.

    ``ids[i]`` (ASCII) is the identity of ``documents[i]`` (a flat JSON object in UTF-8, no newline).
    ``group`` names what order must be kept within (a try's log, a component's log, the journal) and
    ``source`` the file, relative to the log folder or the journal. ``resent`` is True where part of it
    may have been stored before: after a crash or a lost reply. ``prefix`` is what most of the documents
    begin with, for a sink that stores it once, ``lines`` what they were made of, for a quick look at all of it.
    """

    dataset: str
    source: str
    group: str
    ids: list[bytes]
    documents: list[bytes]
    resent: bool = False
    prefix: bytes = b""
    lines: bytes = b""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that the service will never take, and why; ``written`` (s since 1970) where it is for its age."""

    index: int
    reason: str
    written: float | None = None


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of a batch: stored + duplicates + rejected + dropped = documents given.

    ``dropped`` counts those that the service refused without saying which; the sink has counted the loss.
    """

    stored: int
    duplicates: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    dropped: int = 0


class Sink(Protocol):
    """One service. Used by one thread. A sink that inherits from this has what it does not say otherwise."""

    name: str
    gathers: bool = False
    """True where many small files go at the cost of one: the worker then sends them together."""
    remark: str = ""
    """A limit for people to know of, although it takes records."""

    def send(self, batch: Batch) -> SendResult:
        """Store the batch, each document once. Raises :class:`SinkUnavailable` when nothing can be said."""

    def send_all(self, batches: Sequence[Batch]) -> SendResult:
        """As :meth:`send`, for files of one dataset; ``rejected`` counts through all batches."""
        return joined(batches, [self.send(batch) for batch in batches])

    def checkpoint(self) -> Checkpoint | None:
        """The cursors in its own store, committed with each batch; None for a sink that has no such place."""
        return None

    def prune(self) -> None:
        """Do a little of the housekeeping; called often, while there is nothing to send."""
        return

    def close(self) -> None:
        """Let go of connections."""


def joined(batches: Sequence[Batch], answers: Sequence[SendResult]) -> SendResult:
    """The answers for some batches as one for all of them."""
    rejected, before = [], 0
    for batch, answer in zip(batches, answers, strict=True):
        rejected += [replace(one, index=before + one.index) for one in answer.rejected]
        before += len(batch.ids)
    stored, duplicates, dropped = (sum(getattr(one, name) for one in answers) for name in _COUNTS)
    return SendResult(stored, duplicates, rejected, dropped)


def open_sink(name: str, settings: Settings) -> Sink:
    """The sink called ``name``: the module of that name beside this one, imported here and not before.

    Raises ValueError where ``option_types.SinkName`` does not list it.
    """
    known = get_args(SinkName)
    if name not in known:
        raise ValueError(f"[relay] sinks names {name!r}; it must be one of {', '.join(known)}")
    sink: Sink = import_module(f"observability.relay.sinks.{name}").open_sink(settings)
    return sink


def carried(name: str, settings: Settings) -> frozenset[str] | None:
    """The datasets that the sink called ``name`` takes; None for all, and without loading the client of such a sink."""
    if name not in _CHOOSING:
        return None
    found: frozenset[str] = import_module(f"observability.relay.sinks.{name}").datasets(settings)
    return found
