"""``contrail status``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from observability.cli.printing import console, table
from observability.cli.time_arguments import lasting
from observability.local import health
from observability.local.layout import Layout
from observability.settings import get_settings

if TYPE_CHECKING:
    from observability.local.health import Health

__all__ = ["status"]

_COLOURS = {"healthy": "green", "starting": "yellow", "unhealthy": "red", "down": "red"}


def status(*, as_json: Annotated[bool, typer.Option("--json", help="One JSON object for machines.")] = False) -> None:
    """Show the health of each component; exit status 0: all are healthy, 1: not all, 3: the platform is not running.

    Examples:
      contrail status
      contrail status --json
    """
    settings = get_settings()
    now = health.look(Layout(settings.home.absolute()), settings)
    now = replace(now, delivery=health.look_at_delivery(settings))
    if as_json:
        typer.echo(json.dumps(now.document()))
    else:
        _show(now)
    raise typer.Exit(0 if now.healthy else 3 if now.phase == "stopped" else 1)


def _show(now: Health) -> None:
    screen = console()
    if now.phase == "stopped":
        screen.print(f"No platform of {now.home} is running; start it by: contrail up", soft_wrap=True)
        return
    screen.print(f"{now.url} ({now.phase})", style="italic")
    shown = table("component", "state", "pid", "up", "restarts", "detail")
    for part in now.components:
        state = Text(part.state, _COLOURS[part.state])
        up = "" if part.up_s is None else lasting(part.up_s)
        shown.add_row(part.name, state, str(part.pid or ""), up, str(part.restarts), part.detail)
    screen.print(shown)
    screen.print(f"store     {now.store or 'answers'}", soft_wrap=True)
    if now.delivery:
        late = f"{now.delivery.lag_bytes} bytes, {now.delivery.lag_s:.1f} s behind"
        screen.print(
            f"relay     {late}; {now.delivery.dead_letters} dead letters; {now.delivery.losses} losses", soft_wrap=True
        )
        for name, reason in now.delivery.troubles.items():
            screen.print(f"{name}: {reason}", style="red", soft_wrap=True)
