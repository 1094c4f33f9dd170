"""The one catalogue: every event, field, metric and alert rule, declared once as data, a module for each.

Index templates, dashboards, alarms, tag lists and the reference pages are generated from here
and compared in tests; code elsewhere refers to these names and never spells its own.
Imports nothing of ours.
"""

from __future__ import annotations

from observability.catalog.audit_events import AUDIT_EVENTS
from observability.catalog.datasets import DATASETS, RECEIVED, Dataset
from observability.catalog.events import EVENTS, EventSpec, MetricUse
from observability.catalog.fields import FIELDS, FieldSpec
from observability.catalog.incidents import INCIDENT_KINDS, IncidentKind, IncidentUse
from observability.catalog.metrics import AIRFLOW_METRICS, DIMENSIONS, METRICS, TAGS, MetricSpec
from observability.catalog.monitors import ALERT_DOCUMENT, ALERT_INDEX, MONITORS, UNRULED, AlertRule
from observability.catalog.vocabulary import (
    CAUSE_LABELS,
    CAUSES,
    COMPONENTS,
    FieldType,
    Level,
    MetricType,
    Outcome,
    Severity,
    Status,
)

__all__ = [
    "AIRFLOW_METRICS",
    "ALERT_DOCUMENT",
    "ALERT_INDEX",
    "AUDIT_EVENTS",
    "CAUSES",
    "CAUSE_LABELS",
    "COMPONENTS",
    "DATASETS",
    "DIMENSIONS",
    "EVENTS",
    "FIELDS",
    "INCIDENT_KINDS",
    "METRICS",
    "MONITORS",
    "RECEIVED",
    "TAGS",
    "UNRULED",
    "AlertRule",
    "Dataset",
    "EventSpec",
    "FieldSpec",
    "FieldType",
    "IncidentKind",
    "IncidentUse",
    "Level",
    "MetricSpec",
    "MetricType",
    "MetricUse",
    "Outcome",
    "Severity",
    "Status",
]
