"""``contrail alerts history``: how much of the past the watcher has read from Airflow."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from observability.cli.plain_typer import PlainTyper
from observability.cli.time_arguments import lasting
from observability.settings import get_settings
from observability.timestamps import iso
from observability.watch.history_import import Progress, read_progress
from observability.watch.ledger.database import Ledger

__all__ = ["app"]

app = PlainTyper()


@app.command()
def history(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Show how much of the past the watcher has read from Airflow, so that it knows what is usual.

    Examples:
      contrail alerts history            what has been read, and how long the rest may take
      contrail alerts history --json     the same for machines
    """
    settings = get_settings()
    ledger = Ledger(settings.ledger_url)
    try:
        with ledger.transaction() as connection:
            found = read_progress(connection)
    finally:
        ledger.close()
    if as_json:
        typer.echo(json.dumps(_document(found, settings.watch.history_days), indent=2))
    elif found is None:
        off = settings.watch.history_days <= 0
        typer.echo(
            "The past is not read: [watch] history_days is 0." if off else "No watcher has begun to read the past."
        )
    else:
        typer.echo(_sentence(found))


def _document(found: Progress | None, days: int) -> dict[str, object]:
    if found is None:
        return {"state": "off" if days <= 0 else "not begun", "days": days}
    times = {name: iso(getattr(found, name)) for name in ("wanted", "until", "reached")}
    state = "done" if found.is_done else "waiting" if found.problem else "reading"
    return {"state": state, "days": days, "share": round(found.share, 4), **asdict(found), **times}


def _sentence(found: Progress) -> str:
    read = (
        f"{found.runs} runs and {found.tasks} task instances of Airflow's past are read, back to {iso(found.reached)}"
    )
    if found.left_out:
        read += f"; {found.left_out} rows could not be read and are left out"
    if found.is_done:
        return f"{read}. That is all that was wanted."
    lines = [f"{read} ({found.share:.0%} of the wanted time)."]
    if found.problem:
        lines.append(f"It waits and will go on: {found.problem}")
    elif found.share > 0:
        # The reader rests after each request for as long as the request took.
        lines.append(f"At this pace the rest takes about {lasting(2 * found.busy_s * (1 / found.share - 1))}.")
    return "\n".join(lines)
