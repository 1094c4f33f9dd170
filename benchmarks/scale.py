"""The needs of a deployment of a given size: ``python -m benchmarks.scale --help``. Arithmetic, not a measurement.

Defaults are the size that docs/operations.md speaks of. Unit figures that are measured here say by which benchmark;
prices and what a store makes of a document are inputs: put your own.
"""

from __future__ import annotations

import json as as_json
import math
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["Need", "Size", "need"]

_DAY_S, _MONTH_DAYS, _GB = 86_400, 30, 1e9
_QUESTIONS = (
    "select count(*) from events where action = 'task.started'",
    "select count(*), sum(length(cast(prefix||line as blob))) from logs join sources using(source) where task_id <> ''",
    "select count(*), sum(length(cast(document as blob))) from events where dataset = 'etl.event'",
    "select count(*), avg(length(cast(document as blob))) from metrics",
)


@dataclass(frozen=True)
class Size:
    """The inputs."""

    dags: float = 10_000
    tasks_per_day: float = 1_000_000
    lines_per_task: float = 50
    # measured on what `make demo` leaves (--home takes them from a home of yours): as the relay sends them
    bytes_per_line: float = 1_000  # Airflow's line and the prefix
    events_per_task: float = 3.8  # began, ended, a measured step; its part of the run's
    bytes_per_event: float = 1_100
    bytes_per_metric: float = 400
    series: float = 40_000  # metric series that have a sample in an interval
    metric_interval_s: float = 60
    peak_factor: float = 10  # the busiest minute, in multiples of the mean
    # measured on two cores: `python -m benchmarks elasticsearch`, `at-size`
    relay_documents_per_s: float = 52_000
    watcher_facts_per_s: float = 500
    # Elasticsearch: bytes on disk per byte sent (best_compression, no replica), days kept, shard size aimed at
    es_ratio: float = 0.25
    es_log_days: float = 30
    es_event_days: float = 365
    es_metric_days: float = 90
    es_replicas: float = 1
    es_shard_gb: float = 40
    es_hot_days: float = 7
    es_disk_use: float = 0.75
    # CloudWatch, US$ (us-east-1 list prices are a starting point only)
    cw_ingest_per_gb: float = 0.50
    cw_store_per_gb_month: float = 0.03
    cw_store_ratio: float = 0.15
    cw_metric_month: float = 0.30
    cw_metrics: float = 2_000  # custom metrics after folding: names x dimension sets that alarms and boards need
    cw_alarm_month: float = 0.10
    cw_alarms: float = 40


@dataclass(frozen=True)
class Need:
    """The figures that follow from a size."""

    documents_per_day: float
    documents_per_s_mean: float
    documents_per_s_peak: float
    gb_per_day: float
    relays_for_peak: int
    watcher_load_at_peak: float
    es_hot_gb: float
    es_all_gb: float
    es_primary_shards_a_month: int
    es_disk_gb: float
    cw_ingest_month: float
    cw_store_month: float
    cw_metrics_month: float
    cw_month: float


def need(size: Size) -> Need:
    """The needs of ``size``."""
    logs = size.tasks_per_day * size.lines_per_task
    events = size.tasks_per_day * size.events_per_task
    metrics = size.series * _DAY_S / size.metric_interval_s
    log_gb = logs * size.bytes_per_line / _GB
    event_gb = events * size.bytes_per_event / _GB
    metric_gb = metrics * size.bytes_per_metric / _GB
    sent = log_gb + event_gb + metric_gb
    documents = logs + events + metrics
    task_peak = (logs + events) / _DAY_S * size.peak_factor + metrics / _DAY_S
    copies = 1 + size.es_replicas
    kept = (log_gb * size.es_log_days + event_gb * size.es_event_days + metric_gb * size.es_metric_days) * size.es_ratio
    ingest = (log_gb + event_gb) * size.cw_ingest_per_gb * _MONTH_DAYS
    storage = (
        (log_gb * size.es_log_days + event_gb * size.es_event_days) * size.cw_store_ratio * size.cw_store_per_gb_month
    )
    gauges = size.cw_metrics * size.cw_metric_month + size.cw_alarms * size.cw_alarm_month
    return Need(
        documents_per_day=documents,
        documents_per_s_mean=documents / _DAY_S,
        documents_per_s_peak=task_peak,
        gb_per_day=sent,
        relays_for_peak=math.ceil(task_peak / size.relay_documents_per_s),
        watcher_load_at_peak=events / _DAY_S * size.peak_factor / size.watcher_facts_per_s,
        es_hot_gb=sent * size.es_ratio * size.es_hot_days * copies,
        es_all_gb=kept * copies,
        es_primary_shards_a_month=math.ceil(sent * size.es_ratio * _MONTH_DAYS / size.es_shard_gb),
        es_disk_gb=kept * copies / size.es_disk_use,
        cw_ingest_month=ingest,
        cw_store_month=storage,
        cw_metrics_month=gauges,
        cw_month=ingest + storage + gauges,
    )


def measured(store: Path) -> dict[str, float]:
    """The inputs that an embedded store can tell: what tasks wrote, in documents and bytes as the relay sends them."""
    with closing(sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        found = [connection.execute(question).fetchone() for question in _QUESTIONS]
    (tasks,), (lines, line_bytes), (events, event_bytes), (_, metric_bytes) = found
    if not tasks:
        raise typer.BadParameter(f"no task has told anything to {store}; run some DAGs first")
    return {
        "lines_per_task": lines / tasks,
        "bytes_per_line": line_bytes / lines,
        "events_per_task": events / tasks,
        "bytes_per_event": event_bytes / events,
        **({"bytes_per_metric": metric_bytes} if metric_bytes else {}),
    }


def main(
    sets: Annotated[list[str], typer.Option("--set", metavar="NAME=NUMBER", help="Change an input.")] = [],  # noqa: B006
    *,
    home: Annotated[
        Path | None, typer.Option(help="Measure lines, events and bytes in the store of this home.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compute what a deployment needs."""
    names = {field.name for field in fields(Size)}
    changed = measured(home / "store.db") if home else {}
    for text in sets:
        name, _, value = text.partition("=")
        if name not in names:
            raise typer.BadParameter(f"no input is called {name!r}; there are {', '.join(sorted(names))}")
        try:
            changed[name] = float(value)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is no number; give {name}=<number>") from None
    size = Size(**changed)
    found = need(size)
    if json:
        print(as_json.dumps({"inputs": asdict(size), "needs": asdict(found)}))
        return
    table = Table("what", "how much")
    for part in fields(Need):
        table.add_row(part.name.replace("_", " "), f"{getattr(found, part.name):,.4g}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
