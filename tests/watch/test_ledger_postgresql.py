"""The ledger in PostgreSQL: the same decisions, and writers that wait for one another."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import func, insert, select
from watch_office import RULES, Office, failed, run_ended

from observability.watch.ledger import schema
from observability.watch.ledger.database import Ledger, read_cursor, write_cursor
from observability.watch.recording import newest_message

pytest_plugins = ("postgresql",)


@pytest.fixture
def url(postgresql_server):
    known = postgresql_server.database()
    return (
        f"postgresql+psycopg2://{known['login']}:{known['password']}@{known['host']}:{known['port']}/{known['schema']}"
    )


def test_incidents_open_and_resolve_and_messages_are_queued_once(url):
    office = Office(Ledger(url))
    office.see(failed(reason="nul \x00 and lone \ud800 characters", evidence={"x": float("nan")}), failed())
    office.pass_time(5)
    office.see(run_ended("resolved", run="r2", time=office.now + 60))
    assert [kind for kind, *_ in office.said()] == ["opened", "resolved"]
    office.ledger.close()


def test_messages_and_digests_are_the_same_in_each_database(url, ledger):
    """A transaction that failed leaves a gap in the numbers of PostgreSQL's rows, and none in SQLite's."""

    def fail(connection):
        row = {"dedup_key": "k", "channel": "file", "state": "sent", "kind": "test", "created": 0.0, "message": {}}
        connection.execute(insert(schema.outbox).values(**row, attempts=0))
        raise ZeroDivisionError

    def said(ledger):
        office = Office(ledger, f"timing: {{storm_messages: 2, flap_messages: 2}}\n{RULES}")
        for number in range(6):
            with pytest.raises(ZeroDivisionError), ledger.transaction(lock=True) as connection:
                fail(connection)
            office.see(failed(dag=f"d{number}"))
            office.pass_time(1)
        office.pass_time(60)
        messages = [one.as_json() for one in office.messages()]
        with ledger.transaction() as connection:
            return messages, newest_message(connection)

    messages, newest = said(Ledger(url))
    assert (messages, newest) == said(ledger)
    assert [one["kind"] for one in messages].count("digest") == 1
    assert newest == next(one["dedup_key"] for one in messages if one["kind"] == "digest")


def test_two_writers_never_open_the_same_incident_twice(url):
    def work():
        office = Office(Ledger(url))
        for number in range(20):
            office.see(failed(run=f"r{number}"))
        office.ledger.close()

    first = Ledger(url)
    with first.transaction():
        """Make the tables before the race."""
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with first.transaction() as connection:
        assert connection.execute(select(func.count()).select_from(schema.incidents)).scalar() == 20
        counts = connection.execute(select(schema.incidents.c.document)).scalars().all()
    assert {one["count"] for one in counts} == {1}
    first.close()


def test_a_locked_transaction_waits_for_another(url):
    one, two = Ledger(url), Ledger(url)
    order = []

    def second():
        with two.transaction(lock=True) as connection:
            order.append(read_cursor(connection, "x"))

    with one.transaction(lock=True) as connection:
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        write_cursor(connection, "x", "written first")
    thread.join()
    assert order == ["written first"]
    with one.transaction() as connection, pytest.raises(Exception, match="contrail_outbox_once"):  # noqa: PT012 - the second of them
        values = {
            "dedup_key": "k",
            "channel": "c",
            "state": "pending",
            "kind": "test",
            "attempts": 0,
            "created": 0.0,
            "message": {},
        }
        connection.execute(insert(schema.outbox).values(**values))
        connection.execute(insert(schema.outbox).values(**values))
    one.close()
    two.close()
