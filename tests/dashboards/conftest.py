"""The drills, played once for the whole session."""

from __future__ import annotations

import pytest
from filled import emit_drills


@pytest.fixture(scope="session")
def drills(tmp_path_factory):
    """The home of the drills."""
    home = tmp_path_factory.mktemp("drills")
    emit_drills(home)
    return home
