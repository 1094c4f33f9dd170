"""The target of ``[logging] logging_config_class``: Airflow's own logging, and our reader and writer of task logs.

``observability.airflow.logging_config.LOGGING_CONFIG``; ``[logging] remote_logging`` is not needed for it.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from airflow.config_templates import airflow_local_settings

from observability.airflow.remote_log import ContrailLogIO

__all__ = ["DEFAULT_REMOTE_CONN_ID", "LOGGING_CONFIG", "REMOTE_TASK_LOG"]

LOGGING_CONFIG: dict[str, Any] = deepcopy(airflow_local_settings.DEFAULT_LOGGING_CONFIG)
"""Airflow's own; what people add to it, they add in a module of theirs that imports this one."""

REMOTE_TASK_LOG = ContrailLogIO()
DEFAULT_REMOTE_CONN_ID = REMOTE_TASK_LOG.connection_id
"""The Connection that Airflow's supervisor fetches for us before it lets us write at the end of a task."""
