"""``contrail tee``: run a component, and keep a copy of what it says where the relay reads it."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import typer

from observability.cli.plain_typer import plain_help
from observability.settings import get_settings

__all__ = ["tee"]


def tee(context: typer.Context) -> None:
    """Run a component, and keep a copy of what it says where the relay reads it.

    The copy is ``components/<component>/<host>.log`` below Airflow's log folder, one file per host or container.

    Examples:
      contrail tee components/scheduler airflow scheduler
    """
    folder, *command = context.args or [""]
    command = command[1:] if command[:1] == ["--"] else command
    if folder in {"", "--help"} or not command:
        typer.echo(f"Usage: contrail tee components/<component> COMMAND [ARGS]...\n\n{plain_help(tee.__doc__)}")
        raise typer.Exit(0 if folder == "--help" else 2)
    host = re.sub(r"[^\w.-]", "_", socket.gethostname()) or "host"
    path = get_settings().log_folder / folder / f"{host}.log"
    script = Path(__file__).with_name("tee.py")
    os.execv(sys.executable, [sys.executable, "-I", "-S", str(script), str(path.absolute()), *command])  # noqa: S606
