"""Folders and files for their owner only, whatever the umask of the process that makes them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_file", "make_folder", "replace_file"]


def make_folder(path: Path) -> None:
    """Make the folder, and those above it that are missing, with mode 0700; one that is there stays as it is."""
    for each in reversed([path, *path.parents]):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)


def make_file(path: Path | str) -> None:
    """Make the file, empty, with mode 0600; one that is there is kept. SQLite gives its logs the mode of its file."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def replace_file(path: Path, content: bytes) -> None:
    """Put a file with that content and mode 0600 in the place of ``path``, at once."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    fresh.replace(path)
