"""Lines at which we fail ourselves, kept for whoever repairs that: one file for each sink, never sent anywhere.

JSON lines in ``<home>/set-aside/<sink>.jsonl``: when, which file, which byte, the bytes themselves (base64), the
error and where it was raised. A file that has reached its limit takes no more; what is passed over is counted all
the same.
"""

from __future__ import annotations

import time
import traceback
from base64 import b64encode
from typing import TYPE_CHECKING

import orjson

from observability.owner_only_files import make_file, make_folder

if TYPE_CHECKING:
    from pathlib import Path

    from observability.relay.sources.files.tail import Failed

__all__ = ["SetAside"]

_MOST_FILE_BYTES = 16_777_216


class SetAside:
    """The file of one sink in ``directory``; without a directory nothing is kept."""

    def __init__(self, directory: Path | None, sink: str) -> None:
        self._path = directory / f"{sink}.jsonl" if directory is not None else None

    def write(self, failed: list[Failed]) -> None:
        """Keep what we failed at. A disk that refuses it costs the copy, not the count."""
        if self._path is None:
            return
        try:
            make_folder(self._path.parent)
            make_file(self._path)
            with self._path.open("ab", buffering=0) as file:
                for one in failed:
                    if file.tell() < _MOST_FILE_BYTES:
                        file.write(orjson.dumps(_record(one)) + b"\n")
        except OSError:
            return


def _record(one: Failed) -> dict[str, object]:
    return {
        "at": time.time(),
        "file": one.name,
        "offset": one.offset,
        "content": b64encode(one.content).decode(),
        "error": type(one.error).__name__,
        "where": [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(one.error.__traceback__)],
    }
