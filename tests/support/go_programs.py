"""Programs that ``make receivers`` builds from the Go module proxy, into a cache outside of the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["go_program"]


def go_program(name: str) -> str:
    """Path of a program; the test skips itself where it is not built."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = cache / "contrail" / "go" / name
    if not found.is_file():
        pytest.skip(f"{name} is not built: make receivers (needs Go)")
    return str(found)
