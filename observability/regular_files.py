"""Reads files that somebody else may have put there: a pipe does not hold the reader, a device does not fill it."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

__all__ = ["NotRegular", "is_file", "is_folder", "is_regular", "open_regular", "read_regular"]

_MOST_BYTES = 64 * 1024 * 1024


class NotRegular(OSError):  # noqa: N818 - a state of the disk, not a mistake of the caller
    """A folder, pipe, socket or device has the name of a file."""


def open_regular(path: Path, *, follow: bool = True) -> FileIO:
    """Open the file to be read. Raises OSError at once where it is none, and where it is a link unless ``follow``."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(descriptor, "rb", buffering=0)


def read_regular(path: Path, most: int = _MOST_BYTES) -> bytes:
    """The content of the file. Raises OSError where it is none, or longer than ``most`` bytes."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most} bytes", str(path))
        return file.readall()


def is_regular(path: Path) -> bool:
    """True for a file that is neither a link nor gone."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """True for a file, or a link to one. False also where this user may not look, as a task with ``run_as_user``."""
    return _kind_of(path) == stat.S_IFREG


def is_folder(path: Path) -> bool:
    """True for a folder, or a link to one. False also where this user may not look."""
    return _kind_of(path) == stat.S_IFDIR


def _kind_of(path: Path) -> int:
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):  # a name with a zero byte
        return 0
