"""``contrail airflow …``: Airflow's own command line, with the configuration that the platform gave its Airflow."""

from __future__ import annotations

import os
import sys

import typer  # noqa: TC002 - typer reads the annotation

from observability.local.environment import join
from observability.local.errors import PlatformError
from observability.local.layout import Layout
from observability.settings import get_settings

__all__ = ["airflow"]


def airflow(context: typer.Context) -> None:
    """Run Airflow's own command line in the platform's environment.

    Examples:
      contrail airflow dags list
      contrail airflow connections add warehouse --conn-type postgres
    """
    layout = Layout(get_settings().home.absolute())
    if not layout.environment.is_file():
        raise PlatformError(f"no platform was ever started in {layout.home}; start it by: contrail up")
    join(layout)
    os.execv(sys.executable, [sys.executable, "-m", "airflow", *context.args])  # noqa: S606 - Airflow takes this process's place
