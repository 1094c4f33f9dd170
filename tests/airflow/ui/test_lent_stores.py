"""A store answers one request of the pages at a time, however many come at once and however they end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from queue import LifoQueue

import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient

from observability.airflow.ui import app as pages
from observability.airflow.ui.scope import Names, Reader
from observability.settings import load_settings
from observability.store import StoreError
from observability.store.embedded import EmbeddedStore
from observability.store.schema import open_writer

EVERY_NAME = Names(lambda _: True)
EVERYTHING = Reader(
    frozenset(), frozenset(), frozenset(), whole=True, cluster=True, pools=EVERY_NAME, assets=EVERY_NAME
)


class Watched(EmbeddedStore):
    """An embedded store that notices a second question while it answers one."""

    def __init__(self, path, seen):
        super().__init__(path)
        self._seen, self._busy = seen, threading.Lock()

    def table(self, ask):
        if not self._busy.acquire(blocking=False):
            self._seen.append("shared")
            raise StoreError("two requests at once")
        try:
            self._seen.append(id(self))
            return super().table(ask)
        finally:
            self._busy.release()


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A client of the pages for a reader of everything, and who answered each question."""
    options, seen = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)}), []
    open_writer(options.store_path).close()
    monkeypatch.setattr(pages, "_idle", LifoQueue(), raising=False)
    monkeypatch.setattr(pages, "open_store", lambda _: Watched(options.store_path, seen))
    monkeypatch.setattr(Reader, "of", classmethod(lambda *_: EVERYTHING))
    app = pages.create_app()
    app.dependency_overrides[get_user] = lambda: None
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, seen


def test_no_two_requests_count_in_one_store(asked):
    client, seen = asked
    with ThreadPoolExecutor(8) as many:
        answers = list(many.map(lambda _: client.get("/boards/dag/panels/median?hours=1").status_code, range(60)))

    assert answers == [200] * 60
    assert "shared" not in seen
    assert len(set(seen)) <= 8  # they are used again


def test_a_store_that_failed_serves_no_other_request(asked, monkeypatch):
    client, seen = asked
    with monkeypatch.context() as broken:
        broken.setattr(Watched, "table", lambda *_: (_ for _ in ()).throw(StoreError("the disk is gone")))
        assert client.get("/boards/dag/panels/median").status_code == 503
    assert pages._idle.empty()
    assert client.get("/boards/dag/panels/median").status_code == 200
    assert len(seen) == 1


def test_a_burst_of_requests_leaves_few_stores_open(asked):
    """A board asks for forty panels at once; each reader that is kept holds a cache of its own for ever."""
    requests = [pages._read(None) for _ in range(40)]
    stores = [next(request) for request in requests]
    assert len(set(map(id, stores))) == 40
    for request in requests:
        assert next(request, None) is None
    assert pages._idle.qsize() == 8
