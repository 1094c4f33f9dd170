"""Airflow's own account: what its API says of tasks, runs, DAGs, files and components.

Each look asks for what changed since the last one, with an overlap, because a row's time of change is set
before it becomes visible. Facts are keyed, so what is seen twice counts once.
"""

from __future__ import annotations

import copy
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from observability.timestamps import iso
from observability.watch.sources.airflow_api.components import Components
from observability.watch.sources.airflow_api.dags import Dags
from observability.watch.sources.airflow_api.look import Look
from observability.watch.sources.airflow_api.rows import (
    LOOKBACK_S,
    NONE,
    OVERLAP_S,
    sound,
)
from observability.watch.sources.airflow_api.runs import Runs
from observability.watch.sources.airflow_api.stuck import Stuck
from observability.watch.sources.airflow_api.tasks import Tasks
from observability.watch.sources.api import ApiError, ApiUnavailable
from observability.watch.sources.assets import updated_assets
from observability.watch.sources.isolation import ODD_ANSWERS
from observability.watch.sources.user_actions import UserActions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from observability.watch.facts import Fact
    from observability.watch.rules.config import Thresholds
    from observability.watch.sources.airflow_api.scene import Scene
    from observability.watch.sources.api import AirflowApi
    from observability.watch.sources.user_actions import OpenRun


__all__ = ["Reconciler"]

_SLOW_S = 15.0
_LOOK_S = 3.0
"""A look ends its questions after so long, and tells what it has."""


