"""The id of a log folder: made once, kept in it, and the same for every relay that reads it.

Two hosts of one name, or two lives of one container, write component logs of one path that begin with the same
banner. Their documents must not share ids. Two relays that read one shared folder must agree on them.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from typing import TYPE_CHECKING

from observability.owner_only_files import make_folder, replace_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FILE", "folder_id", "home_id"]

FILE = ".contrail-folder-id"
_ID = re.compile(r"[0-9a-f]{8}")


def folder_id(folder: Path, home: Path) -> str:
    """The id of ``folder`` (8 hex digits), from the file in it, else from the copy in ``home``, else made now.

    A folder that cannot be written has an id of this home's own.
    """
    copy = home / "log-folder-id"
    kept = _read(copy)
    # Whoever reads the folder reads this: the relay of another user, too.
    found = _read(folder / FILE) or _first(folder / FILE, kept or secrets.token_hex(4), mode=0o644)
    if found != kept:
        with contextlib.suppress(OSError):
            make_folder(home)
            replace_file(copy, found.encode())
    return found


def home_id(home: Path) -> str:
    """The id of a relay's home (8 hex digits), kept in it."""
    make_folder(home)
    return _read(home / FILE) or _first(home / FILE, secrets.token_hex(4), mode=0o600)


def _first(path: Path, value: str, *, mode: int) -> str:
    """``value`` written to ``path``, or what another relay wrote there before us."""
    fresh = path.with_name(f"{FILE}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(value)
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    except OSError:
        pass
    with contextlib.suppress(OSError):
        fresh.unlink()
    return _read(path) or value


def _read(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        if match := _ID.fullmatch(path.read_text("ascii").strip()):
            return match[0]
    return ""
