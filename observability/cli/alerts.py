"""``contrail alerts``: what is wrong, who was notified, who would be, and taking it."""

from __future__ import annotations

import getpass
import json
import time
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sqlalchemy import func, select

from observability.catalog import CAUSE_LABELS
from observability.cli import acts, backtest, history, quality, replay, silences
from observability.cli.incident_document import incident_document, links
from observability.cli.ledger import ledger_transaction
from observability.cli.plain_typer import PlainTyper
from observability.cli.printing import console, table
from observability.cli.silences import rules_for_people
from observability.cli.time_arguments import lasting, moment_of
from observability.errors import ArgumentError
from observability.settings import get_settings
from observability.timestamps import iso
from observability.watch.heartbeat import canary_message, read_heartbeat
from observability.watch.incidents import Incident, Kind, Notice
from observability.watch.ledger import records, schema
from observability.watch.ledger.database import read_cursor
from observability.watch.notify.messages import Message, compose, plain
from observability.watch.notify.notifier import enqueue
from observability.watch.notify.render import text
from observability.watch.rules.config import decide, json_schema
from observability.watch.rules.first_route import named_address
from observability.watch.rules.lint import unknown_dags
from observability.watch.rules.loader import RulesFile, find_rules, open_rules

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.settings import Settings

__all__ = ["app", "moment_of"]

app = PlainTyper(no_args_is_help=True, help="Incidents, silences, routes and what was sent.")
app.add_typer(silences.app)
app.add_typer(acts.app)
app.add_typer(quality.app)
app.add_typer(history.app)
app.add_typer(backtest.app)
app.add_typer(replay.app)

_Json = Annotated[bool, typer.Option("--json", help="For machines.")]
_TELLING = ("sent",)


def _built_in(settings: Settings) -> str:
    """The words for rules that stand in no file."""
    if settings.watch.alerts_to:
        return f"[watch] alerts_to {settings.watch.alerts_to}"
    return named_address(settings) or "built in"


@app.command("list")
def list_incidents(
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones as well.")] = False,
    since: Annotated[str, typer.Option(help="Seen since: 2h, 1d or a time.")] = "7d",
    as_json: _Json = False,
) -> None:
    """Show the incidents, the newest first.

    Examples:
      contrail alerts list                                       what is open
      contrail alerts list --all --since 2h --json
    """
    states = () if everything else ("open", "acknowledged")
    with ledger_transaction() as connection:
        found = records.incidents(connection, since=moment_of(since, time.time()) if everything else 0.0, states=states)
    if as_json:
        _print_json([incident_document(one) for one in found if one.state != "suspected"])
        return
    shown = table("id", "state", "severity", "what", "cause", "count", "last seen", "owner")
    for one in found:
        shown.add_row(
            one.id[:8], one.state, one.severity, _what(one), CAUSE_LABELS.get(one.cause, one.cause),
            str(one.count), _ago(one.last_seen), plain(one.about.get("owner") or ""),
        )  # fmt: skip
    console().print(shown if found else "Nothing is wrong.")


@app.command()
def show(incident_id: str, as_json: _Json = False) -> None:
    """Show one incident: its evidence, who was notified, and why a notice is held back.

    Examples:
      contrail alerts show 2bfcf846
      contrail alerts show 2bfcf846 --json
    """
    with ledger_transaction() as connection:
        one = _found(connection, incident_id)
        notifications = _sent(
            connection, 0.0, incident_id=one.id, states=("sent", "pending", "sending", "dead", "held", "merged")
        )
    document = {
        **incident_document(one),
        "evidence": dict(one.evidence),
        "notifications": notifications,
        "acts": acts.history_of(one),
    }
    if as_json:
        _print_json(document)
        return
    typer.echo(_shown(one, notifications), nl=False)


