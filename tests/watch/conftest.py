"""A ledger of its own for each test, and a engine that is driven by hand."""

from __future__ import annotations

import pytest
from watch_office import Office

from observability.watch.ledger.database import Ledger


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.close()


@pytest.fixture
def office(ledger):
    return Office(ledger)
