"""The boards, declared once as data; every renderer draws all of them."""

from __future__ import annotations

from observability.dashboards.boards.alerts import ALERTS
from observability.dashboards.boards.audit import AUDIT
from observability.dashboards.boards.dag import DAG
from observability.dashboards.boards.data import DATA
from observability.dashboards.boards.logs import LOGS, SAVED
from observability.dashboards.boards.operations import OPERATIONS
from observability.dashboards.boards.platform import PLATFORM
from observability.dashboards.boards.run import RUN

__all__ = ["BOARDS", "SAVED"]

BOARDS = (OPERATIONS, DAG, RUN, DATA, ALERTS, LOGS, AUDIT, PLATFORM)
"""In the order in which the links show them."""
