"""Every dataset: a log group, a journal, a data stream."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["DATASETS", "RECEIVED", "Dataset"]


class Dataset(Struct, frozen=True):
    """A dataset: a log group, a journal, and a data stream ``<type>-<dataset>-<env>``.

    ``elsewhere`` is its name in Elasticsearch where another product owns the data stream that it would have.
    """

    type: Literal["logs", "metrics"]
    dataset: str
    description: str
    retention_days: int
    elsewhere: str = ""

    def template(self, prefix: str = "") -> str:
        """The index template of its streams; ``prefix`` is ``[elasticsearch] index_prefix``."""
        return f"{prefix}contrail-{self.elsewhere or self.dataset}"

    def stream(self, environment: str, prefix: str = "") -> str:
        """The data stream in Elasticsearch; of every environment for ``*``."""
        return f"{prefix}{self.type}-{self.elsewhere or self.dataset}-{environment}"


# metrics-airflow.statsd-* belongs to Elastic's own Airflow integration.
DATASETS: dict[str, Dataset] = {
    "airflow.task": Dataset("logs", "airflow.task", "Lines of task logs.", 30),
    "airflow.component": Dataset("logs", "airflow.component", "Lines of Airflow's components.", 14),
    "etl.event": Dataset("logs", "etl.event", "Events: what happened to runs, tasks and data.", 365),
    "contrail.alert": Dataset("logs", "contrail.alert", "Incidents and notifications.", 365),
    "airflow.audit": Dataset("logs", "airflow.audit", "Airflow's event log: who did what.", 365),
    "contrail.probe": Dataset("logs", "contrail.probe", "The canary's samples: events that never happened.", 3),
    "airflow.statsd": Dataset("metrics", "airflow.statsd", "Metric series, one document per interval.", 90, "contrail.statsd"),
}
"""Every dataset by its name."""

RECEIVED: dict[str, Literal["logs", "metrics", "traces"]] = {
    "otlp.logs": "logs",
    "otlp.metrics": "metrics",
    "otlp.traces": "traces",
}
"""Journals of OTLP that people's own code sends, and the signal of each; the sink ``otlp`` alone takes them."""
