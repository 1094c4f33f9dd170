"""Boards as plain data for the pages of our own plugin: each panel with the query that it asks of a store.

``where`` and ``datasets`` are what :class:`observability.store.store.Query` takes. A page then adds up ``field`` by
``aggregate`` for each combination of ``by``.
"""

from __future__ import annotations

from typing import Any

from observability import catalog
from observability.dashboards.boards import BOARDS, SAVED
from observability.dashboards.kibana.colours import tones
from observability.dashboards.labels import LABELS
from observability.dashboards.names import DATA_VIEWS, heading
from observability.dashboards.panels import Board, Panel, source_of
from observability.dashboards.signals import Question, Ratio, Signal, conditions, measure, unit

__all__ = ["boards"]


def boards() -> dict[str, Any]:
    """All boards, as JSON values."""
    return {"version": 1, "boards": [_board(board) for board in BOARDS]}


def _board(board: Board) -> dict[str, Any]:
    return {
        "key": board.key,
        "title": board.title,
        "description": board.description,
        "since": board.since,
        "controls": [{"title": control.title, "field": control.field} for control in board.controls],
        "rows": [
            {"title": row.title, "text": row.text, "panels": [_panel(panel) for panel in row.panels]}
            for row in board.rows
        ],
    }


def _panel(panel: Panel) -> dict[str, Any]:
    shown = {
        "key": panel.key,
        "title": panel.title,
        "kind": panel.kind,
        "width": panel.size[0],
        "height": panel.size[1],
        "quiet": panel.quiet.reason if panel.quiet else "",
        "note": panel.note,
    }
    if panel.kind == "search":
        saved = next(one for one in SAVED if one.key == panel.saved)
        asked = {
            "where": _where(saved.where),
            "columns": list(saved.columns),
            "headings": [heading(column) for column in saved.columns],
            "words": _words(saved.columns),
            "tones": {value: tone for column in saved.columns for value, tone in tones(column).items()},
            "units": [catalog.FIELDS[column].unit or catalog.FIELDS[column].type for column in saved.columns],
        }
        return {**shown, **_source(saved.source), **asked}
    return {
        **shown,
        **_source(source_of(panel)),
        "questions": [_question(question) for question in panel.questions],
        "by": list(panel.by),
        "headings": [heading(field) for field in panel.by],
        "tones": tones(panel.by[-1]) if panel.by else {},
        "words": _words(panel.by),
        "top": panel.top,
        "sort": panel.sort,
        "rising": panel.rising,
        "limits": list(panel.limits or ()),
        "line": list(panel.line or ()),
        "opens": panel.opens,
        "wide_range": panel.wide_range,
        "sparse": panel.sparse,
        "alone": panel.alone,
    }


def _words(fields: tuple[str, ...]) -> dict[str, dict[str, str]]:
    return {field: LABELS[field] for field in fields if field in LABELS}


def _source(source: str) -> dict[str, Any]:
    return {"datasets": list(DATA_VIEWS[source][1])}


def _question(question: Question) -> dict[str, Any]:
    if isinstance(question, Ratio):
        parts = {"top": _signal(question.top), "bottom": _signal(question.bottom)}
        return {"title": question.title, "unit": "percent", **parts}
    return {"title": question.title, "unit": unit(question), **_signal(question)}


def _signal(signal: Signal) -> dict[str, Any]:
    aggregate, field = measure(signal)
    return {"where": _where(conditions(signal)), "aggregate": aggregate, "field": field, "shift": signal.shift}


def _where(wanted: tuple[tuple[str, tuple[str, ...]], ...]) -> dict[str, list[str]]:
    return {field: list(values) for field, values in wanted}
