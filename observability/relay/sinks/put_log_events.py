"""The limits of PutLogEvents, and requests within them.

Limits: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
"""

from __future__ import annotations

import time
from bisect import bisect_right
from calendar import timegm
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeGuard

__all__ = [
    "FURTHEST_AHEAD_MS",
    "MOST_BYTES",
    "OVERHEAD",
    "Chunk",
    "chunks",
    "in_order",
    "is_events",
    "milliseconds",
    "moments",
    "request_body",
    "sound",
    "taken",
]

MOST_EVENTS = 10_000
MOST_BYTES = 1_048_576
OVERHEAD = 26
LONGEST_SPAN_MS = 24 * 3600 * 1000 - 1
FURTHEST_AHEAD_MS = 2 * 3600 * 1000

_STAMP = b'"@timestamp":"'
_PLACE = b'"offset":'
_PLACE_DIGITS, _MS_DIGITS = 19, 13
_THOUSANDTHS = {b"%03d" % number: number for number in range(1000)}


class Chunk(NamedTuple):
    """Events of one request: their places in the batch, times in ms since 1970, and messages."""

    places: list[int]
    times: list[int]
    messages: list[bytes]

    def part(self, start: int, stop: int) -> Chunk:
        """The events from ``start`` up to ``stop``."""
        return Chunk(self.places[start:stop], self.times[start:stop], self.messages[start:stop])


def sound(documents: list[bytes]) -> list[bytes]:
    """The documents as UTF-8 and nothing else: what can't be read is shown as U+FFFD, before anything is measured."""
    if all(map(bytes.isascii, documents)):
        return documents
    return [document.decode("utf-8", "replace").encode() for document in documents]


def in_order(times: list[int], latest: int, newest: int) -> list[int]:
    """The times without steps back, from ``newest`` on; one after ``latest`` is nobody's measure."""
    if times and newest <= times[0] and times[-1] <= latest and times == sorted(times):
        return times
    ordered = []
    for at in times:
        if at <= latest:
            newest = max(at, newest)
            ordered.append(newest)
        else:
            ordered.append(at)
    return ordered


def chunks(events: Chunk, latest: int) -> Iterator[Chunk]:
    """Requests within every limit: number, bytes, span and order; one after ``latest`` goes by itself.

    An event that is too large for any request is left out.
    """
    sizes = [len(message) + OVERHEAD for message in events.messages]
    upto = list(accumulate(sizes, initial=0))
    start = 0
    while start < len(sizes):
        stop = _stop(events.times, upto, start, latest)
        if stop > start:
            yield events.part(start, stop)
        start = max(stop, start + 1)


def _stop(times: list[int], upto: list[int], start: int, latest: int) -> int:
    """The end of the request that begins at ``start``; ``start`` itself where that event fits into none."""
    stop = min(bisect_right(upto, upto[start] + MOST_BYTES) - 1, start + MOST_EVENTS)
    if times[start] > latest:
        return min(stop, start + 1)
    furthest = min(times[start] + LONGEST_SPAN_MS, latest)
    return next((here for here in range(start, stop) if times[here] > furthest), stop)


def request_body(group: str, stream: str, chunk: Chunk) -> bytes:
    """The JSON of one PutLogEvents."""
    events = [
        {"timestamp": at, "message": message.decode()} for at, message in zip(chunk.times, chunk.messages, strict=True)
    ]
    return orjson.dumps({"logGroupName": group, "logStreamName": stream, "logEvents": events})


def taken(reply: dict[str, Any], number: int) -> tuple[int, int]:
    """The bounds of those of ``number`` events that were taken. Raises ValueError for a reply without sense."""
    refused = reply.get("rejectedLogEventsInfo") or {}
    if not isinstance(refused, dict):
        refused = {"": refused}
    if not all(isinstance(place, int) and 0 <= place <= number for place in refused.values()):
        raise ValueError(f"CloudWatch answered for other events than the {number} that were sent: {refused!r:.200}")
    old = max(refused.get("tooOldLogEventEndIndex", 0), refused.get("expiredLogEventEndIndex", 0))
    return old, refused.get("tooNewLogEventStartIndex", number)


def is_events(found: Any) -> TypeGuard[list[dict[str, Any]]]:
    """True for a list of events as GetLogEvents answers it."""
    return isinstance(found, list) and all(
        isinstance(event, dict) and isinstance(event.get("message"), str) and isinstance(event.get("timestamp"), int)
        for event in found
    )


def milliseconds(documents: list[bytes], otherwise: int, start: int) -> list[int]:
    """The documents' ``@timestamp``, at or after byte ``start``; ``otherwise`` for one that has none to be read."""
    out = []
    known, second = b"", 0
    for document in documents:
        at = document.find(_STAMP, start) + len(_STAMP)
        try:
            if document[at : at + 19] != known:
                second, known = _second(document[at : at + 19]), document[at : at + 19]
            out.append(second + _THOUSANDTHS[document[at + 20 : at + 23]])
        except (KeyError, ValueError):
            out.append(otherwise)
    return out


def moments(documents: list[bytes], start: int) -> list[int] | None:
    """The times in ms by which log lines are sorted, from their ``offset``; None where one has no such time.

    Unlike ``@timestamp``, ``offset`` never goes back within a file. ``start`` is where it may be found first.
    """
    out = []
    for document in documents:
        at = document.find(_PLACE, start) + len(_PLACE)
        digits = document[at : at + _PLACE_DIGITS]
        if not digits.isdigit() or document[at + _PLACE_DIGITS : at + _PLACE_DIGITS + 1] != b",":
            return None
        out.append(int(digits[:_MS_DIGITS]))
    return out


@lru_cache(maxsize=256)
def _second(stamp: bytes) -> int:
    return timegm(time.strptime(stamp.decode(), "%Y-%m-%dT%H:%M:%S")) * 1000
