"""Metric filters: what CloudWatch counts in the log lines themselves, even when no metric arrives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observability.dashboards.boards import SAVED
from observability.dashboards.cloudwatch.insights import saved_query

if TYPE_CHECKING:
    from observability.dashboards.names import Account

__all__ = ["FILTERED_NAMESPACE", "FILTERS", "metric_filters", "saved_queries"]

FILTERED_NAMESPACE = "/Logs"
"""End of the namespace of metrics that CloudWatch makes from log lines."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A pattern in the lines of a dataset, and the metric that counts it."""

    title: str
    dataset: str
    metric: str
    pattern: str


FILTERS = (
    Filter(
        "Errors in task logs", "airflow.task", "task.log.errors", '{ ($.level = "error") || ($.level = "critical") }'
    ),
    Filter(
        "Errors of components",
        "airflow.component",
        "component.log.errors",
        '{ ($.level = "error") || ($.level = "critical") }',
    ),
    Filter("Task processes killed", "airflow.task", "task.log.killed", '"Process terminated by signal"'),
)


def metric_filters(account: Account) -> dict[str, dict[str, Any]]:
    """Metric filters by name, in CloudFormation's words."""
    return {
        account.name(one.metric.replace(".", "-")): {
            "FilterName": account.name(one.metric.replace(".", "-")),
            "LogGroupName": f"{account.log_group_prefix}/{account.environment}/{one.dataset}",
            "FilterPattern": one.pattern,
            "MetricTransformations": [
                {
                    "MetricName": one.metric,
                    "MetricNamespace": account.namespace + FILTERED_NAMESPACE,
                    "MetricValue": "1",
                    "DefaultValue": 0,
                }
            ],
        }
        for one in FILTERS
    }


def saved_queries(account: Account) -> dict[str, dict[str, Any]]:
    """Logs Insights queries by name, in CloudFormation's words."""
    return {
        f"Contrail/{account.environment}/{saved.key}": {
            "Name": f"Contrail/{account.environment}/{saved.key}",
            "LogGroupNames": list(account.log_groups(saved.source)),
            "QueryString": saved_query(saved, account.airflow_url),
        }
        for saved in SAVED
    }
