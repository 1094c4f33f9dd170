"""A second name for each log that is not yet sent, so that its bytes outlive its deletion.

Hard links ``<home>/spool/<identity>-<inode>@<the log's name, quoted>``: no bytes are copied, the name survives a
restart of the relay, and a log that Airflow deletes while the relay is down is still there afterwards. A name
too long for a file's name becomes folders below ``long/``. Where the log folder is on another file system there
is no spool, and what is deleted unsent is counted.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from observability.owner_only_files import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from observability.relay.sources.files.tailed_file import TailedFile

__all__ = ["Spool"]

_AT = "@"
_LONG = "long"
_PLAIN = " =:+,"
_MOST_NAME_BYTES = 255
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Refusals that end: the link is tried again in the next round."""


class Spool:
    """The links in ``directory``; ``refused`` counts the files that could not be linked, ``why`` says what it was."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.refused = 0
        self.why = ""

    def hold(self, file: TailedFile) -> None:
        """Link ``file``, so that it can be read whatever happens to its name."""
        link = self._link(file.stream.name, f"{file.identity}-{file.inode}")
        try:
            make_folder(link.parent)
            with contextlib.suppress(FileExistsError):
                os.link(file.path, link, follow_symlinks=False)
            if link.stat().st_ino != file.inode:
                link.unlink()
                return
        except OSError as error:
            self.why = error.strerror or str(error)
            if error.errno not in _PASSING:
                file.unspoolable = True
                self.refused += 1
            return
        file.spooled = link

    def release(self, file: TailedFile) -> None:
        """Drop the link of a file that every sink has."""
        if file.spooled is None:
            return
        link, file.spooled = file.spooled, None
        self.drop(link)

    def drop(self, link: Path) -> None:
        """Remove a link, and the folders made for it."""
        with contextlib.suppress(OSError):
            link.unlink()
            if link.parent != self.directory:
                os.removedirs(link.parent)

    def held(self) -> Iterator[tuple[str, Path, os.stat_result]]:
        """The links that are there: the log's name, the link and its stat."""
        for folder, _, names in os.walk(self.directory):
            for name in names:
                link = self.directory / folder / name
                _, flat, quoted = name.partition(_AT)
                with contextlib.suppress(OSError):
                    yield (
                        unquote(quoted) if flat else os.path.relpath(folder, self.directory / _LONG),
                        link,
                        link.stat(),
                    )

    def kept(self, file: TailedFile) -> Path:
        """The path for what is left of ``file`` when its debug lines are dropped."""
        return self._link(file.stream.name, f"{file.identity}-{file.origin_ns}.kept")

    def _link(self, name: str, key: str) -> Path:
        flat = f"{key}{_AT}{quote(name, safe=_PLAIN)}"
        return self.directory / flat if len(flat.encode()) <= _MOST_NAME_BYTES else self.directory / _LONG / name / key
