"""Airflow's ``[metrics] statsd_socket_path`` (3.4): StatsD over a Unix stream socket, a metric on each line.

Airflow's components end when nobody listens there, and wait when what they send is not read: so the socket is there
before them, and everything that comes is read.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["StatsdStream"]

_MOST_READ = 65_536
_LONGEST_LINE = 65_535
_BACKLOG = 128


class StatsdStream:
    """Listens on the socket ``path`` until :meth:`close`. Raises OSError where another process listens there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(str(path))
            path.chmod(0o666)  # like the UDP port: whoever is on this host may send
            self._inode = path.stat().st_ino
            self._listener.listen(_BACKLOG)
        except OSError:
            self._listener.close()
            raise
        self._listener.setblocking(False)
        self._clients: dict[socket.socket, bytes] = {}

    def sockets(self) -> list[socket.socket]:
        """The sockets to wait for: the listener and its clients."""
        return [self._listener, *self._clients]

    def read(self, most_bytes: int) -> list[bytes]:
        """About ``most_bytes`` of what waits: whole lines, those of one reading of a client joined by newlines."""
        with contextlib.suppress(OSError):  # nobody waits, or there are too many: those wait on
            while True:
                client, _ = self._listener.accept()
                client.setblocking(False)
                self._clients[client] = b""
        found: list[bytes] = []
        size = 0
        for client in list(self._clients):
            if size >= most_bytes:
                break
            if lines := self._read_one(client):
                found.append(lines)
                size += len(lines)
        return found

    def close(self) -> None:
        """Let go of the clients, and take the socket away if it is still ours."""
        for one in self.sockets():
            one.close()
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    def _read_one(self, client: socket.socket) -> bytes:
        try:
            came = client.recv(_MOST_READ)
        except BlockingIOError:
            return b""
        except OSError:
            came = b""
        if not came:  # it has gone; what it did not end by a newline is a line all the same
            client.close()
            return self._clients.pop(client)
        lines, newline, rest = (self._clients[client] + came).rpartition(b"\n")
        if len(rest) > _LONGEST_LINE:  # no metric is as long: it is refused, and counted, as what it is
            lines, newline, rest = lines + newline + rest, b"\n", b""
        self._clients[client] = rest
        return lines if newline else b""


def _remove_stale(path: Path) -> None:
    """Take away a socket that a killed relay left; one that somebody listens on, or another file, is left alone."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError:
            return
