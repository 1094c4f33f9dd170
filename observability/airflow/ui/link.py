"""The link "Contrail" on every task: Airflow's API server asks for it, no task pays for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from observability.airflow.ui.views import URL_PREFIX
from observability.airflow.ui.words import Links
from observability.settings import get_settings

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

__all__ = ["ContrailLink"]


class ContrailLink(BaseOperatorLink):
    """A link from a task instance in Airflow to its page here."""

    name = "Contrail"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """Address of the page for ``ti_key``."""
        links = Links(root=get_settings().public_url + URL_PREFIX)
        return links.task(ti_key.dag_id, ti_key.task_id, ti_key.run_id, ti_key.map_index)
