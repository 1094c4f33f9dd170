"""Compare what the store, the messages and a run's page say of a DAG with Airflow's API and its own files, as sets."""

from __future__ import annotations

import html
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from benchmarks.versions_airflow import Versioned

__all__ = ["COMPARED", "Row", "compare", "settle"]

COMPARED = ("lines", "events", "messages", "page rows")
_QUIET_S, _PATIENCE_S = 12.0, 120.0
_SHOWN = 8
_BEGUN = b"::endgroup::"
"""Stands in the log of an attempt whose process came as far as its task."""
_LOG = re.compile(
    r"dag_id=(?P<dag>[^/]+)/run_id=(?P<run>.+?)/task_id=(?P<task>[^/]+)/(?:map_index=(?P<mapped>\d+)/)?"
    r"(?:pass=(?P<iteration>\d+)[\d.]*/)?(?:map=(?P<inside>\d+)/)?attempt=(?P<number>\d+)\.log"
)
_CALLBACKS = ("executor_callbacks", "triggerer_callbacks")
_PAGE_ROW = re.compile(
    r"<tr><td><a href=\"[^\"]*\">(?P<name>[^<]*)</a></td>\s*<td class=\"num\">(?P<number>\d+)</td>"
    r"<td><span class=\"state (?P<state>\w+)\">"
)
_NAME = re.compile(
    r"(?P<task>.*?)(?:\[(?:(?P<index>\d+))?(?:, )?(?:iteration (?P<iteration>\d+)[\d.]*)?(?P<more>[^\]]*)\])?"
)
_STATES = {
    "task.succeeded": "success",
    "task.failed": "failed",
    "task.skipped": "skipped",
    "task.retried": "up_for_retry",
}
_ENDS = frozenset(_STATES.values())
_RUN_ENDS = {"success": "dag_run.succeeded", "failed": "dag_run.failed"}
_BESIDE = {"deadline": 1, "f_hitl": 1}
"""Messages that a DAG is to open beside that of its failure: a deadline that is missed, an unanswered question."""

Attempt = tuple[str, str, int, str, int]
"""Run, task, map index, iteration ("" outside a loop), try. The iterations of a loop run again share one."""


@dataclass
class Row:
    """The right values and those found of one DAG, and each difference as a sentence."""

    dag_id: str
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    why: dict[str, list[str]] = field(default_factory=dict)

    def set(self, name: str, expected: Counter[Any], found: Counter[Any]) -> None:
        """Note a comparison of two multisets."""
        self.counts[name] = (expected.total(), found.total())
        missing = [f"missing {_said(one)}" for one in (expected - found).elements()]
        false = [f"false {_said(one)}" for one in (found - expected).elements()]
        self.why[name] = [*missing, *false][:_SHOWN]

    def document(self) -> dict[str, Any]:
        """The row as JSON."""
        return {"counts": self.counts, "why": {name: why for name, why in self.why.items() if why}}


@dataclass
class _Attempt:
    """An attempt whose process ran: its log, how Airflow says that it ended, and whether it knows of its start."""

    key: Attempt
    log: Path
    state: str
    started: bool


def settle(airflow: Versioned, played: Iterable[str]) -> None:
    """Wait until nothing of ours is on its way: what failed is told, and all has stayed as it is for a while."""
    chosen = set(played)
    runs = airflow.api.pages("/dags/~/dagRuns", "dag_runs", {"state": ["failed"]})
    due = chosen & {run["dag_id"] for run in runs}
    deadline = time.monotonic() + _PATIENCE_S
    before: tuple[int, ...] = ()
    quiet_since = time.monotonic()
    while time.monotonic() < deadline and (due or time.monotonic() - quiet_since < _QUIET_S):
        found = [one for one in airflow.documents("etl.event") if one.get("airflow.dag_id") in chosen]
        now = (len(found), len(airflow.documents("airflow.task")), len(airflow.messages()))
        due -= {one["dag_id"] for one in airflow.messages() if one["kind"] == "opened"}
        if now != before:
            before, quiet_since = now, time.monotonic()
        time.sleep(2)


