"""The watcher in the API server gives way to a `contrail watch` on the same ledger, and comes back after it."""

from __future__ import annotations

from sqlalchemy import update

from observability.watch.ledger import schema
from observability.watch.ledger.lease import Lease, SeparateWatcher


def beat(ledger, lease):
    with ledger.transaction(lock=True) as connection:
        return lease.keep(connection)


def rename(ledger, holder):
    """Have the separate watcher be one of another host."""
    table = schema.leases
    with ledger.transaction() as connection:
        connection.execute(
            update(table)
            .where(table.c.name == "separate watcher")
            .values(holder=holder, heartbeat=table.c.heartbeat + 1)
        )


def test_without_a_contrail_watch_there_is_none(ledger):
    assert not SeparateWatcher(ledger).lives(0.0)


def test_the_watcher_in_the_api_server_does_not_take_itself_for_one(ledger):
    assert Lease(ledger, stands_in=True).acquire(0.0)
    assert not SeparateWatcher(ledger).lives(0.0)


def test_one_that_stands_by_is_seen_at_once_on_this_host(ledger):
    assert Lease(ledger, stands_in=True).acquire(0.0)
    waiting = Lease(ledger)
    waiting.me = f"another of this host {waiting.me}"
    assert not waiting.acquire(0.0)
    assert SeparateWatcher(ledger).lives(0.0)


def test_one_that_holds_the_lease_is_seen_until_it_gives_it_back(ledger):
    holder, look = Lease(ledger), SeparateWatcher(ledger)
    assert holder.acquire(0.0)
    assert look.lives(0.0)
    holder.release()
    assert not look.lives(1.0)


def test_one_whose_process_is_gone_is_not_waited_for(ledger):
    holder, look = Lease(ledger), SeparateWatcher(ledger)
    assert holder.acquire(0.0)
    assert look.lives(0.0)
    host, _, started, where = holder.me.rsplit(":", 3)
    rename(ledger, f"{host}:{2**22 + 1}:{started}:{where}")
    assert not look.lives(1.0)


def test_one_of_another_host_lives_while_it_counts_up(ledger):
    elsewhere = "elsewhere:1:1.0:ffffffff"
    assert beat(ledger, Lease(ledger)) is False
    look = SeparateWatcher(ledger)
    look.lives(0.0)
    rename(ledger, elsewhere)
    assert look.lives(1.0)
    assert look.lives(20.0)
    assert not look.lives(21.5)
    rename(ledger, elsewhere)
    assert look.lives(30.0)
