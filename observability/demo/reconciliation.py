"""The demo's books: what was written to disk against what the store has, and rows in against rows out."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observability.catalog import DATASETS
from observability.journal import frames
from observability.relay.sources.files.airflow_logs import NOT_CARRIED
from observability.store import Query, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from observability.events import Document
    from observability.local.layout import Layout
    from observability.settings import Settings

__all__ = ["Pair", "Reconciliation", "notified", "reconcile"]


@dataclass(frozen=True, slots=True)
class Pair:
    """The documents that were emitted (counted on disk) and those that are stored."""

    emitted: int
    stored: int

    @property
    def balanced(self) -> bool:
        """True if nothing was lost or doubled."""
        return self.emitted == self.stored


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The counts of a demo."""

    logs: Pair
    journal: dict[str, Pair]
    rows: dict[str, int]
    warehouse: dict[str, int]
    events: dict[str, int]
    causes: dict[str, int]
    alerts: list[dict[str, Any]]
    series: int

    def faults(self) -> list[str]:
        """The differences between emitted and stored, as sentences; empty when everything balances."""
        found = []
        if not self.logs.balanced:
            found.append(f"{self.logs.emitted} log lines were written and {self.logs.stored} are stored")
        found += [
            f"{pair.emitted} records of {dataset} were written and {pair.stored} are stored"
            for dataset, pair in self.journal.items()
            if not pair.balanced
        ]
        rows = self.rows
        if rows["in"] != rows["out"] + rows["rejected"]:
            found.append(f"{rows['in']} rows came in, {rows['out']} went out and {rows['rejected']} were rejected")
        if self.warehouse["rejected"] != rows["rejected"]:
            found.append(f"{rows['rejected']} rows were rejected and {self.warehouse['rejected']} are in quarantine")
        if self.warehouse["loaded"] != self.warehouse["flights"]:
            found.append(
                f"{self.warehouse['loaded']} flights were loaded and {self.warehouse['flights']} are in the warehouse"
            )
        return found


def reconcile(layout: Layout, settings: Settings) -> Reconciliation:
    """Count everything; nothing may be writing any more."""
    store = open_store(settings)
    try:
        written = _journal(settings.journal_directory)
        stored = {name: store.count(Query(name)).get("", 0) for name in DATASETS}
        tasks = list(store.documents(Query("etl.event")))
        alerts = list(store.documents(Query("contrail.alert")))
        return Reconciliation(
            logs=Pair(_log_lines(layout.log_folder), stored["airflow.task"] + stored["airflow.component"]),
            journal={
                name: Pair(written[name], stored[name])
                for name in sorted(set(written) | {"etl.event", "contrail.alert"})
            },
            rows=_rows(tasks),
            warehouse={**_warehouse(layout.data / "warehouse.db"), "loaded": _sum(tasks, "load", "etl.rows_out")},
            events=dict(sorted(Counter(str(event["event.action"]) for event in (*tasks, *alerts)).items())),
            causes=_causes(tasks),
            alerts=_alerts(alerts),
            series=store.series(),
        )
    finally:
        store.close()


def notified(settings: Settings) -> set[tuple[str, str, str]]:
    """The tasks (dag, run, task) about which a channel took a notification."""
    store = open_store(settings)
    try:
        sent = store.documents(Query("contrail.alert", where={"event.action": "notification.sent"}))
        return {
            (str(each.get("airflow.dag_id")), str(each.get("airflow.run_id")), str(each.get("airflow.task_id")))
            for each in sent
        }
    finally:
        store.close()


def _log_lines(folder: Path) -> int:
    carried = (path for path in folder.rglob("*.log") if str(path.relative_to(folder)) not in NOT_CARRIED)
    files = {path.resolve() for path in carried if path.is_file()}
    return sum(_lines(path) for path in files)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.endswith(b"\n") and line.strip())


def _journal(folder: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    for path in folder.glob("*.journal"):
        dataset = path.name.split("-", 1)[0]
        counted[dataset] += sum(frame.document is not None for frame in frames(path.read_bytes()))
    return counted


def _steps(events: list[Document], step: str) -> Iterator[Document]:
    """The measured steps of that name, the last attempt's only."""
    last: dict[tuple[Any, ...], Document] = {}
    for event in events:
        if (
            event["event.action"] == "step.measured"
            and event["airflow.dag_id"] == "flights_daily"
            and event["etl.step"] == step
        ):
            last[event["airflow.run_id"], event["etl.table"]] = event
    yield from last.values()


def _sum(events: list[Document], step: str, field: str) -> int:
    return sum(int(event.get(field) or 0) for event in _steps(events, step))


def _rows(events: list[Document]) -> dict[str, int]:
    return {
        "in": _sum(events, "extract", "etl.rows_in"),
        "out": _sum(events, "validate", "etl.rows_out"),
        "rejected": _sum(events, "extract", "etl.rows_rejected") + _sum(events, "validate", "etl.rows_rejected"),
    }


def _warehouse(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as warehouse:
        return {
            name: int(warehouse.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - names of our own
            for name, table in (("flights", "flights"), ("rejected", "quarantine"))
        }


def _causes(events: list[Document]) -> dict[str, int]:
    failed = {
        (event["airflow.dag_id"], event["airflow.run_id"], event["airflow.task_id"], event["airflow.map_index"]): event
        for event in events
        if event["event.action"] in ("task.failed", "task.killed")
    }
    return dict(sorted(Counter(str(event.get("airflow.cause", "?")) for event in failed.values()).items()))


def _alerts(events: list[Document]) -> list[dict[str, Any]]:
    titles = {event.get("incident.id"): event.get("incident.title") for event in events if "incident.title" in event}
    return [
        {
            "dag_id": event.get("airflow.dag_id"),
            "task_id": event.get("airflow.task_id"),
            "cause": event.get("airflow.cause"),
            "title": titles.get(event.get("incident.id"), ""),
            "channel": event.get("notification.channel"),
            "state": event.get("notification.state"),
        }
        for event in events
        if event["event.action"] in ("notification.sent", "notification.failed")
    ]
