"""Find what is under way and does not go on: tasks and runs that wait for longer than they may."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from observability.durations import lasting
from observability.events import (
    DagRunStuck,
    DagRunUnstuck,
    TaskStuck,
    TaskUnstuck,
)
from observability.watch.sources.airflow_api.look import seen
from observability.watch.sources.airflow_api.rows import (
    NONE,
    RUNS,
    STUCK,
    TASKS,
    name_of,
    remembered,
    wait_in_words,
    waited_since,
    with_loops,
)
from observability.watch.sources.api import path_of
from observability.watch.sources.capacity import Capacity
from observability.watch.sources.waiting import behind_pause, questions, triggered, unanswered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.watch.facts import Fact
    from observability.watch.sources.airflow_api.look import Look
    from observability.watch.sources.airflow_api.scene import Scene


__all__ = ["Stuck"]

_OF_A_TASK = ("dag_id", "dag_run_id", "task_id", "state")
_ACTIVE = ("queued", "scheduled", "running", "deferred", "up_for_retry", "up_for_reschedule", "restarting")
_FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")
_EVER = float("-inf")
"""Since when nothing hinders what nothing ever did, in seconds since 1970."""


class Stuck:
    """Finds what waits though nothing hinders it, and what waits for a person."""

    def __init__(self, look: Look) -> None:
        """``look`` is shared by all parts of a look."""
        self._look = look

    def tasks(self, scene: Scene, now: float) -> Iterator[Fact]:
        """Find tasks that wait for longer than they may, and runs none of whose tasks goes on."""
        stuck: dict[str, list[Any]] = {}
        listed = list(self._look.api.pages(TASKS, "task_instances", state=list(_ACTIVE), order_by="id"))
        whole = self._look.are_whole(listed, "task_id")
        active = [one for one in listed if all(isinstance(one.get(name), str) for name in _OF_A_TASK)]
        under_way = {(one["dag_id"], one["dag_run_id"]) for one in active}
        idle = partial(self._idle, under_way, scene, now)
        yield from self._look.questions.row("runs that stand still", lambda: list(idle()), NONE)
        capacity = self._capacity(active, scene, now)
        for one in [one for one in active if one["state"] in {"queued", "scheduled"}]:
            for fact in self._look.one(f"wait of {name_of(one)}", partial(self._waits_long, one, capacity, scene, now)):
                stuck[fact.key] = remembered(one)
                yield fact
        if not whole:
            stuck = scene.stuck | stuck
        for key, (*gone, loop) in with_loops(scene.stuck):
            if key not in stuck:
                about = self._look.identity({**dict(zip(STUCK, gone, strict=True)), **loop})
                yield seen(self._look, TaskUnstuck(identity=about, reason="it waits no longer"), now)
        scene.stuck, scene.full = stuck, capacity.full

    def _waits_long(self, one: dict[str, Any], capacity: Capacity, scene: Scene, now: float) -> Iterator[Fact]:
        """The finding that a task waits for longer than it may, though nothing hinders it."""
        since = one.get("queued_when") if one["state"] == "queued" else one.get("scheduled_when")
        if since is None:
            return
        waited = waited_since(one, since, now)
        free, known = self._free_since(one, capacity), self._key_of_wait(one, now) in scene.stuck
        if known and not capacity.is_paused(one):
            free = _EVER  # a limit that is used up now and then does not mean that it goes on
        if free == now:
            return  # it waits rightly
        waited = min(waited, now - free)
        words = self._look.questions.row(f"pool of {name_of(one)}", partial(capacity.words, one), "")
        event = TaskStuck(
            identity=self._look.identity(one),
            cause="stuck_queued",
            reason=wait_in_words(one, waited, words),
            state=one["state"],
        )
        fact = seen(self._look, event, now)
        if self._look.questions.row(f"slots for {name_of(one)}", partial(capacity.is_closed, one), False):
            fact = replace(fact, severity="warning")
        if waited >= self._look.thresholds().queued or known:  # from scheduled to queued it waits on
            yield fact

    def _key_of_wait(self, one: dict[str, Any], now: float) -> str:
        event = TaskStuck(identity=self._look.identity(one), cause="stuck_queued", reason="", state="")
        return seen(self._look, event, now).key

    def unanswered(self, scene: Scene, now: float) -> Iterator[Fact]:
        """Tasks that have asked a person and have no answer; they are reminded of like any other incident."""
        asking: dict[str, list[Any]] = {}
        for detail in questions(self._look.api):
            ask = partial(self._asked, detail, now)
            none: list[tuple[Fact, list[Any]]] = []
            for fact, kept in self._look.questions.row(f"question {detail.get('subject')}", ask, none):
                asking[fact.key] = kept
                yield fact
        for key, (*gone, loop) in with_loops(scene.asking):
            if key not in asking:
                about = self._look.identity({**dict(zip(STUCK, gone, strict=True)), **loop})
                yield seen(
                    self._look, TaskUnstuck(identity=about, cause="deadline", reason="it waits for no answer now"), now
                )
        scene.asking = asking

    def _asked(self, detail: dict[str, Any], now: float) -> list[tuple[Fact, list[Any]]]:
        found = []
        for one, waited, words in unanswered(detail, now):
            if waited >= self._look.thresholds().unanswered:
                event = TaskStuck(
                    identity=self._look.identity(one), cause="deadline", reason=words, state=str(one["state"])
                )
                found.append((replace(seen(self._look, event, now), severity="warning"), remembered(one)))
        return found

    def behind_pause(self, scene: Scene, now: float) -> Iterator[Fact]:
        """Runs that another DAG triggered, and perhaps waits for, of a DAG that is paused."""
        held: dict[str, str] = {}
        for run in triggered(self._look.api):
            for fact in self._look.one(name_of(run), partial(self._held_back, run, scene, now)):
                held[f"{fact.dag_id}\x1f{fact.run_id}"] = fact.reason
                yield fact
        for key in [key for key in scene.held if key not in held]:
            dag_id, run_id = key.split("\x1f")
            about = self._look.identity({"dag_id": dag_id, "dag_run_id": run_id})
            yield seen(self._look, DagRunUnstuck(identity=about, reason="it is no longer held back"), now)
        scene.held = held

    def _held_back(self, run: dict[str, Any], scene: Scene, now: float) -> Iterator[Fact]:
        for one, waited, words in behind_pause(run, scene.dags, now):
            if waited >= self._look.thresholds().queued:
                stuck = DagRunStuck(identity=self._look.identity(one), reason=words)
                yield replace(seen(self._look, stuck, now), severity="warning")

    def _capacity(self, active: list[dict[str, Any]], scene: Scene, now: float) -> Capacity:
        """The free slots; the pools are asked for when something waits for one."""
        pools: list[dict[str, Any]] = []
        if any(one.get("state") == "scheduled" for one in active):
            pools = self._look.questions.ask(
                "pools", lambda: list(self._look.api.pages("/pools", "pools", order_by="id")), []
            )
        known = os.environ.get("AIRFLOW__CORE__PARALLELISM", "")
        parallelism = int(known) or None if known.isdecimal() else None
        return Capacity(pools, active, scene.dags, scene.full, now=now, parallelism=parallelism)

    def _free_since(self, one: dict[str, Any], capacity: Capacity) -> float:
        """Since when nothing hinders a task; one that is queued has its slot already."""
        if one["state"] != "scheduled":
            return _EVER
        return self._look.questions.row(f"room of {name_of(one)}", partial(capacity.free_since, one), _EVER)

    def _idle(self, active: set[tuple[str, str]], scene: Scene, now: float) -> Iterator[Fact]:
        """Runs that go on though none of their tasks does: Airflow 3 lets one wait for ever for an earlier run.

        Of the runs of a DAG the oldest is meant; the others may rightly wait for it.
        """
        oldest: dict[str, dict[str, Any]] = {}
        for run in self._look.api.pages(RUNS, "dag_runs", state=["running"], order_by="run_after"):
            if isinstance(run.get("dag_id"), str) and isinstance(run.get("dag_run_id"), str):
                oldest.setdefault(run["dag_id"], run)
        before, scene.idle = scene.idle, {}
        for dag_id, run in oldest.items():
            if (dag_id, run["dag_run_id"]) in active or scene.dags.get(dag_id, {}).get("paused", True):
                continue
            key = f"{dag_id}\x1f{run['dag_run_id']}"
            since, told = before.get(key, [now, False])
            if now - since >= self._look.thresholds().queued:
                ask = partial(self._never_scheduled, dag_id, run["dag_run_id"])
                waiting = self._look.questions.ask(f"tasks of {name_of(run)}", ask, None)
                told = told if waiting is None else bool(waiting)
                if waiting:
                    reason = f"it runs, and {', '.join(waiting[:5])} has waited {lasting(now - since)} to be scheduled"
                    yield seen(self._look, DagRunStuck(identity=self._look.identity(run), reason=reason), now)
            scene.idle[key] = [since, told]
        for key in [key for key, (_, told) in before.items() if told and key not in scene.idle]:
            dag_id, run_id = key.split("\x1f")
            about = self._look.identity({"dag_id": dag_id, "dag_run_id": run_id})
            yield seen(self._look, DagRunUnstuck(identity=about, reason="its tasks are scheduled again"), now)

    def _never_scheduled(self, dag_id: str, run_id: str) -> list[str]:
        """The tasks of a run that have not been scheduled, where none is under way in a state of its own."""
        path = path_of("dags", dag_id, "dagRuns", run_id, "taskInstances")
        tasks = list(self._look.api.pages(path, "task_instances", order_by="id"))
        if any(one["state"] not in {None, *_FINISHED} for one in tasks):
            return []
        return [one["task_id"] for one in tasks if one["state"] is None]
