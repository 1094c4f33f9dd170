"""The parts of a board: panels, rows with a sentence on how to read them, and boards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from observability.dashboards.signals import conditions, measure, parts

if TYPE_CHECKING:
    from observability.dashboards.signals import Conditions, Question, Signal, Source

__all__ = [
    "Board",
    "Control",
    "Kind",
    "Panel",
    "Quiet",
    "Row",
    "Saved",
    "fields_of",
    "same_conditions",
    "signals_of",
    "source_of",
]

Kind = Literal["number", "line", "area", "bars", "ranking", "table", "heatmap", "donut", "search"]


@dataclass(frozen=True, slots=True)
class Quiet:
    """The reason why a panel is empty in a healthy system, and the events or metric that fill it when it is not."""

    reason: str
    filled_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture: its questions, what they are split by (fields, outermost first), and how it looks.

    ``limits`` are the lower bounds of amber and red; ``line`` draws one limit.
    ``opens`` is the board that a click on a value opens, with filters and time. ``size`` is in a grid
    of 48 columns. The values of ``by`` are the ``top`` by question number ``sort``, lowest first if ``rising``.
    ``alone``: the board's controls do not apply, because its documents lack their fields.
    ``note`` says what a reader must know to read it.
    ``sparse``: it has a value now and then (a run a day), so its points are joined; else a gap stays a gap.
    ``wide_range``: its values differ by powers of ten, so that one DAG that catches up would flatten the rest.
    """

    key: str
    title: str
    kind: Kind
    questions: tuple[Question, ...] = ()
    by: tuple[str, ...] = ()
    top: int = 10
    sort: int = 0
    rising: bool = False
    limits: tuple[float, float] | None = None
    line: tuple[float, str] | None = None
    opens: str = ""
    size: tuple[int, int] = (24, 10)
    alone: bool = False
    sparse: bool = False
    wide_range: bool = False
    note: str = ""
    quiet: Quiet | None = None
    saved: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that answer one question together, and the sentence that says how to read them."""

    title: str
    text: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """A list to choose from above a board: its label and the field it filters."""

    title: str
    field: str


@dataclass(frozen=True, slots=True)
class Board:
    """One page: its controls, its time range and its rows."""

    key: str
    title: str
    description: str
    controls: tuple[Control, ...]
    rows: tuple[Row, ...]
    since: str = "now-24h"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, in reading order."""
        return tuple(panel for row in self.rows for panel in row.panels)


@dataclass(frozen=True, slots=True)
class Saved:
    """A search that people open by name: its columns and what the documents must have."""

    key: str
    title: str
    source: Source
    columns: tuple[str, ...]
    where: Conditions = ()


def signals_of(panel: Panel) -> tuple[Signal, ...]:
    """Every signal in a panel, the parts of ratios too."""
    return tuple(signal for question in panel.questions for signal in parts(question))


def source_of(panel: Panel) -> Source:
    """The source of a panel's documents; a panel asks one source only."""
    (source,) = {signal.source for signal in signals_of(panel)}
    return source


def same_conditions(panel: Panel) -> bool:
    """True if all signals of a panel ask the same documents."""
    return len({conditions(signal) for signal in signals_of(panel)}) == 1


def fields_of(panel: Panel) -> set[str]:
    """Every field that a panel filters by, splits by or adds up."""
    used = set(panel.by)
    for signal in signals_of(panel):
        used.update(field for field, _ in conditions(signal))
        used.add(measure(signal)[1])
    return used - {""}
