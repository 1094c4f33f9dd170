"""Compute the pages' texts from the store alone; no HTML, no HTTP, no Airflow: a module for each question.

Each function takes a :class:`~observability.store.Readable` and answers one page's question as plain data.
"""

from __future__ import annotations

from observability.airflow.ui.pages.attempts import Attempt
from observability.airflow.ui.pages.dag import DagPage, dag_page
from observability.airflow.ui.pages.days import DaysPage, days_page
from observability.airflow.ui.pages.deadlines import DeadlinesPage, deadlines_page
from observability.airflow.ui.pages.incident import IncidentPage, incident_page
from observability.airflow.ui.pages.overview import Overview, overview
from observability.airflow.ui.pages.reported import ReportedIncident, reported_incident
from observability.airflow.ui.pages.rules import (
    Recipients,
    Trial,
    known_dags,
    recipients_by_dag,
    recipients_by_incident,
    try_rules,
)
from observability.airflow.ui.pages.run import RunPage, run_page
from observability.airflow.ui.pages.search import LEVELS, SearchPage, Wanted, search_page
from observability.airflow.ui.pages.steps import Step
from observability.airflow.ui.pages.task import TaskPage, task_page

__all__ = [
    "LEVELS",
    "Attempt",
    "DagPage",
    "DaysPage",
    "DeadlinesPage",
    "IncidentPage",
    "Overview",
    "Recipients",
    "ReportedIncident",
    "RunPage",
    "SearchPage",
    "Step",
    "TaskPage",
    "Trial",
    "Wanted",
    "dag_page",
    "days_page",
    "deadlines_page",
    "incident_page",
    "known_dags",
    "overview",
    "recipients_by_dag",
    "recipients_by_incident",
    "reported_incident",
    "run_page",
    "search_page",
    "task_page",
    "try_rules",
]
