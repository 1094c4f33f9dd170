"""A fact that several processes of a host see is reported by the first of them.

The stores drop a second record of a fact by its id, but counters would count it twice. What only one
process can see needs no claim.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from observability.owner_only_files import make_folder
from observability.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["claim"]

_KEEP_S = 86_400


def claim(fact: str) -> bool:
    """True for the first process that asks for the fact with this id. Raises OSError where home cannot be written."""
    folder = get_settings().home / "claims"
    path = folder / fact
    try:
        _create(path)
    except FileNotFoundError:
        make_folder(folder)
        return claim(fact)
    except FileExistsError:
        return False
    if fact.startswith("00"):
        _forget_old(folder)
    return True


def _create(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _forget_old(folder: Path) -> None:
    """Remove what is older than a day; about one claim in 256 does it, as ids are hashes."""
    oldest = time.time() - _KEEP_S
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()
