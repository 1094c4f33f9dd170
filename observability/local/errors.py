"""The root of the platform's errors; the whole tree is in :mod:`observability.errors`."""

from __future__ import annotations

from observability.errors import PlatformError

__all__ = ["PlatformError"]
