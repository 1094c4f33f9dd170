"""The writer of our own logs (relay, watcher, command line): one fused step from call to disk.

A line is one JSON object in the shape of Airflow's task logs (``timestamp``, ``level``, ``event``, ``logger`` and
the caller's keys), written by one ``write(2)`` to a descriptor opened with ``O_APPEND``: threads and forks need no
lock. A log call never raises: what JSON cannot say is written as its text; a line that cannot be written is counted.
"""

from __future__ import annotations

import errno
import os
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from observability.contain import count_loss, text_of
from observability.encode import to_line
from observability.owner_only_files import make_folder
from observability.redact import document, is_clean

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LEVELS", "Logger", "is_open", "write_to"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
"""Levels by name, with the numbers of the standard library."""

_UTC = timezone.utc
_now = datetime.now
_NAMES = {number: name for name, number in LEVELS.items()}
_RESERVED = frozenset({"timestamp", "level", "event", "logger", "exc_info"})


class _Target:
    """The target of this process's lines, and from which level on."""

    path: Path | None = None
    descriptor = 2
    least = LEVELS["info"]
    torn = False


def write_to(path: Path, *, level: str = "info") -> None:
    """Append the lines of this process's own loggers to ``path``; before this call they go to stderr.

    Raises OSError when the file cannot be opened.
    """
    is_clean(b"")  # makes the rules ready now: the last lines of a process come when nothing can be loaded any more
    make_folder(path.parent)
    _Target.descriptor = _open(path)
    _Target.path, _Target.least, _Target.torn = path, LEVELS[level], False


def is_open() -> bool:
    """True if :func:`write_to` was called: this process writes its own log."""
    return _Target.path is not None


class Logger:
    """A logger with keys bound to it; immutable, so threads and forks may share it."""

    __slots__ = ("_bound", "name")

    def __init__(self, name: str, bound: dict[str, Any] | None = None) -> None:
        self.name = name
        self._bound = bound or {}

    def bind(self, **keys: Any) -> Logger:
        """A logger that has ``keys`` on each line, too."""
        return Logger(self.name, {**self._bound, **keys})

    def unbind(self, *keys: str) -> Logger:
        """A logger without these keys."""
        return Logger(self.name, {key: value for key, value in self._bound.items() if key not in keys})

    def debug(self, event: object, /, *args: Any, **keys: Any) -> None:
        """Write a line of level debug; ``args`` fill the percent signs of ``event``."""
        self._write("debug", event, args, keys)

    def info(self, event: object, /, *args: Any, **keys: Any) -> None:
        """Write a line of level info."""
        self._write("info", event, args, keys)

    def warning(self, event: object, /, *args: Any, **keys: Any) -> None:
        """Write a line of level warning."""
        self._write("warning", event, args, keys)

    def error(self, event: object, /, *args: Any, **keys: Any) -> None:
        """Write a line of level error."""
        self._write("error", event, args, keys)

    def critical(self, event: object, /, *args: Any, **keys: Any) -> None:
        """Write a line of level critical."""
        self._write("critical", event, args, keys)

    def exception(self, event: object, /, *args: Any, **keys: Any) -> None:
        """Write a line of level error with the exception that is being handled."""
        self._write("error", event, args, {"exc_info": True, **keys})

    def log(self, level: int | str, event: object, /, *args: Any, **keys: Any) -> None:
        """Write a line of ``level``, given by name or by the standard library's number."""
        self._write(level if isinstance(level, str) else _NAMES.get(level, "info"), event, args, keys)

    def _write(self, level: str, event: object, args: tuple[Any, ...], keys: dict[str, Any]) -> None:
        if LEVELS.get(level, 0) < _Target.least:
            return
        if self._bound:
            keys = {**self._bound, **keys}
        record = {"timestamp": _now(_UTC), "level": level, "event": event, "logger": self.name, **keys}
        if args or "exc_info" in record or len(record) != len(keys) + 4:
            event, keys = _uncommon(event, args, keys)
            record = {"timestamp": _now(_UTC), "level": level, "event": event, "logger": self.name, **keys}
        line = to_line(record)
        if not is_clean(line):
            line = to_line(document(record))
        if _Target.torn:
            line = b"\n" + line
        try:
            written = os.write(_Target.descriptor, line)
        except OSError as error:
            written = _again(line, error)
        if written != len(line):
            _Target.torn = _Target.torn or written > 0
            count_loss("log", "torn" if written else "unwritten")
        elif _Target.torn:
            _Target.torn = False


def _uncommon(event: object, args: tuple[Any, ...], keys: dict[str, Any]) -> tuple[object, dict[str, Any]]:
    """Percent signs filled, the exception spelled out, and keys that would hide ours given an underscore."""
    keys = dict(keys)
    error = keys.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    keys = {f"{key}_" if key in _RESERVED else key: value for key, value in keys.items()}
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        keys["error_detail"] = _traceback(error)
    if args:
        event = text_of(_Filled(event, args))
    return event, keys


class _Filled:
    """An event whose percent signs are filled when its text is asked for."""

    def __init__(self, event: object, args: tuple[Any, ...]) -> None:
        self._event = str(event)
        self._args = args

    def __str__(self) -> str:
        try:
            return self._event % self._args
        except (TypeError, ValueError):
            return f"{self._event} {self._args!r}"


def _traceback(error: BaseException) -> Any:
    from structlog.tracebacks import ExceptionDictTransformer

    detail = ExceptionDictTransformer(show_locals=False, use_rich=False)
    return detail((type(error), error, error.__traceback__))


def _again(line: bytes, error: OSError) -> int:
    """Write to the file opened anew where somebody closed our descriptor; answers how many bytes went out."""
    if error.errno != errno.EBADF or _Target.path is None:
        return 0
    try:
        _Target.descriptor = _open(_Target.path)
        return os.write(_Target.descriptor, line)
    except OSError:
        return 0


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
