"""A tailed file: its first name, what its lines are about, where it is now."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - read at run time by dataclass users

__all__ = ["READ_FLAGS", "Stream", "TailedFile", "stamp_of"]

READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
"""For a file that was looked at before: a pipe that has its name now does not hold us, a link does not lead away."""


def stamp_of(found: os.stat_result) -> int:
    """64 bits that change with a file's device, inode, size or time."""
    return hash((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


@dataclass(frozen=True, slots=True)
class Stream:
    """The fields that all lines of a file have in common.

    ``name`` is the file's first name, relative to the log folder (or the journal), ``prefix`` the fields
    that every document of it begins with: ``{"a":1,…,`` for a log, empty for a journal. ``salt`` follows the file's
    identity in the ids of its documents, where a file of another host may have the same identity.
    """

    name: str
    dataset: str
    group: str
    prefix: bytes = b""
    salt: str = ""


@dataclass(slots=True, eq=False)
class TailedFile:
    """A file as it is now. ``origin_ns`` is the time of its first line, 0 where that has none.

    ``ids`` is set for what thinning left of a log: the identity of that log, which its documents' ids keep.
    ``seen`` is its size and stamp by one look, for a reader in another thread; ``sighted`` the round of that look.
    """

    stream: Stream
    path: Path
    device: int
    inode: int
    identity: str
    origin_ns: int = 0
    size: int = 0
    changed: float = 0.0
    gone: bool = False
    spooled: Path | None = None
    unspoolable: bool = False
    known_since: float = field(default_factory=time.monotonic)
    generation: int = field(default=0)
    ids: str = ""
    seen: tuple[int, int] = (0, 0)
    sighted: int = -1

    def look(self, found: os.stat_result) -> None:
        """Take over size and time."""
        self.seen = found.st_size, stamp_of(found)
        self.size, self.changed = found.st_size, found.st_mtime

    @property
    def id_prefix(self) -> str:
        """With what the ids of its documents begin."""
        return (self.ids or self.identity) + self.stream.salt

    @property
    def readable(self) -> Path:
        """The path of its bytes, also after Airflow renamed or deleted it."""
        return self.spooled or self.path