def compare(airflow: Versioned, played: list[str]) -> tuple[list[Row], list[str]]:
    """A row for each DAG, and the messages that are about none of them."""
    events = airflow.documents("etl.event")
    logged = (*airflow.documents("airflow.task"), *airflow.documents("airflow.component"))  # a callback is the latter
    lines = Counter(one["log.file.path"] for one in logged if not one.get("log.part"))
    opened = [one for one in airflow.messages() if one["kind"] == "opened"]
    tasks = list(airflow.api.pages("/dags/~/dagRuns/~/taskInstances", "task_instances", {"order_by": "id"}))
    listed = {one["id"] for one in tasks}
    tasks += [one for one in airflow.replaced if one["id"] not in listed]
    runs = list(airflow.api.pages("/dags/~/dagRuns", "dag_runs"))
    again = {(one["dag_id"], one["dag_run_id"]) for one in airflow.replaced}
    runs += [run for run in runs if (run["dag_id"], run["dag_run_id"]) in again]
    rows = []
    for dag_id in played:
        mine = [one for one in runs if one["dag_id"] == dag_id]
        its = [one for one in tasks if one["dag_id"] == dag_id]
        attempts = _attempts(airflow.layout.log_folder, dag_id, its)
        row = Row(dag_id)
        row.set("lines", *_lines(airflow.layout.log_folder, dag_id, lines))
        row.set("events", *_events(mine, attempts, [one for one in events if one.get("airflow.dag_id") == dag_id]))
        row.set("messages", *_messages(dag_id, mine, its, [one for one in opened if one["dag_id"] == dag_id]))
        row.set("page rows", *_pages(airflow, dag_id, mine, attempts))
        rows.append(row)
    others = [str(one["title"]) for one in opened if one["dag_id"] not in set(played)]
    return rows, [*others, *_metrics(airflow)]


def _metrics(airflow: Versioned) -> Iterable[str]:
    """Faults of Airflow's metrics: that none came, or that a tag of a DAG changed a field of ours."""
    of_airflow = [one for one in airflow.documents("airflow.statsd") if str(one.get("metric.name")).startswith("ti.")]
    if not of_airflow:
        yield "no metric of a task came"
    if elsewhere := {one.get("service.environment") for one in of_airflow} - {"dev"}:
        yield f"metrics of a task stand in the environments {elsewhere}"


def _said(one: Any) -> str:
    return " ".join(str(part) for part in one if part not in ("", -1)) if isinstance(one, tuple) else str(one)


def _attempts(logs: Path, dag_id: str, tasks: list[dict[str, Any]]) -> list[_Attempt]:
    """The attempts that began, by the lines of their process; their states by the API.

    A last try has the state of its task instance; a try before it was tried again. One that does not reach Airflow's
    API when it begins has no start there.
    """
    states: dict[Attempt, list[tuple[str, bool]]] = {}
    for one in tasks:
        states.setdefault(_attempt_of(one), []).append((str(one["state"]), bool(one["start_date"])))
    found = []
    for log in sorted((logs / f"dag_id={dag_id}").rglob("attempt=*.log")):
        match = _LOG.fullmatch(str(log.relative_to(logs)))
        if match is None or _BEGUN not in log.read_bytes():
            continue
        index = match["inside"] or match["mapped"] or "-1"
        key = (match["run"], match["task"], int(index), match["iteration"] or "", int(match["number"]))
        left = states.get(key) or [("up_for_retry", True)]
        found.append(_Attempt(key, log, *left.pop(0)))
    return found


def _attempt_of(task: dict[str, Any]) -> Attempt:
    iteration = (task.get("loop_iteration") or {}).get("iteration", "")
    return task["dag_run_id"], task["task_id"], task["map_index"], str(iteration), task["try_number"]


