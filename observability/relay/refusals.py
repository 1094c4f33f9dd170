"""Documents that a sink refused: to which batch each belongs, its text for a second try, its dead letter."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

from observability.relay.steps.splice import repair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.relay.dead_letters import Letter
    from observability.relay.sinks.sink import Batch, Rejected

__all__ = ["as_text", "by_batch", "letter_of"]

_CONTENT = re.compile(r"JSON|json|pars|mapp|field|argument|exception|HTTP 400|invalid")
"""Words of a refusal that is about what is in a document."""


def by_batch(batches: list[Batch], rejected: list[Rejected]) -> Iterator[tuple[Batch, list[Rejected]]]:
    """Each batch of which something was refused, with the refusals by their place in it."""
    starts = list(accumulate((len(batch.ids) for batch in batches), initial=0))
    found: dict[int, list[Rejected]] = {}
    for refused in rejected:
        place = bisect_right(starts, refused.index) - 1
        found.setdefault(place, []).append(replace(refused, index=refused.index - starts[place]))
    yield from ((batches[place], some) for place, some in found.items())


def as_text(batch: Batch, refused: Rejected) -> bytes | None:
    """The text of a refused line as a document; None where the refusal is about its age or size."""
    if not batch.prefix or not _CONTENT.search(refused.reason):
        return None
    return repair(batch.documents[refused.index], batch.prefix)


def letter_of(batch: Batch, refused: Rejected) -> Letter:
    """The dead letter of a document that the sink will never take."""
    return {
        "reason": refused.reason,
        "dataset": batch.dataset,
        "id": batch.ids[refused.index].decode(),
        "source": batch.source,
        "group": batch.group,
        "document": batch.documents[refused.index].decode("utf-8", "replace"),
    }
