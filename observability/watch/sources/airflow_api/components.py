"""The components of Airflow by their heartbeats: which fell silent, and what waits for it."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from observability.durations import lasting
from observability.events import (
    ComponentRecovered,
    ComponentSilent,
    Identity,
)
from observability.watch import gauges
from observability.watch.facts import CERTAIN, Fact, observed, seconds
from observability.watch.sources.airflow_api.rows import (
    TASKS,
)
from observability.watch.sources.peers import silent_peers
from observability.watch.sources.starting import STARTS_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.watch.sources.airflow_api.look import Look
    from observability.watch.sources.airflow_api.scene import Scene


__all__ = ["BEATS_S", "Components"]

BEATS_S = 15.0
"""A scheduler's heartbeat is written every five seconds: one that is older may be its last."""
_COMPONENTS = {"scheduler": "scheduler", "triggerer": "triggerer", "dag_processor": "dag-processor"}


class Components:
    """Judges scheduler, triggerer and dag processor."""

    def __init__(self, look: Look) -> None:
        """``look`` is shared by all parts of a look."""
        self._look = look
        self._looked_away = False

    def health(self, answer: dict[str, Any], scene: Scene, now: float) -> Iterator[Fact]:
        """Judge each component by its newest heartbeat."""
        heard = max(scene.health_at, self._look.answered_at)
        self._looked_away = now - heard > self._look.thresholds().component_silent
        scene.health_at = now
        for key, name in _COMPONENTS.items():
            yield from self._look.one(f"health of the {name}", partial(self._health_of, key, name, answer, scene, now))

    def _health_of(self, key: str, name: str, answer: dict[str, Any], scene: Scene, now: float) -> Iterator[Fact]:
        said = answer.get(key) or {}
        beat = said.get(f"latest_{key}_heartbeat")
        if beat is None and said.get("status") != "unhealthy":
            return  # it never ran
        age = now - seconds(beat) if beat is not None else None
        if name == "scheduler":
            self._look.scheduler_dozes = age is None or age > BEATS_S
            self._look.last_beat = now - age if age is not None and age > BEATS_S else None
        if age is None:
            yield from self._without_a_heartbeat(name, scene, now)
            return
        if self._may_be_starting(name, age, scene, now):
            return
        oldest = scene.peers.get("oldest", {}).get(name, now)  # a gauge's last value counts: say the same at each look
        gauges.heartbeat(name, max(age, now - oldest))
        scene.beaten = [*{*scene.beaten, name}]
        scene.awaited = {other: since for other, since in scene.awaited.items() if other != name}
        if age > self._look.thresholds().component_silent:
            yield self._silent(name, f"its last heartbeat was {lasting(age)} ago", now)
            scene.silent = [*{*scene.silent, name}]
        elif name in scene.silent:
            scene.silent = [one for one in scene.silent if one != name]
            event = ComponentRecovered(identity=Identity(component=name), reason="it has a heartbeat again")
            yield observed(event, time=now)

    def _may_be_starting(self, name: str, age: float, scene: Scene, now: float) -> bool:
        """True while an old heartbeat may be that of a component's last life.

        Where nobody looked for a while, all of Airflow may have been stopped, and comes up beside this watcher.
        """
        if age <= self._look.thresholds().component_silent or name in scene.silent:
            return False
        if self._looked_away and name not in scene.awaited:
            scene.awaited = {**scene.awaited, name: now}
        return now - scene.awaited.get(name, 0.0) < STARTS_S

    def _without_a_heartbeat(self, name: str, scene: Scene, now: float) -> Iterator[Fact]:
        """Airflow 3.4 forgets the heartbeat of a component that was stopped; one that has yet to start has none."""
        since = scene.awaited.get(name, now)
        scene.awaited = {**scene.awaited, name: min(since, now)}
        if name in scene.beaten:
            why = "it was stopped: it has no heartbeat any more"
        elif now - since >= STARTS_S:
            why = f"it has not started: it had no heartbeat for {lasting(now - since)}"
        else:
            return
        yield self._silent(name, why, now)
        scene.silent = [*{*scene.silent, name}]

    def peers(self, scene: Scene, now: float) -> Iterator[Fact]:
        """Judge each of several schedulers, triggerers or dag processors, by Airflow's jobs."""
        known = copy.deepcopy(scene.peers)
        limit_s = self._look.thresholds().component_silent
        yield from silent_peers(self._look.api, known, now, limit_s, looked_away=self._looked_away)
        scene.peers = known

    def _silent(self, name: str, reason: str, now: float) -> Fact:
        state = {"triggerer": "deferred", "scheduler": "scheduled"}.get(name)
        listed = partial(self._look.api.pages, TASKS, "task_instances", state=[state], order_by="id")
        waiting: list[dict[str, Any]] = []
        if state:
            waiting = self._look.questions.ask(f"tasks that wait for the {name}", lambda: list(listed()), waiting)
        evidence: dict[str, Any] = {}
        if waiting:
            evidence["affected"] = ", ".join(f"{one.get('dag_id')}.{one.get('task_id')}" for one in waiting[:10])
            reason = f"{reason}; {len(waiting)} {state} tasks wait for it"
        first = waiting[0] if waiting and name == "triggerer" else {}  # what waits for a scheduler has not begun
        about = Identity(
            component=name,
            dag_id=first.get("dag_id"),
            run_id=first.get("dag_run_id"),
            task_id=first.get("task_id"),
        )
        event = ComponentSilent(identity=about, reason=reason)
        return observed(event, time=now, certainty=CERTAIN, evidence=evidence)
