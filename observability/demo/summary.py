"""The summary of the demo: a table for people, one JSON object for machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from observability.catalog import CAUSE_LABELS

if TYPE_CHECKING:
    from rich.console import Console

    from observability.demo.reconciliation import Reconciliation
    from observability.demo.scenario import Snapshot

__all__ = ["progress", "show_summary", "summary"]

_COLOURS = {"success": "green", "failed": "red", "running": "cyan", "queued": "yellow", "up_for_retry": "yellow"}


def progress(snapshot: Snapshot) -> Table:
    """Every run as it is now."""
    table = Table(box=None, pad_edge=False)
    for column in ("run", "dag", "state", "tasks"):
        table.add_column(column)
    for chapter in snapshot.chapters():
        tasks = ", ".join(f"{number} {state}" for state, number in sorted(chapter.tasks.items()))
        state = Text(chapter.state, _COLOURS.get(chapter.state, "white"))
        table.add_row(chapter.title, chapter.dag_id, state, tasks)
    return table


def summary(snapshot: Snapshot, counted: Reconciliation, *, seconds: float, look_at: str) -> dict[str, Any]:
    """The demo's result; every value is a count of what happened."""
    return {
        "runs": _states(snapshot.runs),
        "tasks": _states(snapshot.tasks),
        "causes": counted.causes,
        "rows": counted.rows,
        "logs": asdict(counted.logs),
        "metrics": {"series": counted.series},
        "events": counted.events,
        "alerts": counted.alerts,
        "seconds": round(seconds, 1),
        "open": look_at,
    }


def show_summary(snapshot: Snapshot, counted: Reconciliation, result: dict[str, Any], console: Console) -> None:
    """Print the runs, the counts, and whether the books balance."""
    console.print(progress(snapshot))
    console.print()
    table = Table(box=None, pad_edge=False)
    table.add_column("what was observed", no_wrap=True)
    table.add_column("", overflow="fold")
    rows = result["rows"]
    table.add_row("rows", f"{rows['in']} in = {rows['out']} out + {rows['rejected']} rejected, each with its rule")
    causes = {CAUSE_LABELS.get(cause, cause): number for cause, number in result["causes"].items()}
    table.add_row("failed tasks by cause", _words(causes))
    table.add_row("log lines", f"{counted.logs.emitted} written, {counted.logs.stored} stored")
    for dataset, pair in counted.journal.items():
        table.add_row(dataset, f"{pair.emitted} written, {pair.stored} stored")
    table.add_row("metric series", str(counted.series))
    table.add_row("events", _words(result["events"]))
    for alert in result["alerts"]:
        table.add_row("alert", f"{alert['title']} → {alert['channel']}: {alert['state']}")
    console.print(table)
    faults = counted.faults()
    words = f"The books do not balance: {'; '.join(faults)}" if faults else "The books balance."
    console.print(words, style="red" if faults else "green")
    console.print(f"{result['seconds']} s. Next: {result['open']}", soft_wrap=True)


def _states(found: list[dict[str, Any]]) -> dict[str, int]:
    return dict(sorted(Counter(str(each["state"] or "none") for each in found).items()))


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "none"
