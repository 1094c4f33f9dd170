"""Rules that are well written and say nothing: what is refused, and what is only remarked on.

A mistake is what can never do what it says: a route that no incident reaches, a glob that no DAG can match, a key
beside a condition that does not look at it. A remark is about what does nothing today: a receiver that no route names.
"""

from __future__ import annotations

from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from observability.watch.rules.model import CHANNEL_KEYS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from observability.watch.rules.matching import Match
    from observability.watch.rules.model import AlertingConfig

    Place = tuple[str | int, ...]

__all__ = ["mistakes", "remarks", "unknown_dags"]

_KEYS: set[str] = set().union(*CHANNEL_KEYS.values())


def mistakes(rules: AlertingConfig) -> Iterator[tuple[Place, str]]:
    """Rules that cannot mean what they say: where, and what to do."""
    yield from _dangling(rules)
    yield from _unreachable(rules)
    yield from _escalations(rules)
    for name, spec in rules.channels.items():
        for key in sorted((spec.model_fields_set & _KEYS).difference(CHANNEL_KEYS.get(spec.type, _KEYS))):
            used = ", ".join(kind for kind, keys in CHANNEL_KEYS.items() if key in keys)
            yield ("channels", name, key), f"a channel of type {spec.type} does not use it; it is for {used}"
    seen: set[str] = set()
    for number, deadline in enumerate(rules.deadlines):
        if deadline.name in seen:
            yield ("deadlines", number, "name"), f"another deadline is called {deadline.name!r}; give each its own name"
        seen.add(deadline.name)
        if deadline.calendar and deadline.calendar not in rules.calendars:
            known = ", ".join(rules.calendars) or "none yet"
            said = f"no calendar is called {deadline.calendar!r}; known calendars are {known}"
            yield ("deadlines", number, "calendar"), said
    for number, window in enumerate(rules.silences):
        if window.match.says_nothing and window.ends is None:
            said = 'it silences everything for ever; give match or ends, or match: {dag: "*"} if that is meant'
            yield ("silences", number), said
        if _has_idle_zone(window.match) and not (window.is_local("starts") or window.is_local("ends")):
            yield ("silences", number, "match", "timezone"), _ZONE_IDLE


_ZONE_IDLE = "it does nothing without hours or days (in a silence: or starts and ends without a zone)"


def remarks(rules: AlertingConfig) -> Iterator[tuple[Place, str]]:
    """Rules that do nothing as things are, and may be meant for later."""
    used = {route.receiver for route in rules.routes} | {rules.proof.canary_receiver}
    used |= {step.receiver for one in rules.receivers.values() for step in one.escalate}
    if not any(route.match.says_nothing for route in rules.routes):
        used.add(next(iter(rules.receivers)))
    for name in rules.receivers:
        if name not in used:
            yield ("receivers", name), "no route, escalation or canary names this receiver"
    receiving = {name for one in rules.receivers.values() for name in (*one.channels, one.fallback)}
    for name in rules.channels:
        if name not in receiving:
            yield ("channels", name), "no receiver uses this channel"
    used_calendars = {one.calendar for one in rules.deadlines}
    for name in rules.calendars:
        if name not in used_calendars:
            yield ("calendars", name), "no deadline here uses this calendar; one that is declared beside its DAG may"
    if rules.routes[-1].proceed:
        yield ("routes", len(rules.routes) - 1, "continue"), "there is no route after this one"


def unknown_dags(rules: AlertingConfig, known: Collection[str]) -> Iterator[tuple[Place, str]]:
    """The DAGs of deadlines that are none of the ``known`` ones, by name or glob: where, and which is meant perhaps."""
    for number, deadline in enumerate(rules.deadlines):
        named: list[tuple[Place, str | None]] = [
            (("deadlines", number, "parts", place, "dag"), part.dag) for place, part in enumerate(deadline.parts)
        ]
        for place, dag in [(("deadlines", number, "dag"), deadline.dag), *named]:
            if dag is not None and not any(fnmatchcase(one, dag) for one in known):
                meant = "".join(f"; is {one!r} meant?" for one in get_close_matches(dag, known, n=1))
                yield place, f"of {deadline.name}: Airflow knows no DAG {dag!r}{meant}"


def _dangling(rules: AlertingConfig) -> Iterator[tuple[Place, str]]:
    """Names that stand for nothing: where, and what is known instead."""
    channels = f"known channels are {', '.join(rules.channels)}"
    receivers = f"known receivers are {', '.join(rules.receivers)}"
    for name, one in rules.receivers.items():
        for number, channel in enumerate(one.channels):
            if channel not in rules.channels:
                yield ("receivers", name, "channels", number), f"no channel is called {channel!r}; {channels}"
        if one.fallback is not None and one.fallback not in rules.channels:
            yield ("receivers", name, "fallback"), f"no channel is called {one.fallback!r}; {channels}"
        for number, step in enumerate(one.escalate):
            if step.receiver not in rules.receivers:
                yield ("receivers", name, "escalate", number), f"no receiver is called {step.receiver!r}; {receivers}"
    for number, route in enumerate(rules.routes):
        if route.receiver not in rules.receivers:
            yield ("routes", number, "receiver"), f"no receiver is called {route.receiver!r}; {receivers}"
    if rules.proof.canary_receiver and rules.proof.canary_receiver not in rules.receivers:
        yield ("proof", "canary_receiver"), f"no receiver is called {rules.proof.canary_receiver!r}; {receivers}"


def _unreachable(rules: AlertingConfig) -> Iterator[tuple[Place, str]]:
    """Routes behind one that takes everything, and zones that no clock is read in."""
    taken = 0
    for number, route in enumerate(rules.routes):
        if taken:
            said = f"no incident gets here: route {taken} takes every one; put it before that, or give that continue"
            yield ("routes", number), f"{said}: true"
        if route.match.says_nothing and not route.proceed:
            taken = taken or number + 1
        if _has_idle_zone(route.match):
            yield ("routes", number, "match", "timezone"), _ZONE_IDLE


def _has_idle_zone(match: Match) -> bool:
    return "timezone" in match.model_fields_set and not (match.hours or match.days)


def _escalations(rules: AlertingConfig) -> Iterator[tuple[Place, str]]:
    for name, one in rules.receivers.items():
        if one.fallback is not None and [one.fallback] == list(dict.fromkeys(one.channels)):
            others = ", ".join(channel for channel in rules.channels if channel != one.fallback) or "none yet"
            said = f"{one.fallback!r} cannot stand in for itself; other channels are {others}"
            yield ("receivers", name, "fallback"), said
        waits = [step.after for step in one.escalate]
        if waits != sorted(waits):
            yield ("receivers", name, "escalate"), "the steps must stand in the order of their times, the soonest first"
