"""Read on from where a cursor stands: whole lines only, as documents with their ids."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from observability.contain import own_fault
from observability.journal import frames
from observability.relay.sources.files.fingerprint import HEAD_BYTES, identify
from observability.relay.sources.files.journal import record_id
from observability.relay.sources.files.tailed_file import READ_FLAGS
from observability.relay.steps.component_lines import masked, without_echo
from observability.relay.steps.drop_debug_lines import kept_lines
from observability.relay.steps.line_time import CONTINUED_BYTES, TOP_BYTES, Around
from observability.relay.steps.splice import MOST_LINE_BYTES, PIECE_BYTES, EncodedLines, add_pieces, entry_of, splice

if TYPE_CHECKING:
    import re

    from observability.relay.sources.files.tailed_file import TailedFile
    from observability.relay.steps.line_time import Entry

__all__ = ["Chunk", "Cursor", "Failed", "Replaced", "read"]

_HEAD_BYTES = 256
TAIL_BYTES = 32
"""So many bytes before a cursor are kept with it, to know the file again."""
_MOST_RECORD_BYTES = 16_777_216
_COMPONENTS = "airflow.component"


class Replaced(Exception):  # noqa: N818 - a state of the file
    """The file is not the one that the cursor was set in: replaced, truncated, or the cursor is damaged."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to where a file has been acknowledged.

    ``tail`` is what stands right before ``offset``. ``part`` counts the pieces already taken of a line that
    is too long for one document. What lies below ``sending`` may have been sent before. ``latest`` is the
    ``offset`` by which the last document before the cursor is sorted.
    """

    identity: str
    offset: int = 0
    tail: bytes = b""
    part: int = 0
    sending: int = 0
    latest: int = 0


class Failed(NamedTuple):
    """A line, or what a line had become, at which we fail ourselves."""

    name: str
    offset: int
    content: bytes
    error: Exception


@dataclass(slots=True)
class Chunk:
    """The result of one read: documents and ids, the cursor behind them, and what was noticed on the way.

    ``raw`` is the text itself, ``damaged`` the number of journal records that did not match their checksum,
    ``failed`` what was passed over.
    """

    cursor: Cursor
    raw: bytes
    spliced: EncodedLines = field(default_factory=EncodedLines)
    damaged: int = 0
    failed: list[Failed] = field(default_factory=list)


def read(
    file: TailedFile, cursor: Cursor, most: int, *, final: bool = False, only: re.Pattern[bytes] | None = None
) -> Chunk | None:
    """The next stretch of ``file`` of about ``most`` bytes, or None where no whole line has come.

    ``final`` takes a last line of the file without newline as it is; a stretch in which ``only`` is not found gives no
    documents. A line at which we fail ourselves is passed over and noted in ``failed``.
    Raises :class:`Replaced`, and OSError where the file cannot be read.
    """
    chunk = _bytes(file, cursor, most)
    end = chunk.rfind(b"\n") + 1
    if end == 0 and len(chunk) >= most:
        whole = not file.stream.prefix or file.ids
        longer = _MOST_RECORD_BYTES if whole else MOST_LINE_BYTES + 8
        if longer > most:
            most = longer
            chunk = _bytes(file, cursor, most)
            end = chunk.rfind(b"\n") + 1
    final = final and len(chunk) < most  # else the line goes on behind what was read
    if only is not None and file.stream.prefix and not file.ids and end and not cursor.part and not only.search(chunk):
        return Chunk(_moved(cursor, chunk[:end]), chunk[:end])
    try:
        return _parsed(file, cursor, chunk, end, final=final)
    except OSError:
        raise
    except Exception as error:
        if not own_fault("relay.tail", error):
            raise
    return _line_by_line(file, cursor, chunk[:end] or chunk)


def _parsed(file: TailedFile, cursor: Cursor, chunk: bytes, end: int, *, final: bool) -> Chunk | None:
    if not file.stream.prefix:
        return _records(cursor, chunk, end, final=final)
    stretch = _kept(file, cursor, chunk[:end]) if file.ids else _lines(file, cursor, chunk, end, final=final)
    if stretch is not None and file.stream.dataset == _COMPONENTS:
        stretch.spliced.documents = masked(stretch.spliced.documents, file.stream.prefix)
    return stretch


def _line_by_line(file: TailedFile, cursor: Cursor, chunk: bytes) -> Chunk:
    """The documents of those lines at which we do not fail."""
    whole = Chunk(cursor, chunk)
    for line in _split(chunk):
        here = whole.cursor
        try:
            one = _parsed(file, here, line, len(line), final=False)
        except Exception as error:  # noqa: BLE001 - as above
            whole.failed.append(Failed(file.stream.name, here.offset, line, error))
            one = None
        if one is not None:
            whole.spliced.extend(one.spliced)
            whole.damaged += one.damaged
        whole.cursor = _moved(here, line, latest=whole.spliced.latest)
    return whole


def _split(chunk: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in chunk.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return [line for line in lines if line]


def _bytes(file: TailedFile, cursor: Cursor, most: int) -> bytes:
    back = len(cursor.tail)
    descriptor = os.open(file.readable, READ_FLAGS)
    try:
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != (file.device, file.inode):
            raise Replaced(f"{file.readable} is another file now")
        most = most if cursor.offset else max(most, HEAD_BYTES)
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


def _lines(file: TailedFile, cursor: Cursor, chunk: bytes, end: int, *, final: bool) -> Chunk | None:
    out = EncodedLines(latest=cursor.latest)
    start = 0
    if cursor.part:
        newline = chunk.find(b"\n")
        stop = len(chunk) if newline < 0 else newline
        whole = newline >= 0 or (final and stop > 0)
        taken, part = add_pieces(
            out, file, chunk[:stop], cursor.offset, _entry_begun(file, cursor), cursor.part, None if whole else stop - 1
        )
        if not whole:
            return _chunk_of(cursor, chunk[:taken], out, part=part) if taken else None
        start = min(stop + 1, len(chunk))
    elif end == 0 and len(chunk) > MOST_LINE_BYTES and not final:
        entry = entry_of(file, chunk, cursor.offset, _OnDisk(file, cursor.offset))
        taken, part = add_pieces(out, file, chunk, cursor.offset, entry, 0, len(chunk) - 1)
        return _chunk_of(cursor, chunk[:taken], out, part=part)
    elif end == 0 and not (final and chunk):
        return None
    stop = len(chunk) if final else max(end, start)
    text, here = chunk[start:stop], cursor.offset + start
    if file.stream.dataset == _COMPONENTS:
        text = without_echo(text, file.stream.prefix)
    out.extend(splice(file, text, here, _OnDisk(file, here), out.latest))
    return _chunk_of(cursor, chunk[:stop], out)


def _chunk_of(cursor: Cursor, taken: bytes, out: EncodedLines, part: int = 0) -> Chunk:
    return Chunk(_moved(cursor, taken, part, out.latest), taken, out)


def _entry_begun(file: TailedFile, cursor: Cursor) -> Entry:
    """The entry of the long line in which the cursor stands, ``part`` pieces behind its beginning."""
    base = max(0, cursor.offset - cursor.part * PIECE_BYTES - 1)
    reach = 3 * cursor.part + 2  # a piece ends up to three bytes early, before a character
    head = _pread(file, reach + _HEAD_BYTES, base)
    start = base + head.rfind(b"\n", 0, reach) + 1
    return entry_of(file, head[start - base :], start, _OnDisk(file, start))


class _OnDisk(Around):
    """The surroundings of byte ``offset`` in the file."""

    def __init__(self, file: TailedFile, offset: int) -> None:
        self._file = file
        self._offset = offset

    def before(self) -> bytes:
        start = max(0, self._offset - CONTINUED_BYTES)
        return _pread(self._file, self._offset - start, start)

    def top(self) -> bytes:
        return _pread(self._file, TOP_BYTES, 0)


class _Kept(Around):
    """The kept part of a log before its next line."""

    def __init__(self) -> None:
        self.seen = b"\n"  # the first line that was kept is whole, wherever it stood

    def before(self) -> bytes:
        return self.seen


def _pread(file: TailedFile, size: int, offset: int) -> bytes:
    descriptor = os.open(file.readable, READ_FLAGS)
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)


def _kept(file: TailedFile, cursor: Cursor, chunk: bytes) -> Chunk | None:
    if not chunk:
        return None
    out = EncodedLines(latest=cursor.latest)
    around = _Kept()
    for offset, line in kept_lines(chunk):
        text = without_echo(line, file.stream.prefix) if file.stream.dataset == _COMPONENTS else line
        out.extend(splice(file, text, offset, around, out.latest))
        around.seen = (around.seen + line + b"\n")[-CONTINUED_BYTES:]
    return _chunk_of(cursor, chunk, out)


def _records(cursor: Cursor, chunk: bytes, end: int, *, final: bool) -> Chunk | None:
    if end == 0 and len(chunk) >= _MOST_RECORD_BYTES:
        return Chunk(_moved(cursor, chunk), b"", damaged=1)
    if end == 0:
        return Chunk(_moved(cursor, chunk), b"", damaged=1) if final and chunk else None
    stretch = Chunk(_moved(cursor, chunk[:end]), chunk[:end])
    for found in frames(stretch.raw):
        if found.document is None:
            stretch.damaged += 1
        else:
            stretch.spliced.ids.append(record_id(found.document))
            stretch.spliced.documents.append(found.document)
    return stretch


def _moved(cursor: Cursor, taken: bytes, part: int = 0, latest: int = 0) -> Cursor:
    tail = (cursor.tail + taken[-TAIL_BYTES:])[-TAIL_BYTES:]
    return replace(cursor, offset=cursor.offset + len(taken), tail=tail, part=part, latest=max(latest, cursor.latest))
