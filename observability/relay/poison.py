"""Find the documents at which a sink fails by a fault of ours, so that the others go out without them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from observability.relay.sinks.sink import SinkUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.relay.sinks.sink import Batch, SendResult

__all__ = ["find_poison", "without"]


def find_poison(
    send: Callable[[list[Batch]], SendResult], undo: Callable[[], None], batches: list[Batch]
) -> dict[bytes, Exception]:
    """The ids of the documents that ``send`` fails at each by itself, with the error.

    What is sent on the way is undone where the sink can do that, else it was stored; so all of it is to be sent
    again as ``resent``. Raises :class:`SinkUnavailable`.
    """
    found: dict[bytes, Exception] = {}
    todo = [batches]
    while todo:
        some = todo.pop()
        try:
            send(some)
        except SinkUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - it was seen before; here it is only put down to a document
            number = sum(len(batch.ids) for batch in some)
            if number == 1:
                found[next(key for batch in some for key in batch.ids)] = error
            else:
                todo += _halves(some, number // 2)
        finally:
            undo()
    return found


def without(batches: list[Batch], poison: dict[bytes, Exception]) -> list[Batch]:
    """The batches as ``resent``, without the documents of these ids."""
    kept = []
    for batch in batches:
        places = [place for place, key in enumerate(batch.ids) if key not in poison]
        if places:
            kept.append(_part(batch, places))
    return kept


def _halves(batches: list[Batch], middle: int) -> list[list[Batch]]:
    first, second = [], []
    before = 0
    for batch in batches:
        cut = min(max(middle - before, 0), len(batch.ids))
        before += len(batch.ids)
        if cut:
            first.append(_part(batch, list(range(cut))))
        if cut < len(batch.ids):
            second.append(_part(batch, list(range(cut, len(batch.ids)))))
    return [first, second]


def _part(batch: Batch, places: list[int]) -> Batch:
    return replace(
        batch,
        ids=[batch.ids[place] for place in places],
        documents=[batch.documents[place] for place in places],
        resent=True,
    )
