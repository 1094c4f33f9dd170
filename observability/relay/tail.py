"""Read on from where a cursor stands: whole lines only, as documents with their ids."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from observability.journal import frames
from observability.relay.sources.journal import record_id
from observability.relay.steps.identify import HEAD_BYTES, identify
from observability.relay.steps.splice import MOST_LINE_BYTES, Spliced, add_part, splice, whole_end
from observability.relay.steps.thin import kept_lines

if TYPE_CHECKING:
    import re

    from observability.relay.sources.file import TailedFile

__all__ = ["Cursor", "Replaced", "Stretch", "read"]

TAIL_BYTES = 32
"""So many bytes before a cursor are kept with it, to know the file again."""
_MOST_RECORD_BYTES = 16_777_216


class Replaced(Exception):  # noqa: N818 - a state of the file
    """The file is not the one that the cursor was set in: replaced, truncated, or the cursor is damaged."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to where a file has been answered for.

    ``tail`` is what stands right before ``offset``. ``part`` counts the pieces already taken of a line that
    is too long for one document. What lies below ``sending`` may have been sent before.
    """

    identity: str
    offset: int = 0
    tail: bytes = b""
    part: int = 0
    sending: int = 0


@dataclass(slots=True)
class Stretch:
    """What was read: documents and ids, the cursor behind them, and what was noticed on the way.

    ``raw`` is the text itself, ``damaged`` the number of journal records that did not match their checksum.
    """

    cursor: Cursor
    raw: bytes
    spliced: Spliced = field(default_factory=Spliced)
    damaged: int = 0


def read(
    file: TailedFile, cursor: Cursor, most: int, *, final: bool = False, only: re.Pattern[bytes] | None = None
) -> Stretch | None:
    """The next stretch of ``file`` of about ``most`` bytes, or None where no whole line has come.

    ``final`` takes a last line of the file without newline as it is; a stretch in which ``only`` is not found gives no
    documents. Raises :class:`Replaced`, and OSError where the
    file cannot be read.
    """
    chunk = _bytes(file, cursor, most)
    end = chunk.rfind(b"\n") + 1
    if end == 0 and len(chunk) >= most:
        whole = not file.stream.prefix or file.ids
        most = _MOST_RECORD_BYTES if whole else MOST_LINE_BYTES + 8
        chunk = _bytes(file, cursor, most)
        end = chunk.rfind(b"\n") + 1
    final = final and len(chunk) < most  # else the line goes on behind what was read
    if not file.stream.prefix:
        return _records(cursor, chunk, end, final=final)
    if file.ids:
        return _kept(file, cursor, chunk[:end])
    if only is not None and end and not cursor.part and not only.search(chunk):
        return Stretch(_moved(cursor, chunk[:end]), chunk[:end])
    return _lines(file, cursor, chunk, end, final=final)


def _bytes(file: TailedFile, cursor: Cursor, most: int) -> bytes:
    back = len(cursor.tail)
    descriptor = os.open(file.readable, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != (file.device, file.inode):
            raise Replaced(f"{file.readable} is another file now")
        data = os.pread(descriptor, most + back, cursor.offset - back)
    finally:
        os.close(descriptor)
    if data[:back] != cursor.tail:
        raise Replaced(f"{file.readable} does not hold what stood before byte {cursor.offset}")
    if not cursor.offset and file.stream.prefix and not file.ids and _identity(file, data) != file.identity:
        raise Replaced(f"{file.readable} was filled anew before it was read")
    return data[back:]


def _identity(file: TailedFile, head: bytes) -> str:
    return identify(file.stream.name, head[:HEAD_BYTES].partition(b"\n")[0], file.generation)


def _lines(file: TailedFile, cursor: Cursor, chunk: bytes, end: int, *, final: bool) -> Stretch | None:
    if end == 0 and len(chunk) <= MOST_LINE_BYTES and not (final and chunk):
        return None
    out = Spliced()
    start = 0
    if cursor.part or end == 0:
        newline = chunk.find(b"\n")
        stop = len(chunk) if newline < 0 else newline
        piece = whole_end(chunk[:stop], MOST_LINE_BYTES)
        is_part = cursor.part > 0 or piece < stop or stop > MOST_LINE_BYTES
        if is_part and (piece < stop or newline >= 0 or final):
            add_part(out, file, chunk[:piece], cursor.offset, cursor.part)
            out.rewritten, out.split = 1, int(cursor.part == 0)
            if piece < stop:
                return Stretch(_moved(cursor, chunk[:piece], part=cursor.part + 1), chunk[:piece], out)
            start = min(piece + 1, len(chunk))
        elif is_part:
            return None
    stop = len(chunk) if final else end
    rest = splice(file, chunk[start:stop], cursor.offset + start)
    rest.ids[:0], rest.documents[:0] = out.ids, out.documents
    rest.rewritten += out.rewritten
    rest.split += out.split
    return Stretch(_moved(cursor, chunk[:stop]), chunk[:stop], rest)


def _kept(file: TailedFile, cursor: Cursor, chunk: bytes) -> Stretch | None:
    if not chunk:
        return None
    out = Spliced()
    for offset, line in kept_lines(chunk):
        one = splice(file, line, offset)
        out.ids += one.ids
        out.documents += one.documents
    return Stretch(_moved(cursor, chunk), chunk, out)


def _records(cursor: Cursor, chunk: bytes, end: int, *, final: bool) -> Stretch | None:
    if end == 0 and len(chunk) >= _MOST_RECORD_BYTES:
        return Stretch(_moved(cursor, chunk), b"", damaged=1)
    if end == 0:
        return Stretch(_moved(cursor, chunk), b"", damaged=1) if final and chunk else None
    stretch = Stretch(_moved(cursor, chunk[:end]), chunk[:end])
    for found in frames(stretch.raw):
        if found.document is None:
            stretch.damaged += 1
        else:
            stretch.spliced.ids.append(record_id(found.document))
            stretch.spliced.documents.append(found.document)
    return stretch


def _moved(cursor: Cursor, taken: bytes, part: int = 0) -> Cursor:
    tail = (cursor.tail + taken[-TAIL_BYTES:])[-TAIL_BYTES:]
    return replace(cursor, offset=cursor.offset + len(taken), tail=tail, part=part)
