"""From a panel's answer to what a template or a chart draws: bars in per cent, lines in the unit that is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from observability.airflow.ui.formatting import drawn
from observability.timestamps import utc

if TYPE_CHECKING:
    from observability.airflow.ui.boards.panels import Shown

__all__ = ["FILTERS", "Bar", "Part"]

_TONES = 8
"""So many colours tell values apart that have no colour of their own."""
_CHART_UNITS = {"ns": "ms", "s": "ms"}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar, placed in per cent of the longest bar."""

    label: str
    value: float
    tone: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a ranking: its pieces, their sum, and its share of all."""

    label: str
    parts: list[Part]
    total: float
    share: float


def bars(page: Shown) -> list[Bar]:
    """A ranking's bars, the longest first; the values of a second field are pieces of a bar."""
    inside: dict[str, list[tuple[str, float]]] = {}
    for key, (value, *_) in page.rows:
        inside.setdefault(key[0], []).append((key[-1], float(value or 0)))
    totals = {label: sum(value for _, value in parts) for label, parts in inside.items()}
    longest, whole = max(totals.values(), default=0) or 1, sum(totals.values()) or 1
    tones = _tones(page, [key[-1] for key, _ in page.rows])
    return [
        Bar(label, _parts(inside[label], tones, longest), totals[label], totals[label] / whole)
        for label in sorted(totals, key=lambda label: -totals[label])
    ]


def legend(drawn_bars: list[Bar]) -> dict[str, str]:
    """The meaning of each colour of the bars."""
    return {part.label: part.tone for bar in drawn_bars for part in bar.parts}


def series(page: Shown) -> dict[str, Any]:
    """Lines for the chart: times in seconds, values in the unit that is shown."""
    panel = page.panel
    unit = panel["questions"][0]["unit"]
    tones = _tones(page, [line.label for line in page.lines])
    words: dict[str, str] = panel.get("words", {}).get(panel["by"][-1], {}) if panel["by"] else {}
    return {
        "kind": panel["kind"],
        "unit": _CHART_UNITS.get(unit, unit),
        "times": page.times,
        "wide": bool(panel.get("wide_range")),
        "sparse": bool(panel.get("sparse")),
        "lines": [
            {
                "label": words.get(line.label, line.label),
                "tone": tones[line.label],
                "values": [drawn(value, unit) for value in line.values],
            }
            for line in page.lines
        ],
        "limit": panel["line"],
    }


def stretch(seconds: int) -> str:
    """The start of a stretch of time."""
    return utc(seconds).strftime("%m-%d %H:%M UTC")


def run_of(path: str) -> str:
    """The run, and where it is one of many its index, in a path of Airflow's UI."""
    parts = path.split("/")
    mapped = f" [{parts[-1]}]" if "mapped" in parts else ""
    return unquote(parts[parts.index("runs") + 1]) + mapped if "runs" in parts[:-1] else unquote(path)


def _parts(values: list[tuple[str, float]], tones: dict[str, str], longest: float) -> list[Part]:
    found: list[Part] = []
    x = 0.0
    for label, value in values:
        width = 100 * value / longest
        found.append(Part(label, value, tones[label], round(x, 2), round(width, 2)))
        x += width
    return found


def _tones(page: Shown, labels: list[str]) -> dict[str, str]:
    known: dict[str, str] = page.panel["tones"]
    others = [label for label in dict.fromkeys(labels) if label not in known]
    one_colour = len(page.panel["by"]) == 1 and page.panel["kind"] in {"ranking", "donut"}
    free = {label: "c0" if one_colour else f"c{number % _TONES}" for number, label in enumerate(others)}
    return free | {label: known[label] for label in labels if label in known}


FILTERS = {"bars": bars, "legend": legend, "series": series, "stretch": stretch, "run_of": run_of}
"""The filters that the template of a panel uses."""
