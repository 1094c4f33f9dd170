"""Several processes that open a new database at the same time each get it."""

from __future__ import annotations

import threading

import pytest

from observability.store.schema import open_writer
from observability.watch.ledger.database import Ledger

OPENED = {
    "store": lambda path: open_writer(path).close(),
    "ledger": lambda path: Ledger(f"sqlite:///{path}").close(),
}


@pytest.mark.parametrize("what", OPENED)
def test_a_new_database_that_several_open_at_once_is_there_for_each(what, tmp_path):
    failed, begin = [], threading.Barrier(4)

    def open_it(path):
        begin.wait()
        try:
            OPENED[what](path)
        except Exception as error:  # noqa: BLE001 - whatever it is, it fails the test
            failed.append(error)

    for number in range(40):
        each = [threading.Thread(target=open_it, args=(tmp_path / f"{number}.db",)) for _ in range(4)]
        for thread in each:
            thread.start()
        for thread in each:
            thread.join()
    assert failed == []
