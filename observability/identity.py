"""The identity of the task attempt that this process or thread works for."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.events import Identity

__all__ = ["bind", "bound", "current"]

_current: ContextVar[Identity | None] = ContextVar("contrail_identity", default=None)
_process: list[Identity | None] = [None]


def bind(identity: Identity | None) -> None:
    """Say whom this whole process works for (threads started later included); None forgets it."""
    _process[0] = identity
    _current.set(identity)


def current() -> Identity | None:
    """The bound identity, or None outside a task."""
    return _current.get() or _process[0]


@contextmanager
def bound(identity: Identity) -> Iterator[Identity]:
    """Bind ``identity`` for the length of a block, in this context only."""
    token = _current.set(identity)
    try:
        yield identity
    finally:
        _current.reset(token)
