"""The facts: one frozen struct per kind of event, and its document in ECS words.

An event knows what happened and to what; :mod:`observability.catalog` knows what that implies.
Equal facts have equal ids, whoever saw them, so that no source can double what another reported.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any, ClassVar, TypeAlias
from urllib.parse import quote

from msgspec import Struct

__all__ = [
    "AssetUpdated",
    "AuditRecorded",
    "CanaryMissing",
    "CanaryVerified",
    "ChannelBroken",
    "ChannelRecovered",
    "ComponentRecovered",
    "ComponentSilent",
    "DagAutoPaused",
    "DagImportFailed",
    "DagImportRepaired",
    "DagReturned",
    "DagRunFailed",
    "DagRunOverdue",
    "DagRunStarted",
    "DagRunStuck",
    "DagRunSucceeded",
    "DagRunUnstuck",
    "DagUnpaused",
    "DagVanished",
    "DeadlineApproached",
    "DeadlineKept",
    "DeadlineMissed",
    "DeadlineRecovered",
    "DeadlineUpcoming",
    "Document",
    "Event",
    "Identity",
    "IncidentAcknowledged",
    "IncidentEscalated",
    "IncidentOpened",
    "IncidentReopened",
    "IncidentResolved",
    "NotificationFailed",
    "NotificationSent",
    "Region",
    "RowsRejected",
    "RuleFired",
    "RuleRecovered",
    "RulesAccepted",
    "RulesRejected",
    "SchemaDrifted",
    "SinkFailed",
    "SinkRecovered",
    "StepFailed",
    "StepMeasured",
    "TaskFailed",
    "TaskKilled",
    "TaskRemoved",
    "TaskRetried",
    "TaskSkipped",
    "TaskStarted",
    "TaskStuck",
    "TaskSucceeded",
    "TaskUnstuck",
    "TelemetryLost",
    "base_iteration",
    "by_action",
    "fact_id",
    "iteration_labels",
    "moment",
    "provider_of",
    "region_of",
    "task_name",
    "ui_path",
]

Document: TypeAlias = "dict[str, Any]"
"""A flat document: dotted ECS names → JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The subject of an event: a task attempt, a run (no task_id) or a DAG (no run_id).

    In a task loop (Airflow 3.4) ``iteration`` is the number of the iteration, and ``ti_id`` is what tells its attempts
    from those of the others: a path knows the iteration, Airflow knows the id, and only a task process knows both.
    """

    dag_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    try_number: int | None = None
    map_index: int | None = None
    iteration: str | None = None
    loop_id: str | None = None
    region_id: str | None = None
    ti_id: str | None = None
    operator: str | None = None
    owner: str | None = None
    pool: str | None = None
    queue: str | None = None
    team: str | None = None
    tags: tuple[str, ...] | None = None
    run_type: str | None = None
    logical_date: str | None = None
    partition_key: str | None = None
    bundle: str | None = None
    bundle_version: str | None = None
    dag_version: int | None = None
    component: str | None = None
    trace_id: str | None = None

    def document(self) -> Document:
        """The fields of this identity that are known, by their ECS names."""
        document = {_FIELD[name]: value for name in _IDENTITY if (value := getattr(self, name)) is not None}
        if self.dag_id is not None:
            region = region_of(self.region_id, self.map_index, self.iteration)
            document["airflow.run_path"] = ui_path(self.dag_id, self.run_id, self.task_id, self.map_index, region)
        return document

    @property
    def loop_key(self) -> str | None:
        """The key of one iteration's attempts; None outside a task loop."""
        if self.iteration is None and self.loop_id is None:
            return None
        return self.ti_id or self.iteration


