"""What PutLogEvents takes: its limits, and requests within them.

Limits: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
"""

from __future__ import annotations

import time
from calendar import timegm
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FURTHEST_AHEAD_MS", "MOST_BYTES", "OVERHEAD", "Chunk", "chunks", "in_order", "milliseconds", "request_body"]

MOST_EVENTS = 10_000
MOST_BYTES = 1_048_576
OVERHEAD = 26
LONGEST_SPAN_MS = 24 * 3600 * 1000 - 1
FURTHEST_AHEAD_MS = 2 * 3600 * 1000

_STAMP = b'"@timestamp":"'
_CONTROL = bytes(code for code in range(32) if code != 10)  # noqa: PLR2004 - the newline, which joins


class Chunk(NamedTuple):
    """Events of one request: their places in the batch, times in ms since 1970, and messages."""

    places: list[int]
    times: list[int]
    messages: list[bytes]

    def part(self, start: int, stop: int) -> Chunk:
        """The events from ``start`` up to ``stop``."""
        return Chunk(self.places[start:stop], self.times[start:stop], self.messages[start:stop])


def in_order(times: list[int], latest: int, newest: int) -> list[int]:
    """The times without steps back, from ``newest`` on; one after ``latest`` is nobody's measure."""
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
    start = size = first = 0
    times = events.times
    for here, at in enumerate(times):
        cost = len(events.messages[here]) + OVERHEAD
        alone = at > latest or cost > MOST_BYTES
        if here > start and (
            alone or size + cost > MOST_BYTES or here - start == MOST_EVENTS or at - first > LONGEST_SPAN_MS
        ):
            yield events.part(start, here)
            start, size = here, 0
        if start == here:
            first = at
        size += cost
        if alone:
            if cost <= MOST_BYTES:
                yield events.part(here, here + 1)
            start, size = here + 1, 0
    if start < len(times):
        yield events.part(start, len(times))


def request_body(group: str, stream: str, chunk: Chunk) -> bytes:
    """The JSON of one PutLogEvents."""
    names = orjson.dumps({"logGroupName": group, "logStreamName": stream})
    pairs = zip(chunk.times, _escaped(chunk.messages), strict=True)
    events = b",".join([b'{"timestamp":%d,"message":"%b"}' % pair for pair in pairs])
    return b'%b,"logEvents":[%b]}' % (names[:-1], events)


def _escaped(messages: list[bytes]) -> list[bytes]:
    """The messages as the insides of JSON strings, all at once: what is JSON holds no raw control character."""
    joined = b"\n".join(messages)
    if len(joined.translate(None, _CONTROL)) != len(joined):
        return [orjson.dumps(message.decode("utf-8", "replace"))[1:-1] for message in messages]
    return joined.replace(b"\\", b"\\\\").replace(b'"', b'\\"').split(b"\n")


def milliseconds(document: bytes, otherwise: int, start: int) -> int:
    """The document's ``@timestamp``, at or after byte ``start``; ``otherwise`` where it has none that can be read."""
    start = document.find(_STAMP, start) + len(_STAMP)
    try:
        return _second(document[start : start + 19]) + int(document[start + 20 : start + 23])
    except ValueError:
        return otherwise


@lru_cache(maxsize=256)
def _second(stamp: bytes) -> int:
    return timegm(time.strptime(stamp.decode(), "%Y-%m-%dT%H:%M:%S")) * 1000
