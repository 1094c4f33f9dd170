"""Leave the debug lines out of a log that only the spool still holds.

What is left is a file of lines ``<16 hex digits of the line's byte offset> <the line>``, so that ids and offsets
stay what they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from observability.owner_only_files import make_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["kept_lines", "without_debug"]

_HEADER = 17
_DEBUG = (b'"level":"debug"', b"[debug ")


def without_debug(path: Path, kept: Path, start: int) -> list[int]:
    """Write to ``kept`` the lines of ``path`` from byte ``start`` on, without debug lines; the offsets of those."""
    dropped: list[int] = []
    fresh = kept.with_name(f"{kept.name}.new")
    make_file(fresh)
    with path.open("rb") as source, fresh.open("wb") as target:
        source.seek(start)
        offset = start
        for line in source:
            if any(mark in line for mark in _DEBUG):
                dropped.append(offset)
            else:
                target.write(b"%016x %b\n" % (offset, line.rstrip(b"\n")))
            offset += len(line)
    fresh.replace(kept)
    return dropped


def kept_lines(chunk: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a stretch of such a file with their offsets in the log."""
    for line in chunk.split(b"\n"):
        if line:
            yield int(line[: _HEADER - 1], 16), line[_HEADER:]
