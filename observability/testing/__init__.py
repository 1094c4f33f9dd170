"""A kit to test DAGs, steps and callbacks with: what they emitted and measured, without a platform.

::

    from observability.testing import capture

    def test_the_load_is_measured():
        with capture() as seen:
            load(date(2013, 7, 4))
        (measured,) = seen.events("step.measured")
        assert measured["etl.rows_out"] == 842
        assert seen.metric("contrail.step.rows_out", step="load") == [842.0]

Events and metrics take their real way: through the journal on disk and a StatsD socket, both of the block's own.
A failure of Contrail itself is raised while a test runs, and contained otherwise.
"""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from observability import metrics
from observability.contain import count_loss, take_losses
from observability.journal import frames
from observability.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.events import Document

__all__ = ["Captured", "capture"]

_emit = import_module("observability.emit")  # the package's attribute of that name is the function
_BUFFER_BYTES = 1 << 22


class Captured:
    """Everything emitted and measured since the block began; it can be asked inside the block and after it."""

    def __init__(self, home: Path, receiver: socket.socket) -> None:
        self._home, self._receiver = home, receiver
        self._lines: list[str] = []
        self._last: list[Document] | None = None

    def events(self, action: str | None = None) -> list[Document]:
        """The documents of the events, in the order in which they were emitted; only those of ``action``, if given."""
        found = self._last if self._last is not None else self._documents()
        return [document for document in found if action in {None, document["event.action"]}]

    def metric(self, name: str, **tags: str) -> list[float]:
        """The values that arrived for the metric ``name`` with at least these ``tags``; a counter's are summed up."""
        self._receive()
        found = [_parsed(line) for line in self._lines]
        return [value for known, value, has in found if known == name and tags.items() <= has.items()]

    def close(self) -> None:
        """Keep what was captured; the files and the socket go."""
        self._receive()
        self._last = self._documents()
        self._receiver.close()

    def _documents(self) -> list[Document]:
        files = sorted((self._home / "journal").glob("*.journal"))
        whole = [frame.document for file in files for frame in frames(file.read_bytes()) if frame.document is not None]
        found: list[Document] = [orjson.loads(document) for document in whole]
        return sorted(found, key=lambda document: int(document.get("event.sequence", 0)))

    def _receive(self) -> None:
        if self._receiver.fileno() < 0:
            return
        metrics.flush()
        while True:
            try:
                self._lines += self._receiver.recv(65_535).decode().splitlines()
            except BlockingIOError:
                return


@contextmanager
def capture() -> Iterator[Captured]:
    """Capture what this process emits and measures in the block; nothing of it reaches a relay."""
    with tempfile.TemporaryDirectory(prefix="contrail-capture-") as folder:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        receiver.setblocking(False)
        receiver.bind(("127.0.0.1", 0))
        wanted = {
            "CONTRAIL_HOME": folder,
            "CONTRAIL_STATSD__ENABLED": "true",
            "CONTRAIL_STATSD__HOST": "127.0.0.1",
            "CONTRAIL_STATSD__PORT": str(receiver.getsockname()[1]),
        }
        metrics.flush()  # what was measured or lost before belongs elsewhere
        lost = take_losses()
        before = {name: os.environ.get(name) for name in wanted}
        _set(wanted)
        captured = Captured(Path(folder), receiver)
        try:
            yield captured
        finally:
            captured.close()
            _set(before)
            for (stage, reason), number in lost.items():
                count_loss(stage, reason, number)


def _set(variables: dict[str, Any]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    get_settings.cache_clear()
    _emit.forget()


def _parsed(line: str) -> tuple[str, float, dict[str, str]]:
    """Name, value and tags of a line such as ``name,tag=value:1|c``."""
    head, _, rest = line.rpartition(":")
    name, *tags = head.split(",")
    return name, float(rest.partition("|")[0]), dict(tag.split("=", 1) for tag in tags)
