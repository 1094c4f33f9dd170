"""Signals as CloudWatch Logs Insights queries, for what no metric answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from observability.dashboards.panels import signals_of
from observability.dashboards.signals import Conditions, Question, Ratio, Signal, conditions, measure

if TYPE_CHECKING:
    from observability.dashboards.panels import Panel, Saved

__all__ = ["panel_query", "saved_query"]

_BIN = "1h"
_FUNCTIONS = {
    "sum": "sum({})",
    "average": "avg({})",
    "max": "max({})",
    "min": "min({})",
    "median": "pct({}, 50)",
    "p95": "pct({}, 95)",
    "p5": "pct({}, 5)",
    "unique": "count_distinct({})",
    "last": "latest({})",
}
_EVENT_PAGE = "`airflow.run_path`"
_LINE_PAGE = '"dags/", `airflow.dag_id`, "/runs/", `airflow.run_id`, "/tasks/", `airflow.task_id`'
_OVER_TIME = {"line", "area", "bars", "heatmap"}


def panel_query(panel: Panel, groups: tuple[str, ...]) -> str:
    """One query for a whole panel; a question about an earlier time is left out, as Insights cannot shift."""
    asked = [question for question in panel.questions if isinstance(question, Ratio) or not question.shift]
    split = [f"bin({_BIN})"] if panel.kind in _OVER_TIME else []
    split += [_quoted(field) for field in panel.by]
    names = [re.sub(r"[^a-z0-9]+", "_", question.title.lower()).strip("_") for question in asked]
    stats = ", ".join(f"{_stat(question, panel)} as {name}" for question, name in zip(asked, names, strict=True))
    by = f" by {', '.join(split)}" if split else ""
    tail = (
        []
        if panel.kind in _OVER_TIME or not panel.by
        else [f"sort {names[panel.sort]} {'asc' if panel.rising else 'desc'}", "limit 50"]
    )
    return _lines(groups, [_filter(panel), f"stats {stats}{by}", *tail])


def saved_query(saved: Saved, airflow_url: str, groups: tuple[str, ...] = ()) -> str:
    """The newest lines of a saved search: its columns, and the address of their page in the Airflow UI."""
    page = _LINE_PAGE if saved.source == "logs" else _EVENT_PAGE
    columns = [_quoted(column) for column in saved.columns if column != "airflow.run_path"]
    shown = ", ".join(["@timestamp", *columns, f'concat("{airflow_url}/", {page}) as airflow'])
    steps = [f"fields {shown}", _having(saved.where), "sort @timestamp desc", "limit 200"]
    return _lines(groups, steps)


def _lines(groups: tuple[str, ...], steps: list[str]) -> str:
    sources = [f"SOURCE '{group}'" for group in groups]
    return "\n| ".join([*sources, *(step for step in steps if step)])


def _quoted(field: str) -> str:
    return f"`{field}`" if "." in field else field


def _filter(panel: Panel) -> str:
    wanted = list(dict.fromkeys(conditions(signal) for signal in signals_of(panel)))
    if len(wanted) == 1:
        return _having(wanted[0])
    text = " or ".join(f"({_all(one)})" for one in wanted)
    return _having((), text)


def _having(wanted: Conditions, text: str = "") -> str:
    parts = [f"({text})"] if text else [_all(wanted)] if wanted else []
    return f"filter {' and '.join(parts)}" if parts else ""


def _all(wanted: Conditions) -> str:
    return " and ".join(
        f"{_quoted(field)} in [{', '.join(_text(value) for value in values)}]" for field, values in wanted
    )


def _text(value: str) -> str:
    return f'"{value}"'


def _stat(question: Question, panel: Panel) -> str:
    if isinstance(question, Ratio):
        return f"{_matching(question.top)} / {_matching(question.bottom)}"
    aggregate, field = measure(question)
    several = len({conditions(signal) for signal in signals_of(panel)}) > 1
    if aggregate == "count":
        return _matching(question) if several else "count(*)"
    return _FUNCTIONS[aggregate].format(_quoted(field))


def _matching(signal: Signal) -> str:
    """Count the lines of the signal's kinds, where the query's filter lets others through too."""
    return f"sum({' + '.join(f'strcontains(`event.action`, {_text(action)})' for action in signal.actions)})"
