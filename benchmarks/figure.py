"""A figure: what was measured, next to a peer, and whether it is what was aimed at."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Figure", "Options", "Sample", "Target"]


@dataclass(frozen=True)
class Options:
    """Options of a benchmark: rounds of each contender, and whether to take a short form (for tests).

    ``only`` names parts where a benchmark has some, ``stores`` the stores, ``results`` a file that is added to.
    """

    rounds: int = 5
    quick: bool = False
    only: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    results: Path | None = None


@dataclass(frozen=True)
class Sample:
    """The values of one contender's rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A target in the figure's unit or, as ``ratio``, in multiples of the peer; both bounds count."""

    at_most: float | None = None
    at_least: float | None = None
    ratio_at_most: float | None = None
    ratio_at_least: float | None = None

    def is_met(self, ours: float, ratio: float | None) -> bool:
        """True if ``ours`` (and its ratio to the peer, where there is one) is within the bounds."""
        bounds = [(self.at_most, ours, 1), (self.at_least, ours, -1)]
        if ratio is not None:
            bounds += [(self.ratio_at_most, ratio, 1), (self.ratio_at_least, ratio, -1)]
        return all(bound is None or value * sign <= bound * sign for bound, value, sign in bounds)

    def __str__(self) -> str:
        words = (
            ("<=", self.at_most, ""),
            (">=", self.at_least, ""),
            ("<=", self.ratio_at_most, " x"),
            (">=", self.ratio_at_least, " x"),
        )
        return " and ".join(f"{sign} {bound:g}{unit}" for sign, bound, unit in words if bound is not None)


@dataclass(frozen=True)
class Figure:
    """One line of a benchmark's table; a figure without target is there to compare with."""

    what: str
    unit: str
    ours: Sample
    peer: tuple[str, Sample] | None = None
    targets: tuple[Target, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours divided by the peer's, by medians."""
        return self.ours.median / self.peer[1].median if self.peer and self.peer[1].median else None

    @property
    def met(self) -> bool | None:
        """True if every target is met; None where there is none."""
        return all(target.is_met(self.ours.median, self.ratio) for target in self.targets) if self.targets else None

    def document(self) -> dict[str, Any]:
        """The figure as JSON."""
        return {
            "what": self.what,
            "unit": self.unit,
            "ours": round(self.ours.median, 4),
            "spread": [round(self.ours.low, 4), round(self.ours.high, 4)],
            "peer": self.peer[0] if self.peer else None,
            "theirs": round(self.peer[1].median, 4) if self.peer else None,
            "their_spread": [round(self.peer[1].low, 4), round(self.peer[1].high, 4)] if self.peer else None,
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "target": "; ".join(map(str, self.targets)),
            "met": self.met,
            **self.notes,
        }
