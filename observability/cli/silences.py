"""The commands about silences: make, list, edit and end one."""

from __future__ import annotations

import getpass
import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from sqlalchemy import insert, select, update

from observability.cli.ledger import ledger_transaction
from observability.cli.plain_typer import PlainTyper
from observability.cli.time_arguments import later_moment_of
from observability.errors import ArgumentError
from observability.settings import get_settings
from observability.timestamps import iso
from observability.watch.ledger import schema
from observability.watch.ledger.database import Ledger
from observability.watch.rules.config import Match
from observability.watch.rules.in_force import usable_rules
from observability.watch.rules.loader import RulesFile
from observability.watch.rules.text import RulesError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from observability.watch.rules.config import AlertingConfig

__all__ = ["app", "rules_for_people"]

app = PlainTyper()

_Json = Annotated[bool, typer.Option("--json", help="For machines.")]
_Dags = Annotated[list[str] | None, typer.Option("--dag", help="Globs of DAG ids.")]
_Tasks = Annotated[list[str] | None, typer.Option("--task", help="Globs of task ids.")]
_Owners = Annotated[list[str] | None, typer.Option("--owner", help="Globs of owners.")]
_Tags = Annotated[list[str] | None, typer.Option("--tag", help="Tags.")]
_Causes = Annotated[list[str] | None, typer.Option("--cause", help="Causes.")]


@app.command()
def silence(  # noqa: PLR0913 - a command has that many options
    *,
    until: Annotated[str, typer.Option(help="2h, 1d or a time.")],
    dag: _Dags = None,
    task: _Tasks = None,
    owner: _Owners = None,
    tag: _Tags = None,
    cause: _Causes = None,
    starts: Annotated[str, typer.Option("--from", help="A maintenance window begins later: 2h or a time.")] = "",
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: _Json = False,
) -> None:
    """Suppress the notifications that match until then; incidents that are still open then are notified.

    Examples:
      contrail alerts silence --until 2h --dag 'load_*'
      contrail alerts silence --until 1d --owner finance --comment 'month end'
      contrail alerts silence --from 2026-12-24T18:00 --until 2026-12-25T06:00 --tag warehouse
    """
    now = time.time()
    match = _match({"dag": dag, "task": task, "owner": owner, "tag": tag, "cause": cause})
    begin = later_moment_of(starts, now) if starts else now
    row = {
        "kind": "maintenance" if starts else "silence", "matchers": match.model_dump(), "starts": begin,
        "ends": _end(begin, until, now), "who": getpass.getuser(), "comment": comment,
    }  # fmt: skip
    with ledger_transaction() as connection:
        made = connection.execute(insert(schema.silences).values(**row)).inserted_primary_key
        _say(_found(connection, made[0] if made else 0), now, as_json=as_json)


@app.command()
def silences(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: _Json = False,
) -> None:
    """Show the silences that are in force or to come, those of ``alerts.yaml`` as well.

    Examples:
      contrail alerts silences
      contrail alerts silences --all --json
    """
    table, now = schema.silences, time.time()
    asked = select(table).order_by(table.c.starts, table.c.id)
    with ledger_transaction() as connection:
        rows = connection.execute(asked if everything else asked.where(table.c.ends > now)).mappings().all()
    found = [_shown(row, now) for row in rows] + list(_of_the_rules(now, everything=everything))
    if as_json:
        typer.echo(json.dumps(found, indent=2, default=str))
        return
    for one in found:
        typer.echo(_line(one))
    if not found:
        typer.echo("Nothing is silenced.")


@app.command()
def unsilence(silence_id: str, as_json: _Json = False) -> None:
    """End a silence now; what it held back is notified within a minute.

    Examples:
      contrail alerts unsilence 3
    """
    now = time.time()
    with ledger_transaction() as connection:
        row = _found(connection, silence_id)
        if row["ends"] > now:
            _change(connection, row["id"], {"ends": now, "starts": min(row["starts"], now)})
        _say(_found(connection, silence_id), now, as_json=as_json)


@app.command("edit-silence")
def edit_silence(  # noqa: PLR0913 - a command has that many options
    silence_id: str,
    *,
    until: Annotated[str, typer.Option(help="Another end: 2h (from now), 1d or a time.")] = "",
    dag: _Dags = None,
    task: _Tasks = None,
    owner: _Owners = None,
    tag: _Tags = None,
    cause: _Causes = None,
    starts: Annotated[str, typer.Option("--from", help="Another beginning: 2h (from now) or a time.")] = "",
    comment: Annotated[str | None, typer.Option(help="Another reason.")] = None,
    as_json: _Json = False,
) -> None:
    """Change a silence; what is not given stays as it is.

    Examples:
      contrail alerts edit-silence 3 --until 4h
      contrail alerts edit-silence 3 --comment 'the vendor answers on Monday'
    """
    now = time.time()
    with ledger_transaction() as connection:
        row = _found(connection, silence_id)
        if row["ends"] <= now and not until:
            raise ArgumentError(f"silence {row['id']} is over; give --until to begin it again")
        given = {"dag": dag, "task": task, "owner": owner, "tag": tag, "cause": cause}
        kept = {name: value for name, value in row["matchers"].items() if name in Match.model_fields}
        match = _match({**kept, **{name: value for name, value in given.items() if value is not None}})
        begin = later_moment_of(starts, now) if starts else row["starts"]
        changed = {
            "matchers": {**row["matchers"], **match.model_dump()}, "starts": begin,
            "comment": row["comment"] if comment is None else comment,
            "ends": _end(begin, until, now) if until else _after(begin, row["ends"]),
        }  # fmt: skip
        _change(connection, row["id"], changed)
        _say(_found(connection, silence_id), now, as_json=as_json)


