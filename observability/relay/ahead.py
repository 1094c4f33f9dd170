"""Reading ahead: the next stretch of a file is read while the one before it is on its way to the sink."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from observability.relay.tail import Cursor, Replaced, Stretch, read

if TYPE_CHECKING:
    import re

    from observability.relay.sources.file import TailedFile

__all__ = ["Ahead"]


class Ahead:
    """As :func:`tail.read`, for one thread; at most one stretch is kept, and only where a whole one is waiting."""

    def __init__(self) -> None:
        self._next: _Next | None = None

    def read(
        self, file: TailedFile, cursor: Cursor, most: int, *, final: bool = False, only: re.Pattern[bytes] | None = None
    ) -> Stretch | None:
        """The next stretch of ``file``; raises as :func:`tail.read` does."""
        ahead = self._next
        if ahead is not None and ahead.begins_at(file, cursor):
            self._next = None
            stretch = ahead.stretch()
        else:
            stretch = None
        if stretch is None:
            stretch = read(file, cursor, most, final=final, only=only)
        if stretch is not None and only is None and file.size - stretch.cursor.offset >= most:
            self._next = _Next(file, stretch.cursor, most)
            self._next.start()
        return stretch


class _Next(threading.Thread):
    def __init__(self, file: TailedFile, cursor: Cursor, most: int) -> None:
        super().__init__(name="relay-ahead", daemon=True)
        self._file, self._cursor, self._most = file, cursor, most
        self._found: Stretch | None = None

    def run(self) -> None:
        """Read; what goes wrong is met again, and answered, by the lane itself."""
        try:
            self._found = read(self._file, self._cursor, self._most)
        except (OSError, Replaced):
            self._found = None

    def begins_at(self, file: TailedFile, cursor: Cursor) -> bool:
        """Whether this is what is to be read now."""
        mine = self._cursor
        return file is self._file and (cursor.offset, cursor.part, cursor.tail) == (mine.offset, mine.part, mine.tail)

    def stretch(self) -> Stretch | None:
        """What was read, as soon as it is; None where nothing could be."""
        self.join()
        return self._found
