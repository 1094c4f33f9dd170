"""The supervisor's account of itself and its components, and the lock that keeps a second one out."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from observability.local.errors import PlatformError

if TYPE_CHECKING:
    from observability.local.layout import Layout

__all__ = ["ComponentState", "PlatformState", "is_running", "read_state", "take_lock", "write_state"]


@dataclass(slots=True)
class ComponentState:
    """A component as its supervisor sees it: starting, up, waiting (for its next start), or stopped."""

    pid: int | None = None
    state: str = "starting"
    restarts: int = 0
    since: float = 0.0
    last_exit: str = ""


@dataclass(slots=True)
class PlatformState:
    """The platform as its supervisor sees it: migrating, running, stopping or stopped."""

    guardian: int
    supervisor: int
    url: str
    started: float
    phase: str = "migrating"
    components: dict[str, ComponentState] = field(default_factory=dict)


def write_state(layout: Layout, state: PlatformState) -> None:
    """Replace the state file in one step."""
    fresh = layout.state.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(state)), "utf-8")
    fresh.replace(layout.state)


def read_state(layout: Layout) -> PlatformState | None:
    """The last state that was written, also of a platform that has gone; None when there was none."""
    try:
        values = json.loads(layout.state.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    parts = {name: ComponentState(**part) for name, part in values.pop("components").items()}
    return PlatformState(**values, components=parts)


def take_lock(layout: Layout) -> int:
    """A descriptor that holds the lock while any process has it open. Raises :class:`PlatformError` where one has."""
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if _try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    state = read_state(layout)
    where = f" at {state.url} (process {state.guardian})" if state else ""
    raise PlatformError(f"the platform of {layout.home} is running already{where}; stop it by: contrail down")


def is_running(layout: Layout) -> bool:
    """True if a guardian or supervisor of this home lives."""
    try:
        descriptor = os.open(layout.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
