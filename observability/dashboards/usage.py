"""The panels by the event, metric and field that they use, and a check that every such name exists."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from observability import catalog
from observability.dashboards.boards import BOARDS, SAVED
from observability.dashboards.cloudwatch.alarms import BANDS, GROUPS
from observability.dashboards.kibana.rules import rule_problems
from observability.dashboards.panels import fields_of, signals_of
from observability.dashboards.signals import problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.dashboards.panels import Board, Panel
    from observability.dashboards.signals import Signal

__all__ = ["events_used", "fields_used", "metrics_used", "unknown_names"]

Users = dict[str, list[str]]


def metrics_used() -> Users:
    """Metric → titles of the panels that draw it, in Kibana or in CloudWatch."""
    users: defaultdict[str, list[str]] = defaultdict(list)
    for title, panel in _panels():
        for signal in _asked(panel):
            if signal.metric and title not in users[signal.metric]:
                users[signal.metric].append(title)
    return dict(users)


def events_used() -> Users:
    """Event → titles of the panels that count it."""
    users: defaultdict[str, list[str]] = defaultdict(list)
    for title, panel in _panels():
        for action in dict.fromkeys(action for signal in signals_of(panel) for action in signal.actions):
            users[action].append(title)
    return dict(users)


def fields_used() -> Users:
    """Field → titles of the panels that filter by it, split by it or add it up."""
    users: defaultdict[str, list[str]] = defaultdict(list)
    for title, panel in _panels():
        for field in sorted(fields_of(panel)):
            users[field].append(title)
    return dict(users)


def unknown_names() -> list[str]:
    """Every name in boards, searches, rules and bands that the catalogue does not have, one sentence each."""
    return [*_in_boards(), *_in_rules()]


def _in_boards() -> Iterator[str]:
    keys = {board.key for board in BOARDS}
    for title, panel in _panels():
        named = [*panel.by, *(field for signal in _asked(panel) for field, _ in signal.where)]
        yield from (f"{title}: {problem}" for signal in _asked(panel) for problem in problems(signal))
        yield from (
            f"{title}: field {field!r} is not in the catalogue" for field in named if field not in catalog.FIELDS
        )
        if panel.opens and panel.opens not in keys:
            yield f"{title}: opens {panel.opens!r}, which is no board"
        yield from _carried(title, panel)
        for name in panel.quiet.filled_by if panel.quiet else ():
            if name not in catalog.EVENTS and name not in catalog.METRICS and name not in catalog.AIRFLOW_METRICS:
                yield f"{title}: is filled by {name!r}, which is neither event nor metric"
    for board in BOARDS:
        yield from (
            f"{board.title}: control on {one.field!r}" for one in board.controls if one.field not in catalog.FIELDS
        )
    for saved in SAVED:
        yield from (f"search {saved.title}: column {name!r}" for name in saved.columns if name not in catalog.FIELDS)


def _carried(title: str, panel: Panel) -> Iterator[str]:
    """A click carries every value of the panel's split along: the board that it opens must know them all."""
    target = next((board for board in BOARDS if board.key == panel.opens), None)
    known = {control.field for control in target.controls} if target else set(panel.by)
    for field in panel.by:
        if field not in known:
            yield f"{title}: a click carries {field!r} to board {panel.opens!r}, which has no list of it"


def _in_rules() -> Iterator[str]:
    grouped = [member for _, members in GROUPS.values() for member in members]
    for key, rule in catalog.MONITORS.items():
        yield from rule_problems(key, rule)
        if grouped.count(key) != 1:
            yield f"rule {key} is in {grouped.count(key)} composite alarms, not in one"
        tags = tuple(tag for tag, _ in rule.where)
        if rule.metric in catalog.DIMENSIONS and ("env", *tags) not in catalog.DIMENSIONS[rule.metric]:
            yield f"rule {key}: CloudWatch does not get {rule.metric} by {', '.join(('env', *tags))}"
    for key, band in BANDS.items():
        if band.metric not in catalog.DIMENSIONS:
            yield f"band {key}: metric {band.metric!r} is not sent to CloudWatch"


def _panels() -> Iterator[tuple[str, Panel]]:
    for board in BOARDS:
        yield from ((_title(board, panel), panel) for panel in board.panels)


def _title(board: Board, panel: Panel) -> str:
    return f"{board.title.removeprefix('Contrail: ')} / {panel.title}"


def _asked(panel: Panel) -> tuple[Signal, ...]:
    """The signals of a panel, and the metrics that stand for them in CloudWatch."""
    signals = signals_of(panel)
    return (*signals, *(signal.series for signal in signals if signal.series))
