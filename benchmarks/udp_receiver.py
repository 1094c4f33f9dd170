"""A StatsD receiver in a process of its own, with the socket buffer that the kernel gives by default."""

from __future__ import annotations

import multiprocessing
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

__all__ = ["Receiver", "receiving"]

_QUIET_S = 0.5


class Receiver:
    """The address to send to, and what arrived."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.port: int = pipe.recv()

    def total(self) -> float:
        """The sum of all counters and the number of timer samples since the last call; waits until it is quiet."""
        self._pipe.send("total")
        found: float = self._pipe.recv()
        return found


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of the loopback."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_receive, args=(theirs,), daemon=True)
    process.start()
    try:
        yield Receiver(ours)
    finally:
        ours.send("stop")
        process.join()


def _receive(pipe: Connection) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        pipe.send(udp.getsockname()[1])
        total, asked = 0.0, False
        while True:
            udp.settimeout(_QUIET_S if asked else 0.05)
            try:
                total += sum(map(_value, udp.recv(65_535).splitlines()))
            except TimeoutError:
                if asked:
                    pipe.send(total)
                    total, asked = 0.0, False
                elif pipe.poll():
                    if pipe.recv() == "stop":
                        return
                    asked = True


def _value(line: bytes) -> float:
    """The weight of a line: a counter its value by its rate, a timer each of its samples."""
    value, _, rest = line.partition(b":")[2].partition(b"|")
    kind, _, rate = rest.partition(b"|@")
    if kind.startswith(b"c"):
        return float(value) / float(rate.partition(b"|")[0] or 1)
    return float(len(value.split(b":"))) if kind.startswith((b"ms", b"h", b"d")) else 0.0
