"""The memory of the reconciler between two looks, as JSON values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Scene", "scene_from"]


@dataclass
class Scene:
    """The reconciler's memory between two looks; JSON values only, kept in the ledger."""

    since: float = 0.0
    slow_at: float = 0.0
    health_at: float = 0.0
    dags: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    beaten: list[str] = field(default_factory=list)
    awaited: dict[str, float] = field(default_factory=dict)
    stuck: dict[str, list[Any]] = field(default_factory=dict)
    asking: dict[str, list[Any]] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    idle: dict[str, list[Any]] = field(default_factory=dict)
    full: dict[str, float] = field(default_factory=dict)
    paused: dict[str, bool] = field(default_factory=dict)
    paused_until: int = 0
    peers: dict[str, Any] = field(default_factory=dict)


def scene_from(value: Any) -> Scene:
    """The scene that was written as JSON, or a new one.

    A field that is unknown or of another type, written by another version, is left out: that part begins anew.
    """
    scene, kept = Scene(), value if isinstance(value, dict) else {}
    for name, empty in asdict(scene).items():
        if isinstance(kept.get(name), (float, int) if isinstance(empty, float) else type(empty)):
            setattr(scene, name, kept[name])
    return scene
