"""Alarms: one per rule, bands where a threshold would be a guess, and composites against storms.

Each alarm tells the detail topic; only a composite tells the topic that wakes people, so that
a hundred failing tasks page once, and not at all while Airflow itself is known to be down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observability import catalog
from observability.dashboards.signals import metric_spec

if TYPE_CHECKING:
    from observability.catalog import AlertRule
    from observability.dashboards.names import Account

__all__ = ["GROUPS", "anomaly_detectors", "composites", "metric_alarms"]

Alarm = dict[str, Any]

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "platform": (
        "Airflow itself is not well.",
        ("scheduler-heartbeat-absent", "component-silent", "scheduler-slow"),
    ),
    "pipelines": (
        "Pipelines fail or are late.",
        (
            "task-failed",
            "task-killed",
            "task-stuck",
            "dag-run-failed",
            "dag-run-overdue",
            "dag-run-stuck",
            "task-removed",
            "deadline-missed",
            "dag-import-failed",
            "dag-vanished",
            "dag-auto-paused",
            "schedule-late",
        ),
    ),
    "data": ("Data is missing, dirty or stale.", ("rows-rejected", "schema-drifted", "data-stale", "rows-unusual")),
    "telemetry": (
        "Observing or alerting is broken.",
        (
            "watcher-silent",
            "component-silent-relay",
            "sink-failed",
            "telemetry-lost",
            "relay-lag",
            "canary-silent",
            "canary-missing",
            "channel-broken",
            "rules-rejected",
            "notification-failed",
        ),
    ),
}
"""Composite alarms: what each says, and the rules and bands in it; an alarm of one component stands by itself."""

_SUPPRESSED = {"pipelines", "data"}
_WATCHED = ("scheduler", "dag-processor", "triggerer", "api-server", "relay")
"""Components whose heartbeat's age the watcher always sends. Airflow gives workers no heartbeat."""


@dataclass(frozen=True, slots=True)
class Band:
    """A metric that must stay within what is usual for it."""

    title: str
    metric: str
    statistic: str
    period_s: int
    comparison: str
    runbook: str


BANDS = {
    "rows-unusual": Band(
        "Far fewer rows were written than is usual for this hour",
        "contrail.step.rows_out",
        "Sum",
        3600,
        "LessThanLowerThreshold",
        "rows-unusual",
    ),
    "schedule-late": Band(
        "Runs start later than is usual",
        "contrail.dag_run.schedule_delay_ms",
        "Average",
        300,
        "GreaterThanUpperThreshold",
        "schedule-late",
    ),
    "scheduler-slow": Band(
        "The scheduler's loop takes longer than is usual",
        "scheduler.scheduler_loop_duration",
        "Average",
        300,
        "GreaterThanUpperThreshold",
        "scheduler-slow",
    ),
}


def metric_alarms(account: Account) -> dict[str, Alarm]:
    """Alarms on metrics by name, in the words of PutMetricAlarm and CloudFormation."""
    alarms = [alarm for key, rule in catalog.MONITORS.items() for alarm in _of_rule(key, rule, account)]
    alarms += [_of_band(key, band, account) for key, band in BANDS.items()]
    return {alarm["AlarmName"]: alarm for alarm in alarms}


def composites(account: Account) -> dict[str, Alarm]:
    """Composite alarms by name: these wake people."""
    names = _members(account)
    found = {}
    for group, (description, members) in GROUPS.items():
        parts = [f'ALARM("{name}")' for member in members for name in names[member]]
        found[account.name(group)] = {
            "AlarmName": account.name(group),
            "AlarmDescription": f"{description} What exactly: the alarms in it. Runbooks: {account.runbooks}",
            "AlarmRule": " OR ".join(parts),
            "ActionsEnabled": True,
            "AlarmActions": [account.page_topic],
            "OKActions": [account.page_topic],
            **(_suppressed(account) if group in _SUPPRESSED else {}),
        }
    return found


def _members(account: Account) -> dict[str, list[str]]:
    """Names of the alarms of each rule and band; one that a group names itself is not its rule's."""
    alone = {account.name(member) for _, members in GROUPS.values() for member in members}
    names = {key: [one["AlarmName"] for one in _of_rule(key, rule, account)] for key, rule in catalog.MONITORS.items()}
    singly = {name.removeprefix(account.name("")): [name] for several in names.values() for name in several}
    rest = {
        key: [name for name in found if name == account.name(key) or name not in alone] for key, found in names.items()
    }
    return {**singly, **rest, **{key: [account.name(key)] for key in BANDS}}


def _suppressed(account: Account) -> Alarm:
    return {
        "ActionsSuppressor": account.name("platform"),
        "ActionsSuppressorWaitPeriod": 120,
        "ActionsSuppressorExtensionPeriod": 300,
    }


def anomaly_detectors(account: Account) -> dict[str, Alarm]:
    """The models behind the bands, by the band's key."""
    return {
        key: {
            "Namespace": account.namespace,
            "MetricName": band.metric,
            "Stat": band.statistic,
            "Dimensions": [{"Name": "env", "Value": account.environment}],
        }
        for key, band in BANDS.items()
    }


def _of_rule(key: str, rule: AlertRule, account: Account) -> list[Alarm]:
    if rule.metric is None:
        return []
    if rule.group_by == "component" and metric_spec(rule.metric).type == "gauge":
        return [_alarm(f"{key}-{one}", rule, account, (("component", one),)) for one in _WATCHED]
    return [_alarm(key, rule, account, rule.where)]


def _alarm(key: str, rule: AlertRule, account: Account, where: tuple[tuple[str, str], ...]) -> Alarm:
    heartbeat = rule.absent or where != rule.where
    statistic = (
        "SampleCount" if rule.absent else "Sum" if metric_spec(rule.metric or "").type == "counter" else "Maximum"
    )
    return {
        **_described(key, f"{rule.title}. {rule.description}", rule.runbook, account),
        "Namespace": account.namespace,
        "MetricName": rule.metric,
        "Dimensions": [{"Name": tag, "Value": value} for tag, value in (("env", account.environment), *where)],
        "Statistic": statistic,
        "Period": rule.window_s,
        "EvaluationPeriods": 1,
        "Threshold": 1 if rule.absent else rule.above,
        "ComparisonOperator": "LessThanThreshold" if rule.absent else "GreaterThanThreshold",
        "TreatMissingData": "breaching" if heartbeat else "notBreaching",
    }


def _of_band(key: str, band: Band, account: Account) -> Alarm:
    measured = {
        "Metric": {
            "Namespace": account.namespace,
            "MetricName": band.metric,
            "Dimensions": [{"Name": "env", "Value": account.environment}],
        },
        "Period": band.period_s,
        "Stat": band.statistic,
    }
    return {
        **_described(key, f"{band.title}.", band.runbook, account),
        "Metrics": [
            {"Id": "measured", "MetricStat": measured, "ReturnData": True},
            {"Id": "usual", "Expression": "ANOMALY_DETECTION_BAND(measured, 3)", "Label": "usual", "ReturnData": True},
        ],
        "ThresholdMetricId": "usual",
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": 2,
        "ComparisonOperator": band.comparison,
        "TreatMissingData": "notBreaching",
    }


def _described(key: str, text: str, runbook: str, account: Account) -> Alarm:
    return {
        "AlarmName": account.name(key),
        "AlarmDescription": f"{text} Runbook: {account.runbook(runbook)}",
        "ActionsEnabled": True,
        "AlarmActions": [account.detail_topic],
        "OKActions": [account.detail_topic],
    }
