"""``contrail doctor``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from observability.cli.printing import console, table
from observability.doctor import delivery, host, hosts, notifications, scheduling
from observability.doctor.link import Finding, Link, walk
from observability.settings import SettingsError, get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["doctor"]

_COLOURS = {"ok": "green", "broken": "red", "off": "dim", "unknown": "yellow"}
_WORDS = {"off": "not set up", "unknown": "?"}


def doctor(
    *,
    channels: Annotated[bool, typer.Option("--channels", help="Send a test message through every channel.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for machines.")] = False,
) -> None:
    """Check the whole chain, and say what is broken and how to fix it; exit status 1: something is.

    Examples:
      contrail doctor
      contrail doctor --channels                                 send a test message too
      contrail doctor --json
    """
    findings = list(_examine(channels=channels))
    broken = any(finding.state == "broken" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": not broken, "links": [asdict(finding) for finding in findings]}))
    else:
        _show(findings)
    raise typer.Exit(1 if broken else 0)


def _examine(*, channels: bool) -> Iterator[Finding]:
    try:
        settings = get_settings()
    except SettingsError as error:
        yield Finding("config", "broken", str(error), "contrail config template")
        return
    yield Finding("config", "ok", "every option is known and valid")
    yield from walk(_links(channels=channels), settings)


def _links(*, channels: bool) -> list[Link]:
    """The chain; callbacks and logs come after the store, because it shows them."""
    *airflow, callbacks, logs = scheduling.LINKS
    *watching, untested = notifications.LINKS
    return [
        *host.LINKS,
        *airflow,
        *delivery.LINKS,
        *hosts.LINKS,
        callbacks,
        logs,
        *watching,
        notifications.TEST if channels else untested,
    ]


def _show(findings: list[Finding]) -> None:
    shown = table("link", "state", "why", "fix")
    for finding in findings:
        word = _WORDS.get(finding.state, finding.state)
        shown.add_row(finding.link, Text(word, _COLOURS[finding.state]), finding.why, finding.mend)
    console().print(shown)
