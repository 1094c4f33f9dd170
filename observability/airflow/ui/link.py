"""The link "Contrail" on every task: Airflow's API server asks for it, no task pays for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from observability.airflow.ui.formatting import Links
from observability.airflow.ui.views import URL_PREFIX
from observability.settings import get_settings

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

__all__ = ["ContrailLink"]


class ContrailLink(BaseOperatorLink):
    """A link from a task instance in Airflow to its page here."""

    name = "Contrail"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Address of the page for ``ti_key``."""
        links = Links(root=get_settings().public_url + URL_PREFIX)
        if _is_iterated(operator):  # the key has the index in its region there: the iteration
            return links.task(ti_key.dag_id, ti_key.task_id, ti_key.run_id, None, str(ti_key.map_index))
        return links.task(ti_key.dag_id, ti_key.task_id, ti_key.run_id, ti_key.map_index)


def _is_iterated(operator: Any) -> bool:
    """True for a task of a task loop (Airflow 3.4) that is not mapped as well."""
    group = getattr(operator, "task_group", None)
    while group is not None and not hasattr(group, "max_iterations"):
        group = getattr(group, "parent_group", None)
    return group is not None and not operator.get_needs_expansion()
