"""The kit as a fixture of pytest: ``pytest_plugins = ["observability.testing.fixtures"]`` in ``conftest.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from observability.testing import Captured, capture

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["contrail"]


@pytest.fixture
def contrail() -> Iterator[Captured]:
    """Capture what the test emits and measures: see :class:`observability.testing.Captured`."""
    with capture() as captured:
        yield captured
