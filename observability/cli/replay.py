"""``contrail alerts replay``: play the record of a watcher again."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observability.cli.plain_typer import PlainTyper
from observability.cli.printing import console
from observability.timestamps import iso
from observability.watch.replayed import Replayed, Said, replay
from observability.watch.rules.config import load_rules

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["app"]

app = PlainTyper()


@app.command("replay")
def replay_record(
    record: Annotated[Path, typer.Argument(help="The folder that [watch] record names.")],
    rules: Annotated[Path | None, typer.Argument(help="A rules file; else the rules of then.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Play a watcher's record again: whether its messages are the same, byte for byte, and what other rules would send.

    Exit status 1 where a message differs under the rules of then.

    Examples:
      contrail alerts replay /var/lib/contrail/record                    with a new Contrail, the same messages?
      contrail alerts replay /var/lib/contrail/record new-alerts.yaml    what these rules would have sent
    """
    found = replay(record, load_rules(rules) if rules else None)
    if as_json:
        typer.echo(json.dumps(_document(found, other_rules=rules is not None), indent=2))
    elif rules:
        _show_other(found)
    else:
        _show_same(found)
    if not rules and found.differing:
        raise typer.Exit(1)


def _document(found: Replayed, *, other_rules: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"gaps": list(found.gaps), "sent": len(found.sent), "messages": _messages(found.again)}
    if other_rules:
        more, fewer = _apart(found)
        return {**said, "only_new": _messages(more), "only_sent": _messages(fewer)}
    pairs = [{"sent": was and was.message, "replayed": now and now.message} for was, now in found.differing]
    return {**said, "same": found.same, "differing": pairs}


def _messages(those: Iterable[Said]) -> list[dict[str, Any]]:
    return [{"at": iso(one.at, "milliseconds"), "channel": one.channel, "message": one.message} for one in those]


def _show_same(found: Replayed) -> None:
    screen = console()
    screen.print(f"{len(found.sent)} messages were sent; {found.same} are the same byte for byte.")
    for was, now in found.differing:
        if was is None or now is None:
            one, what = (was, "not sent again") if was else (now, "not sent then")
            screen.print(f"{what}: {_line(one)}" if one else "")
            continue
        screen.print(f"differs: {_line(was)}")
        for name in (name for name in was.message if was.message[name] != now.message.get(name)):
            screen.print(f"  {name}: {was.message[name]} → {now.message.get(name)}")
    _show_gaps(found)


def _show_other(found: Replayed) -> None:
    more, fewer = _apart(found)
    screen = console()
    screen.print(f"{len(found.sent)} messages were sent; with these rules {len(found.again)} would have been.")
    for mark, those in (("+", more), ("-", fewer)):
        for one in those:
            screen.print(f"{mark} {_line(one)}")
    _show_gaps(found)


def _show_gaps(found: Replayed) -> None:
    for gap in dict.fromkeys(found.gaps):
        console().print(f"Note: {gap}.")


def _apart(found: Replayed) -> tuple[list[Said], list[Said]]:
    """The messages that only the other rules send, and those that only the watcher did."""
    sent, again = {one.about for one in found.sent}, {one.about for one in found.again}
    return [one for one in found.again if one.about not in sent], [one for one in found.sent if one.about not in again]


def _line(one: Said) -> str:
    return f"{iso(one.at)[:19]}  {one.message['kind']}  {one.message['title']} → {one.channel}"
