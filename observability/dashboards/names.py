"""The names that differ between installations, and the ids that must not."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from observability import catalog
from observability.runbooks import runbook_address

__all__ = [
    "DATA_VIEWS",
    "HEADINGS",
    "PREFIX",
    "Account",
    "Names",
    "heading",
    "index_pattern",
    "object_id",
    "spaced",
    "stable_uuid",
]

PREFIX = "contrail"
"""Start of every id that is ours: nothing else in a Kibana or an account is touched."""

DATA_VIEWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "events": ("Contrail: events", ("etl.event", "contrail.alert")),
    "logs": ("Contrail: logs", ("airflow.task", "airflow.component")),
    "audit": ("Contrail: audit", ("airflow.audit",)),
    "metrics": ("Contrail: metrics", ("airflow.statsd",)),
}
"""The sources of signals: the data view's name and the datasets behind it."""


HEADINGS = {
    "airflow.audit_event": "Entry",
    "airflow.audit_extra": "Written beside it",
    "airflow.cause": "Cause",
    "airflow.component": "Component",
    "airflow.dag_file": "File",
    "airflow.operator": "Operator",
    "airflow.run_path": "Page",
    "airflow.signal": "Signal",
    "airflow.state": "State",
    "airflow.try_number": "Try",
    "deadline.name": "Deadline",
    "error.fingerprint": "Fingerprint",
    "error.frame": "In your code",
    "error.type": "Error",
    "host.name": "Host",
    "etl.columns_added": "New columns",
    "etl.columns_removed": "Missing columns",
    "etl.rule": "Rule",
    "etl.step": "Step",
    "etl.table": "Table",
    "event.action": "What",
    "event.category": "Kind",
    "event.outcome": "Outcome",
    "incident.key": "About",
    "incident.severity": "Severity",
    "level": "Level",
    "log.file.path": "File",
    "logger": "Logger",
    "notification.channel": "Channel",
    "notification.kind": "Kind",
    "notification.state": "State",
    "telemetry.reason": "Reason",
    "telemetry.result": "Result",
    "telemetry.sink": "Sink",
    "telemetry.stage": "Where",
    "telemetry.stream": "Stream",
    "user.name": "Person",
    "process.exit_code": "Exit code",
    "airflow.asset": "Asset",
    "airflow.dag_id": "DAG",
    "airflow.dag_task": "Task",
    "airflow.log_page": "Page",
    "airflow.cpu_time": "CPU time",
    "airflow.map_index": "Map",
    "airflow.peak_rss": "Memory",
    "airflow.owner": "Owner",
    "airflow.pool": "Pool",
    "airflow.queue": "Queue",
    "airflow.run_id": "Run",
    "airflow.task_id": "Task",
    "error.message": "Message",
    "event": "Line",
    "event.duration": "Duration",
    "event.reason": "Reason",
    "incident.title": "What happened",
    "incident.count": "Times by then",
    "incident.runbook": "Runbook",
    "incident.state": "State",
    "rule.id": "Rule",
}


def heading(field: str) -> str:
    """The title of a column or axis that shows a field: its description where that is short enough."""
    return HEADINGS.get(field) or catalog.FIELDS[field].description.partition("(")[0].strip(" .")


@dataclass(frozen=True, slots=True)
class Names:
    """Addresses that links lead to; the committed files hold the defaults, ``install`` those of the settings."""

    airflow_url: str = "http://127.0.0.1:8080"
    runbook_url: str = ""
    alert_index: str = catalog.ALERT_INDEX
    index_prefix: str = ""
    space: str = ""
    """Kibana's space; ids of rules, connectors and saved objects are unique across spaces, so they name it."""

    def runbook(self, page: str) -> str:
        """Address of a runbook's page."""
        return runbook_address(page, served_at=self.runbook_url, airflow=self.airflow_url)

    def uuid(self, name: str) -> str:
        """The UUID of a rule or connector in this space."""
        return stable_uuid(f"{self.space}:{name}" if self.space else name)


@dataclass(frozen=True, slots=True)
class Account:
    """The places in AWS; the defaults are the CloudFormation template's parameters."""

    environment: str = "${Environment}"
    namespace: str = "${Namespace}"
    log_group_prefix: str = "${LogGroupPrefix}"
    region: str = "${AWS::Region}"
    airflow_url: str = "${AirflowUrl}"
    runbook_url: str = "${RunbookUrl}"
    page_topic: str = "${PageTopic}"
    detail_topic: str = "${DetailTopic}"

    def runbook(self, page: str) -> str:
        """Address of a runbook's page."""
        return runbook_address(page, served_at=self.runbook_url, airflow=self.airflow_url)

    @property
    def runbooks(self) -> str:
        """Address of all runbooks."""
        return self.runbook("").removesuffix("?page=").removesuffix(".md")

    def name(self, key: str) -> str:
        """Name of a dashboard, alarm or filter of ours in this environment."""
        return f"{PREFIX}-{self.environment}-{key}"

    def log_groups(self, source: str) -> tuple[str, ...]:
        """The log groups behind a source of signals."""
        return tuple(f"{self.log_group_prefix}/{self.environment}/{dataset}" for dataset in DATA_VIEWS[source][1])


def object_id(name: str) -> str:
    """Id of a saved object, the same in every build."""
    return f"{PREFIX}-{name}"


def spaced(identity: str, space: str) -> str:
    """An id of ours as it is in a space of Kibana; the default space adds nothing."""
    return f"{PREFIX}-{space}:{identity.removeprefix(f'{PREFIX}-')}" if space else identity


def stable_uuid(name: str) -> str:
    """A UUID derived from a name, where a service wants one."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PREFIX}:{name}"))


def index_pattern(source: str, prefix: str = "") -> str:
    """The data streams of a source in every environment."""
    datasets = (catalog.DATASETS[name] for name in DATA_VIEWS[source][1])
    return ",".join(dataset.stream("*", prefix) for dataset in datasets)
