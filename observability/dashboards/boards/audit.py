"""Audit: who did what in Airflow, by its own event log."""

from __future__ import annotations

from observability.dashboards.boards import shared
from observability.dashboards.panels import Board, Control, Panel, Quiet, Row
from observability.dashboards.signals import audit, metric

_NOBODY = Quiet("Nobody did anything in the time shown.", ("audit.recorded",))
_ENTRIES = audit("Entries", series=metric("Entries", "contrail.audit.recorded"))
_LAST = audit("Last", aggregate="max", field="@timestamp")

_WHO = Row(
    "Who did what?",
    "What people, and programs in their name, asked of Airflow, which writes down what it refuses, too. The outcome is "
    "success where Airflow has it, failure where nothing changed, else unknown.",
    (
        Panel(
            key="kinds",
            title="Entries by kind",
            kind="bars",
            by=("event.category",),
            questions=(_ENTRIES,),
            quiet=_NOBODY,
            size=(32, 10),
        ),
        Panel(
            key="people",
            title="People",
            kind="ranking",
            by=("user.name",),
            questions=(_ENTRIES,),
            quiet=_NOBODY,
            size=(16, 10),
        ),
        Panel(
            key="deeds",
            title="Who asked for it how often",
            kind="table",
            by=("user.name", "airflow.audit_event", "event.outcome"),
            questions=(_ENTRIES, _LAST),
            quiet=_NOBODY,
            size=(24, 12),
        ),
        Panel(
            key="dags",
            title="About which DAG",
            kind="table",
            by=("airflow.dag_id",),
            questions=(_ENTRIES, _LAST),
            opens="dag",
            quiet=_NOBODY,
            size=(24, 12),
        ),
    ),
)

_LOG = Row(
    "What stands in the log?",
    "Each entry, the newest first. Of Connections and Variables only the names of what was given are kept, "
    "never a value.",
    (Panel(key="entries", title="Entries", kind="search", saved="audit", quiet=_NOBODY, size=(48, 20)),),
)

AUDIT = Board(
    "audit",
    "Contrail: audit",
    "Who did what in Airflow.",
    (
        shared.ENVIRONMENT,
        shared.DAG_ID,
        Control("Person", "user.name"),
        Control("Kind", "event.category"),
        Control("Entry", "airflow.audit_event"),
        Control("Outcome", "event.outcome"),
    ),
    (_WHO, _LOG),
    since="now-7d",
)
