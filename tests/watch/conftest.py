"""A ledger of its own for each test, and an engine that is driven by hand."""

from __future__ import annotations

import pytest
from watch_office import Office

from observability.settings import get_settings
from observability.watch.ledger.database import Ledger


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.close()


@pytest.fixture
def office(ledger):
    return Office(ledger)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Contrail's home of this test, without a file of rules."""
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    monkeypatch.setenv("CONTRAIL_WATCH__RULES_FILE", "")
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()
