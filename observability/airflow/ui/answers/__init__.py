"""Compute the pages' texts from the store alone; no HTML, no HTTP, no Airflow: a module for each question.

Each function takes a :class:`~observability.store.Readable` and answers one page's question as plain data.
"""

from __future__ import annotations

from observability.airflow.ui.answers.attempts import Attempt
from observability.airflow.ui.answers.dag import DagPage, dag_page
from observability.airflow.ui.answers.overview import Overview, overview
from observability.airflow.ui.answers.run import RunPage, run_page
from observability.airflow.ui.answers.steps import Step
from observability.airflow.ui.answers.task import TaskPage, task_page

__all__ = [
    "Attempt",
    "DagPage",
    "Overview",
    "RunPage",
    "Step",
    "TaskPage",
    "dag_page",
    "overview",
    "run_page",
    "task_page",
]
