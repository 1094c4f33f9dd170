"""Following a store: what arrives is given once, and a store that is away for a while is awaited."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from observability.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.events import Document

__all__ = ["Known", "arriving"]

log = logging.getLogger(__name__)

_MOST = 100_000


class Known:
    """The identities of the last ``most`` documents that were given."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._keys: OrderedDict[str, None] = OrderedDict()

    def is_new(self, key: str) -> bool:
        """Tell whether ``key`` was not given before, and remember it."""
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self._most:
            self._keys.popitem(last=False)
        return True


def arriving(read: Callable[[], Iterator[Document]], poll_s: float) -> Iterator[Document]:
    """Yield what each ``read`` gives, ``poll_s`` seconds apart, until the caller stops.

    ``read`` keeps its place, and goes on from there after an error; an error is told once, until the store answers.
    """
    away = False
    while True:
        time.sleep(poll_s)
        try:
            yield from read()
        except StoreError as error:
            if not away:
                log.warning("what arrives is shown when the store answers again: %s", error)
            away = True
        else:
            away = False
