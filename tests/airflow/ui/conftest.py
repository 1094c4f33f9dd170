"""The world in which people act, started once for each auth manager."""

from __future__ import annotations

from acts_world import world

__all__ = ["world"]
