"""The boards of :mod:`observability.dashboards` as pages: which there are, and what their panels show."""

from __future__ import annotations

from observability.airflow.ui.boards.drawing import FILTERS
from observability.airflow.ui.boards.panels import Shown, shown
from observability.airflow.ui.boards.view import HOURS, View, boards, find_board, find_panel

__all__ = ["FILTERS", "HOURS", "Shown", "View", "boards", "find_board", "find_panel", "shown"]
