"""``contrail status``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from observability.cli.time_arguments import lasting
from observability.local import health
from observability.local.layout import Layout
from observability.settings import get_settings

if TYPE_CHECKING:
    from observability.local.health import Health

__all__ = ["status"]

_COLOURS = {"healthy": "green", "starting": "yellow", "unhealthy": "red", "down": "red"}


def status(*, as_json: Annotated[bool, typer.Option("--json", help="One JSON object for machines.")] = False) -> None:
    """Show the health of each component; exit status 0: all are healthy, 1: not all, 3: the platform is not running."""
    settings = get_settings()
    now = health.look(Layout(settings.home.absolute()), settings)
    now = replace(now, delivery=health.look_at_delivery(settings))
    if as_json:
        typer.echo(json.dumps(now.document()))
    else:
        _show(now)
    raise typer.Exit(0 if now.healthy else 3 if now.phase == "stopped" else 1)


def _show(now: Health) -> None:
    console = Console(highlight=False)
    if now.phase == "stopped":
        console.print(f"No platform of {now.home} is running; start it by: contrail up", soft_wrap=True)
        return
    table = Table(title=f"{now.url} ({now.phase})", title_justify="left")
    for column in ("component", "state", "pid", "up", "restarts", "detail"):
        table.add_column(column)
    for part in now.components:
        colour = _COLOURS[part.state]
        up = "" if part.up_s is None else lasting(part.up_s)
        table.add_row(part.name, f"[{colour}]{part.state}[/]", str(part.pid or ""), up, str(part.restarts), part.detail)
    console.print(table)
    console.print(f"store     {now.store or 'answers'}", soft_wrap=True)
    if now.delivery:
        late = f"{now.delivery.lag_bytes} bytes, {now.delivery.lag_s:.1f} s behind"
        console.print(
            f"relay     {late}; {now.delivery.dead_letters} dead letters; {now.delivery.losses} losses", soft_wrap=True
        )
        for name, reason in now.delivery.troubles.items():
            console.print(f"[red]{name}[/]: {escape(reason)}", soft_wrap=True)