class Event(Struct, frozen=True, kw_only=True):
    """An event: what happened, when, and to what.

    ``discriminator`` tells apart facts of one kind about one identity (a step's name, a run's end);
    ``time`` is when it happened, now where it is not given. ``probe`` makes it a sample of its kind for
    that round of the canary: carried like any other, into a data stream of its own, and neither counted nor logged.
    """

    action: ClassVar[str]
    identity: Identity | None = None
    time: datetime | None = None
    discriminator: str = ""
    probe: int | None = None

    @property
    def id(self) -> str:
        """32 hex digits, a function of the fact alone."""
        return fact_id(self.action, self.identity, self.discriminator)

    def document(self) -> Document:
        """The fields by their ECS names, without those that are None."""
        when = self.time or datetime.now(timezone.utc)
        document: Document = {
            "event.id": self.id,
            "@timestamp": moment(when),
            "event.action": self.action,
        }
        if self.identity is not None:
            document.update(self.identity.document())
        if self.probe is not None:
            document["canary.probe"] = self.probe
        for name in _own_fields(type(self)):
            if (value := getattr(self, name)) is not None:
                document[_FIELD[name]] = _json(value)
        return document


def moment(when: datetime | None) -> str:
    """``when`` as documents write it, "" for None.

    A run that is cleared begins and ends again: what tells these facts apart is their moment, so the
    discriminator of a run's begin is ``moment(start_date)``, that of its end ``moment(end_date)``.
    """
    return when.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z") if when else ""


_AGAIN_MOST = 21
Region: TypeAlias = "tuple[str, int] | None"
"""The region of a task instance in a task loop, and its index there."""


def region_of(region_id: str | None, map_index: int | None, iteration: str | None) -> Region:
    """The region by which Airflow tells the iterations of a task loop apart; None outside a loop, or where unknown."""
    index = map_index if map_index is not None and map_index >= 0 else base_iteration(iteration)
    return None if region_id is None or index is None else (region_id, index)


def base_iteration(iteration: str | None) -> int | None:
    """The number of an iteration: 2 for ``2``, and for ``2.3`` of a loop that a person had run again."""
    number = iteration.partition(".")[0] if isinstance(iteration, str) else ""
    return int(number) if number.isdecimal() else None


def iteration_labels(iteration: int) -> tuple[str, ...]:
    """The names that an iteration can have: ``2``, and ``2.2``, ``2.3``, … after the loop was run again before it."""
    return (str(iteration), *(f"{iteration}.{again}" for again in range(2, _AGAIN_MOST)))


def ui_path(
    dag_id: str,
    run_id: str | None = None,
    task_id: str | None = None,
    map_index: int | None = None,
    region: Region = None,
) -> str:
    """The address of the subject in the Airflow UI, relative to the UI's address; parts are quoted."""
    path = f"dags/{quote(dag_id, safe='')}"
    if run_id is None:
        return path
    path += f"/runs/{quote(run_id, safe='')}"
    if task_id is None:
        return path
    path += f"/tasks/{quote(task_id, safe='')}"
    path = path if map_index is None or map_index < 0 else f"{path}/mapped/{map_index}"
    return path if region is None else f"{path}?region_id={region[0]}&region_index={region[1]}"


def task_name(task_id: object, map_index: int | None = None, iteration: str | None = None) -> str:
    """Name a task instance for people: ``load``, ``load[2]``, ``load[iteration 1]``, ``load[2, iteration 1]``."""
    parts = [str(map_index)] if map_index is not None and map_index >= 0 else []
    parts += [f"iteration {base_iteration(iteration)}"] if iteration is not None else []
    return f"{task_id}[{', '.join(parts)}]" if parts else str(task_id)


