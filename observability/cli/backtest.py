"""``contrail alerts backtest``: what a rules file would have sent in the past."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observability.cli.plain_typer import PlainTyper
from observability.cli.printing import console, table
from observability.cli.time_arguments import moment_of
from observability.settings import get_settings
from observability.timestamps import iso
from observability.watch.backtest import Backtest, Record, Sent, backtest, difference
from observability.watch.ledger.database import Ledger, read_cursor
from observability.watch.rules.config import load_rules
from observability.watch.rules.in_force import usable_rules

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["app"]

app = PlainTyper()
_SHOWN = 20


@app.command("backtest")
def replay(
    rules: Annotated[Path | None, typer.Argument(help="A rules file; else the one in force.")] = None,
    *,
    since: Annotated[str, typer.Option(help="90d, 12h or a time.")] = "90d",
    dag: Annotated[str, typer.Option(help="Only DAGs that match this glob.")] = "*",
    everything: Annotated[bool, typer.Option("--all", help="Show every notification, not the last 20.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Replay the runs of the past against a rules file: what would have been sent, to whom, and how it differs.

    Examples:
      contrail alerts backtest                              90 days under the rules in force
      contrail alerts backtest new-alerts.yaml --since 30d  what would change with these rules
      contrail alerts backtest --dag 'load_*' --json        for machines
    """
    settings, now = get_settings(), time.time()
    begin = moment_of(since, now)
    ledger = Ledger(settings.ledger_url)
    try:
        in_force = usable_rules(settings, ledger).rules
        asked = load_rules(rules) if rules else in_force
        with ledger.transaction() as connection:
            dags = (read_cursor(connection, "reconcile") or {}).get("dags", {})
            found = backtest(connection, asked, dags, begin, now, only=dag)
            before = backtest(connection, in_force, dags, begin, now, only=dag) if rules else None
    finally:
        ledger.close()
    if as_json:
        typer.echo(json.dumps(_document(found, before), indent=2))
    else:
        _show(found, before, most=None if everything else _SHOWN)


def _document(found: Backtest, before: Backtest | None) -> dict[str, Any]:
    said: dict[str, Any] = {
        "since": iso(found.since), "until": iso(found.until), "runs": found.runs,
        "sent": [_sent(one) for one in found.sent], "deadlines": [_record(one) for one in found.deadlines],
        "left_out": list(found.left_out),
    }  # fmt: skip
    if before is not None:
        more, fewer = difference(found, before)
        said["difference"] = {"only_new": [_sent(one) for one in more], "only_in_force": [_sent(one) for one in fewer]}
    return said


def _sent(one: Sent) -> dict[str, Any]:
    return {**asdict(one), "at": iso(one.at)}


def _record(one: Record) -> dict[str, Any]:
    kept = None if one.kept is None else round(one.kept, 4)
    return {"name": one.name, "dags": len(one.dags), "judged": one.judged, "missed": one.missed, "warned": one.warned,
            "warned_in_vain": one.in_vain, "kept": kept}  # fmt: skip


def _show(found: Backtest, before: Backtest | None, most: int | None) -> None:
    screen = console()
    screen.print(f"{found.runs} runs from {iso(found.since)[:16]} to {iso(found.until)[:16]}.")
    if not found.runs:
        screen.print("The ledger knows no runs of that time; see contrail alerts history.")
    if found.deadlines:
        screen.print(_records(found))
    by_channel = Counter(channel for one in found.sent for channel in one.channels)
    counted = ", ".join(f"{number} to {channel}" for channel, number in sorted(by_channel.items()))
    screen.print(f"{len(found.sent)} notifications would have been sent{f': {counted}' if counted else ''}.")
    for one in found.left_out:
        screen.print(f"Left out: {one}.")
    screen.print("Not counted: reminders, escalations, digests, and silences that people made.")
    if before is None:
        _list(screen, found.sent, most, " ")
        return
    more, fewer = difference(found, before)
    screen.print(f"Beside the rules in force: {len(more)} more (+), {len(fewer)} fewer (-).")
    _list(screen, more, most, "+")
    _list(screen, fewer, most, "-")


def _records(found: Backtest) -> Table:
    shown = table("deadline", "DAGs", "judged", "missed", "warned", "in vain", "kept")
    for one in found.deadlines:
        kept = "" if one.kept is None else f"{one.kept:.1%}"
        row = (one.name, len(one.dags), one.judged, one.missed, one.warned, one.in_vain, kept)
        shown.add_row(*map(str, row))
    return shown


def _list(screen: Console, sent: tuple[Sent, ...] | list[Sent], most: int | None, mark: str) -> None:
    for one in sent if most is None else sent[-most:]:
        to = ", ".join(one.channels)
        screen.print(f"{mark} {iso(one.at)[:16]}  {one.kind}  {one.dag_id} ({one.rule}) → {to}: {one.reason}")
