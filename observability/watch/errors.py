"""The root of the watcher's errors; the whole tree is in :mod:`observability.errors`."""

from __future__ import annotations

from observability.errors import WatchError

__all__ = ["WatchError"]
