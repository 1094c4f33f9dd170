"""``contrail alerts quality``: which rules are worth a message, and what would make them so."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observability.cli.plain_typer import PlainTyper
from observability.cli.printing import console, table
from observability.cli.time_arguments import lasting, moment_of
from observability.settings import get_settings
from observability.watch.ledger.database import Ledger
from observability.watch.notify.messages import plain
from observability.watch.quality import quality as measure

if TYPE_CHECKING:
    from observability.watch.quality import Quality

__all__ = ["app"]

app = PlainTyper()


@app.command()
def quality(
    since: Annotated[str, typer.Option(help="2h, 30d or a time.")] = "30d",
    owner: Annotated[str, typer.Option(help="Only this owner.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show per owner and rule what was sent, marked useful or noise, and healed by itself; with proposals.

    A proposal is a route for alerts.yaml that was replayed on the same incidents: it says how many messages it would
    have spared, and of how many incidents people would have heard later.

    Examples:
      contrail alerts quality
      contrail alerts quality --since 7d --owner finance --json
    """
    ledger = Ledger(get_settings().ledger_url)
    try:
        with ledger.transaction() as connection:
            found = [one for one in measure(connection, moment_of(since, time.time())) if owner in ("", one.owner)]
    finally:
        ledger.close()
    if as_json:
        typer.echo(json.dumps([_document(one) for one in found], indent=2))
        return
    rows = table("owner", "rule", "incidents", "messages", "useful", "noise", "healed", "taken in", "over in")
    for one in found:
        rows.add_row(
            plain(one.owner), plain(one.rule), str(len(one.cases)), str(one.messages), str(one.marked("useful")),
            str(one.marked("noise")), str(one.healed), _span(one.acknowledged_s), _span(one.repaired_s),
        )  # fmt: skip
    console().print(rows if found else "No message was sent.")
    for one in found:
        if one.proposal is not None:
            typer.echo(f"\n{plain(one.owner)}, {plain(one.rule)}: {one.proposal.words}")
            typer.echo(f"  on these incidents: {one.tried}")
            typer.echo(
                f"  alerts.yaml, routes: {plain(one.proposal.rules)} with the receiver of the route that matches now"
            )


def _span(seconds: float | None) -> str:
    return "" if seconds is None else lasting(seconds)


def _document(one: Quality) -> dict[str, Any]:
    return {
        "owner": one.owner,
        "rule": one.rule,
        "incidents": len(one.cases),
        "messages": one.messages,
        "useful": one.marked("useful"),
        "noise": one.marked("noise"),
        "healed": one.healed,
        "acknowledged_s": one.acknowledged_s,
        "repaired_s": one.repaired_s,
        "proposal": asdict(one.proposal) if one.proposal else None,
    }