def _match(given: dict[str, Any]) -> Match:
    try:
        return Match.model_validate({name: value for name, value in given.items() if value})
    except ValidationError as error:
        said = (f"--{one['loc'][0]}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors())
        raise ArgumentError("; ".join(said)) from error


def _end(begin: float, until: str, now: float) -> float:
    end = later_moment_of(until, now)
    if end <= now:
        raise ArgumentError(f"--until {until} is over")
    return _after(begin, end)


def _after(begin: float, end: float) -> float:
    if end <= begin:
        raise ArgumentError(f"a silence must end after it begins; it begins at {iso(begin)} and ends at {iso(end)}")
    return end


def _found(connection: Connection, silence_id: str | int) -> Any:
    """The row of a silence. Raises ArgumentError where there is none, or where it stands in the rules file."""
    if str(silence_id).startswith("rules:"):
        raise ArgumentError(f"{silence_id} stands in alerts.yaml; change it there, it is read again at once")
    table = schema.silences
    number = int(silence_id) if str(silence_id).isdecimal() and len(str(silence_id)) < 10 else -1  # noqa: PLR2004 - digits of an INTEGER
    row = connection.execute(select(table).where(table.c.id == number)).mappings().first()
    if row is None:
        raise ArgumentError(
            f"no silence has the id {str(silence_id)[:40]!r}; contrail alerts silences --all lists them"
        )
    return row


def _change(connection: Connection, number: int, values: dict[str, Any]) -> None:
    connection.execute(update(schema.silences).where(schema.silences.c.id == number).values(**values))


def rules_for_people() -> AlertingConfig:
    """The rules that are in force; a file that is broken is reported on stderr and stops no command but ``check``."""
    settings = get_settings()
    ledger = Ledger(settings.ledger_url)
    try:
        found = usable_rules(settings, ledger)
    except RulesError as error:
        typer.echo(f"{error}\nNo watcher has read good rules yet: those that come with Contrail are used.", err=True)
        return RulesFile(None).rules
    finally:
        ledger.close()
    if found.problem:
        typer.echo(f"{found.problem}\nUntil it is fixed, the rules that were in force before are used.", err=True)
    return found.rules


def _of_the_rules(now: float, *, everything: bool) -> Iterator[dict[str, Any]]:
    for number, window in enumerate(rules_for_people().silences):
        begin, end = window.begins_at, window.ends_at
        if end is None or end > now or everything:
            yield {
                "id": f"rules:{number}", "kind": "rules", "state": _state(begin or 0.0, end, now),
                "match": _given(window.match), "from": None if begin is None else iso(begin),
                "until": None if end is None else iso(end), "by": "alerts.yaml", "comment": window.comment,
            }  # fmt: skip


def _shown(row: Any, now: float) -> dict[str, Any]:
    return {
        "id": row["id"], "kind": row["kind"], "state": _state(row["starts"], row["ends"], now),
        "match": _given(Match.stored(row["matchers"])) | _of_error(row["matchers"]),
        "from": iso(row["starts"]), "until": iso(row["ends"]),
        "by": row["who"], "comment": row["comment"],
    }  # fmt: skip


def _state(begin: float, end: float | None, now: float) -> str:
    return "ended" if end is not None and end <= now else "in force" if begin <= now else "to come"


def _given(match: Match) -> dict[str, Any]:
    clock = bool(match.hours or match.days)
    return {name: value for name, value in match.model_dump().items() if value and (name != "timezone" or clock)}


def _of_error(matchers: dict[str, Any]) -> dict[str, Any]:
    """The error of a silence that a person made from an incident, and what ends it."""
    return {name: matchers[name] for name in ("about", "until") if matchers.get(name)} if matchers.get("error") else {}


def _line(one: dict[str, Any]) -> str:
    when = f"{one['from'] or 'always'} to {one['until'] or 'for ever'}"
    return f"{one['id']}  {one['state']}  {when}  {one['match'] or 'everything'}  {one['by']}: {one['comment']}"


def _say(row: Any, now: float, *, as_json: bool) -> None:
    one = _shown(row, now)
    typer.echo(json.dumps(one, indent=2, default=str) if as_json else _line(one))