@app.command()
def sent(
    since: Annotated[str, typer.Option(help="2h, 1d or a time.")] = "1d",
    every_state: Annotated[
        bool, typer.Option("--all", help="Also what waits, was merged into a digest, or is dead.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Show each notification that a person got.

    Examples:
      contrail alerts sent
      contrail alerts sent --since 2h --all                      also what waits or was refused
    """
    states = ("sent", "pending", "sending", "dead", "held", "merged", "suppressed") if every_state else _TELLING
    with ledger_transaction() as connection:
        found = _sent(connection, moment_of(since, time.time()), states=states)
    if as_json:
        _print_json(found)
        return
    shown = table("time", "channel", "kind", "severity", "title", "state")
    for one in found:
        shown.add_row(one["time"], one["channel"], one["kind"], one["severity"], one["title"], one["state"])
    console().print(shown if found else "Nothing was sent.")


@app.command("test")
def send_test(
    channel: Annotated[str, typer.Option(help="Only this channel; else every one that the rules use.")] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for the delivery.")] = 30.0,
    as_json: _Json = False,
) -> None:
    """Send a test through the whole path and wait until it has arrived.

    Examples:
      contrail alerts test
      contrail alerts test --channel slack --wait 60
    """
    settings, now = get_settings(), time.time()
    rules = rules_for_people()
    used = dict.fromkeys(name for one in rules.receivers.values() for name in one.channels)
    names = [channel] if channel else list(used)
    if channel and channel not in rules.channels:
        raise ArgumentError(f"no channel is called {channel!r}; known are {', '.join(rules.channels)}")
    with ledger_transaction() as connection:
        message = canary_message(f"test:{now:.3f}", settings.core.environment, now, f"{getpass.getuser()} sent a test")
        rows = [enqueue(connection, name, message, now) for name in names]
    results = _await(rows, wait)
    if as_json:
        _print_json(results)
    else:
        for one in results:
            typer.echo(f"{one['channel']}: {one['state']}{': ' + one['error'] if one['error'] else ''}")
    if any(one["state"] != "sent" for one in results):
        typer.echo("Not everything has arrived. Is the watcher running? See contrail status.", err=True)
        raise typer.Exit(1)


@app.command()
def explain(  # noqa: PLR0913 - a command has that many options
    dag: str,
    *,
    cause: Annotated[str, typer.Option(help="Only this cause.")] = "app",
    task: Annotated[str, typer.Option(help="A task of it.")] = "",
    owner: Annotated[str, typer.Option(help="Its owner; else what the ledger knows.")] = "",
    severity: Annotated[str, typer.Option(help="info, warning, error or critical.")] = "error",
    as_json: _Json = False,
) -> None:
    """Say who would hear of a failure of this DAG, and why.

    Examples:
      contrail alerts explain flights_daily
      contrail alerts explain flights_daily --cause oom --severity critical
    """
    settings, now = get_settings(), time.time()
    rules = rules_for_people()
    about = {"env": settings.core.environment, **_known(dag)}
    about |= {"owner": owner} if owner else {}
    one = Incident(
        id="", key="", state="open", kind="task", severity=severity, cause=cause, reason="", certainty=3,
        first_seen=now, last_seen=now, dag_id=dag, task_id=task or None, about=about,
    )  # fmt: skip
    decision = decide(rules, one, now)
    steps: list[dict[str, Any]] = [
        {"after_s": step.after, "receiver": step.receiver}
        for name in decision.receivers
        for step in rules.receivers[name].escalate
    ]
    said = {
        "dag_id": dag, "cause": cause, "owner": about.get("owner"), "severity": decision.severity,
        "receivers": list(decision.receivers), "channels": list(decision.channels), "escalation": steps,
        "why": list(decision.why), "rules": str(find_rules(settings) or _built_in(settings)),
    }  # fmt: skip
    if as_json:
        _print_json(said)
        return
    about_it = f"{CAUSE_LABELS.get(cause, cause)}, owner {about.get('owner') or 'unknown'}"
    typer.echo(f"{dag} ({about_it}) → {', '.join(decision.channels)}")
    for line in decision.why:
        typer.echo(f"  {line}")
    for step in steps:
        typer.echo(f"  not acknowledged after {lasting(step['after_s'])}: {step['receiver']} hears of it")


@app.command()
def check(path: Annotated[Path | None, typer.Argument(help="A rules file; else the one in force.")] = None) -> None:
    """Check the rules; each mistake names file, line and key.

    Examples:
      contrail alerts check                                      the rules in force
      contrail alerts check new-alerts.yaml
    """
    found = RulesFile(path) if path else open_rules(get_settings())
    counted = f"{len(found.rules.routes)} routes, {len(found.rules.deadlines)} deadlines"
    typer.echo(f"{found.path or _built_in(get_settings())}: {counted}, no mistakes")
    for remark in found.remarks:
        typer.echo(f"does nothing as it is: {remark}")
    if read_heartbeat(get_settings().home) is not None and (dags := _scene_dags()):  # a watcher has run here
        for place, said in unknown_dags(found.rules, dags):
            typer.echo(f"does nothing as it is: {'.'.join(map(str, place))} {said}")


@app.command("schema")
def schema_json() -> None:
    """Print the JSON Schema of alerts.yaml.

    Examples:
      contrail alerts schema > alerts.schema.json
    """
    typer.echo(json.dumps(json_schema(), indent=2))


def _sent(
    connection: Connection, since: float, *, states: tuple[str, ...], incident_id: str = ""
) -> list[dict[str, Any]]:
    table = schema.outbox
    when = func.coalesce(table.c.sent, table.c.created)  # what waited is told of when it arrived
    asked = select(table).where(when >= since, table.c.state.in_(states)).order_by(when, table.c.id)
    if incident_id:
        asked = asked.where(table.c.incident_id == incident_id)
    return [_notification(row) for row in connection.execute(asked).mappings()]


def _notification(row: Any) -> dict[str, Any]:
    message = Message.from_json(row["message"])
    return {
        "dag_id": message.dag_id,
        "task_id": message.task_id,
        "run_id": message.run_id,
        "map_index": message.map_index,
        "iteration": message.iteration,
        "kind": message.kind,
        "cause": message.cause,
        "severity": message.severity,
        "channel": row["channel"],
        "time": iso(row["sent"] or row["created"]),
        "title": message.title,
        "summary": message.summary,
        "count": message.count,
        "state": row["state"],
        "attempts": row["attempts"],
        "error": row["error"],
        "incident_id": message.incident_id,
        "incident_key": message.incident_key,
        "incidents": [dict(one) for one in message.incidents],
        "seen_to_sent_s": round(row["sent"] - row["fact_time"], 3) if row["sent"] and row["fact_time"] else None,
    }


def _shown(one: Incident, notifications: list[dict[str, Any]]) -> str:
    """The incident for a person: what its message says, where it stands, and who was notified of what."""
    kind: Kind = "resolved" if one.state == "resolved" else "opened"
    message = compose(Notice(kind, one), links(), get_settings().core.environment)
    held = (
        [f"{'Held back' if one.notified else 'Not notified yet'}: {plain(one.inhibited_by)}"]
        if one.inhibited_by
        else []
    )
    state = f"{one.state}, seen {one.count} time{'s' if one.count != 1 else ''}, last {_ago(one.last_seen)}"
    sent = [f"  {row['time']}  {row['channel']}  {row['kind']}  {row['state']}" for row in notifications]
    done = [
        f"  {row['id']}  {row['time']}  {acts.sentence(row['act'], row['value'], row['who'])}"
        for row in acts.history_of(one)
    ]
    lines = [text(message).rstrip(), "", f"State: {state}", *held, *(["", "Who was notified:", *sent] if sent else [])]
    lines += ["", "What was done:", *done] if done else []
    return "\n".join(lines) + "\n"


def _known(dag_id: str) -> dict[str, Any]:
    """The owner and tags of a DAG in the ledger, as the watcher saw them last."""
    found = _scene_dags().get(dag_id, {})
    return {name: found[name] for name in ("owner", "tags") if found.get(name)}


def _scene_dags() -> dict[str, dict[str, Any]]:
    """By DAG what the watcher saw of it last."""
    with ledger_transaction() as connection:
        found: dict[str, dict[str, Any]] = (read_cursor(connection, "reconcile") or {}).get("dags", {})
    return found


def _await(rows: list[int], wait: float) -> list[dict[str, Any]]:
    table, until = schema.outbox, time.monotonic() + wait
    while True:
        with ledger_transaction() as connection:
            asked = select(table.c.channel, table.c.state, table.c.error, table.c.sent, table.c.created)
            found = connection.execute(asked.where(table.c.id.in_(rows)).order_by(table.c.id)).all()
        done = all(row[1] in {"sent", "dead", "merged"} for row in found)
        if done or time.monotonic() >= until:
            return [
                {
                    "channel": row[0],
                    "state": row[1],
                    "error": row[2],
                    "seconds": round(row[3] - row[4], 3) if row[3] else None,
                }
                for row in found
            ]
        time.sleep(0.1)


def _found(connection: Connection, incident_id: str) -> Incident:
    one = records.incident(connection, incident_id)
    if one is None:
        raise ArgumentError(f"no incident, or more than one, begins with {incident_id!r}; see contrail alerts list")
    return one


def _what(one: Incident) -> str:
    where = ".".join(part for part in (one.dag_id, one.task_id) if part) or one.subject
    return plain(f"{where} ({one.subject})" if one.kind == "deadline" and one.dag_id else where)


def _ago(moment: float) -> str:
    return f"{lasting(time.time() - moment)} ago"


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


if __name__ == "__main__":
    app()
