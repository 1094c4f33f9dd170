"""One watcher is active; another takes over within 30 s of its death.

The holder counts a beat up; a rival that sees the same count for 20 s by its own monotonic clock takes the
lease. No wall clock is compared, so that a jump of it neither makes two holders nor none. On one host a
holder whose process is gone is replaced at once; on another host of the same name it is not looked for.

A `contrail watch` also counts up a row of its own, active or standing by. The watcher in Airflow's API server looks
at that row (:class:`SeparateWatcher`) and gives way.
"""

from __future__ import annotations

import contextlib
import os
import socket
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from sqlalchemy import insert, select, update

from observability.watch.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.watch.ledger.database import Ledger

__all__ = ["Lease", "SeparateWatcher", "holder_of"]

_NAME = "watcher"
_SEPARATE = "separate watcher"
_PATIENCE_S = 20.0


class Lease:
    """The claim of this process to be the active watcher; ``stands_in`` is for the one in the API server."""

    def __init__(self, ledger: Ledger, *, stands_in: bool = False) -> None:
        process = psutil.Process()
        self.me = f"{socket.gethostname()}:{os.getpid()}:{process.create_time():.2f}:{_processes()}"
        self._ledger = ledger
        self._stands_in = stands_in
        self._seen: tuple[str, int] = ("", -1)
        self._seen_at = 0.0

    def acquire(self, monotonic: float) -> bool:
        """Take the lease if it is free, ours, or its holder has not been heard of for 20 s."""
        table = schema.leases
        with self._ledger.transaction(lock=True) as connection:
            holder, beat = connection.execute(
                select(table.c.holder, table.c.heartbeat).where(table.c.name == _NAME)
            ).one()
            if (holder, beat) != self._seen:
                self._seen, self._seen_at = (holder, beat), monotonic
            self._be_seen(connection)
            stale = monotonic - self._seen_at >= _PATIENCE_S
            if holder not in ("", self.me) and not stale and not _is_dead(holder):
                return False
            connection.execute(update(table).where(table.c.name == _NAME).values(holder=self.me, heartbeat=beat + 1))
        return True

    def keep(self, connection: Connection) -> bool:
        """Count the beat up inside a transaction; False when another has taken the lease."""
        table = schema.leases
        mine = (table.c.name == _NAME, table.c.holder == self.me)
        self._be_seen(connection)
        return connection.execute(update(table).where(*mine).values(heartbeat=table.c.heartbeat + 1)).rowcount == 1

    def release(self) -> None:
        """Give it back, so that another need not wait."""
        table = schema.leases
        with self._ledger.transaction(lock=True) as connection:
            connection.execute(
                update(table).where(table.c.name.in_((_NAME, _SEPARATE)), table.c.holder == self.me).values(holder="")
            )

    def _be_seen(self, connection: Connection) -> None:
        """Say that a `contrail watch` lives, whether or not it holds the lease."""
        if self._stands_in:
            return
        table = schema.leases
        seen = update(table).where(table.c.name == _SEPARATE).values(holder=self.me, heartbeat=table.c.heartbeat + 1)
        if connection.execute(seen).rowcount == 0:
            connection.execute(insert(table).values(name=_SEPARATE, holder=self.me, heartbeat=1))


class SeparateWatcher:
    """Looks for a `contrail watch` on the same ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen: tuple[str, int] | None = None
        self._changed_at = float("-inf")

    def lives(self, monotonic: float) -> bool:
        """True if one has counted up within 20 s and its process is not known to be gone.

        A row that is seen for the first time may be of one that died long ago, unless its process is seen to run.
        """
        table = schema.leases
        with self._ledger.transaction() as connection:
            row = connection.execute(select(table.c.holder, table.c.heartbeat).where(table.c.name == _SEPARATE)).first()
        found = (str(row[0]), int(row[1])) if row else ("", 0)
        if found != self._seen:
            if self._seen is not None or (found[0] and not _is_dead(found[0])):
                self._changed_at = monotonic
            self._seen = found
        return bool(found[0]) and not _is_dead(found[0]) and monotonic - self._changed_at < _PATIENCE_S


def holder_of(ledger: Ledger) -> str:
    """The active holder: host:pid:start:processes, or nothing."""
    with ledger.transaction() as connection:
        return str(
            connection.execute(select(schema.leases.c.holder).where(schema.leases.c.name == _NAME)).scalar() or ""
        )


def _is_dead(holder: str) -> bool:
    """Tell whether the holder was a process that would be seen from here, and is gone.

    One that was killed is gone, though its parent has not asked yet how it ended.
    """
    who, _, where = holder.rpartition(":")
    if where != _processes():
        return False
    _, pid, started = who.rsplit(":", 2)
    try:
        process = psutil.Process(int(pid))
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - float(started)) > 1
    except psutil.NoSuchProcess:
        return True


@lru_cache(maxsize=1)
def _processes() -> str:
    """The space in which a process id means a process: this boot and this PID namespace, in 8 hex digits.

    A host's name does not tell: containers and cloned machines share names, and see only their own processes.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(), os.readlink("/proc/self/ns/pid")]  # noqa: PTH115 - a link to no file
    return blake2b("|".join(parts).encode(), digest_size=4).hexdigest()
