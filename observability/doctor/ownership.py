"""Tell our Airflow, which ``contrail up`` starts, from somebody's own, where its commands do not help."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from observability.local.layout import Layout

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["airflow_command", "is_ours", "start"]

_PAGE = "docs/existing-airflow.md"


def is_ours(settings: Settings) -> bool:
    """True if ``contrail up`` starts this Airflow: it has made its keys, or nothing says that there is another."""
    if Layout(settings.home.absolute()).keys.is_dir():
        return True
    named = settings.watch.api_url or os.environ.get("AIRFLOW_HOME") or os.environ.get("AIRFLOW_CONFIG")
    return not named


def airflow_command(settings: Settings, words: str) -> str:
    """A command of Airflow's, as it is called here."""
    return f"contrail airflow {words}" if is_ours(settings) else f"airflow {words}"


def start(settings: Settings, command: str) -> str:
    """The command that starts a process of ours here."""
    if is_ours(settings):
        return f"{command} (contrail up starts it)"
    return f"{command}, as a service of its own ({_PAGE})"
