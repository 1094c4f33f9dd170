"""The plugin by which Airflow knows us: entry point ``airflow.plugins``."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from observability.airflow import listener

__all__ = ["ContrailPlugin"]


class ContrailPlugin(AirflowPlugin):
    """Registers the listener; the callbacks come by the policy (:mod:`observability.airflow.policy`)."""

    name = "contrail"
    listeners: ClassVar[list[Any]] = [listener]  # type: ignore[misc]  # Airflow reads it off the class
