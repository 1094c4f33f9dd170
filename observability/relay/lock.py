"""The lock of a home: one process delivers what lies there, a relay that stays or one that does so for a moment."""

from __future__ import annotations

import fcntl
import os
import time
from typing import IO, TYPE_CHECKING

from observability.errors import RelayError
from observability.owner_only_files import make_file, make_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["WAIT_S", "take_lock"]

WAIT_S = 60.0
"""A process at the end of its task gives the lock back after ``[relay] flush_timeout_s``, which is ten seconds."""
_GRACE_S = 0.5
"""The file may name the holder before for so long: one that has just taken the lock writes itself down next."""
_ASK_EVERY_S = 0.05
_FOR_A_MOMENT = "once"
"""The word behind the process in the lock's file: it delivers what there is and ends."""


def take_lock(home: Path, *, stays: bool) -> IO[bytes]:
    """The open file that holds the lock of ``home`` until it is closed.

    A relay that stays waits for one that delivers for a moment: when a relay is started again, the tasks that end
    meanwhile deliver for themselves. Raises RelayError when another that stays has the lock, or one for too long.
    """
    make_folder(home)
    path = home / "relay.lock"
    make_file(path)
    file = path.open("a+b")
    began = time.monotonic()
    while not _is_mine(file):
        holder, brief = _read(file)
        allowed_s = 0.0 if not stays else WAIT_S if brief else _GRACE_S
        if time.monotonic() - began >= allowed_s:
            file.close()
            raise RelayError(
                f"a relay is running on {home} already (process {holder});"
                f" use that one, or stop it first: kill {holder}"
            )
        time.sleep(_ASK_EVERY_S)
    file.truncate(0)
    file.write(f"{os.getpid()} {'' if stays else _FOR_A_MOMENT}".strip().encode() + b"\n")
    file.flush()
    return file


def _is_mine(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read(file: IO[bytes]) -> tuple[str, bool]:
    """The process that has the lock, and whether it has it for a moment; one that is writing itself down has."""
    file.seek(0)
    words = file.read(40).decode("ascii", "replace").split()
    return (words[0] if words else "unknown"), len(words) != 1
