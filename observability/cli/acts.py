"""The commands by which a person acts on an incident; the pages and the links of messages do the same."""

from __future__ import annotations

import getpass
import json
import socket
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from observability.cli.incident_document import incident_document
from observability.cli.ledger import ledger_transaction
from observability.cli.plain_typer import PlainTyper
from observability.cli.silences import rules_for_people
from observability.errors import ArgumentError
from observability.settings import get_settings
from observability.timestamps import iso
from observability.watch.acting import Asked, acting_engine, inverse, perform
from observability.watch.acts import ACTS
from observability.watch.ledger import acts as rows
from observability.watch.ledger import records
from observability.watch.ledger.pending_events import emit_all
from observability.watch.notify.messages import plain
from observability.watch.rerun import send_to_airflow
from observability.watch.sources.api import AirflowApi

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Incident
    from observability.watch.ledger.acts import ActRow

__all__ = ["app", "history_of", "sentence"]

app = PlainTyper()

_Id = Annotated[str, typer.Argument(help="The incident's id, or how it begins.")]
_By = Annotated[str, typer.Option("--by", help="Who does it.")]
_Json = Annotated[bool, typer.Option("--json", help="For machines.")]
_Note = Annotated[str, typer.Option("--note", help="Why; those who are notified read it.")]
_EMIT_HERE_S = 5.0
"""The watcher emits an event of ours only when we have not done so by then."""


@app.command()
def ack(incident_id: _Id, who: _By = "", as_json: _Json = False) -> None:
    """Take an incident: no reminders and no escalation from here.

    Examples:
      contrail alerts ack 2bfcf846
      contrail alerts ack 2bfcf846 --by ann
    """
    _act("acknowledge", incident_id, who, as_json=as_json)


@app.command()
def unack(incident_id: _Id, who: _By = "", as_json: _Json = False) -> None:
    """Give an incident back: reminders and escalation begin again.

    Examples:
      contrail alerts unack 2bfcf846
    """
    _act("unacknowledge", incident_id, who, as_json=as_json)


@app.command()
def assign(incident_id: _Id, to: str, who: _By = "", as_json: _Json = False) -> None:
    """Name the person who has the incident; an empty name takes it from them.

    Examples:
      contrail alerts assign 2bfcf846 ann
      contrail alerts assign 2bfcf846 ''
    """
    _act("assign", incident_id, who, value=to, as_json=as_json)


@app.command()
def mute(
    incident_id: _Id,
    until: Annotated[str, typer.Option(help="change, success, or a span: 4h, 1d (30d at most).")] = "change",
    note: _Note = "",
    who: _By = "",
    as_json: _Json = False,
) -> None:
    """Silence the error of an incident: until it changes, until the DAG's next success, or for a time.

    Examples:
      contrail alerts mute 2bfcf846                              until the error changes
      contrail alerts mute 2bfcf846 --until success
      contrail alerts mute 2bfcf846 --until 4h --note 'vendor is down'
    """
    _act("silence", incident_id, who, value=until, note=note, as_json=as_json)


@app.command()
def resolve(incident_id: _Id, note: _Note = "", who: _By = "", as_json: _Json = False) -> None:
    """Resolve an incident. Those who were notified of it are notified of the end.

    Examples:
      contrail alerts resolve 2bfcf846 --note 'the file was delivered by hand'
    """
    _act("resolve", incident_id, who, note=note, as_json=as_json)


@app.command()
def reopen(incident_id: _Id, who: _By = "", as_json: _Json = False) -> None:
    """Open an incident again that was resolved too early.

    Examples:
      contrail alerts reopen 2bfcf846
    """
    _act("reopen", incident_id, who, as_json=as_json)


@app.command()
def rerun(incident_id: _Id, who: _By = "", as_json: _Json = False) -> None:
    """Have Airflow clear the failed tasks of the incident's run, and run them again.

    Examples:
      contrail alerts rerun 2bfcf846
    """
    _act("rerun", incident_id, who, as_json=as_json)


