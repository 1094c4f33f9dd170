"""The plugin by which Airflow knows us: entry point ``airflow.plugins``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from observability.airflow import listener
from observability.airflow.ui.link import ContrailLink
from observability.airflow.ui.views import EXTERNAL_VIEWS, FASTAPI_APPS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ContrailPlugin"]


class ContrailPlugin(AirflowPlugin):
    """Registers the listener and the pages; the callbacks come by the policy (:mod:`observability.airflow.policy`)."""

    name = "contrail"
    listeners: ClassVar[list[Any]] = [listener]  # type: ignore[misc]  # Airflow reads it off the class
    fastapi_apps: ClassVar[Sequence[Any]] = FASTAPI_APPS  # type: ignore[misc,assignment]
    external_views: ClassVar[list[Any]] = EXTERNAL_VIEWS  # type: ignore[misc]
    global_operator_extra_links: ClassVar[list[Any]] = [ContrailLink()]  # type: ignore[misc]