class Reconciler:
    """Asks Airflow's API. :meth:`look` is safe to repeat: what it remembers is written by the caller."""

    def __init__(  # noqa: PLR0913 - its parts
        self,
        api: AirflowApi,
        log_folder: Path,
        thresholds: Callable[[], Thresholds],
        environment: str,
        scheduler_lines: Callable[[float], list[str] | None] = lambda _moment: [],
        *,
        slow_s: float | None = None,
    ) -> None:
        """``scheduler_lines`` answers what schedulers warned of around a moment, None where that cannot be read.

        What changes slowly is asked for again after ``slow_s``, 15 s where that is not given.
        """
        self._slow_s = slow_s
        self._api, self._look = api, Look(api, thresholds, environment)
        self._questions = self._look.questions
        self._people = UserActions(api, self._questions)
        self._tasks, self._runs = Tasks(self._look, log_folder, scheduler_lines), Runs(self._look)
        self._components, self._dags, self._stuck = Components(self._look), Dags(self._look), Stuck(self._look)
        self._slow_tried = 0.0

    @property
    def dags(self) -> dict[str, dict[str, Any]]:
        """Knowledge of each DAG since the last look."""
        return self._look.dags

    @dags.setter
    def dags(self, known: dict[str, dict[str, Any]]) -> None:
        self._look.dags = known

    @property
    def problem(self) -> str:
        """The part that Airflow does not tell at present, as a sentence; empty where it tells everything."""
        failed = self._questions.failed
        return "; ".join(f"{about}: {why}" for about, why in list(failed.items())[:3])

    def look(
        self,
        scene: Scene,
        now: float,
        known: Callable[[str], Fact | None] = lambda _key: None,
        open_runs: Sequence[OpenRun] = (),
    ) -> list[Fact]:
        """The facts since ``scene``, which is moved on. Raises ApiError where Airflow does not answer at all.

        Each listing, and each question about one thing, fails alone: what cannot be had now is counted, told with what
        is known, and asked about again. ``known`` tells the fact with a key: what is known for sure is not looked
        into again. ``open_runs`` are asked about, for a person may have ended them.
        """
        began, (now, since, health) = time.monotonic(), self._begin(scene, now, known)
        facts: list[Fact] = []
        if health is not None:
            self._part("components", self._components.health(health, scene, now), scene, facts)
        slow_s = _SLOW_S if self._slow_s is None else self._slow_s
        slow = now - max(scene.slow_at, self._slow_tried) >= slow_s or self._slow_tried > now or scene.slow_at > now
        deeds = self._people.did(open_runs, after=iso(since), now=now - self._api.ahead_s, in_turn=slow)
        self._part("people's deeds", deeds, scene, facts)
        whole = self._part("failed tasks", self._tasks.changed(since), scene, facts)
        whole = self._part("runs", self._runs.changed(since), scene, facts) and whole
        if not scene.since:
            self._part("earlier runs", self._runs.begun_before(now), scene, facts)
        if slow:
            self._slow_tried = now
            self._part("each component", self._components.peers(scene, now), scene, facts)
            self._part("DAGs", self._dags.listed(scene, now), scene, facts)
            self._part("import errors", self._dags.imports(scene, now), scene, facts)
            self._part("waiting tasks", self._stuck.tasks(scene, now), scene, facts)
            self._part("questions to people", self._stuck.unanswered(scene, now), scene, facts)
            self._part("runs of paused DAGs", self._stuck.behind_pause(scene, now), scene, facts)
            assets = updated_assets(self._api, scene.slow_at or None, self._questions)
            done = self._part("assets", assets, scene, facts)
            if self._part("paused DAGs", self._dags.auto_paused(scene, now), scene, facts) and done:
                scene.slow_at = now
        if whole and not self._look.cut:
            scene.since = now
        self._look.answered_at = now + max(0.0, (self._api.answered or began) - began)
        return facts

    def _begin(
        self, scene: Scene, now: float, known: Callable[[str], Fact | None]
    ) -> tuple[float, float, dict[str, Any] | None]:
        """Now by Airflow's clock, the time since which this look asks, and the account of the components."""
        look = self._look
        look.known, look.cut, look.until = known, False, time.monotonic() + _LOOK_S
        self._questions.begin()
        health = self._asked_health()
        now += self._api.ahead_s  # what Airflow wrote down is by its own clock
        since = scene.since - OVERLAP_S if scene.since else now - LOOKBACK_S
        look.dags = scene.dags
        look.ask_events_since(since)
        return now, since, health

    def _asked_health(self) -> dict[str, Any] | None:
        """Airflow's account of its components; None where that alone cannot be had now.

        Raises ApiError where nothing else is answered either: then "not found" says nothing of a run or a DAG.
        """
        try:
            health = self._api.get("/monitor/health")
            if isinstance(health, dict):
                self._questions.forgive("health")
                return health
            problem = ApiError(f"{self._api.url}/monitor/health answered with no account of any component")
            if health is None:
                problem = ApiUnavailable(f"{self._api.url} has no Airflow API: set [watch] api_url to its address")
        except ApiError as error:
            problem = error
        try:
            answers = isinstance(self._api.once("/version"), dict)
        except ApiError:
            answers = False
        if not answers:
            raise problem
        self._questions.note("health", problem)
        return None

    def _part(self, name: str, found: Iterator[Fact], scene: Scene, facts: list[Fact]) -> bool:
        """Add what one listing tells to ``facts``; False where it failed, and then ``scene`` is as it was."""
        if self._questions.rests(name):
            return False
        before = {part: copy.copy(value) for part, value in vars(scene).items()}
        try:
            for fact in found:
                facts.extend(self._questions.row(f"{name}: {fact.key}", partial(sound, fact), NONE))
        except ODD_ANSWERS as error:
            vars(scene).update(before)
            self._questions.note(name, error)
            return False
        self._questions.forgive(name)
        return True

    def confirm(self, unconfirmed: list[Fact]) -> Iterator[Fact]:
        """Ask Airflow about attempts whose death was reported, where it knows already. Raises ApiError."""
        self._look.ask_events_since(min((fact.time for fact in unconfirmed), default=0.0))
        self._questions.begin()
        for fact in unconfirmed:
            yield from self._look.one(f"death {fact.key}", partial(self._tasks.confirm, fact))
