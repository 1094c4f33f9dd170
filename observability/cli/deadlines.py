"""``contrail deadlines``: what is due, what may be late, what was missed, and how often each was kept."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observability.cli.plain_typer import PlainTyper
from observability.cli.printing import console, table
from observability.cli.time_arguments import moment_of
from observability.errors import ArgumentError
from observability.settings import get_settings
from observability.timestamps import iso
from observability.watch.deadlines import Deadlines
from observability.watch.forecasts import Forecasts, clock_in
from observability.watch.ledger.database import Ledger, read_cursor
from observability.watch.outcomes import KEPT, UPCOMING, outcomes
from observability.watch.rules.in_force import usable_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from observability.watch.rules.config import AlertingConfig

__all__ = ["app"]

app = PlainTyper(
    no_args_is_help=True,
    help="What is due, what may be late, what was missed, and what was kept.",
)
_STATES = ("missed", "at risk", "upcoming", "kept")
_KEPT_SHOWN_S = 86_400.0


@dataclass(frozen=True, slots=True)
class _Row:
    """A deadline on an occasion; ``share`` is how often it was kept, of ``judged`` times."""

    state: str
    name: str
    dag_id: str
    occasion: str
    due: float
    owner: str
    zone: str
    expected: float | None
    chance: float | None
    reason: str
    share: float | None
    judged: int


@app.callback()
def _group() -> None:
    """Keep ``list`` a command of its own."""


@app.command("list")
def show(  # noqa: PLR0913 - the options of a command
    *,
    state: Annotated[str, typer.Option(help=f"One of {', '.join(_STATES)}.")] = "",
    name: Annotated[str, typer.Option(help="Glob of names.")] = "*",
    dag: Annotated[str, typer.Option(help="Glob of DAG ids.")] = "*",
    owner: Annotated[str, typer.Option(help="Glob of owners.")] = "*",
    since: Annotated[str, typer.Option(help="The time for which the share kept is counted.")] = "30d",
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """List what is due by the rules in force: missed, at risk, upcoming, and kept in the last day.

    Examples:
      contrail deadlines list                          everything, the most urgent first
      contrail deadlines list --state missed --json    for machines
      contrail deadlines list --name 'morning-*' --owner finance
    """
    if state and state not in _STATES:
        raise ArgumentError(f"there is no state {state!r}; it is one of {', '.join(_STATES)}")
    settings, now = get_settings(), time.time()
    ledger = Ledger(settings.ledger_url)
    try:
        rules = usable_rules(settings, ledger).rules
        with ledger.transaction() as connection:
            looked = connection.begin_nested()
            rows = list(_rows(connection, rules, now, moment_of(since, now)))
            looked.rollback()  # a person who looks is not a watcher that has looked
    finally:
        ledger.close()
    shown = [
        one
        for one in rows
        if state in {"", one.state} and fnmatchcase(one.name, name) and fnmatchcase(one.dag_id, dag)
        and fnmatchcase(one.owner, owner)
    ]  # fmt: skip
    shown.sort(key=lambda one: (_STATES.index(one.state), one.due, one.name))
    if as_json:
        typer.echo(json.dumps([_document(one) for one in shown], indent=2))
    else:
        _print(shown, now)


def _rows(connection: Connection, rules: AlertingConfig, now: float, since: float) -> Iterator[_Row]:
    dags = (read_cursor(connection, "reconcile") or {}).get("dags", {})
    counted: dict[tuple[str, str], list[bool]] = defaultdict(list)
    past = outcomes(connection, since)
    for done in past:
        if done.state != UPCOMING:
            counted[done.name, done.dag_id].append(done.state == KEPT)
    deadlines = Deadlines(rules.deadlines, dags, forecasts=Forecasts(), calendars=rules.days_off)
    found: dict[tuple[str, str, str], _Row] = {}
    named: dict[str, tuple[str, str]] = {}
    for deadline, one in deadlines.standings(connection, now):
        owner = deadline.owner or str(dags.get(one.dag_id or "", {}).get("owner") or "")
        named[deadline.name] = (owner, deadline.timezone)
        key = (deadline.name, one.dag_id or "", one.occasion)
        state = {"near": "at risk", "upcoming": "upcoming", "missed": "missed"}.get(one.state)
        if state is None or (key in found and found[key].state != "upcoming"):
            continue
        share, judged = _share(counted[deadline.name, one.dag_id or ""])
        found[key] = _Row(state, *key, one.due, owner, deadline.timezone, one.expected, one.chance, one.reason, share,
                          judged)  # fmt: skip
    for done in past:
        if done.state == KEPT and done.due >= now - _KEPT_SHOWN_S:
            key = (done.name, done.dag_id, done.occasion)
            owner, zone = named.get(done.name, ("", "UTC"))
            share, judged = _share(counted[done.name, done.dag_id])
            found.setdefault(key, _Row("kept", *key, done.due, owner, zone, None, None, "", share, judged))
    yield from found.values()


def _share(kept: list[bool]) -> tuple[float | None, int]:
    return (sum(kept) / len(kept) if kept else None), len(kept)


def _document(one: _Row) -> dict[str, Any]:
    return {
        "state": one.state, "name": one.name, "dag_id": one.dag_id or None, "occasion": one.occasion or None,
        "due": iso(one.due), "owner": one.owner or None,
        "expected": None if one.expected is None else iso(one.expected), "chance_to_miss": one.chance,
        "reason": one.reason, "kept": None if one.share is None else round(one.share, 4), "judged": one.judged,
    }  # fmt: skip


def _print(rows: list[_Row], now: float) -> None:
    screen = console()
    if not rows:
        screen.print("Nothing is due, and nothing was kept or missed, by the deadlines in force.")
        return
    shown = table("state", "deadline", "DAG", "owner", "due", "expected", "kept", "why")
    for one in rows:
        expected = "" if one.expected is None else clock_in(one.expected, one.zone, now)
        kept = "" if one.share is None else f"{one.share:.1%} of {one.judged}"
        due = f"{clock_in(one.due, one.zone, now)} {one.zone}"
        shown.add_row(one.state, one.name, one.dag_id, one.owner, due, expected, kept, one.reason)
    screen.print(shown)
