"""The components of the platform: each one's command, in the order in which it is started."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["MIGRATION", "Component", "components"]


@dataclass(frozen=True, slots=True)
class Component:
    """A process of the platform. ``last`` marks what is stopped after the others, to carry their last words.

    ``needs_api`` marks what runs tasks: a task that does not reach the API server when it begins fails. The dag
    processor and the triggerer have the part of it that they need within them, and the watcher asks again.
    """

    name: str
    command: tuple[str, ...]
    last: bool = False
    needs_api: bool = False


def _airflow(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "airflow", *arguments)


def _contrail(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "observability.cli", *arguments)


MIGRATION = _airflow("db", "migrate")
"""Run once before Airflow's components."""


def components(settings: Settings) -> tuple[Component, ...]:
    """The components for these options. Airflow's log servers stay off: they listen on every address."""
    web = settings.airflow
    return (
        Component("relay", _contrail("relay"), last=True),
        Component("api-server", _airflow("api-server", "--host", web.host, "--port", str(web.port), "--workers", "1")),
        Component("scheduler", _airflow("scheduler", "--skip-serve-logs"), needs_api=True),
        Component("dag-processor", _airflow("dag-processor")),
        Component("triggerer", _airflow("triggerer", "--skip-serve-logs")),
        Component("watcher", _contrail("watch")),
    )