def _lines(logs: Path, dag_id: str, stored: Counter[str]) -> tuple[Counter[str], Counter[str]]:
    """The lines of each file, task logs and those of their triggers, as written and as stored."""
    written: Counter[str] = Counter()
    callbacks = (one for folder in _CALLBACKS for one in (logs / folder / dag_id).rglob("*"))
    for log in (*(logs / f"dag_id={dag_id}").rglob("*.log"), *(one for one in callbacks if one.is_file())):
        written[str(log.relative_to(logs))] = sum(1 for line in log.read_bytes().splitlines() if line.strip())
    mine = {path.removeprefix(f"{logs}/"): number for path, number in stored.items()}
    return written, Counter(
        {
            path: number
            for path, number in mine.items()
            if path.split("/")[int(path.startswith(_CALLBACKS))] in {dag_id, f"dag_id={dag_id}"}
        }
    )


def _events(
    runs: list[dict[str, Any]], attempts: list[_Attempt], events: list[dict[str, Any]]
) -> tuple[Counter[Any], Counter[Any]]:
    """The begin and end of each attempt and run; ``task.killed`` may stand beside the end that Airflow decided."""
    expected: Counter[Any] = Counter()
    for one in attempts:
        expected[("task.started", *one.key)] += one.started
        if one.state in _ENDS:
            expected[(one.state, *one.key)] += 1
    for run in runs:
        if run["start_date"]:
            expected[("dag_run.started", run["dag_run_id"], run.get("partition_key") or "")] += 1
        if run["state"] in _RUN_ENDS:
            expected[(_RUN_ENDS[run["state"]], run["dag_run_id"], run.get("partition_key") or "")] += 1
    known = {one.key for one in attempts}
    found: Counter[Any] = Counter()
    for event in events:
        action = event["event.action"]
        if action in {"dag_run.started", *_RUN_ENDS.values()}:
            found[(action, event["airflow.run_id"], event.get("airflow.partition_key") or "")] += 1
        elif action == "task.started":
            found[(action, *_attempt_in(event))] += 1
        elif action in _STATES and (key := _attempt_in(event)) in known:
            found[(_STATES[action], *key)] += 1
    return expected, found


def _attempt_in(event: dict[str, Any]) -> Attempt:
    iteration = str(event.get("airflow.iteration") or "").partition(".")[0]
    return (
        event["airflow.run_id"], event["airflow.task_id"], int(event.get("airflow.map_index", -1)), iteration,
        int(event["airflow.try_number"]),
    )  # fmt: skip


def _messages(
    dag_id: str, runs: list[dict[str, Any]], tasks: list[dict[str, Any]], opened: list[dict[str, Any]]
) -> tuple[Counter[str], Counter[str]]:
    """One message opens for a DAG of which anything failed."""
    failed = any(one["state"] == "failed" for one in (*runs, *tasks))
    expected = Counter({"message": failed + _BESIDE.get(dag_id, 0)})
    found = Counter({"message": len(opened)})
    if found != expected:  # told by their titles
        return +expected, Counter(str(one["title"]) for one in opened)
    return +expected, +found


def _pages(
    airflow: Versioned, dag_id: str, runs: list[dict[str, Any]], attempts: list[_Attempt]
) -> tuple[Counter[Any], Counter[Any]]:
    """Each attempt is one row of its run's page, with the state that Airflow has."""
    expected = Counter((*one.key, one.state) for one in attempts)
    found: Counter[Any] = Counter()
    for run_id in {run["dag_run_id"] for run in runs}:
        for row in _PAGE_ROW.finditer(airflow.page(f"/dags/{dag_id}/runs/{run_id}")):
            name = _NAME.fullmatch(html.unescape(row["name"]))
            place = (name["task"], int(name["index"] or -1), name["iteration"] or "") if name else (row["name"], -1, "")
            found[(run_id, *place, int(row["number"]), row["state"])] += 1
    return expected, found
