"""What an installation did: one line for each thing that is ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Change", "Changes", "InstallError", "contains"]

Change = Literal["created", "updated", "unchanged", "left out"]


class InstallError(RuntimeError):
    """A service did not take something; the message names it, the answer and the remedy."""


@dataclass(slots=True)
class Changes:
    """What became of each thing, in the order in which it was installed."""

    lines: list[tuple[Change, str, str]] = field(default_factory=list)

    def add(self, change: Change, what: str, why: str = "") -> None:
        """Note what became of ``what``."""
        self.lines.append((change, what, why))

    def count(self, change: Change) -> int:
        """How many things had this change."""
        return sum(1 for line in self.lines if line[0] == change)


def contains(theirs: Any, ours: Any) -> bool:
    """Whether all that we set is there; a service adds fields of its own, numbers come back as floats."""
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
