"""Room on the disk: asked for before a platform starts, and named when a platform ends for want of it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from observability.local.errors import PlatformError

if TYPE_CHECKING:
    from observability.local.layout import Layout

__all__ = ["is_full", "require_room"]

_START_BYTES = 256 << 20
"""The bytes of Airflow's database, logs and the store of a first hour, with some air."""
_FULL_BYTES = 1 << 20


def require_room(layout: Layout) -> None:
    """Raise :class:`PlatformError` where there is too little room to start."""
    free = shutil.disk_usage(layout.home).free
    if free < _START_BYTES:
        raise PlatformError(
            f"{free >> 20} MiB are free where {layout.home} is, and a platform needs {_START_BYTES >> 20} to start: "
            "free space on that disk, or name a folder elsewhere by CONTRAIL_HOME (contrail demo: --home)"
        )


def is_full(layout: Layout) -> bool:
    """True if the disk has no room left: what fails now fails for that reason, whatever it says."""
    return shutil.disk_usage(layout.home).free < _FULL_BYTES
