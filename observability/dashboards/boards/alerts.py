"""Alerts: what was opened, who was notified, how long it took."""

from __future__ import annotations

from observability.dashboards.boards import shared
from observability.dashboards.panels import Board, Control, Panel, Quiet, Row
from observability.dashboards.signals import events, metric

_ITSELF = ("channel.broken", "channel.recovered", "rules.rejected", "rules.accepted", "sink.failed", "sink.recovered")
_TOLD = ("notification.sent", "notification.failed")
_AGAIN = ("task.failed", "dag_run.failed", "deadline.missed", *shared.STANDSTILLS)
_NOBODY = Quiet("Nobody acknowledged an incident.", ("incident.acknowledged",))
_NONE_OPEN = Quiet("No incident of this severity was open.", ("incident.opened",))
_OPEN_LIMITS = {"critical": (0.5, 1.0), "error": (1.0, 3.0), "warning": (1.0, 10.0), "info": (10.0, 100.0)}
_OPEN_STILL = Quiet("No incident was resolved.", ("incident.resolved",))

_INCIDENTS = Row(
    "What was wrong?",
    "Incidents, not messages: repeats are counted in one. What was opened and is neither acknowledged nor "
    "resolved is waiting for you.",
    (
        *(
            Panel(
                key=f"open-{severity}",
                title=f"Open now: {severity}",
                kind="number",
                alone=True,
                size=(12, 6),
                limits=limits,
                quiet=_NONE_OPEN,
                questions=(
                    metric(
                        f"Open now: {severity}",
                        "contrail.incident.open",
                        where=(("incident.severity", (severity,)),),
                        aggregate="last",
                    ),
                ),
            )
            for severity, limits in _OPEN_LIMITS.items()
        ),
        Panel(
            key="opened",
            title="Opened",
            kind="number",
            size=(12, 6),
            quiet=shared.NO_INCIDENT,
            questions=(events("Opened", "incident.opened", series=metric("Opened", "contrail.incident.opened")),),
        ),
        Panel(
            key="resolved",
            title="Resolved",
            kind="number",
            size=(12, 6),
            quiet=_OPEN_STILL,
            questions=(
                events("Resolved", "incident.resolved", series=metric("Resolved", "contrail.incident.resolved")),
            ),
        ),
        Panel(
            key="to-acknowledge",
            title="Median time to acknowledge",
            kind="number",
            size=(12, 6),
            quiet=_NOBODY,
            questions=(events("To acknowledge", "incident.acknowledged", aggregate="median", field="incident.age"),),
        ),
        Panel(
            key="to-recover",
            title="Median time to recover",
            kind="number",
            size=(12, 6),
            quiet=_OPEN_STILL,
            questions=(events("To recover", "incident.resolved", aggregate="median", field="incident.age"),),
        ),
        Panel(
            key="states",
            title="Incidents over time",
            kind="bars",
            by=("event.action",),
            quiet=shared.NO_INCIDENT,
            questions=(events("Incidents", *shared.INCIDENT_STATES),),
            size=(48, 9),
        ),
        Panel(key="latest", title="Incidents", kind="search", saved="incidents", size=(48, 14)),
    ),
)

_NOISE = Row(
    "What makes the noise?",
    "What opens most incidents: fix the first line, not the pager. How often it came counts each time, also one that "
    "no message told of.",
    (
        Panel(
            key="noisiest",
            title="Noisiest DAGs",
            kind="ranking",
            by=("airflow.dag_id",),
            quiet=shared.NO_INCIDENT,
            questions=(events("Incidents", "incident.opened"),),
            opens="dag",
        ),
        Panel(
            key="causes",
            title="Causes",
            kind="donut",
            by=("airflow.cause",),
            quiet=shared.NO_INCIDENT,
            size=(12, 10),
            questions=(events("Incidents", "incident.opened"),),
        ),
        Panel(
            key="severities",
            title="Severities",
            kind="donut",
            by=("incident.severity",),
            quiet=shared.NO_INCIDENT,
            size=(12, 10),
            questions=(events("Incidents", "incident.opened"),),
        ),
        Panel(
            key="again",
            title="How often it came",
            kind="table",
            by=("airflow.dag_id", "event.action", "airflow.cause"),
            top=20,
            quiet=Quiet("Nothing failed, was late or stood still.", _AGAIN),
            note="Each time that it happened, whether a message told of it or not. These events carry no severity: "
            "leave that list open.",
            size=(48, 10),
            questions=(
                events("Times", *_AGAIN),
                events("Last", *_AGAIN, aggregate="max", field="@timestamp"),
            ),
        ),
    ),
)

_DELIVERY = Row(
    "Was it delivered?",
    "Each try of each channel. Failed is tried again; dead is given up and needs you. Latency counts from the fact. "
    "Deliveries carry no severity: leave that list open for this row.",
    (
        Panel(
            key="deliveries",
            title="Deliveries by channel",
            kind="ranking",
            by=("notification.channel", "notification.state"),
            size=(16, 10),
            questions=(events("Deliveries", *_TOLD, series=metric("Deliveries", "contrail.notification.deliveries")),),
            quiet=Quiet("Nothing had to be sent.", _TOLD),
        ),
        Panel(
            key="kinds",
            title="Deliveries by kind",
            kind="bars",
            by=("notification.kind",),
            size=(16, 10),
            questions=(events("Deliveries", *_TOLD),),
            quiet=Quiet("Nothing had to be sent.", _TOLD),
        ),
        Panel(
            key="latency",
            title="From the fact to its delivery, p95",
            kind="line",
            by=("notification.channel",),
            size=(16, 10),
            questions=(events("p95", "notification.sent", aggregate="p95", field="event.duration"),),
            quiet=Quiet("Nothing had to be sent.", ("notification.sent",)),
        ),
        Panel(
            key="watcher",
            title="Watcher's delay",
            kind="line",
            alone=True,
            size=(16, 8),
            questions=(metric("Delay", "contrail.watcher.lag_ms"),),
        ),
        Panel(
            key="failed",
            title="Channels that did not take it",
            kind="table",
            by=("notification.channel", "notification.state"),
            size=(32, 8),
            questions=(
                events("Tries", "notification.failed"),
                events("Last", "notification.failed", aggregate="max", field="@timestamp"),
            ),
            quiet=Quiet("Every channel took what it was given.", ("notification.failed",)),
        ),
        Panel(
            key="itself",
            title="What stands in the way of alerts",
            kind="table",
            by=("event.action",),
            size=(24, 8),
            questions=(
                events("Times", *_ITSELF),
                events("Last", *_ITSELF, aggregate="max", field="@timestamp"),
            ),
            quiet=Quiet("Every channel and the file of rules can be used.", ("channel.broken", "rules.rejected")),
        ),
        Panel(
            key="rules",
            title="Kibana's rules that saw what the watcher had not",
            kind="table",
            by=("rule.id", "event.action"),
            size=(24, 8),
            questions=(
                events("Times", "rule.fired", "rule.recovered"),
                events("Last", "rule.fired", "rule.recovered", aggregate="max", field="@timestamp"),
            ),
            quiet=Quiet("No rule of Kibana found anything that the watcher had not seen.", ("rule.fired",)),
        ),
    ),
)

ALERTS = Board(
    "alerts",
    "Contrail: alerts",
    "What was opened, who was notified, how long it took.",
    (shared.ENVIRONMENT, shared.DAG_ID, shared.OWNER, Control("Severity", "incident.severity")),
    (_INCIDENTS, _NOISE, _DELIVERY),
    since="now-7d",
)
