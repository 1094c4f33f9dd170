"""Ask a panel's questions of the store, and put them together as numbers, rows, lines or cells."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from observability.store import Query

if TYPE_CHECKING:
    from observability.airflow.ui.boards.view import View
    from observability.store import Readable
    from observability.store.questions import Key

__all__ = ["Line", "Shown", "shown"]

Answer: TypeAlias = "dict[Key, Any]"
"""A value for each combination of fields and stretch of time."""

_METRICS = "airflow.statsd"
_ANY: dict[str, Any] = {"where": {}, "aggregate": "count"}
_YOUNG, _MARGIN, _LEAST_HOURS = 0.5, 1.1, 0.25
"""A chart that is empty for more than half of its time begins shortly before its first value."""
_STEPS_S = (60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400)
_STRETCHES = 60
_LINES = 50
_HEAT_ROWS = 20
_WEEK_S = 7 * 86_400
_ADDITIVE = {"count", "sum"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line, area or stack of bars: a value, or none, for each stretch of time."""

    label: str
    values: list[float | None]
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel with its answer: one of ``value``, ``rows``, ``lines`` or ``documents``; all empty: nothing to show.

    ``unmeasured``: it is about metrics, and the store has none of this time that the reader may see.
    """

    panel: dict[str, Any]
    value: Any = None
    rows: list[tuple[tuple[str, ...], list[Any]]] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0
    unmeasured: bool = False

    @property
    def empty(self) -> bool:
        """True if there is nothing to show."""
        return self.value is None and not (self.rows or self.lines or self.documents)


def shown(store: Readable, view: View, panel: dict[str, Any]) -> Shown:
    """The panel as ``view`` shows it. Raises ``StoreError``."""
    drawn = _DRAW[panel["kind"]](store, view, panel)
    if drawn.empty and panel["datasets"] == [_METRICS]:
        return replace(drawn, unmeasured=not store.table(view.ask({"datasets": [_METRICS], "alone": True}, [_ANY])))
    return drawn


def _number(store: Readable, view: View, panel: dict[str, Any]) -> Shown:
    (question,), (answer,) = panel["questions"], _answers(store, view, panel)
    value = answer.get(())
    if value is None and question.get("aggregate") == "count":
        value = 0
    return Shown(panel, value=value)


def _rows(store: Readable, view: View, panel: dict[str, Any]) -> Shown:
    tables = _answers(store, view, panel)
    order = tables[panel["sort"]]
    keys = sorted({key for table in tables for key in table})
    keys.sort(key=lambda key: _rank(order.get(key)), reverse=not panel["rising"])
    kept = _top(keys, order, panel)
    rows = [(key, [table.get(key) for table in tables]) for key in kept]
    return Shown(panel, rows=rows, left_out=len(keys) - len(kept))


def _over_time(store: Readable, view: View, panel: dict[str, Any]) -> Shown:
    """Lines over the time shown; where only its last part holds anything, that part alone, in finer steps."""
    drawn = _lines(store, view, panel)
    filled = 0 if panel["kind"] != "line" else None  # what _lines gives where nothing is: a gauge's zero is a value
    begun = next(
        (
            time
            for index, time in enumerate(drawn.times)
            if any(line.values[index] not in (filled, None) for line in drawn.lines)
        ),
        None,
    )
    if begun is None:
        return drawn
    hours = max(_LEAST_HOURS, (view.now.timestamp() - begun) / 3600 * _MARGIN)
    return _lines(store, replace(view, hours=hours), panel) if hours < view.hours * _YOUNG else drawn


def _lines(store: Readable, view: View, panel: dict[str, Any]) -> Shown:
    step = next((step for step in _STEPS_S if view.hours * 3600 / step <= _STRETCHES), _STEPS_S[-1])
    end = int(view.now.timestamp()) // step * step
    start = int(view.now.timestamp() - view.hours * 3600) // step * step
    times = list(range(start, end + 1, step))
    lines: list[Line] = []
    left_out = 0
    for question, table in zip(panel["questions"], _answers(store, view, panel, bucket_s=step), strict=True):
        found = _split(table)
        kept = sorted(found, key=lambda name: (-_weight(found[name], question), name))[: panel["top"]]
        left_out += len(found) - len(kept)
        nothing = 0 if question.get("aggregate") in _ADDITIVE and panel["kind"] != "line" else None
        lines += [
            Line(
                _label(question["title"], name, alone=len(panel["questions"]) == 1),
                [found[name].get(time, nothing) for time in times],
                panel["tones"].get(name[0], "") if name else "",
            )
            for name in kept
        ]
    return Shown(panel, times=times, lines=lines, left_out=left_out)


def _heatmap(store: Readable, view: View, panel: dict[str, Any]) -> Shown:
    drawn = _over_time(store, view, panel | {"top": _HEAT_ROWS, "kind": "line"})
    return Shown(panel, times=drawn.times, lines=sorted(drawn.lines, key=lambda line: line.label))


def _search(store: Readable, view: View, panel: dict[str, Any]) -> Shown:
    asked = view.ask(panel, [panel])
    where: dict[str, Any] = dict(asked.where)
    documents: list[dict[str, Any]] = []
    for dataset in asked.datasets:
        own = where if asked.dags is None or "airflow.dag_id" in where else where | {"airflow.dag_id": asked.dags}
        if asked.dags is not None and not set(own["airflow.dag_id"]) <= set(asked.dags):
            continue
        documents += store.documents(Query(dataset, own, asked.since, asked.until, limit=_LINES, newest=True))
    documents.sort(key=lambda document: str(document["@timestamp"]), reverse=True)
    return Shown(panel, documents=documents[:_LINES])


def _answers(store: Readable, view: View, panel: dict[str, Any], *, bucket_s: int = 0) -> list[Answer]:
    """An answer to each question of the panel; what is asked of the same documents is asked at once."""
    parts = [part for question in panel["questions"] for part in _parts(question)]
    groups: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        groups.setdefault(_about(part), []).append(part)
    found: dict[int, Answer] = {}
    for group in groups.values():
        table = store.table(view.ask(panel, group, bucket_s=bucket_s))
        for number, part in enumerate(group):
            found[id(part)] = {key: values[number] for key, values in table.items() if values[number] is not None}
    return [
        _whole(question, [found[id(part)] for part in _parts(question)], bucket_s) for question in panel["questions"]
    ]


def _parts(question: dict[str, Any]) -> list[dict[str, Any]]:
    return [question["top"], question["bottom"]] if "top" in question else [question]


def _about(part: dict[str, Any]) -> str:
    """Equal for parts that one question can answer; the last value stands alone."""
    alone = part["field"] if part["aggregate"] == "last" else ""
    return json.dumps([part["where"], part["shift"], alone])


def _whole(question: dict[str, Any], answers: list[Answer], bucket_s: int) -> Answer:
    if "top" in question:
        top, bottom = answers
        return {key: (top.get(key) or 0) / number for key, number in bottom.items() if number}
    if question["shift"] and bucket_s:
        return {(key[0] + _WEEK_S, *key[1:]): value for key, value in answers[0].items()}
    return answers[0]


def _split(table: Answer) -> dict[tuple[str, ...], dict[int, Any]]:
    found: dict[tuple[str, ...], dict[int, Any]] = {}
    for (time, *name), value in table.items():
        found.setdefault(tuple(name), {})[time] = value
    return found


def _label(title: str, name: tuple[str, ...], *, alone: bool) -> str:
    return title if not name else name[0] if alone else f"{title}: {name[0]}"


def _weight(values: dict[int, Any], question: dict[str, Any]) -> float:
    return float(sum(values.values()) if question.get("aggregate") in _ADDITIVE else max(values.values()))


def _rank(value: Any) -> tuple[int, float, str]:
    """Numbers by size, moments by time; nothing comes last in both directions of interest."""
    if value is None:
        return (0, 0.0, "")
    return (1, float(value), "") if isinstance(value, (int, float)) else (1, 0.0, str(value))


def _top(keys: list[tuple[str, ...]], order: Answer, panel: dict[str, Any]) -> list[tuple[str, ...]]:
    """The keys of the ``top`` values of the first field, and of each as many of the others."""
    inside: dict[str, list[tuple[str, ...]]] = {}
    for key in keys:
        inside.setdefault(key[0], []).append(key)
    if panel["questions"][panel["sort"]].get("aggregate") in _ADDITIVE:
        totals = {first: sum(order.get(key) or 0 for key in found) for first, found in inside.items()}
        firsts = sorted(totals, key=lambda first: -totals[first])
    else:
        firsts = list(inside)
    most = int(panel["top"]) ** (len(panel["by"]) - 1)
    kept = {key for first in firsts[: panel["top"]] for key in inside[first][:most]}
    return [key for key in keys if key in kept]


_DRAW = {
    "number": _number,
    "line": _over_time,
    "area": _over_time,
    "bars": _over_time,
    "ranking": _rows,
    "table": _rows,
    "heatmap": _heatmap,
    "donut": _rows,
    "search": _search,
}
