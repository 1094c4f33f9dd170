"""The question which file this is: one that was known, rewritten since, or one that only begins like another."""

from __future__ import annotations

import os
import stat
from itertools import count
from typing import TYPE_CHECKING

from observability.relay.sources.files.fingerprint import first_line, identify
from observability.relay.sources.files.tailed_file import READ_FLAGS, TailedFile, stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from observability.relay.sources.files.scanner import Entry
    from observability.relay.sources.files.tail import Cursor
    from observability.relay.sources.files.tailed_file import Stream

__all__ = ["generation_of", "is_rewritten", "is_that", "known_by_name"]

_COMPARED_BYTES = 65_536


def generation_of(
    stream: Stream,
    line: bytes,
    descriptor: int,
    known: Mapping[str, TailedFile] | None,
    recall: Callable[[str], list[Cursor | None]],
) -> int | None:
    """The number of a file among those that begin with this line: the first whose cursors were set in its content.

    ``known`` are the files that it may differ from; None where the line has a time, which no two files share, so
    that it is a copy (perhaps one that is still being made) or holds something else where a cursor stands.
    ``recall`` gives the cursors kept for an identity; None while one of them is not known.
    """
    for generation in count():
        identity = identify(stream.name, line, generation)
        holder = known.get(identity) if known is not None else None
        if holder is not None and not _begins_alike(descriptor, holder):
            continue
        cursors = recall(identity)
        if None in cursors:
            return 0 if known is None else None
        if all(
            _fits(descriptor, cursor) or (known is None and cursor.offset > os.fstat(descriptor).st_size)
            for cursor in cursors
            if cursor
        ):
            return generation
    return None


def is_rewritten(file: TailedFile, entry: Entry) -> bool:
    """True if a log that has not grown, but changed, begins otherwise now: emptied and filled to the same size."""
    if not file.stream.prefix or file.size != entry.stat.st_size or file.seen[1] == stamp_of(entry.stat):
        return False
    try:
        descriptor = os.open(entry.path, READ_FLAGS)
    except OSError:
        return False
    try:
        line = first_line(descriptor)
    finally:
        os.close(descriptor)
    return line is not None and identify(file.stream.name, line, file.generation) != file.identity


def is_that(descriptor: int, found: os.stat_result) -> bool:
    """Tell whether what was opened is the regular file that was looked at."""
    opened = os.fstat(descriptor)
    return stat.S_ISREG(opened.st_mode) and (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino)


def known_by_name(stream: Stream, path: Path, found: os.stat_result) -> TailedFile:
    """A journal file: nobody renames it, and a flipped bit in it must not make it another file."""
    identity = identify(stream.name, b"")
    file = TailedFile(stream, path, found.st_dev, found.st_ino, identity)
    file.look(found)
    return file


def _begins_alike(descriptor: int, holder: TailedFile) -> bool:
    try:
        with holder.readable.open("rb") as stream:
            theirs = stream.read(_COMPARED_BYTES)
    except OSError:
        return True
    ours = os.pread(descriptor, _COMPARED_BYTES, 0)
    shorter = min(len(ours), len(theirs))
    return ours[:shorter] == theirs[:shorter]


def _fits(descriptor: int, cursor: Cursor) -> bool:
    back = len(cursor.tail)
    return os.pread(descriptor, back, cursor.offset - back) == cursor.tail
