"""Read and check the rules of ``alerts.yaml``, and route incidents by them.

A file that is wrong is refused as a whole; the error names file, line and key, and the rules in force stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from observability.watch.incidents import Policy
from observability.watch.rules import lint
from observability.watch.rules.calendars import days_off
from observability.watch.rules.deadline import CONDITIONS, Deadline
from observability.watch.rules.matching import Match, matches
from observability.watch.rules.model import (
    AlertingConfig,
    ChannelSpec,
    Proof,
    Receiver,
    Route,
    Thresholds,
    Timing,
    Window,
    with_calendar,
)
from observability.watch.rules.text import RulesError, RulesText
from observability.watch.rules.values import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    from observability.watch.incidents import Incident

__all__ = [
    "CONDITIONS",
    "AlertingConfig",
    "ChannelSpec",
    "Deadline",
    "Decision",
    "Match",
    "Proof",
    "Receiver",
    "Route",
    "RulesError",
    "Thresholds",
    "Timing",
    "Window",
    "decide",
    "json_schema",
    "load_rules",
    "matches",
    "parse_duration",
    "parse_rules",
    "policy_for",
    "read_rules",
    "route_wait",
    "with_calendar",
]

_MOST_SAID = 100
"""Mistakes that are named one by one: to find the place of each takes time."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The receivers and channels of an incident, and why; ``why`` is one sentence per rule looked at."""

    receivers: tuple[str, ...]
    channels: tuple[str, ...]
    severity: str
    why: tuple[str, ...]


def load_rules(path: Path) -> AlertingConfig:
    """The rules in ``path``. Raises :class:`RulesError`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RulesError(f"{path}: {error}") from error
    return read_rules(raw, str(path), path.parent)[0]


def parse_rules(text: str, source: str) -> AlertingConfig:
    """The rules in ``text``. Raises :class:`RulesError` with a line per mistake."""
    return read_rules(text, source)[0]


def read_rules(
    text: str | bytes, source: str, folder: Path | None = None, kept: Mapping[str, frozenset[date]] | None = None
) -> tuple[AlertingConfig, list[str]]:
    """The rules in ``text``, and a line for each that does nothing as things are. Raises :class:`RulesError`.

    Calendars are read from ``folder``, unless ``kept`` has their days.
    """
    read = RulesText(text, source)
    try:
        rules = AlertingConfig.model_validate(read.values)
    except ValidationError as error:
        every = error.errors()
        more = [f"{source}: and {len(every) - _MOST_SAID} more mistakes"] if len(every) > _MOST_SAID else []
        said = [read.mistake(one["loc"], _said(one)) for one in every[:_MOST_SAID]]
        raise RulesError("\n".join(said + more)) from error
    if found := [read.mistake(where, said) for where, said in lint.mistakes(rules)]:
        raise RulesError("\n".join(found))
    days: dict[str, frozenset[date]] = {}
    for name, file in rules.calendars.items():
        try:
            days[name] = kept[name] if kept and name in kept else days_off(file, folder)
        except RulesError as error:
            raise RulesError(read.mistake(("calendars", name), str(error))) from error
    rules = rules.with_days_off(days)
    return rules, [read.mistake(where, said) for where, said in lint.remarks(rules)]


def _said(error: Any) -> str:
    return "no such key" if error["type"] == "extra_forbidden" else str(error["msg"]).removeprefix("Value error, ")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``alerts.yaml``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **AlertingConfig.model_json_schema(mode="validation"),
    }


def decide(rules: AlertingConfig, incident: Incident, now: float, level: int = 0) -> Decision:
    """The receivers of ``incident`` at this level of escalation; without a match the first receiver."""
    receivers: list[str] = []
    why: list[str] = []
    severity = incident.severity
    for number, route in enumerate(rules.routes, 1):
        if reason := matches(route.match, incident, now):
            why.append(f"route {number} ({route.receiver}): {reason}")
            continue
        receivers.append(route.receiver)
        severity = route.severity or severity
        why.append(f"route {number} ({route.receiver}): matches")
        if not route.proceed:
            break
    if not receivers:
        receivers = [next(iter(rules.receivers))]
        why.append(f"no route matches: the first receiver, {receivers[0]}, hears of it")
    for step in range(level):
        further = [e.receiver for name in receivers for e in rules.receivers[name].escalate[step : step + 1]]
        receivers += [name for name in further if name not in receivers]
    channels = dict.fromkeys(channel for name in receivers for channel in rules.receivers[name].channels)
    return Decision(tuple(dict.fromkeys(receivers)), tuple(channels), severity, tuple(why))


def route_wait(rules: AlertingConfig, incident: Incident, now: float) -> float:
    """Seconds that an incident must last before anybody is notified of it: those of the first route that matches."""
    return next((route.wait for route in rules.routes if matches(route.match, incident, now) is None), 0.0)


def policy_for(rules: AlertingConfig, incident: Incident | None, now: float) -> Policy:
    """The waits that hold for ``incident``."""
    timing = rules.timing
    steps: tuple[float, ...] = ()
    if incident is not None:
        names = decide(rules, incident, now).receivers
        steps = tuple(sorted(step.after for name in names for step in rules.receivers[name].escalate))
    return Policy(
        group_wait_s=timing.group_wait,
        evidence_wait_s=timing.evidence_wait,
        fold_wait_s=timing.fold_wait,
        suspect_wait_s=timing.suspect_wait,
        remind_every_s=timing.remind_every,
        remind_acknowledged_s=timing.remind_acknowledged,
        settle_s=timing.settle,
        escalate_after=steps,
    )
