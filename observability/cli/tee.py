"""Run a command, and keep a copy of what it says in a file that the relay reads.

Stands alone (no import of ours, nothing beyond the standard library), because one runs beside each component:
``python tee.py FILE COMMAND…``. The command's signals, exit status and standard output stay what they were.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["main"]

LIMIT = 64 * 1024 * 1024
"""A file that reaches this size is renamed to ``FILE.1``, at the end of a line."""
_CHUNK = 65_536
_LAST_WORDS_S = 2.0
"""The seconds to wait for what the command's own children still say after its end."""
_OLD_S = 14 * 86_400.0
"""Files of hosts (containers) that have said nothing for so long are deleted."""
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_CANNOT_RUN = 127


class Copy:
    """The file; a disk that is full costs the copy, never the command."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._broken = path, -1, False
        self._open()

    def write(self, chunk: bytes) -> None:
        """Append, and begin a new file where one is full."""
        try:
            if self._file < 0:
                self._open()
            os.write(self._file, chunk)
            if chunk.endswith(b"\n") and os.fstat(self._file).st_size >= LIMIT:
                os.close(self._file)
                self._file = -1
                self._path.replace(f"{self._path}.1")
            self._broken = False
        except OSError as error:
            if not self._broken:
                sys.stderr.write(f"contrail tee: no copy in {self._path}: {error.strerror}\n")
            self._broken = True

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            if not self._broken:
                sys.stderr.write(f"contrail tee: no copy in {self._path}: {error.strerror}\n")
            self._broken = True


def main(path: Path, command: list[str]) -> int:
    """Run ``command`` until it ends; its exit status, 128 + N where signal N ended it."""
    _forget_old(path.parent)
    copy = Copy(path)
    environ = {"PYTHONUNBUFFERED": "1", **os.environ}
    try:
        process = subprocess.Popen(  # noqa: S603 - the caller's own command
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ, bufsize=0
        )
    except OSError as error:
        sys.stderr.write(f"contrail tee: {command[0]} cannot be run: {error.strerror}\n")
        return _CANNOT_RUN
    for number in _PASSED_ON:
        signal.signal(number, lambda received, _frame: process.send_signal(received))
    _pass_through(process, copy)
    status = process.wait()
    return status if status >= 0 else 128 - status


def _pass_through(process: subprocess.Popen[bytes], copy: Copy) -> None:
    """Copy until nobody can say more, or the command has ended and its children are silent."""
    pipe = process.stdout.fileno() if process.stdout else -1
    over_at = None
    while over_at is None or time.monotonic() < over_at:
        ready, _, _ = select.select([pipe], [], [], 0.5)
        if ready:
            chunk = os.read(pipe, _CHUNK)
            if not chunk:
                return
            _say(chunk)
            copy.write(chunk)
        elif over_at is None and process.poll() is not None:
            over_at = time.monotonic() + _LAST_WORDS_S


def _say(chunk: bytes) -> None:
    """To our own standard output, as far as somebody reads it."""
    try:
        while chunk:
            chunk = chunk[os.write(1, chunk) :]
    except OSError:
        return


def _forget_old(folder: Path) -> None:
    try:
        for path in folder.iterdir():
            if path.is_file() and path.stat().st_mtime < time.time() - _OLD_S:
                path.unlink()
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
