"""The patience with what has yet to start: a watcher may be the first of a platform to be at work."""

from __future__ import annotations

__all__ = ["STARTS_S"]

STARTS_S = 180.0
"""Seconds that each source has to its first sign of life, from the start of a watcher that has not heard of it.

On a busy machine Airflow's API server needs minutes. What was heard has the shorter time of its source.
"""
