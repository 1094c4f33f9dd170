"""Messages appended to a file, one JSON object per line; a message that is there already is not written again."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from observability.owner_only_files import make_folder
from observability.regular_files import open_regular
from observability.timestamps import iso
from observability.watch.notify.channels.channel import ChannelUnavailable

if TYPE_CHECKING:
    from observability.watch.notify.channels.channel import Contacts
    from observability.watch.notify.message import Message
    from observability.watch.rules.config import ChannelSpec

__all__ = ["open_channel"]

_TAIL_BYTES = 1_048_576


class _FileChannel:
    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, message: Message, *, resent: bool) -> None:
        written = iso(time.time(), "milliseconds")
        line = orjson.dumps({"written": written, **message.as_json()}) + b"\n"
        try:
            if resent and self._has(message.dedup_key):
                return
            self._append(line)
        except OSError as error:
            raise ChannelUnavailable(f"cannot append to {self._path}: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is held open."""

    def _append(self, line: bytes) -> None:
        make_folder(self._path.parent)
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            if os.write(descriptor, b"\n" + line if torn else line) < len(line):
                raise ChannelUnavailable(f"only part of a message fitted into {self._path}: free disk space")
        finally:
            os.close(descriptor)

    def _has(self, dedup_key: str) -> bool:
        """True if one of the last lines is this message; a crash cannot be further back than that."""
        if not self._path.exists():
            return False
        with io.BufferedReader(open_regular(self._path)) as file:
            file.seek(max(0, self._path.stat().st_size - _TAIL_BYTES))
            wanted = b'"dedup_key":' + orjson.dumps(dedup_key)
            return any(wanted in line and line.endswith(b"}\n") for line in file)


def open_channel(_name: str, spec: ChannelSpec, _contacts: Contacts, home: Path) -> _FileChannel:
    """The file that ``path`` names, under Contrail's home unless it is absolute."""
    path = Path(spec.path).expanduser()
    return _FileChannel(path if path.is_absolute() else home / path)