@app.command()
def mark(incident_id: _Id, verdict: Literal["useful", "noise", "none"], who: _By = "", as_json: _Json = False) -> None:
    """Say whether it was right to notify people; contrail alerts quality counts it.

    Examples:
      contrail alerts mark 2bfcf846 useful
      contrail alerts mark 2bfcf846 noise
      contrail alerts mark 2bfcf846 none                         take the mark back
    """
    _act("unmark" if verdict == "none" else verdict, incident_id, who, as_json=as_json)


@app.command()
def undo(
    incident_id: _Id,
    act: Annotated[int, typer.Argument(help="The number of the act; 0: the last one.")] = 0,
    who: _By = "",
    as_json: _Json = False,
) -> None:
    """Take back what was done about an incident; contrail alerts show numbers the acts.

    Examples:
      contrail alerts undo 2bfcf846                              the last act
      contrail alerts undo 2bfcf846 3
    """
    with ledger_transaction() as connection:
        one = _found(connection, incident_id)
        number = act or max((row.id for row in rows.of_incident(connection, one.id) if _is_open(row)), default=0)
        name, value = inverse(connection, one, number)
    _act(name, incident_id, who, value=value, undoes=number, as_json=as_json)


def history_of(incident: Incident) -> list[dict[str, Any]]:
    """The acts on an incident, the oldest first, for people and machines."""
    with ledger_transaction() as connection:
        found = rows.of_incident(connection, incident.id)
    return [
        {"id": one.id, "time": iso(one.time), "who": one.who, "act": one.act, "value": one.value, "note": one.note,
         "source": one.source, "address": one.address, "undone_by": one.undone_by}
        for one in found
    ]  # fmt: skip


def sentence(act: str, value: str, who: str) -> str:
    """An act of somebody as one plain line."""
    return plain(f"{who} {ACTS[act].done.format(value=value or 'nobody')}") if act in ACTS else plain(f"{who}: {act}")


def _act(  # noqa: PLR0913 - an act has that many parts
    name: str, incident_id: str, who: str, *, value: str = "", note: str = "", undoes: int = 0, as_json: bool
) -> None:
    settings, now = get_settings(), time.time()
    engine = acting_engine(settings, rules_for_people(), emit_after_s=_EMIT_HERE_S)
    if name in {"rerun", "stop"}:
        with ledger_transaction() as connection:
            one = _found(connection, incident_id)
        value = _in_airflow(name, one)
    asked = Asked(
        act=name, who=who or getpass.getuser(), source="cli", address=socket.gethostname(), value=value, note=note
    )
    with ledger_transaction() as connection:
        one = _found(connection, incident_id)
        number = perform(engine, connection, one, asked, now)
        if undoes:
            rows.mark_undone(connection, undoes, number)
        one = records.incident(connection, one.id) or one
    emit_all(ledger_transaction, {event.id: event for event in engine.take_events()})
    if as_json:
        said = {**incident_document(one), "act": name, "act_id": number, "value": value}
        typer.echo(json.dumps(said, indent=2, default=str))
    elif name in {"acknowledge", "unacknowledge", "resolve", "reopen"}:
        typer.echo(f"{one.id[:8]} is {one.state}")
    else:
        typer.echo(f"{one.id[:8]}: {sentence(name, value, asked.who)}")


def _in_airflow(name: str, one: Incident) -> str:
    settings = get_settings()
    if not one.dag_id or not one.run_id:
        raise ArgumentError(f"incident {one.id[:8]} is about no run that Airflow could run again")
    api = AirflowApi(settings.api_url)
    try:
        return send_to_airflow(api.change, name, one)
    finally:
        api.close()


def _is_open(row: ActRow) -> bool:
    return row.undone_by is None and bool(ACTS[row.act].undo)


def _found(connection: Connection, incident_id: str) -> Incident:
    one = records.incident(connection, incident_id)
    if one is None:
        raise ArgumentError(f"no incident, or more than one, begins with {incident_id!r}; see contrail alerts list")
    return one
