"""Documents that a sink will never take, kept with the reason until someone sends them again.

JSON lines in ``<home>/dead-letters/<sink>-<day>-<number>.jsonl``. At the limit, debug lines of the oldest file go
first, then the oldest file; what goes is counted.
"""

from __future__ import annotations

import io
import os
import time
from typing import TYPE_CHECKING

import orjson

from observability.owner_only_files import make_file, make_folder, replace_file
from observability.regular_files import NotRegular, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

__all__ = ["DeadLetters", "Letter"]

Letter = dict[str, str]
"""reason, dataset, id, source, group, at and document of one record, as text."""

_MOST_FILE_BYTES = 8_388_608


class DeadLetters:
    """The dead letters of one sink in ``directory``."""

    def __init__(self, directory: Path, sink: str, limit_bytes: int) -> None:
        self._directory = directory
        self._sink = sink
        self._limit = limit_bytes
        self._counted: dict[int, tuple[int, int]] = {}

    @property
    def letters(self) -> int:
        """Count those on disk now, including those of a replay that was cut off; a file is read once."""
        counted: dict[int, tuple[int, int]] = {}
        for path in (*self.files(), *self._directory.glob(f"{self._sink}-*.replaying")):
            try:
                found = path.stat()
                size, number = self._counted.get(found.st_ino, (0, 0))
                if size > found.st_size:
                    size = number = 0
                if size < found.st_size:
                    number += _lines(path, size)
            except FileNotFoundError:  # a replay has just done with it
                continue
            counted[found.st_ino] = (found.st_size, number)
        self._counted = counted
        return sum(number for _, number in counted.values())

    def files(self) -> list[Path]:
        """The files, oldest first."""
        return sorted(self._directory.glob(f"{self._sink}-*.jsonl"), key=_place)

    def read(self) -> Iterator[Letter]:
        """The letters, oldest first; a line cut short by a crash is left out."""
        for path in self.files():
            yield from read_letters(path)

    def write(self, letters: list[Letter]) -> int:
        """Keep ``letters``; how many older ones had to go for them. Raises OSError when the disk refuses."""
        make_folder(self._directory)
        text = b"".join(orjson.dumps(letter) + b"\n" for letter in letters)
        dropped = self._make_room(len(text))
        path = self._current()
        make_file(path)
        with path.open("a+b", buffering=0) as file:
            file.write(text if _ends_whole(file) else b"\n" + text)
        return dropped

    def take(self) -> Iterator[tuple[Path, list[Letter]]]:
        """Each file with its letters, out of the way of the relay; for sending them again."""
        for left_over in sorted(self._directory.glob(f"{self._sink}-*.replaying")):
            yield left_over, list(read_letters(left_over))
        for path in self.files():
            aside = path.with_suffix(".replaying")
            path.rename(aside)
            yield aside, list(read_letters(aside))

    def _current(self) -> Path:
        """The last file of today, or the one behind it if that is full; no number is used again for newer ones."""
        today = f"{self._sink}-{time.strftime('%Y%m%d', time.gmtime())}"
        number = 0
        if written := sorted(self._directory.glob(f"{today}-*.jsonl"), key=_place):
            is_full = written[-1].stat().st_size >= _MOST_FILE_BYTES
            number = int(written[-1].stem.rpartition("-")[2]) + is_full
        return self._directory / f"{today}-{number:03d}.jsonl"

    def _make_room(self, needed: int) -> int:
        files = self.files()
        sizes = {path: path.stat().st_size for path in files}
        dropped = 0
        for shrink in (_without_debug, _without_any):
            for path in files:
                if sum(sizes.values()) + needed <= self._limit:
                    return dropped
                dropped += shrink(path)
                sizes[path] = path.stat().st_size if path.exists() else 0
        return dropped


def _place(path: Path) -> tuple[str, int, str]:
    """The key that files sort by: their day and their number, which may have more than three digits."""
    day, _, number = path.stem.rpartition("-")
    return day, len(number), number


def read_letters(path: Path) -> Iterator[Letter]:
    """The letters of one file."""
    try:
        with io.BufferedReader(open_regular(path)) as lines:
            for line in lines:
                try:
                    yield orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
    except (FileNotFoundError, NotRegular):
        return


def _lines(path: Path, start: int) -> int:
    with path.open("rb") as file:
        file.seek(start)
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1_048_576), b""))


def _ends_whole(file: FileIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    return size == 0 or os.pread(file.fileno(), 1, size - 1) == b"\n"


def _without_debug(path: Path) -> int:
    letters = list(read_letters(path))
    kept = [letter for letter in letters if '"level":"debug"' not in letter["document"]]
    if len(kept) < len(letters):
        replace_file(path, b"".join(orjson.dumps(letter) + b"\n" for letter in kept))
    return len(letters) - len(kept)


def _without_any(path: Path) -> int:
    number = sum(1 for _ in read_letters(path))
    path.unlink(missing_ok=True)
    return number
