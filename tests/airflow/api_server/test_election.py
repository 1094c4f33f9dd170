"""One process of a host has the place, and one host of those that share a database."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text

from observability.airflow.api_server.election import Everywhere, Here, airflow_settings

pytest_plugins = ("postgresql",)


def test_the_first_process_has_the_place_and_the_next_gets_it_when_it_is_given_back(tmp_path):
    first, second = Here(tmp_path / "home"), Here(tmp_path / "home")
    assert [first.take(), second.take(), first.take()] == [True, False, True]
    first.give_back()
    assert second.take()
    second.give_back()


def test_a_home_that_cannot_be_made_is_an_error_with_its_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Here(tmp_path / "file" / "home").take()


def test_with_sqlite_there_is_one_host_and_it_has_the_place(monkeypatch, tmp_path):
    monkeypatch.setattr(airflow_settings, "engine", create_engine(f"sqlite:///{tmp_path / 'airflow.db'}"))
    assert Everywhere().take()


def test_of_the_hosts_of_one_postgresql_one_has_the_place_until_its_connection_is_gone(monkeypatch, postgresql_server):
    known = postgresql_server.database()
    address = "postgresql+psycopg2://{login}:{password}@{host}:{port}/{schema}".format(**known)
    monkeypatch.setattr(airflow_settings, "engine", create_engine(address))
    first, second = Everywhere(), Everywhere()
    assert [first.take(), second.take(), first.take()] == [True, False, True]
    with airflow_settings.engine.connect() as people:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        people.execute(text(ended))
    assert not first.take()
    assert second.take()
    second.give_back()
    assert first.take()
    first.give_back()
    airflow_settings.engine.dispose()


def test_the_lock_leaves_nothing_in_the_database(monkeypatch, postgresql_server):
    known = postgresql_server.database()
    engine = create_engine("postgresql+psycopg2://{login}:{password}@{host}:{port}/{schema}".format(**known))
    monkeypatch.setattr(airflow_settings, "engine", engine)
    place = Everywhere()
    assert place.take()
    place.give_back()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).scalar() == 0
        tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        assert connection.execute(text(tables)).scalar() == 0
    engine.dispose()


def test_the_lock_takes_nothing_from_the_pool_and_holds_up_no_vacuum(monkeypatch, postgresql_server):
    known = postgresql_server.database()
    address = "postgresql+psycopg2://{login}:{password}@{host}:{port}/{schema}".format(**known)
    engine = create_engine(address, pool_size=1, max_overflow=0, pool_timeout=1, isolation_level="REPEATABLE READ")
    monkeypatch.setattr(airflow_settings, "engine", engine)
    place = Everywhere()
    assert place.take()
    with engine.connect() as connection:
        held = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND backend_type = 'client backend'"
        )
        assert connection.execute(text(held)).scalar() == 1  # this question itself
        assert place.take()
    place.give_back()
    with engine.connect() as connection:
        assert connection.execute(text("SHOW transaction_isolation")).scalar() == "repeatable read"
    engine.dispose()
