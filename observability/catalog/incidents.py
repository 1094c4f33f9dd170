"""The kinds of things that incidents are about, and the effect of an event on one."""

from __future__ import annotations

from msgspec import Struct

from observability.catalog.vocabulary import Status

__all__ = ["INCIDENT_KINDS", "IncidentKind", "IncidentUse"]


class IncidentKind(Struct, frozen=True):
    """A kind of thing that incidents and their memory are about.

    Observations of one kind are told apart by DAG, run, task, map index, attempt and ``subject``, the field that names
    what has no DAG id. With ``by_subject`` they are told apart by it alone, and the rest says whom it concerns.
    ``place`` is a field that tells two of one subject apart, where a document has it.
    ``cause`` is a key of CAUSES: the cause where an event names none.
    ``runbook`` is the page of docs/runbooks/ that says what to do.
    """

    description: str
    subject: str = ""
    by_subject: bool = False
    place: str = ""
    runbook: str = "task-failed"
    cause: str = "platform"


INCIDENT_KINDS: dict[str, IncidentKind] = {
    "task": IncidentKind("A task, by its attempt."),
    "run": IncidentKind("A DAG run.", runbook="dag-run-failed"),
    "stuck": IncidentKind("A task or run that waits, and nothing takes it.", runbook="task-stuck", cause="stuck_queued"),
    "overdue": IncidentKind("A scheduled run that has not begun.", runbook="run-overdue", cause="deadline"),
    "dag": IncidentKind("A DAG that is gone.", runbook="dag-vanished"),
    "paused": IncidentKind("A DAG that Airflow paused.", runbook="dag-auto-paused"),
    "import": IncidentKind("A DAG file that does not parse.", "log.file.path", by_subject=True, runbook="dag-import-failed", cause="import"),
    "data": IncidentKind("An input whose columns changed.", "etl.table", runbook="schema-drifted", cause="data"),
    "deadline": IncidentKind("A deadline.", "deadline.name", runbook="deadline-missed", cause="deadline"),
    "component": IncidentKind("A component of Airflow or ours.", "airflow.component", by_subject=True, place="airflow.hostname", runbook="component-silent"),
    "delivery": IncidentKind("A channel that takes no messages.", "notification.channel", by_subject=True, runbook="notification-failed"),
    "rules": IncidentKind("The file of alert rules.", "log.file.path", by_subject=True, runbook="rules-broken"),
    "rule": IncidentKind("A rule of Kibana that fired.", "rule.id"),
    "telemetry": IncidentKind("Observations that were lost.", "telemetry.stage", by_subject=True, runbook="telemetry-lost"),
    "sink": IncidentKind("A sink that takes no records from a relay, or refuses some.", "telemetry.stage", by_subject=True, runbook="sink-failed"),
    "canary": IncidentKind("The canary.", by_subject=True, runbook="canary-silent"),
    "rows": IncidentKind("Rows of a step; remembered, never an incident.", "etl.step"),
    "asset": IncidentKind("Updates of an asset; remembered, never an incident.", "airflow.asset"),
}


class IncidentUse(Struct, frozen=True):
    """The effect of an event on an incident of ``kind``, a key of INCIDENT_KINDS.

    ``firing``: it is wrong, for good. ``suspected``: to be confirmed by Airflow. ``attempt``: will be tried again.
    ``warned``: not wrong yet. ``resolved``: what was wrong is right. ``noted``: worth remembering, nothing wrong.
    ``elsewhere``: a process that saw it emits it too, so the watcher leaves it some time to do so.
    """

    kind: str
    status: Status
    elsewhere: bool = False
