"""Stores filled with what was really emitted: the demo's own files, and drills for what a healthy system lacks."""

from __future__ import annotations

import importlib
import threading
from collections import OrderedDict
from datetime import datetime, timedelta, timezone

import pytest

from observability import events, metrics
from observability.relay.relay import Relay
from observability.settings import get_settings, load_settings

emit = importlib.import_module("observability.emit")

RUN = events.Identity(
    dag_id="drills", run_id="manual__2026-01-01T00:00:00+00:00", run_type="manual", owner="platform-oncall"
)
TASK = events.Identity(
    dag_id="drills",
    task_id="load",
    run_id=RUN.run_id,
    try_number=1,
    map_index=-1,
    operator="PythonOperator",
    owner="platform-oncall",
    run_type="manual",
)
SECOND = 1_000_000_000
FAILURE = {
    "cause": "app",
    "reason": "this drill raises",
    "error_type": "DrillError",
    "error_message": "this drill raises",
    "fingerprint": "d1",
    "frame": "dags/drills.py:7 in load",
    "peak_rss": 90_000_000,
    "duration_ns": 3 * SECOND,
}
INCIDENT = {
    "identity": RUN,
    "incident_id": "i1",
    "incident_key": "drills/run",
    "severity": "error",
    "count": 2,
    "reason": "this drill raises",
    "cause": "app",
    "age_ns": 60 * SECOND,
}
TOLD = {
    "identity": RUN,
    "channel": "file",
    "kind": "opened",
    "incident_id": "i1",
    "incident_key": "drills/run",
    "reason": "this drill raises",
}


def drills():
    """One event of every kind that a healthy system does not emit, with the fields that its witnesses fill."""
    now = datetime.now(timezone.utc)
    late = {"deadline": "by six", "due": now, "lateness_ns": 9 * SECOND, "reason": "not done by six", "identity": RUN}
    return [
        events.TaskFailed(identity=TASK, **FAILURE),
        events.TaskRetried(identity=TASK, **FAILURE),
        events.TaskKilled(identity=TASK, **(FAILURE | {"cause": "killed", "signal": "SIGKILL", "exit_code": -9})),
        events.DagRunFailed(identity=RUN, reason="a task failed", cause="app", duration_ns=9 * SECOND),
        events.DagRunOverdue(identity=RUN, reason="it was due at six"),
        events.TaskStuck(identity=TASK, cause="stuck_queued", reason="queued for 10 min"),
        events.DagAutoPaused(identity=events.Identity(dag_id="drills"), reason="10 runs failed"),
        events.DagVanished(identity=events.Identity(dag_id="drills"), reason="its file is gone"),
        events.DeadlineApproached(**late),
        events.DeadlineMissed(**late),
        events.IncidentOpened(incident_state="open", **INCIDENT),
        events.IncidentAcknowledged(incident_state="acknowledged", **INCIDENT),
        events.IncidentResolved(incident_state="resolved", **INCIDENT),
        events.NotificationSent(duration_ns=SECOND, **TOLD),
        events.NotificationFailed(**TOLD),
        events.RowsRejected(
            identity=TASK, step="validate", rule="air_time_positive", rows_rejected=1700, table="flights"
        ),
        events.StepMeasured(
            identity=TASK,
            step="validate",
            table="flights",
            rows_in=10_000,
            rows_out=8300,
            rows_rejected=1700,
            watermark=now - timedelta(days=3),
            watermark_age_ns=3 * 86_400 * SECOND,
            duration_ns=SECOND,
        ),
        events.StepFailed(identity=TASK, step="validate", error_type="DrillError", duration_ns=SECOND),
        events.SchemaDrifted(identity=TASK, table="flights", columns_added=("gate",), columns_removed=("origin",)),
        events.AssetUpdated(identity=TASK, asset="file:///flights.csv"),
        events.DagImportFailed(
            identity=events.Identity(dag_id="broken"),
            reason="No module named 'x'",
            file_path="broken.py",
            frame="broken.py:1 in <module>",
        ),
        events.ComponentSilent(identity=events.Identity(component="scheduler"), reason="its heartbeat is 90 s old"),
        events.ChannelBroken(channel="chat", reason="it answered 404"),
        events.RuleFired(rule_id="data-stale: drills", reason="121 h, above 48 h"),
        events.TelemetryLost(
            stage="relay", lost_reason="rejected", lost=3, stream="airflow.task", sink="elasticsearch"
        ),
        events.CanaryVerified(sequence=1, duration_ns=2 * SECOND),
    ]


def emit_drills(home):
    """Emit the drills as a task would, beside a relay's StatsD socket; their journal is below ``home``."""
    settings = load_settings(
        environ={
            "CONTRAIL_CONTRAIL__HOME": str(home),
            "CONTRAIL_RELAY__LOG_FOLDER": str(home / "logs"),
            "CONTRAIL_RELAY__STATSD_PORT": "0",
            "CONTRAIL_RELAY__STATSD_INTERVAL_S": "0.2",
            "CONTRAIL_RELAY__SERIES_BUDGET": "3",
        }
    )
    relay = Relay(settings)
    running = threading.Thread(target=relay.run)
    running.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTRAIL_CONTRAIL__HOME", str(home))
        patch.setenv("CONTRAIL_STATSD__ENABLED", "true")
        patch.setenv("CONTRAIL_STATSD__PORT", str(relay.statsd.port))
        patch.setattr(emit, "_seen", OrderedDict())
        get_settings.cache_clear()
        emit.journal.cache_clear()
        for event in drills():
            assert emit.emit(event), event
        for component in ("scheduler", "dag-processor", "triggerer", "worker"):  # more than the budget: one is folded
            metrics.gauge("contrail.component.heartbeat_age_ms", 90_000, component=component)
        metrics.flush()
    get_settings.cache_clear()
    emit.journal.cache_clear()
    relay.stop()
    running.join()


def carried(home, target, environ):
    """The settings of a deployment into whose sink everything below ``home`` has been carried."""
    settings = load_settings(
        environ={
            "CONTRAIL_CONTRAIL__HOME": str(target),
            "CONTRAIL_JOURNAL__DIRECTORY": str(home / "journal"),
            "CONTRAIL_RELAY__LOG_FOLDER": str(home / "airflow" / "logs"),
            **environ,
        }
    )
    assert Relay(settings, statsd=False).run(once=True)
    return settings
