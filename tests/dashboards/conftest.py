"""The drills, played once for the whole session."""

from __future__ import annotations

import pytest
from filled import emit_drills
from once import once


@pytest.fixture(scope="session")
def drills(tmp_path_factory):
    """The home of the drills."""
    return once(tmp_path_factory, "drills", emit_drills)
