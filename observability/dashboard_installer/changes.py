"""The result of an installation: one line for each thing that is ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from observability.errors import InstallError

__all__ = ["Change", "Changes", "InstallError", "contains", "is_same"]

Change = Literal["created", "updated", "unchanged", "edited", "left out"]


@dataclass(slots=True)
class Changes:
    """The change of each thing, in the order in which it was installed."""

    lines: list[tuple[Change, str, str]] = field(default_factory=list)

    def add(self, change: Change, what: str, why: str = "") -> None:
        """Note what became of ``what``."""
        self.lines.append((change, what, why))

    def count(self, change: Change) -> int:
        """The number of things that had this change."""
        return sum(1 for line in self.lines if line[0] == change)


def is_same(theirs: Any, ours: Any) -> bool:
    """True if a thing is as we set it: what was added to it, changed or taken away is a difference.

    Kibana leaves out what is empty and adds empty things of its own, so those are no difference; 1 equals 1.0.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = {*ours, *theirs}
        return all(is_same(theirs.get(key), ours.get(key)) for key in keys)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(theirs) == len(ours) and all(is_same(one, other) for one, other in zip(theirs, ours, strict=True))
    if _is_nothing(theirs) and _is_nothing(ours):
        return True
    return type(theirs) in _alike(ours) and bool(theirs == ours)


def _is_nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_nothing(inner) for inner in value.values())
    return value is None or value is False or value in ("", [])


def _alike(value: Any) -> tuple[type, ...]:
    """A number may come back as another kind of number; True is none."""
    return (int, float) if type(value) in (int, float) else (type(value),)


def contains(theirs: Any, ours: Any) -> bool:
    """True if all that we set is there; a service adds fields of its own, numbers come back as floats."""
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and all(
            key in theirs and contains(theirs[key], value) for key, value in ours.items()
        )
    if isinstance(ours, list):
        return (
            isinstance(theirs, list)
            and len(theirs) == len(ours)
            and all(contains(one, other) for one, other in zip(theirs, ours, strict=True))
        )
    return bool(theirs == ours)
