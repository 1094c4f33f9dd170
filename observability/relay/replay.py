"""Send dead letters again, after their reason has been dealt with."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from observability.relay.dead_letters import DeadLetters, Letter
from observability.relay.sinks.sink import Batch, SinkUnavailable, open_sink

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["Outcome", "replay"]

_MOST_AT_ONCE = 500


@dataclass(slots=True)
class Outcome:
    """The result of a replay; ``dropped`` were refused by the service without saying which."""

    stored: int = 0
    duplicates: int = 0
    left: int = 0
    dropped: int = 0


def replay(settings: Settings, name: str) -> Outcome:
    """Send the dead letters of the sink ``name`` again. Raises :class:`SinkUnavailable`; nothing is lost then."""
    sink = open_sink(name, settings)
    letters = DeadLetters(settings.home / "dead-letters", name, settings.relay.dead_letter_limit_bytes)
    outcome = Outcome()
    try:
        for path, found in letters.take():
            left: list[Letter] = list(found)
            try:
                while left and (one := _next(left)):
                    answer = sink.send(_batch(one))
                    outcome.stored += answer.stored
                    outcome.duplicates += answer.duplicates
                    outcome.dropped += answer.dropped
                    refused = [{**one[item.index], "reason": item.reason} for item in answer.rejected]
                    left = left[len(one) :]
                    outcome.left += len(refused)
                    letters.write(refused)
            except SinkUnavailable:
                letters.write(left)
                path.unlink()
                raise
            path.unlink()
    finally:
        sink.close()
    return outcome


def _next(letters: list[Letter]) -> list[Letter]:
    _, alike = next(groupby(letters, key=lambda letter: (letter["dataset"], letter["source"])))
    return list(alike)[:_MOST_AT_ONCE]


def _batch(letters: list[Letter]) -> Batch:
    first = letters[0]
    ids = [letter["id"].encode() for letter in letters]
    documents = [letter["document"].encode() for letter in letters]
    return Batch(first["dataset"], first["source"], first["group"], ids, documents, resent=True)
