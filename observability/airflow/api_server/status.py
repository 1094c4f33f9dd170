"""The part of Contrail in the API server as it says of itself in ``<home>/api-server.json``."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from observability.owner_only_files import make_folder, replace_file
from observability.regular_files import read_regular

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OFF", "Status", "read_status", "write_status"]

OFF = "off"
_FRESH_S = 20.0


@dataclass(slots=True)
class Status:
    """``relay`` and ``watcher`` are off, starting, running, another or failing; the problems are sentences."""

    pid: int = 0
    time: float = 0.0
    relay: str = OFF
    watcher: str = OFF
    relay_problem: str = ""
    watcher_problem: str = ""
    server_problem: str = ""
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def is_fresh(self) -> bool:
        """True if the process that wrote it did so lately."""
        return abs(time.time() - self.time) < _FRESH_S


def write_status(home: Path, status: Status) -> None:
    """Write it down. Raises OSError."""
    make_folder(home)
    replace_file(home / "api-server.json", orjson.dumps(asdict(status)))


def read_status(home: Path) -> Status:
    """The last one that an API server of this host wrote; one that is off where none did."""
    try:
        found: Any = orjson.loads(read_regular(home / "api-server.json"))
        return msgspec.convert(found, Status)
    except (OSError, ValueError, msgspec.ValidationError):
        return Status()
