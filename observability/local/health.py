"""The health of the platform: each component, the store, what is behind and what was lost."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from observability.durations import lasting
from observability.local.api import monitor_health
from observability.local.errors import PlatformError
from observability.local.state import PlatformState, is_running, read_state
from observability.relay.relay import read_status
from observability.store import Query, StoreError, open_store
from observability.watch.heartbeat import read_heartbeat
from observability.watch.sources.starting import STARTS_S

if TYPE_CHECKING:
    from observability.local.layout import Layout
    from observability.settings import Settings

__all__ = ["ComponentHealth", "Delivery", "Health", "look", "look_at_delivery"]

_SILENT_S = 15.0
_AIRFLOW_NAMES = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """One component: healthy, starting, unhealthy or down, and why."""

    name: str
    state: str
    detail: str = ""
    pid: int | None = None
    restarts: int = 0
    up_s: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """The relay's backlog, what its sinks refused, and how many observations were lost on the way.

    ``troubles`` maps a sink (or ``relay``) to the reason why it takes or carries no records now.
    """

    lag_bytes: int
    lag_s: float
    dead_letters: int
    losses: int
    troubles: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """The platform as a whole; ``phase`` is migrating, running, stopping or stopped."""

    phase: str
    url: str
    home: str
    components: list[ComponentHealth] = field(default_factory=list)
    store: str = ""
    delivery: Delivery | None = None

    @property
    def healthy(self) -> bool:
        """True if every component and the store are healthy."""
        return self.phase == "running" and not self.store and all(part.state == "healthy" for part in self.components)

    @property
    def trouble(self) -> str:
        """The reason why it is not healthy, with the remedy where one is known; "" where it is."""
        ill = [part for part in self.components if part.state != "healthy"]
        return "; ".join(
            (
                *([f"store: {self.store}"] if self.store else []),
                *(f"{part.name} is {part.state}{': ' if part.detail else ''}{part.detail}" for part in ill),
            )
        )

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {"healthy": self.healthy, **asdict(self)}


def look(layout: Layout, settings: Settings) -> Health:
    """Ask each component now."""
    state = read_state(layout)
    if state is None or not is_running(layout):
        return Health("stopped", settings.public_url, str(layout.home))
    answers = _answers(settings)
    return Health(
        state.phase,
        state.url,
        str(layout.home),
        [_component(name, state, answers.get(name, (None, ""))) for name in state.components],
        _store(settings),
    )


def look_at_delivery(settings: Settings) -> Delivery | None:
    """The relay's own status and the store's losses; None where no relay has run."""
    status = read_status(settings.home)
    if status is None:
        return None
    sinks = list(status["sinks"].values())
    troubles = {name: str(sink["trouble"]) for name, sink in status["sinks"].items() if sink["trouble"]}
    still_s = time.time() - float(status["time"]) if status.get("state") == "running" else 0.0
    if still_s <= _SILENT_S:
        still_s = 0.0
    else:  # what it said of itself is as old as its silence
        troubles["relay"] = f"it stands still or was killed: silent for {lasting(still_s)}"
    return Delivery(
        sum(sink["lag_bytes"] for sink in sinks),
        max((sink["lag_seconds"] for sink in sinks), default=0.0) + still_s,
        sum(sink["dead_letters"] for sink in sinks),
        _losses(settings),
        troubles,
    )


def _losses(settings: Settings) -> int:
    store = open_store(settings)
    try:
        lost = store.documents(Query("contrail.alert", where={"event.action": "telemetry.lost"}))
        return sum(int(each.get("telemetry.count") or 0) for each in lost)
    except StoreError:
        return 0
    finally:
        store.close()


def _component(name: str, state: PlatformState, answer: tuple[bool | None, str]) -> ComponentHealth:
    part = state.components[name]
    well, detail = answer
    if part.pid is None:
        word = "starting" if state.phase == "migrating" else "down"
        return ComponentHealth(name, word, part.last_exit, None, part.restarts)
    up_s = round(time.time() - part.since, 1)
    word = "healthy" if well else "starting" if well is None and up_s < STARTS_S else "unhealthy"
    return ComponentHealth(name, word, detail, part.pid, part.restarts, up_s)


def _answers(settings: Settings) -> dict[str, tuple[bool | None, str]]:
    return {**_airflow(settings), **_ours(settings)}


def _airflow(settings: Settings) -> dict[str, tuple[bool | None, str]]:
    try:
        status = monitor_health(settings.api_url)
    except PlatformError as error:
        return {"api-server": (None, str(error))}
    found: dict[str, tuple[bool | None, str]] = {"api-server": (status["metadatabase"]["status"] == "healthy", "")}
    for name, key in _AIRFLOW_NAMES.items():
        part = status.get(key) or {}
        beat = part.get(f"latest_{key}_heartbeat")
        found[name] = (
            None if beat is None else part.get("status") == "healthy",
            f"heartbeat {beat}" if beat else "no heartbeat yet",
        )
    return found


def _ours(settings: Settings) -> dict[str, tuple[bool | None, str]]:
    return {"relay": _relay(read_status(settings.home)), "watcher": _watcher(read_heartbeat(settings.home))}


def _watcher(status: dict[str, Any] | None) -> tuple[bool | None, str]:
    if silence := _silence(status):
        return None, silence
    return bool(status and status["active"]), str(status and status["detail"])


def _relay(status: dict[str, Any] | None) -> tuple[bool | None, str]:
    if silence := _silence(status):
        return None, silence
    sinks = status["sinks"] if status else {}
    troubles = [f"{name}: {sink['trouble']}" for name, sink in sinks.items() if sink.get("trouble")]
    return not troubles, "; ".join(troubles)


def _silence(status: dict[str, Any] | None) -> str:
    if status is None:
        return "no word from it yet"
    age = time.time() - float(status["time"])
    return f"silent for {lasting(age)}" if age > _SILENT_S else ""


def _store(settings: Settings) -> str:
    try:
        store = open_store(settings)
    except StoreError as error:
        return str(error)
    try:
        return store.health() or ""
    finally:
        store.close()
