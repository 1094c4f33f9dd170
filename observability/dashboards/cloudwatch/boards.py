"""Boards as CloudWatch dashboards: metrics where there are series, Logs Insights where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability.dashboards.boards import BOARDS, SAVED
from observability.dashboards.cloudwatch.filters import FILTERED_NAMESPACE, FILTERS
from observability.dashboards.cloudwatch.insights import panel_query, saved_query
from observability.dashboards.cloudwatch.series import Series, search, series_of
from observability.dashboards.panels import Panel, source_of
from observability.dashboards.signals import Ratio

if TYPE_CHECKING:
    from observability.dashboards.names import Account
    from observability.dashboards.panels import Board

__all__ = ["dashboards"]

_COLUMNS = 24
_PERIOD_S = 300
_STARTS = {"now-1h": "-PT1H", "now-24h": "-PT24H", "now-7d": "-P7D"}
_METRIC_VIEWS = {"number": "singleValue", "ranking": "bar", "donut": "pie", "table": "table"}
_LOG_VIEWS = {"line": "timeSeries", "area": "timeSeries", "bars": "bar", "donut": "pie", "ranking": "bar"}


def dashboards(account: Account) -> dict[str, dict[str, Any]]:
    """Dashboard bodies by name."""
    return {account.name(board.key): _body(board, account) for board in BOARDS}


def _body(board: Board, account: Account) -> dict[str, Any]:
    widgets = [_links(board, account)]
    bottom = 1
    for row in board.rows:
        text = {"markdown": f"## {row.title}\n{row.text}", "background": "transparent"}
        widgets.append({"type": "text", "x": 0, "y": bottom, "width": _COLUMNS, "height": 2, "properties": text})
        bottom += 2
        x = tallest = 0
        for panel in row.panels:
            width, height = panel.size[0] // 2, max(4, round(panel.size[1] * 0.6))
            if x + width > _COLUMNS:
                x, bottom, tallest = 0, bottom + tallest, 0
            kind, properties = _widget(panel, account)
            widgets.append(
                {"type": kind, "x": x, "y": bottom, "width": width, "height": height, "properties": properties}
            )
            x, tallest = x + width, max(tallest, height)
        bottom += tallest
    if board.key == "logs":
        widgets.append(
            {"type": "metric", "x": 0, "y": bottom, "width": _COLUMNS, "height": 6, "properties": _filtered(account)}
        )
    return {"start": _STARTS[board.since], "periodOverride": "inherit", "widgets": widgets}


def _links(board: Board, account: Account) -> dict[str, Any]:
    address = f"https://console.aws.amazon.com/cloudwatch/home?region={account.region}#dashboards/dashboard/"
    shown = (
        f"**{other.title}**" if other is board else f"[{other.title}]({address}{account.name(other.key)})"
        for other in BOARDS
    )
    text = {"markdown": " | ".join(title.replace("Contrail: ", "") for title in shown), "background": "transparent"}
    return {"type": "text", "x": 0, "y": 0, "width": _COLUMNS, "height": 1, "properties": text}


def _widget(panel: Panel, account: Account) -> tuple[str, dict[str, Any]]:
    if panel.kind == "search":
        saved = next(one for one in SAVED if one.key == panel.saved)
        query = saved_query(saved, account.airflow_url, account.log_groups(saved.source))
        return "log", {"title": panel.title, "region": account.region, "query": query, "view": "table"}
    answers = [series_of(question, panel.by) for question in panel.questions]
    if None not in answers:
        return "metric", _metric(panel, [answer for answer in answers if answer], account)
    query = panel_query(panel, account.log_groups(source_of(panel)))
    view: dict[str, Any] = {
        "title": panel.title,
        "region": account.region,
        "query": query,
        "view": _LOG_VIEWS.get(panel.kind, "table"),
    }
    if panel.kind in {"area", "bars"}:
        view["stacked"] = True
    return "log", view


def _metric(panel: Panel, answers: list[tuple[Series, ...]], account: Account) -> dict[str, Any]:
    metrics: list[list[Any]] = []
    for question, answer in zip(panel.questions, answers, strict=True):
        entries = [
            _entry(series, account, len(metrics) + place, hidden=len(answer) > 1) for place, series in enumerate(answer)
        ]
        metrics += entries
        if isinstance(question, Ratio):
            first, second = (entry[-1]["id"] for entry in entries)
            share = {
                "expression": f"100 * {first} / {second}",
                "label": f"{question.title}, %",
                "id": f"share{len(metrics)}",
            }
            metrics.append([share])
    properties: dict[str, Any] = {
        "title": panel.title,
        "region": account.region,
        "view": _METRIC_VIEWS.get(panel.kind, "timeSeries"),
        "stacked": panel.kind in {"area", "bars"},
        "period": _PERIOD_S,
        "metrics": metrics,
    }
    if panel.kind == "number":
        properties |= {"setPeriodToTimeRange": True, "sparkline": True}
    if panel.line:
        properties["annotations"] = {"horizontal": [{"value": panel.line[0], "label": panel.line[1]}]}
    return properties


def _entry(series: Series, account: Account, number: int, *, hidden: bool) -> list[Any]:
    shown: dict[str, Any] = {"id": f"m{number}", **({"visible": False} if hidden else {})}
    label = f"{series.title}, {series.unit}" if series.unit in {"ms", "s", "bytes"} else series.title
    if series.tag:
        return [{**shown, "expression": search(series, account.namespace, account.environment, _PERIOD_S)}]
    dimensions = [word for tag, value in (("env", account.environment), *series.where) for word in (tag, value)]
    return [account.namespace, series.metric, *dimensions, {**shown, "label": label, "stat": series.statistic}]


def _filtered(account: Account) -> dict[str, Any]:
    namespace = account.namespace + FILTERED_NAMESPACE
    metrics = [[namespace, one.metric, {"label": one.title, "stat": "Sum"}] for one in FILTERS]
    return {
        "title": "Found in the logs by metric filters",
        "region": account.region,
        "view": "timeSeries",
        "period": _PERIOD_S,
        "metrics": metrics,
    }
