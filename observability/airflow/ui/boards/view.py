"""The view of a board: its time, its filters, and who is looking."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from observability.dashboards import embedded
from observability.store.questions import Ask

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HOURS", "View", "boards", "find_board", "find_panel"]

HOURS = {1: "1 hour", 6: "6 hours", 24: "24 hours", 168: "7 days", 720: "30 days"}
"""The stretches of time that a reader can choose."""

_SINCE = {"now-1h": 1, "now-24h": 24, "now-7d": 168}
_ONE_INSTALLATION = "service.environment"
"""A store holds one environment, so there is nothing to choose."""
_OPEN_TO_ALL = {"airflow.statsd"}
"""Datasets whose documents about no DAG are about the installation, and hold nothing of anybody's code;"""
_CLOSED = "airflow.dag_file"
"""except those about a file."""


@dataclass(frozen=True, slots=True)
class View:
    """One look at a board. ``dags``: what the reader may see; None: all."""

    board: dict[str, Any]
    hours: float
    chosen: Mapping[str, str] = field(default_factory=dict)
    dags: tuple[str, ...] | None = None
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @classmethod
    def of(
        cls, board: dict[str, Any], hours: float | None, given: Mapping[str, str], dags: tuple[str, ...] | None = None
    ) -> View:
        """The view that a request asks for; what is no control of the board is ignored."""
        known = {control["field"] for control in controls(board)}
        chosen = {name: value for name, value in given.items() if name in known and value}
        return cls(board, hours or _SINCE[board["since"]], chosen, dags)

    @property
    def controls(self) -> list[dict[str, Any]]:
        """The choices, with the one that is chosen."""
        return [control | {"value": self.chosen.get(control["field"], "")} for control in controls(self.board)]

    def ask(self, panel: dict[str, Any], parts: list[dict[str, Any]], *, bucket_s: int = 0) -> Ask:
        """The questions of parts of a panel that are about the same documents, as this reader may ask them."""
        part = parts[0]
        where = {name: tuple(values) for name, values in part["where"].items()}
        if not panel.get("alone"):
            where |= {name: (value,) for name, value in self.chosen.items() if name not in where}
        earlier = timedelta(weeks=1) if part.get("shift") == "1w" else timedelta()
        return Ask(
            datasets=tuple(panel["datasets"]),
            where=where,
            since=self.now - timedelta(hours=self.hours) - earlier,
            until=self.now - earlier,
            measures=tuple((one.get("aggregate", "count"), one.get("field", "")) for one in parts),
            by=tuple(panel.get("by", ())),
            bucket_s=bucket_s,
            without=() if self.dags is None else (_CLOSED,),
            dags=self.dags,
            homeless=self.dags is None or set(panel["datasets"]) <= _OPEN_TO_ALL,
        )


def boards() -> dict[str, dict[str, Any]]:
    """Every board by its key, in the order of the links."""
    return _boards()


@functools.cache
def _boards() -> dict[str, dict[str, Any]]:
    return {board["key"]: board for board in embedded.boards()["boards"]}


def find_board(key: str) -> dict[str, Any] | None:
    """A board by its key."""
    return boards().get(key)


def find_panel(board: dict[str, Any], key: str) -> dict[str, Any] | None:
    """A panel of a board by its key."""
    return next((panel for row in board["rows"] for panel in row["panels"] if panel["key"] == key), None)


def controls(board: dict[str, Any]) -> list[dict[str, Any]]:
    """The filters that a reader can set on a board."""
    return [control for control in board["controls"] if control["field"] != _ONE_INSTALLATION]
