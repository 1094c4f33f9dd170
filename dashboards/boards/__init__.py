"""The boards, declared once as data; every renderer draws all of them."""

from __future__ import annotations

from dashboards.boards.alerts import ALERTS
from dashboards.boards.dag import DAG
from dashboards.boards.data import DATA
from dashboards.boards.logs import LOGS, SAVED
from dashboards.boards.operations import OPERATIONS
from dashboards.boards.platform import PLATFORM
from dashboards.boards.run import RUN

__all__ = ["BOARDS", "SAVED"]

BOARDS = (OPERATIONS, DAG, RUN, DATA, ALERTS, LOGS, PLATFORM)
"""In the order in which the links show them."""
