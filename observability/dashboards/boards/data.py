"""Data health: is the data complete, clean and fresh."""

from __future__ import annotations

from observability.dashboards.boards import shared
from observability.dashboards.panels import Board, Panel, Quiet, Row
from observability.dashboards.signals import Ratio, events, metric

_OUT = events(
    "Rows out",
    "step.measured",
    aggregate="sum",
    field="etl.rows_out",
    series=metric("Rows out", "contrail.step.rows_out"),
)
_IN = events(
    "Rows in", "step.measured", aggregate="sum", field="etl.rows_in", series=metric("Rows in", "contrail.step.rows_in")
)
_REJECTED = events(
    "Rejected",
    "step.measured",
    aggregate="sum",
    field="etl.rows_rejected",
    series=metric("Rejected", "contrail.step.rows_rejected"),
)
_NO_DRIFT = Quiet("No input changed its columns.", ("schema.drifted",))

_ROWS = Row(
    "Is it complete?",
    "Every measured step counts, so a row that three steps passed on counts three times. If this week's line leaves "
    "last week's, rows are missing or duplicated.",
    (
        Panel(key="rows-out", title="Rows out of all steps", kind="number", questions=(_OUT,), size=(12, 6)),
        Panel(key="rows-in", title="Rows into all steps", kind="number", questions=(_IN,), size=(12, 6)),
        Panel(
            key="rejected",
            quiet=shared.NO_REJECT,
            title="Rows quarantined",
            kind="number",
            questions=(_REJECTED,),
            limits=(1, 1000),
            size=(12, 6),
        ),
        Panel(
            key="rejected-share",
            title="Quarantined share",
            kind="number",
            questions=(Ratio("Share", _REJECTED, _IN),),
            limits=(0.001, 0.01),
            size=(12, 6),
        ),
        Panel(
            key="usual",
            title="Rows written against a week before",
            kind="line",
            sparse=True,
            size=(24, 10),
            questions=(
                _OUT,
                events("A week before", "step.measured", aggregate="sum", field="etl.rows_out", shift="1w"),
            ),
        ),
        Panel(
            key="rows-by-dag",
            title="Rows written by DAG",
            kind="area",
            by=("airflow.dag_id",),
            questions=(_OUT,),
            opens="dag",
        ),
    ),
)

_CLEAN = Row(
    "Is it clean?",
    "Rejected rows are kept in quarantine, counted by the rule that they broke; a column that came or went is a drift.",
    (
        Panel(
            key="by-rule",
            title="Rejected rows by rule",
            kind="ranking",
            by=("etl.rule",),
            quiet=shared.NO_REJECT,
            size=(24, 10),
            questions=(
                events(
                    "Rejected",
                    "rows.rejected",
                    aggregate="sum",
                    field="etl.rows_rejected",
                    series=metric("Rejected", "contrail.rows.rejected"),
                ),
            ),
        ),
        Panel(
            key="rejected-over-time",
            title="Rejected rows over time",
            kind="bars",
            by=("etl.rule",),
            quiet=shared.NO_REJECT,
            size=(24, 10),
            questions=(events("Rejected", "rows.rejected", aggregate="sum", field="etl.rows_rejected"),),
        ),
        Panel(
            key="drift",
            title="Schema drift",
            kind="table",
            by=("etl.table", "etl.columns_added"),
            quiet=_NO_DRIFT,
            size=(24, 8),
            questions=(
                events("Times", "schema.drifted"),
                events("Last", "schema.drifted", aggregate="max", field="@timestamp"),
            ),
        ),
        Panel(
            key="gone",
            title="Columns that are gone",
            kind="table",
            by=("etl.table", "etl.columns_removed"),
            quiet=_NO_DRIFT,
            size=(24, 8),
            questions=(events("Times", "schema.drifted"),),
        ),
        Panel(
            key="failed-steps",
            title="Steps that failed",
            kind="table",
            by=("airflow.dag_id", "etl.step", "error.type"),
            size=(48, 8),
            quiet=Quiet("No measured step raised.", ("step.failed",)),
            questions=(events("Times", "step.failed"),),
        ),
    ),
)

_FRESH = Row(
    "Is it fresh?",
    "The watermark is the newest moment that the data covers; its age is how stale a report on it would be.",
    (
        Panel(
            key="age",
            title="Age of the newest data",
            kind="line",
            by=("etl.table",),
            size=(24, 10),
            sparse=True,
            wide_range=True,
            note="On a logarithmic axis: a DAG that catches up reads data that is years old.",
            questions=(events("Age", "step.measured", aggregate="max", field="etl.watermark_age"),),
            quiet=Quiet("No step said which moment its data covers.", ("step.measured",)),
        ),
        Panel(
            key="step-time",
            title="Step duration, p95",
            kind="line",
            by=("etl.step",),
            sparse=True,
            size=(24, 10),
            questions=(events("p95", "step.measured", aggregate="p95", field="event.duration"),),
        ),
        Panel(
            key="tables",
            title="Tables",
            kind="table",
            by=("etl.table", "airflow.dag_id"),
            top=20,
            size=(48, 10),
            questions=(
                _OUT,
                _REJECTED,
                events("Newest data", "step.measured", aggregate="max", field="etl.watermark"),
                events("Written", "step.measured", aggregate="max", field="@timestamp"),
            ),
        ),
        Panel(
            key="assets",
            title="Assets updated",
            kind="ranking",
            by=("airflow.asset",),
            size=(48, 8),
            questions=(events("Updates", "asset.updated"),),
            quiet=Quiet("No task has an asset as its outlet.", ("asset.updated",)),
        ),
    ),
)

DATA = Board(
    "data",
    "Contrail: data health",
    "Is the data complete, clean and fresh?",
    (shared.ENVIRONMENT, shared.DAG_ID, shared.OWNER),
    (_ROWS, _CLEAN, _FRESH),
    since="now-7d",
)