def fact_id(action: str, identity: Identity | None, discriminator: str = "") -> str:
    """The id of a fact: equal for equal (action, dag, run, task, map index, try, discriminator), and id in a loop."""
    about = identity or Identity()
    place = (about.dag_id, about.run_id, about.task_id, about.map_index, about.try_number)
    parts = (action, *place, discriminator, *((about.loop_key,) if about.loop_key is not None else ()))
    text = "\x1f".join("" if part is None else str(part) for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class _Failure(Event, frozen=True, kw_only=True):
    cause: str
    reason: str
    state: str = "failed"
    provider: str = "callback"
    error_type: str | None = None
    error_message: str | None = None
    stack_trace: str | None = None
    fingerprint: str | None = None
    frame: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    peak_rss: int | None = None
    memory_limit: int | None = None
    cpu_time_ns: int | None = None
    duration_ns: int | None = None


class _Finding(Event, frozen=True, kw_only=True):
    reason: str
    cause: str = "platform"
    provider: str = "reconciler"


class _Over(Event, frozen=True, kw_only=True):
    reason: str = ""
    cause: str = "platform"
    duration_ns: int | None = None
    provider: str = "reconciler"


class TaskStarted(Event, frozen=True, kw_only=True):
    """An attempt began."""

    action: ClassVar[str] = "task.started"
    state: str = "running"


class TaskSucceeded(Event, frozen=True, kw_only=True):
    """A task succeeded; duration in ns, memory in bytes, ``triggered`` the path of a run that it began."""

    action: ClassVar[str] = "task.succeeded"
    duration_ns: int | None = None
    peak_rss: int | None = None
    memory_limit: int | None = None
    cpu_time_ns: int | None = None
    state: str = "success"
    triggered: str | None = None
    provider: str = "callback"


class TaskFailed(_Failure, frozen=True, kw_only=True):
    """A task failed and will not be tried again."""

    action: ClassVar[str] = "task.failed"


class TaskRetried(_Failure, frozen=True, kw_only=True):
    """An attempt failed and the task will be tried again."""

    action: ClassVar[str] = "task.retried"
    state: str = "up_for_retry"


class TaskKilled(_Failure, frozen=True, kw_only=True):
    """An attempt's process ended without reporting; ``exit_code`` is negative for a signal."""

    action: ClassVar[str] = "task.killed"
    state: str = "killed"
    provider: str = "relay"


class TaskStuck(_Failure, frozen=True, kw_only=True):
    """A task was queued and no worker took it."""

    action: ClassVar[str] = "task.stuck"
    state: str = "queued"
    provider: str = "reconciler"


class TaskUnstuck(_Over, frozen=True, kw_only=True):
    """A task that was stuck waits no longer; ``duration_ns`` is how long it was known to be stuck."""

    action: ClassVar[str] = "task.unstuck"
    cause: str = "stuck_queued"


class TaskRemoved(_Finding, frozen=True, kw_only=True):
    """Airflow took a task out of a run, which went on without it."""

    action: ClassVar[str] = "task.removed"
    cause: str = "import"
    state: str = "removed"


class TaskSkipped(Event, frozen=True, kw_only=True):
    """A task skipped itself."""

    action: ClassVar[str] = "task.skipped"
    duration_ns: int | None = None
    reason: str | None = None
    state: str = "skipped"


class DagRunStarted(Event, frozen=True, kw_only=True):
    """A run began; ``upstream`` are the paths of the attempts whose updates of assets began it."""

    action: ClassVar[str] = "dag_run.started"
    upstream: tuple[str, ...] | None = None
    state: str = "running"


class DagRunSucceeded(Event, frozen=True, kw_only=True):
    """A run succeeded."""

    action: ClassVar[str] = "dag_run.succeeded"
    duration_ns: int | None = None
    state: str = "success"


class DagRunFailed(Event, frozen=True, kw_only=True):
    """A run failed."""

    action: ClassVar[str] = "dag_run.failed"
    reason: str
    cause: str | None = None
    duration_ns: int | None = None
    state: str = "failed"
    provider: str = "callback"


class DagRunOverdue(_Finding, frozen=True, kw_only=True):
    """A scheduled run did not begin when it was due."""

    action: ClassVar[str] = "dag_run.overdue"


class DagRunStuck(_Finding, frozen=True, kw_only=True):
    """A run goes on, and no task of it is ever scheduled."""

    action: ClassVar[str] = "dag_run.stuck"
    cause: str = "stuck_queued"


class DagRunUnstuck(_Over, frozen=True, kw_only=True):
    """A run that was stuck goes on."""

    action: ClassVar[str] = "dag_run.unstuck"
    cause: str = "stuck_queued"


class StepMeasured(Event, frozen=True, kw_only=True):
    """A measured step ended well; rows are counts, ``watermark`` the newest moment that its data covers."""

    action: ClassVar[str] = "step.measured"
    step: str
    table: str | None = None
    rows_in: int | None = None
    rows_out: int | None = None
    rows_rejected: int | None = None
    bytes: int | None = None
    watermark: datetime | None = None
    watermark_age_ns: int | None = None
    duration_ns: int | None = None


class StepFailed(Event, frozen=True, kw_only=True):
    """A measured step raised."""

    action: ClassVar[str] = "step.failed"
    step: str
    table: str | None = None
    rows_in: int | None = None
    rows_out: int | None = None
    rows_rejected: int | None = None
    duration_ns: int | None = None
    error_type: str | None = None
    error_message: str | None = None


class RowsRejected(Event, frozen=True, kw_only=True):
    """Rows went to quarantine because they broke ``rule``."""

    action: ClassVar[str] = "rows.rejected"
    step: str
    rule: str
    rows_rejected: int
    table: str | None = None


class SchemaDrifted(Event, frozen=True, kw_only=True):
    """An input has other columns than it had."""

    action: ClassVar[str] = "schema.drifted"
    table: str
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()


class AssetUpdated(Event, frozen=True, kw_only=True):
    """A task updated an asset."""

    action: ClassVar[str] = "asset.updated"
    asset: str


class DagImportFailed(Event, frozen=True, kw_only=True):
    """A DAG file has an import error."""

    action: ClassVar[str] = "dag.import_failed"
    reason: str
    cause: str = "import"
    stack_trace: str | None = None
    fingerprint: str | None = None
    frame: str | None = None
    file_path: str | None = None
    provider: str = "reconciler"


class DagImportRepaired(_Over, frozen=True, kw_only=True):
    """A DAG file has no import error any more."""

    action: ClassVar[str] = "dag.import_repaired"
    cause: str = "import"
    file_path: str | None = None


class DagVanished(_Finding, frozen=True, kw_only=True):
    """A DAG that was there is no longer parsed."""

    action: ClassVar[str] = "dag.vanished"
    cause: str = "import"


class DagReturned(_Over, frozen=True, kw_only=True):
    """A DAG that was gone is parsed again."""

    action: ClassVar[str] = "dag.returned"
    cause: str = "import"


class DagAutoPaused(_Finding, frozen=True, kw_only=True):
    """Airflow paused a DAG after too many failed runs."""

    action: ClassVar[str] = "dag.auto_paused"


class DagUnpaused(_Over, frozen=True, kw_only=True):
    """A DAG that Airflow had paused was unpaused."""

    action: ClassVar[str] = "dag.unpaused"


class _Deadline(Event, frozen=True, kw_only=True):
    deadline: str
    occasion: str | None = None
    reason: str
    due: datetime | None = None
    lateness_ns: int | None = None
    severity: str | None = None
    asset: tuple[str, ...] | None = None
    cause: str = "deadline"
    provider: str = "callback"


class DeadlineApproached(_Deadline, frozen=True, kw_only=True):
    """A deadline is about to be missed; ``expected`` and ``chance`` (0 to 1) where the run's end can be foreseen."""

    action: ClassVar[str] = "deadline.approached"
    expected: datetime | None = None
    chance: float | None = None


class DeadlineMissed(_Deadline, frozen=True, kw_only=True):
    """A deadline was missed."""

    action: ClassVar[str] = "deadline.missed"


class DeadlineRecovered(_Deadline, frozen=True, kw_only=True):
    """A thing that was late has happened."""

    action: ClassVar[str] = "deadline.recovered"


class DeadlineUpcoming(Event, frozen=True, kw_only=True):
    """Something is due; emitted again when the forecast of its run has moved (intervals of 50 % and 90 %)."""

    action: ClassVar[str] = "deadline.upcoming"
    deadline: str
    occasion: str
    reason: str
    due: datetime
    expected: datetime | None = None
    chance: float | None = None
    likely_from: datetime | None = None
    likely_until: datetime | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    asset: tuple[str, ...] | None = None
    provider: str = "deadline"


class DeadlineKept(Event, frozen=True, kw_only=True):
    """A thing that was due has happened in time."""

    action: ClassVar[str] = "deadline.kept"
    deadline: str
    occasion: str
    reason: str
    due: datetime
    asset: tuple[str, ...] | None = None
    provider: str = "deadline"


class ComponentSilent(_Finding, frozen=True, kw_only=True):
    """A component of Airflow or Contrail stopped its heartbeat; ``hostname`` where there is one on each host."""

    action: ClassVar[str] = "component.silent"
    hostname: str | None = None


class ComponentRecovered(_Over, frozen=True, kw_only=True):
    """A silent component has a heartbeat again; ``duration_ns`` is how long it was known to be silent."""

    action: ClassVar[str] = "component.recovered"
    hostname: str | None = None


class ChannelBroken(_Finding, frozen=True, kw_only=True):
    """A channel does not take messages, or a test message did not arrive."""

    action: ClassVar[str] = "channel.broken"
    channel: str
    provider: str = "outbox"


class ChannelRecovered(_Over, frozen=True, kw_only=True):
    """A channel takes messages again."""

    action: ClassVar[str] = "channel.recovered"
    channel: str
    provider: str = "outbox"


class RulesRejected(_Finding, frozen=True, kw_only=True):
    """The file of alert rules cannot be used; the old rules stay in force."""

    action: ClassVar[str] = "rules.rejected"
    file_path: str
    provider: str = "watcher"


class RulesAccepted(_Over, frozen=True, kw_only=True):
    """The file of alert rules can be used again."""

    action: ClassVar[str] = "rules.accepted"
    file_path: str
    provider: str = "watcher"


class RuleFired(_Finding, frozen=True, kw_only=True):
    """A rule of Kibana fired for something that the watcher had not seen; ``rule_id`` is the rule, then its group."""

    action: ClassVar[str] = "rule.fired"
    rule_id: str
    severity: str | None = None
    runbook: str | None = None
    provider: str = "kibana"


class RuleRecovered(_Over, frozen=True, kw_only=True):
    """A rule of Kibana that fired is quiet again."""

    action: ClassVar[str] = "rule.recovered"
    rule_id: str
    provider: str = "kibana"


class _Incident(Event, frozen=True, kw_only=True):
    incident_id: str
    incident_key: str
    incident_state: str
    incident_title: str | None = None
    severity: str
    count: int
    reason: str
    cause: str | None = None
    age_ns: int | None = None
    runbook: str | None = None
    fingerprint: str | None = None
    asset: tuple[str, ...] | None = None


class IncidentOpened(_Incident, frozen=True, kw_only=True):
    """Something went wrong that was not known."""

    action: ClassVar[str] = "incident.opened"


class IncidentAcknowledged(_Incident, frozen=True, kw_only=True):
    """A person took the incident."""

    action: ClassVar[str] = "incident.acknowledged"


class IncidentReopened(_Incident, frozen=True, kw_only=True):
    """A person took back that the incident was taken, or over."""

    action: ClassVar[str] = "incident.reopened"


class IncidentEscalated(_Incident, frozen=True, kw_only=True):
    """Nobody took the incident in time."""

    action: ClassVar[str] = "incident.escalated"


class IncidentResolved(_Incident, frozen=True, kw_only=True):
    """The incident is over."""

    action: ClassVar[str] = "incident.resolved"


class AuditRecorded(Event, frozen=True, kw_only=True):
    """Somebody did what stands in Airflow's event log; the discriminator is its number there."""

    action: ClassVar[str] = "audit.recorded"
    user_name: str | None = None
    audit_event: str
    audit_extra: str | None = None
    category: tuple[str, ...] = ()
    change: tuple[str, ...] = ()


class _Notification(Event, frozen=True, kw_only=True):
    channel: str
    kind: str
    incident_id: str
    incident_key: str
    reason: str
    attempts: int = 1
    cause: str | None = None
    duration_ns: int | None = None
    asset: tuple[str, ...] | None = None


class NotificationSent(_Notification, frozen=True, kw_only=True):
    """A channel accepted a notification; ``duration_ns`` counts from the fact."""

    action: ClassVar[str] = "notification.sent"
    delivery: str = "sent"


class NotificationFailed(_Notification, frozen=True, kw_only=True):
    """A channel did not take a notification; ``delivery`` is ``dead`` when it is given up."""

    action: ClassVar[str] = "notification.failed"
    delivery: str = "failed"


class TelemetryLost(Event, frozen=True, kw_only=True):
    """Observations were lost, rejected or contained."""

    action: ClassVar[str] = "telemetry.lost"
    stage: str
    lost_reason: str
    lost: int
    stream: str | None = None
    sink: str | None = None


class SinkFailed(_Finding, frozen=True, kw_only=True):
    """A sink takes no records, or refuses some for good; ``stage`` names sink, host and which of the two."""

    action: ClassVar[str] = "sink.failed"
    stage: str
    sink: str
    lost: int | None = None
    provider: str = "relay"


class SinkRecovered(_Over, frozen=True, kw_only=True):
    """A sink takes records again, or refuses no more of them; ``duration_ns`` is how long it did not."""

    action: ClassVar[str] = "sink.recovered"
    stage: str
    sink: str
    provider: str = "relay"


class CanaryVerified(Event, frozen=True, kw_only=True):
    """The last canary's events are in the store; ``duration_ns`` is the time they took."""

    action: ClassVar[str] = "canary.verified"
    sequence: int
    duration_ns: int | None = None


class CanaryMissing(Event, frozen=True, kw_only=True):
    """The last canary's events are not in the store."""

    action: ClassVar[str] = "canary.missing"
    sequence: int
    reason: str


_IDENTITY = tuple(field.name for field in fields(Identity))
_FIELD: dict[str, str] = {
    **{name: f"airflow.{name}" for name in _IDENTITY},
    "trace_id": "trace.id",
    "cause": "airflow.cause",
    "state": "airflow.state",
    "provider": "event.provider",
    "hostname": "airflow.hostname",
    "asset": "airflow.asset",
    "upstream": "airflow.upstream",
    "triggered": "airflow.triggered",
    "peak_rss": "airflow.peak_rss",
    "memory_limit": "airflow.memory_limit",
    "cpu_time_ns": "airflow.cpu_time",
    "signal": "airflow.signal",
    "reason": "event.reason",
    "duration_ns": "event.duration",
    "error_type": "error.type",
    "error_message": "error.message",
    "stack_trace": "error.stack_trace",
    "fingerprint": "error.fingerprint",
    "frame": "error.frame",
    "exit_code": "process.exit_code",
    "file_path": "log.file.path",
    **{
        name: f"etl.{name}"
        for name in (
            "step",
            "table",
            "rule",
            "rows_in",
            "rows_out",
            "rows_rejected",
            "bytes",
            "watermark",
            "columns_added",
            "columns_removed",
        )
    },
    "watermark_age_ns": "etl.watermark_age",
    "deadline": "deadline.name",
    "due": "deadline.due",
    "occasion": "deadline.occasion",
    "expected": "deadline.expected",
    **{name: f"deadline.{name}" for name in ("likely_from", "likely_until", "earliest", "latest")},
    "chance": "deadline.chance",
    "lateness_ns": "deadline.lateness",
    "incident_id": "incident.id",
    "incident_key": "incident.key",
    "incident_state": "incident.state",
    "incident_title": "incident.title",
    "severity": "incident.severity",
    "count": "incident.count",
    "age_ns": "incident.age",
    "runbook": "incident.runbook",
    "channel": "notification.channel",
    "kind": "notification.kind",
    "delivery": "notification.state",
    "attempts": "notification.attempts",
    "stage": "telemetry.stage",
    "lost_reason": "telemetry.reason",
    "lost": "telemetry.count",
    "stream": "telemetry.stream",
    "sink": "telemetry.sink",
    "sequence": "canary.sequence",
    "rule_id": "rule.id",
    "user_name": "user.name",
    "audit_event": "airflow.audit_event",
    "audit_extra": "airflow.audit_extra",
    "category": "event.category",
    "change": "event.type",
}
_BASE = Event.__struct_fields__
_OWN: dict[type[Event], tuple[str, ...]] = {}


def _own_fields(kind: type[Event]) -> tuple[str, ...]:
    if kind not in _OWN:
        _OWN[kind] = tuple(name for name in kind.__struct_fields__ if name not in _BASE)
    return _OWN[kind]


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    return list(value) if isinstance(value, tuple) else value


def provider_of(document: Document) -> str:
    """The source that reported what a document says; earlier versions wrote it as ``airflow.witness``."""
    return str(document.get("event.provider") or document.get("airflow.witness") or "")


def by_action() -> dict[str, type[Event]]:
    """Every public event class by its ``event.action``."""
    return {kind.action: kind for name, kind in globals().items() if name in __all__ and hasattr(kind, "action")}
