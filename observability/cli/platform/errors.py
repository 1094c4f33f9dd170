"""The errors of the platform."""

from __future__ import annotations

__all__ = ["PlatformError"]


class PlatformError(RuntimeError):
    """The platform cannot start, stop or answer; the message names the thing and the remedy."""
