"""Documents that a sink refused: a second try as text, and the dead letters of what is refused then."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

from observability.relay.steps.splice import repair

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from observability.relay.dead_letters import Letter
    from observability.relay.sinks.sink import Batch, Rejected, Sink

__all__ = ["send_as_text"]

_CONTENT = re.compile(r"JSON|json|pars|mapp|field|argument|exception|HTTP 400|invalid")
"""Words of a refusal that is about what is in a document."""


def send_as_text(sink: Sink, batches: list[Batch], rejected: list[Rejected], counts: Counter[str]) -> list[Letter]:
    """Send what was refused for its content again as text, add the answer to ``counts``; letters for the rest."""
    dead: list[Letter] = []
    for batch, some in _by_batch(batches, rejected):
        texts = {one.index: _as_text(batch, one) for one in some}
        places = [place for place, text in texts.items() if text is not None]
        left = {one.index: one for one in some}
        if places:
            documents = [text for text in texts.values() if text is not None]
            answer = sink.send(replace(batch, ids=[batch.ids[place] for place in places], documents=documents))
            counts["stored"] += answer.stored
            counts["duplicate"] += answer.duplicates
            counts["dropped"] += answer.dropped
            refused = {places[one.index] for one in answer.rejected}
            left = {place: one for place, one in left.items() if place in refused or place not in places}
        dead += [_letter_of(batch, one) for one in left.values()]
    return dead


def _by_batch(batches: list[Batch], rejected: list[Rejected]) -> Iterator[tuple[Batch, list[Rejected]]]:
    """Each batch of which something was refused, with the refusals by their place in it."""
    starts = list(accumulate((len(batch.ids) for batch in batches), initial=0))
    found: dict[int, list[Rejected]] = {}
    for refused in rejected:
        place = bisect_right(starts, refused.index) - 1
        found.setdefault(place, []).append(replace(refused, index=refused.index - starts[place]))
    yield from ((batches[place], some) for place, some in found.items())


def _as_text(batch: Batch, refused: Rejected) -> bytes | None:
    """The text of a refused line as a document; None where the refusal is about its age or size."""
    if not batch.prefix or not _CONTENT.search(refused.reason):
        return None
    return repair(batch.documents[refused.index], batch.prefix)


def _letter_of(batch: Batch, refused: Rejected) -> Letter:
    """The dead letter of a document that the sink will never take."""
    return {
        "reason": refused.reason,
        "dataset": batch.dataset,
        "id": batch.ids[refused.index].decode(),
        "source": batch.source,
        "group": batch.group,
        "document": batch.documents[refused.index].decode("utf-8", "replace"),
    }
