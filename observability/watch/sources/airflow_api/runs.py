"""Runs that began and ended since the last look, and why one failed."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from observability.events import (
    DagRunFailed,
    DagRunStarted,
    DagRunSucceeded,
    moment,
)
from observability.timestamps import iso, utc
from observability.watch.facts import GUESSED, Fact, observed, seconds
from observability.watch.sources.airflow_api.rows import (
    DAY_S,
    MOST_REMEMBERED,
    RUNS,
    UNEXPLAINED,
    moment_of,
    name_of,
)
from observability.watch.sources.api import path_of
from observability.watch.sources.diagnose import Verdict, diagnose_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.watch.sources.airflow_api.look import Look


__all__ = ["Runs"]


class Runs:
    """Finds what became of runs."""

    def __init__(self, look: Look) -> None:
        """``look`` is shared by all parts of a look."""
        self._look = look

    def changed(self, since: float) -> Iterator[Fact]:
        """Find runs that ended or began since a time."""
        asked = {"updated_at_gte": iso(since), "state": ["failed", "success", "running"], "order_by": "id"}
        for run in self._look.api.pages(RUNS, "dag_runs", **asked):
            yield from self._look.one(name_of(run), partial(self._changed_run, run))

    def _changed_run(self, run: dict[str, Any]) -> Iterator[Fact]:
        if run["state"] == "running":
            yield from self._begun_run(run)
        else:
            yield self._failed_run(run) if run["state"] == "failed" else self._about_run(run, DagRunSucceeded)

    def _begun_run(self, run: dict[str, Any]) -> Iterator[Fact]:
        if run.get("start_date"):
            yield replace(self._about_run(run, DagRunStarted), time=seconds(run["start_date"]))

    def begun_before(self, now: float) -> Iterator[Fact]:
        """The runs that began in the day before the first look: a deadline may ask whether today's has."""
        asked = {"start_date_gte": iso(now - DAY_S), "order_by": "-start_date"}
        for run in itertools.islice(self._look.api.pages(RUNS, "dag_runs", **asked), MOST_REMEMBERED):
            yield from self._look.one(name_of(run), partial(self._begun_run, run))

    def _failed_run(self, run: dict[str, Any]) -> Fact:
        bare = self._about_run(run, DagRunFailed, reason="")
        before = self._look.known(bare.key)
        if before is not None and "reconciler" in before.provider and before.status != "resolved":
            return bare
        if (run["dag_id"], run["dag_run_id"]) in self._look.explained:
            return self._about_run(run, DagRunFailed, cause="upstream", reason="a task of it failed")
        path = path_of("dags", run["dag_id"], "dagRuns", run["dag_run_id"], "taskInstances")
        name, ask = name_of(run), self._look.questions.ask
        listed = partial(self._look.api.pages, path, "task_instances", order_by="id")
        tasks: list[dict[str, Any]] = []
        tasks = ask(f"tasks of {name}", lambda: list(listed()), tasks)
        details = ask(f"details of DAG {run['dag_id']}", partial(self._look.details, run["dag_id"]), None) or {}
        events = ask(f"event log of {name}", lambda: self._look.events({**run, "task_id": None}), None)
        judge = partial(diagnose_run, run, tasks, events or [], details.get("dag_run_timeout"))
        verdict = self._look.questions.row(f"cause of {name}", judge, Verdict("platform", UNEXPLAINED, GUESSED))
        return self._about_run(
            run, DagRunFailed, at=verdict.at, cause=verdict.cause, reason=verdict.reason, certainty=verdict.certainty
        )

    def _about_run(self, run: dict[str, Any], kind: Any, *, at: float | None = None, **more: Any) -> Fact:
        """The fact that a run began, ended well or failed; the event's id is the one that the listener gives it.

        ``at`` is when a person set to failed what had ended before: the event is another one then.
        """
        end = run["start_date"] if kind is DagRunStarted else run["end_date"]
        certainty = more.pop("certainty", GUESSED)
        lasted = int((run.get("duration") or 0) * 1e9)
        if kind is DagRunFailed:
            more = {"provider": "reconciler", "duration_ns": lasted, **more}
        when = at or seconds(run["end_date"] or run["start_date"] or iso(time.time()))
        which = moment_of(end) if at is None else moment(utc(at))
        event = kind(identity=self._look.identity(run), time=utc(when), discriminator=which, **more)
        evidence = {"event.duration": lasted} | {
            f"airflow.{name}": run[name] for name in ("logical_date", "run_after", "partition_key") if run.get(name)
        }
        found = observed(
            event, time=when, certainty=certainty, evidence=evidence,
            about=self._look.about(run["dag_id"], run_type=run.get("run_type")),
        )  # fmt: skip
        return replace(found, provider="reconciler")
