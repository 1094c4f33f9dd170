"""A registry of log files, and a reader that reads what it is given when told to."""

from __future__ import annotations

import time

from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.registry import FileRegistry, Source
from observability.relay.sources.files.spool import Spool
from observability.relay.sources.files.tail import Cursor, Replaced, read


class Reader:
    """Reads everything when told to, and remembers the events."""

    def __init__(self):
        self.cursors, self.read, self.lost_bytes = {}, [], 0

    def position(self, file):
        cursor = self.cursors.get(file.identity)
        return cursor.offset if cursor else -1

    def taken(self, file):  # noqa: ARG002 - the reader's signature
        return -1

    def recall(self, identity):
        return self.cursors.get(identity, Cursor(identity))

    def lost(self, file, number, reason):  # noqa: ARG002 - the reader's signature
        self.lost_bytes += number

    def catch_up(self, registry):
        registry.refresh()
        for file in registry.files:
            cursor = self.cursors.setdefault(file.identity, Cursor(file.identity))
            try:
                while cursor.offset < file.size and (stretch := read(file, cursor, 65_536)):
                    cursor = self.cursors[file.identity] = stretch.cursor
                    self.read += stretch.spliced.ids
            except Replaced:
                registry.suspect(file)


class World:
    """The log folder, the spool and the reader of a test, over which registries come and go."""

    def __init__(self, logs, tmp_path):
        self.logs, self.spool = logs, Spool(tmp_path / "spool")
        self.reader = Reader()
        self.restart()

    def restart(self):
        self.registry = FileRegistry(
            [Source(self.logs.root, lambda name: log_stream(name, "h", "test"), self.spool)], [self.reader]
        )

    def catch_up(self):
        """Look at every file: how long ago a slow machine looked last is no matter."""
        self.registry.wake()
        self.reader.catch_up(self.registry)

    def sweep(self):
        for source in self.registry._sources:
            source.folder.sweep_soon()
        self.registry.refresh()

    @property
    def lines(self):
        assert len(set(self.reader.read)) == len(self.reader.read)
        return len(self.reader.read)

    def comes_to(self, number):
        """Catch up until ``number`` lines were read and once more; on a busy machine a round leaves files for later."""
        deadline = time.monotonic() + 10
        while self.lines < number and time.monotonic() < deadline:
            self.catch_up()
        self.catch_up()
        return self.lines == number
