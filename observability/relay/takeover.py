"""A relay of its own takes over from the one in Airflow's API server: it asks, and the other ends."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from observability.errors import RelayError
from observability.owner_only_files import make_folder, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    _T = TypeVar("_T")

__all__ = ["is_wanted", "take_over"]

_PATIENCE_S = 30.0
_AGAIN_S = 0.1


def is_wanted(home: Path) -> bool:
    """True if a relay has asked for the place of the one that stands in, within the last 30 s."""
    try:
        asked = (home / "relay.wanted").stat().st_mtime
    except OSError:
        return False
    return abs(time.time() - asked) < _PATIENCE_S


def take_over(home: Path, stands_in: Callable[[], bool], open_relay: Callable[[], _T]) -> _T:
    """The relay that ``open_relay`` gives, as soon as one that ``stands_in`` has ended.

    Raises :class:`RelayError` where the relay of ``home`` is not one that gives way, or does not within 30 s.
    """
    wanted, until = home / "relay.wanted", time.monotonic() + _PATIENCE_S
    try:
        while True:
            try:
                return open_relay()
            except RelayError:
                if not stands_in() or time.monotonic() > until:
                    raise
            make_folder(home)
            replace_file(wanted, b"")
            time.sleep(_AGAIN_S)
    finally:
        with suppress(OSError):
            wanted.unlink()
