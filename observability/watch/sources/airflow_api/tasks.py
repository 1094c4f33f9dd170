"""Attempts that failed, were run again or were taken out of their run, each with the evidence of its cause."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from observability.events import (
    TaskFailed,
    TaskRemoved,
    moment,
)
from observability.timestamps import iso, utc
from observability.watch.facts import GUESSED, SEEN, Fact, observed, seconds
from observability.watch.sources.airflow_api.rows import (
    MOST_REMEMBERED,
    TASKS,
    UNEXPLAINED,
    is_instance,
    is_settled,
    loop_of,
    mapping,
    name_of,
)
from observability.watch.sources.api import path_of
from observability.watch.sources.diagnose import Verdict, diagnose_task
from observability.watch.sources.executor_log import asks_for_pod, words_about_pod
from observability.watch.sources.isolation import ODD_ANSWERS
from observability.watch.sources.logs import LastWords, last_words, log_path, place_of, words_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from observability.watch.sources.airflow_api.look import Look


__all__ = ["Tasks"]

_EVIDENCE_TRIES = 6
_NO_FAILURE = {"up_for_retry", "success", "removed", "skipped", "upstream_failed"}
"""States in which an attempt ended without a failure, by itself or by a person's hand."""


class Tasks:
    """Finds out why attempts failed; what could not be had is asked for a few times more."""

    def __init__(self, look: Look, folder: Path, scheduler_lines: Callable[[float], list[str] | None]) -> None:
        """``folder`` holds the task logs; ``scheduler_lines`` answers what schedulers warned of around a moment."""
        self._look, self._folder, self._scheduler_lines = look, folder, scheduler_lines
        self._again: dict[str, tuple[dict[str, Any], int]] = {}
        """Failures that were told without all their evidence, and how often each was asked about again."""

    def changed(self, since: float) -> Iterator[Fact]:
        """The news of tasks, as much of it as can be looked into in time; the rest is left to the next look."""
        listed = self._list_tasks(since)
        self._look.explained = {(str(one.get("dag_id")), str(one.get("dag_run_id"))) for one in listed
                           if one.get("state") == "failed"}  # fmt: skip
        incomplete = [one for one, _ in self._again.values() if one not in listed]
        has_looked = False
        for one in listed:
            if one.get("state") == "failed" and not self._is_settled_already(one):
                if has_looked and time.monotonic() > self._look.until:
                    self._look.cut = True
                    continue
                has_looked = True
            yield from self._look.one(name_of(one), partial(self._about_listed, one))
        for one in incomplete:
            if not self._look.questions.rests(f"evidence of {name_of(one)}"):
                yield from self._look.one(name_of(one), lambda one=one: [self._failed_task(one)])  # type: ignore[misc]

    def _list_tasks(self, since: float) -> list[dict[str, Any]]:
        asked = {
            "updated_at_gte": iso(since),
            "state": ["failed", "up_for_retry", "removed"],
            "order_by": "id",
        }
        return list(self._look.api.pages(TASKS, "task_instances", **asked))

    def _is_settled_already(self, one: dict[str, Any]) -> bool:
        try:
            before = self._look.known(self.about(one, "failed", {}).key)
        except ODD_ANSWERS:
            return False
        return before is not None and is_settled(before)

    def _about_listed(self, one: dict[str, Any]) -> Iterator[Fact]:
        if one["state"] == "removed":
            yield from self._removed(one)
        elif one["state"] != "failed":
            yield self.about(one, "dismissed", {})
        else:
            yield self._failed_task(one)

    def _removed(self, one: dict[str, Any]) -> Iterator[Fact]:
        """A task that Airflow took out of its run; an instance of a mapped task that has become fewer is none."""
        when = seconds(one["end_date"] or one["start_date"] or iso(time.time()))
        event = TaskRemoved(
            identity=self._look.identity(one),
            time=utc(when),
            reason="the DAG no longer has it, so Airflow took it out of the run, which goes on without it",
        )
        fact = observed(event, time=when, certainty=SEEN, about=self._look.about(one["dag_id"]))
        before = self._look.known(fact.key)
        if before is not None and before.status == "firing":
            return
        if self._look.api.get(path_of("dags", one["dag_id"], "tasks", one["task_id"])) is None:
            yield fact

    def _failed_task(self, one: dict[str, Any]) -> Fact:
        bare = self.about(one, "failed", {})
        before = self._look.known(bare.key)
        if before is not None and is_settled(before) and bare.key not in self._again:
            return bare
        about = f"evidence of {name_of(one)}"
        path = log_path(
            self._folder, one["dag_id"], one["dag_run_id"], one["task_id"], one["map_index"], one["try_number"],
            loop_of(one).get("iteration"),
        )  # fmt: skip
        words = last_words(path)
        none = LastWords()
        if not words.evidence and one.get("start_date"):
            words = self._look.questions.ask(about, partial(self._words_by_api, one), none)
        events = self._look.questions.ask(f"event log of {name_of(one)}", partial(self._look.events, one), None)
        pod = self._about_pod(one, events or [])
        complete = words is not none and events is not None and pod is not None
        self._ask_again(bare.key, one, complete=complete)
        judge = partial(diagnose_task, one, events or [], words, pod or ())
        unknown = Verdict("app", UNEXPLAINED, GUESSED, words.evidence)
        verdict = self._look.questions.row(f"cause of {name_of(one)}", judge, unknown)
        said = {"cause": verdict.cause, "reason": verdict.reason, "certainty": verdict.certainty}
        return self.about(one, "failed", verdict.evidence, at=verdict.at, **said)

    def _about_pod(self, one: dict[str, Any], events: list[dict[str, Any]]) -> list[str] | None:
        """The executor's words about the attempt's pod; None where it will have said something that is not here yet."""
        if not one.get("end_date") or not asks_for_pod(events):
            return []
        return words_about_pod(one, self._scheduler_lines(seconds(one["end_date"])) or ()) or None

    def _ask_again(self, key: str, one: dict[str, Any], *, complete: bool) -> None:
        """Remember a failure whose evidence could not be had, so that it is asked for a few times more."""
        tries = self._again.pop(key, (one, 0))[1]
        if not complete and tries < _EVIDENCE_TRIES and len(self._again) < MOST_REMEMBERED:
            self._again[key] = (one, tries + 1)

    def about(
        self, one: dict[str, Any], status: Any, evidence: dict[str, Any], *, at: float | None = None, **more: Any
    ) -> Fact:
        """A fact about an attempt; ``dismissed`` needs no event, for it only says that another was wrong.

        ``at`` is when a person set to failed what had ended before.
        """
        when = at or seconds(one["end_date"] or one["start_date"] or iso(time.time()))
        about = self._look.about(one["dag_id"], operator=one.get("operator_name"))
        if status == "dismissed":
            return Fact(
                kind="task", status=status, time=when, dag_id=one["dag_id"], run_id=one["dag_run_id"],
                task_id=one["task_id"], map_index=one["map_index"], try_number=one["try_number"], evidence=evidence,
                about=about, **loop_of(one),
            )  # fmt: skip
        certainty = more.pop("certainty", GUESSED)
        found = {"cause": "platform", "reason": "", **more}
        which = "" if at is None else moment(utc(at))
        event = TaskFailed(
            identity=self._look.identity(one), time=utc(when), discriminator=which, provider="reconciler", **found
        )
        return observed(event, time=when, certainty=certainty, evidence=evidence, about=about)

    def _words_by_api(self, one: dict[str, Any]) -> LastWords:
        """The last words as Airflow serves them: the log may lie elsewhere."""
        task = ("dags", one["dag_id"], "dagRuns", one["dag_run_id"], "taskInstances", one["task_id"])
        path = path_of(*task, "logs", one["try_number"])
        said = mapping(self._look.api.once(path, full_content="true", **place_of(one))) or {}
        content = said.get("content", [])
        return (
            words_in(line for line in content if isinstance(line, dict)) if isinstance(content, list) else LastWords()
        )

    def confirm(self, fact: Fact) -> Iterator[Fact]:
        """Ask Airflow about one attempt whose death was reported; nothing where it does not know yet."""
        if fact.iteration is not None:
            yield from self._confirm_iteration(fact)
            return
        mapped = (fact.map_index,) if fact.map_index >= 0 else ()
        run = ("dags", str(fact.dag_id), "dagRuns", str(fact.run_id))
        one = self._look.api.get(path_of(*run, "taskInstances", str(fact.task_id), *mapped))
        if one is None and "/" in str(fact.run_id):
            return  # Airflow's own routes end at a slash, quoted or not: it cannot be asked about this run
        if one is None:  # its run was deleted, and with it the question
            yield replace(fact, status="dismissed", provider="reconciler")
        elif one["state"] == "failed" and one["try_number"] == fact.try_number:
            yield self._failed_task(one)
        elif one["state"] in _NO_FAILURE or one["try_number"] > (fact.try_number or 0):
            yield self.about({**one, "try_number": fact.try_number}, "dismissed", {})

    def _confirm_iteration(self, fact: Fact) -> Iterator[Fact]:
        """Ask Airflow about an attempt in a task loop: one that is not there any more was run again, or deleted."""
        run = ("dags", str(fact.dag_id), "dagRuns", str(fact.run_id))
        if "/" in str(fact.run_id):
            return
        asked = {"task_id": str(fact.task_id), "order_by": "id"}
        listed = self._look.api.pages(f"{path_of(*run)}/taskInstances", "task_instances", **asked)
        mine = [one for one in listed if is_instance(one, fact)]
        if not mine:
            yield replace(fact, status="dismissed", provider="reconciler")
        for one in mine:
            if one["state"] == "failed":
                yield self._failed_task(one)
            if one["state"] in _NO_FAILURE or (one["state"] == "failed" and fact.ti_id is None):
                yield replace(fact, status="dismissed", provider="reconciler")  # else it has its own name now
