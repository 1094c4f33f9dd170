"""``contrail relay``: carry logs, events and metrics from disk to the sinks."""

from __future__ import annotations

import signal
import sys
import time
from typing import Annotated

import orjson
import typer

from observability.cli.plain_typer import PlainTyper
from observability.relay.relay import Relay, RelayError, read_status
from observability.relay.replay import replay as replay_letters
from observability.relay.takeover import take_over
from observability.settings import get_settings
from observability.timestamps import iso

__all__ = ["app"]

app = PlainTyper(
    invoke_without_command=True,
    help="Carry logs, events and metrics from disk to the sinks, until stopped.\n\n"
    "Examples:\n"
    "  contrail relay\n"
    "  contrail relay --once                                      deliver what is on disk and end\n"
    "  contrail relay --status",
)


@app.callback()
def relay(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Deliver what is on disk and end; 1 where something is left.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Print what the running relay says of itself, as JSON.")
    ] = False,
    patience: Annotated[
        float, typer.Option(help="With --once: give up after so many seconds without progress.")
    ] = 60.0,
) -> None:
    """Carry until stopped; SIGTERM delivers what is on disk, ten seconds at most."""
    if context.invoked_subcommand is not None:
        return
    if status:
        _print_status()
        return
    settings = get_settings()
    carrier = take_over(
        settings.home,
        lambda: bool((read_status(settings.home) or {}).get("stands_in")),
        lambda: Relay(settings, statsd=not once, say=_say),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: carrier.stop())
    if not carrier.run(once=once, patience_s=patience) and once:
        raise typer.Exit(1)


@app.command()
def replay(
    sink: Annotated[
        str, typer.Option(help="Only the dead letters of this sink; empty: of every sink in [relay] sinks.")
    ] = "",
) -> None:
    """Send dead letters again; those that are taken are removed, the others stay with their reason.

    Examples:
      contrail relay replay
      contrail relay replay --sink elasticsearch
    """
    settings = get_settings()
    for name in [sink] if sink else settings.relay.sinks:
        outcome = replay_letters(settings, name)
        dropped = f", {outcome.dropped} dropped by the receiver without naming them" if outcome.dropped else ""
        found = f"{outcome.stored} stored, {outcome.duplicates} were there, {outcome.left} still refused"
        typer.echo(f"{name}: {found}{dropped}")


def _print_status() -> None:
    home = get_settings().home
    found = read_status(home)
    if found is None:
        raise RelayError(f"no relay has run on {home}; start one with: contrail relay")
    typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


def _say(text: str) -> None:
    line = {
        "timestamp": iso(time.time(), "microseconds"),
        "level": "info",
    }
    sys.stderr.write(orjson.dumps({**line, "event": text, "logger": "contrail.relay"}).decode() + "\n")


if __name__ == "__main__":
    app()
