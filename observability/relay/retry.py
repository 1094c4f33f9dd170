"""Time between two tries of a sink that takes nothing: longer each time, up to a bound, with jitter."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["error_wait", "waits"]

_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 1.5
"""So the first document after an outage goes out within two seconds, at under 90 requests a minute."""
_LONGEST_WISH_S = 30.0
"""A service that asks for more patience is asked again after so long: it may be well before."""


def error_wait(wished_s: float | None, waits: Iterator[float]) -> float:
    """The seconds before the next try: what the service wished, else the next of ``waits``."""
    return next(waits) if wished_s is None else min(max(wished_s, _FIRST_WAIT_S), _LONGEST_WISH_S)


def waits() -> Iterator[float]:
    """Seconds to wait before each next try; without an end."""
    longest = _FIRST_WAIT_S
    while True:
        yield longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        longest = min(longest * 2, _LONGEST_WAIT_S)
