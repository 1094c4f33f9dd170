"""Airflow's own account: what its API says of tasks, runs, DAGs, files and components.

Each look asks for what changed since the last one, with an overlap, because a row's time of change is set
before it becomes visible. Facts are keyed, so what is seen twice counts once.
"""

from __future__ import annotations

import copy
import heapq
import itertools
import os
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any

from observability import causes
from observability.events import (
    ComponentRecovered,
    ComponentSilent,
    DagAutoPaused,
    DagImportFailed,
    DagImportRepaired,
    DagReturned,
    DagRunFailed,
    DagRunOverdue,
    DagRunStarted,
    DagRunStuck,
    DagRunSucceeded,
    DagRunUnstuck,
    DagUnpaused,
    DagVanished,
    Identity,
    TaskFailed,
    TaskRemoved,
    TaskStuck,
    TaskUnstuck,
    base_iteration,
    moment,
)
from observability.watch import gauges
from observability.watch.facts import CERTAIN, GUESSED, SEEN, Fact, observed, seconds
from observability.watch.sources.api import ApiError, ApiUnavailable, path_of
from observability.watch.sources.assets import updated_assets
from observability.watch.sources.capacity import Capacity
from observability.watch.sources.diagnose import Verdict, diagnose_run, diagnose_task
from observability.watch.sources.executor_log import asks_for_pod, words_about_pod
from observability.watch.sources.isolation import ODD_ANSWERS, Questions
from observability.watch.sources.logs import LastWords, last_words, log_path, place_of, words_in
from observability.watch.sources.peers import silent_peers
from observability.watch.sources.user_actions import UserActions
from observability.watch.sources.waiting import behind_pause, questions, triggered, unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from observability.events import Event
    from observability.watch.rules.config import Thresholds
    from observability.watch.sources.api import AirflowApi
    from observability.watch.sources.user_actions import OpenRun

__all__ = ["Reconciler", "Scene", "scene_from"]

_OVERLAP_S = 30.0
_LOOKBACK_S = 300.0
_SLOW_S = 15.0
_ASKED_AGAIN = 10
"""DAGs whose params are asked for at each slow look, in turn: a hundred DAGs take two and a half minutes."""
_LOOK_S = 3.0
"""A look ends its questions after so long, and tells what it has."""
_BEATS_S = 15.0
"""A scheduler's heartbeat is written every five seconds: one that is older may be its last."""
_UNKNOWN_S = 60.0
"""So long a DAG that is gone waits for Airflow's answer whether a person deleted it."""
_EVENTS_BEFORE_S = 120.0
_DAY_S = 86_400.0
_BEGUN_MOST = 2000
_EVIDENCE_TRIES = 6
_UNEXPLAINED = "it failed, and Airflow's answers do not say why"
_NONE: list[Fact] = []
_NAMES = ("dag_id", "run_id", "task_id", "iteration", "loop_id", "region_id", "ti_id", "subject", "reason")
_OF_A_TASK = ("dag_id", "dag_run_id", "task_id", "state")
_TASKS = "/dags/~/dagRuns/~/taskInstances"
_RUNS = "/dags/~/dagRuns"
_TELLING_EVENTS = (
    "heartbeat timeout", "state mismatch", "stuck in queued tries exceeded", "fail task", "patch_task_instance",
    "patch_task_group_instances", "patch_dag_run", "bulk_task_instances", "bulk_dag_runs",
)  # fmt: skip
_NO_FAILURE = {"up_for_retry", "success", "removed", "skipped", "upstream_failed"}
"""States in which an attempt ended without a failure, by itself or by a person's hand."""
_ACTIVE = ("queued", "scheduled", "running", "deferred", "up_for_retry", "up_for_reschedule", "restarting")
_FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")
_LIMITS = ("max_active_tasks", "max_consecutive_failed_dag_runs")
_STUCK = ("dag_id", "dag_run_id", "task_id", "map_index", "try_number", "pool")
_IN_LOOP = ("loop_iteration", "region_id", "id")
_STARTS_S = 120.0
"""A component of an Airflow that comes up may take so long to its first heartbeat: the API server may start first."""
_COMPONENTS = {"scheduler": "scheduler", "triggerer": "triggerer", "dag_processor": "dag-processor"}


@dataclass
class Scene:
    """The reconciler's memory between two looks; JSON values only, kept in the ledger."""

    since: float = 0.0
    slow_at: float = 0.0
    dags: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    beaten: list[str] = field(default_factory=list)
    awaited: dict[str, float] = field(default_factory=dict)
    stuck: dict[str, list[Any]] = field(default_factory=dict)
    asking: dict[str, list[Any]] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    idle: dict[str, list[Any]] = field(default_factory=dict)
    full: dict[str, float] = field(default_factory=dict)
    paused: dict[str, bool] = field(default_factory=dict)
    paused_until: int = 0
    peers: dict[str, Any] = field(default_factory=dict)


class Reconciler:
    """Asks Airflow's API. :meth:`look` is safe to repeat: what it remembers is written by the caller."""

    def __init__(
        self,
        api: AirflowApi,
        log_folder: Path,
        thresholds: Callable[[], Thresholds],
        environment: str,
        scheduler_lines: Callable[[float], list[str] | None] = lambda _moment: [],
    ) -> None:
        """``scheduler_lines`` answers what schedulers warned of around a moment, None where that cannot be read."""
        self._api, self._folder, self._thresholds, self._environment = api, log_folder, thresholds, environment
        self._scheduler_lines = scheduler_lines
        self.dags: dict[str, dict[str, Any]] = {}
        self._known: Callable[[str], Fact | None] = lambda _key: None
        self._events_of: dict[tuple[str, str] | None, list[dict[str, Any]]] = {}
        self._events_since = self._until = 0.0
        self._explained: set[tuple[str, str]] = set()
        self._cut = False
        self._slow_tried = 0.0
        self._scheduler_dozes = False
        self._questions = Questions()
        self._people = UserActions(api, self._questions)
        self._again: dict[str, tuple[dict[str, Any], int]] = {}
        """Failures that were told without all their evidence, and how often each was asked about again."""

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
        self._known, self._events_of, self._cut = known, {}, False
        self._until = time.monotonic() + _LOOK_S
        self._questions.begin()
        health = self._asked_health()
        now += self._api.ahead_s  # what Airflow wrote down is by its own clock
        since = scene.since - _OVERLAP_S if scene.since else now - _LOOKBACK_S
        self.dags, self._events_since = scene.dags, since - _EVENTS_BEFORE_S
        facts: list[Fact] = []
        if health is not None:
            self._part("components", self._health(health, scene, now), scene, facts)
        slow = now - max(scene.slow_at, self._slow_tried) >= _SLOW_S or self._slow_tried > now or scene.slow_at > now
        deeds = self._people.did(open_runs, after=_iso(since), now=now - self._api.ahead_s, in_turn=slow)
        self._part("people's deeds", deeds, scene, facts)
        whole = self._part("failed tasks", self._tasks(since), scene, facts)
        whole = self._part("runs", self._runs(since), scene, facts) and whole
        if not scene.since:
            self._part("earlier runs", self._begun_before(now), scene, facts)
        if slow:
            self._slow_tried = now
            self._part("each component", self._peers(scene, now), scene, facts)
            self._part("DAGs", self._dag_list(scene, now), scene, facts)
            self._part("import errors", self._imports(scene, now), scene, facts)
            self._part("waiting tasks", self._waiting(scene, now), scene, facts)
            self._part("questions to people", self._unanswered(scene, now), scene, facts)
            self._part("runs of paused DAGs", self._behind_pause(scene, now), scene, facts)
            assets = updated_assets(self._api, scene.slow_at or None, self._questions)
            done = self._part("assets", assets, scene, facts)
            if self._part("paused DAGs", self._auto_paused(scene, now), scene, facts) and done:
                scene.slow_at = now
        if whole and not self._cut:
            scene.since = now
        return facts

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
                facts.extend(self._questions.row(f"{name}: {fact.key}", partial(_sound, fact), _NONE))
        except ODD_ANSWERS as error:
            vars(scene).update(before)
            self._questions.note(name, error)
            return False
        self._questions.forgive(name)
        return True

    def _one(self, about: str, found: Callable[[], Iterable[Fact]]) -> list[Fact]:
        """The facts about one row of a listing; none where the row cannot be understood."""
        return self._questions.row(about, lambda: [one for fact in found() for one in _sound(fact)], [])

    def confirm(self, unconfirmed: list[Fact]) -> Iterator[Fact]:
        """Ask Airflow about attempts whose death was reported, where it knows already. Raises ApiError."""
        self._events_of = {}
        self._events_since = min((fact.time for fact in unconfirmed), default=0.0) - _EVENTS_BEFORE_S
        self._questions.begin()
        for fact in unconfirmed:
            yield from self._one(f"death {fact.key}", partial(self._confirm, fact))

    def _confirm(self, fact: Fact) -> Iterator[Fact]:
        if fact.iteration is not None:
            yield from self._confirm_iteration(fact)
            return
        mapped = (fact.map_index,) if fact.map_index >= 0 else ()
        run = ("dags", str(fact.dag_id), "dagRuns", str(fact.run_id))
        one = self._api.get(path_of(*run, "taskInstances", str(fact.task_id), *mapped))
        if one is None and "/" in str(fact.run_id):
            return  # Airflow's own routes end at a slash, quoted or not: it cannot be asked about this run
        if one is None:  # its run was deleted, and with it the question
            yield replace(fact, status="dismissed", provider="reconciler")
        elif one["state"] == "failed" and one["try_number"] == fact.try_number:
            yield self._failed_task(one)
        elif one["state"] in _NO_FAILURE or one["try_number"] > (fact.try_number or 0):
            yield self._about_task({**one, "try_number": fact.try_number}, "dismissed", {})

    def _confirm_iteration(self, fact: Fact) -> Iterator[Fact]:
        """Ask Airflow about an attempt in a task loop: one that is not there any more was run again, or deleted."""
        run = ("dags", str(fact.dag_id), "dagRuns", str(fact.run_id))
        if "/" in str(fact.run_id):
            return
        asked = {"task_id": str(fact.task_id), "order_by": "id"}
        listed = self._api.pages(f"{path_of(*run)}/taskInstances", "task_instances", **asked)
        mine = [one for one in listed if _is_instance(one, fact)]
        if not mine:
            yield replace(fact, status="dismissed", provider="reconciler")
        for one in mine:
            if one["state"] == "failed":
                yield self._failed_task(one)
            if one["state"] in _NO_FAILURE or (one["state"] == "failed" and fact.ti_id is None):
                yield replace(fact, status="dismissed", provider="reconciler")  # else it has its own name now

    def _list_tasks(self, since: float) -> list[dict[str, Any]]:
        asked = {"updated_at_gte": _iso(since), "state": ["failed", "up_for_retry", "removed"], "order_by": "id"}
        return list(self._api.pages(_TASKS, "task_instances", **asked))

    def _tasks(self, since: float) -> Iterator[Fact]:
        """The news of tasks, as much of it as can be looked into in time; the rest is left to the next look."""
        listed = self._list_tasks(since)
        self._explained = {(str(one.get("dag_id")), str(one.get("dag_run_id"))) for one in listed
                           if one.get("state") == "failed"}  # fmt: skip
        looked_into = 0
        for one in listed:
            if one.get("state") == "failed" and not self._is_settled_already(one):
                if looked_into and time.monotonic() > self._until:
                    self._cut = True
                    continue
                looked_into += 1
            yield from self._one(_name_of(one), partial(self._about_listed, one))
        for one, _ in list(self._again.values()):
            if not self._questions.rests(f"evidence of {_name_of(one)}"):
                yield from self._one(_name_of(one), lambda one=one: [self._failed_task(one)])  # type: ignore[misc]

    def _is_settled_already(self, one: dict[str, Any]) -> bool:
        try:
            before = self._known(self._about_task(one, "failed", {}).key)
        except ODD_ANSWERS:
            return False
        return before is not None and _is_settled(before)

    def _about_listed(self, one: dict[str, Any]) -> Iterator[Fact]:
        if one["state"] == "removed":
            yield from self._removed(one)
        elif one["state"] != "failed":
            yield self._about_task(one, "dismissed", {})
        else:
            yield self._failed_task(one)

    def _removed(self, one: dict[str, Any]) -> Iterator[Fact]:
        """A task that Airflow took out of its run; an instance of a mapped task that has become fewer is none."""
        when = seconds(one["end_date"] or one["start_date"] or _iso_now())
        event = TaskRemoved(
            identity=self._identity(one),
            time=_datetime(when),
            reason="the DAG no longer has it, so Airflow took it out of the run, which goes on without it",
        )
        fact = observed(event, time=when, certainty=SEEN, about=self._about(one["dag_id"]))
        before = self._known(fact.key)
        if before is not None and before.status == "firing":
            return
        if self._api.get(path_of("dags", one["dag_id"], "tasks", one["task_id"])) is None:
            yield fact

    def _failed_task(self, one: dict[str, Any]) -> Fact:
        bare = self._about_task(one, "failed", {})
        before = self._known(bare.key)
        if before is not None and _is_settled(before) and bare.key not in self._again:
            return bare
        about = f"evidence of {_name_of(one)}"
        path = log_path(
            self._folder, one["dag_id"], one["dag_run_id"], one["task_id"], one["map_index"], one["try_number"],
            _loop(one).get("iteration"),
        )  # fmt: skip
        words = last_words(path)
        none = LastWords()
        if not words.evidence and one.get("start_date"):
            words = self._questions.ask(about, partial(self._words_by_api, one), none)
        events = self._questions.ask(f"event log of {_name_of(one)}", partial(self._events, one), None)
        pod = self._about_pod(one, events or [])
        complete = words is not none and events is not None and pod is not None
        self._ask_again(bare.key, one, complete=complete)
        judge = partial(diagnose_task, one, events or [], words, pod or ())
        unknown = Verdict("app", _UNEXPLAINED, GUESSED, words.evidence)
        verdict = self._questions.row(f"cause of {_name_of(one)}", judge, unknown)
        return self._about_task(
            one, "failed", verdict.evidence, cause=verdict.cause, reason=verdict.reason, certainty=verdict.certainty
        )

    def _about_pod(self, one: dict[str, Any], events: list[dict[str, Any]]) -> list[str] | None:
        """The executor's words about the attempt's pod; None where it will have said something that is not here yet."""
        if not one.get("end_date") or not asks_for_pod(events):
            return []
        return words_about_pod(one, self._scheduler_lines(seconds(one["end_date"])) or ()) or None

    def _ask_again(self, key: str, one: dict[str, Any], *, complete: bool) -> None:
        """Remember a failure whose evidence could not be had, so that it is asked for a few times more."""
        tries = self._again.pop(key, (one, 0))[1]
        if not complete and tries < _EVIDENCE_TRIES and len(self._again) < _BEGUN_MOST:
            self._again[key] = (one, tries + 1)

    def _about_task(self, one: dict[str, Any], status: Any, evidence: dict[str, Any], **more: Any) -> Fact:
        """A fact about an attempt; ``dismissed`` needs no event, for it only says that another was wrong."""
        when = seconds(one["end_date"] or one["start_date"] or _iso_now())
        about = self._about(one["dag_id"], operator=one.get("operator_name"))
        if status == "dismissed":
            return Fact(
                kind="task", status=status, time=when, dag_id=one["dag_id"], run_id=one["dag_run_id"],
                task_id=one["task_id"], map_index=one["map_index"], try_number=one["try_number"], evidence=evidence,
                about=about, **_loop(one),
            )  # fmt: skip
        certainty = more.pop("certainty", GUESSED)
        told = {"cause": "platform", "reason": "", **more}
        event = TaskFailed(identity=self._identity(one), time=_datetime(when), provider="reconciler", **told)
        return observed(event, time=when, certainty=certainty, evidence=evidence, about=about)

    def _identity(self, one: dict[str, Any]) -> Identity:
        """The subject of an answer of the API: an attempt, a run or a DAG."""
        known = self.dags.get(one["dag_id"], {})
        return Identity(
            dag_id=one["dag_id"],
            run_id=one.get("dag_run_id"),
            task_id=one.get("task_id"),
            map_index=one.get("map_index") if one.get("task_id") else None,
            **_loop(one),
            try_number=one.get("try_number"),
            operator=one.get("operator_name"),
            pool=one.get("pool") if one.get("task_id") else None,
            run_type=one.get("run_type"),
            logical_date=one.get("logical_date"),
            partition_key=one.get("partition_key"),
            bundle_version=one.get("bundle_version"),
            dag_version=_dag_version(one),
            owner=known.get("owner"),
            tags=tuple(known["tags"]) if known.get("tags") else None,
        )

    def _words_by_api(self, one: dict[str, Any]) -> LastWords:
        """The last words as Airflow serves them: the log may lie elsewhere."""
        task = ("dags", one["dag_id"], "dagRuns", one["dag_run_id"], "taskInstances", one["task_id"])
        path = path_of(*task, "logs", one["try_number"])
        said = _mapping(self._api.once(path, full_content="true", **place_of(one))) or {}
        content = said.get("content", [])
        return (
            words_in(line for line in content if isinstance(line, dict)) if isinstance(content, list) else LastWords()
        )

    def _events(self, one: dict[str, Any]) -> list[dict[str, Any]]:
        """Airflow's event log about an attempt, or the run that it belongs to."""
        asked: dict[str, Any] = {"included_events": list(_TELLING_EVENTS), "order_by": "event_log_id"}
        run: tuple[str, str] | None = (one["dag_id"], one["dag_run_id"])
        if one.get("end_date") and seconds(one["end_date"]) > self._events_since:
            run = None  # one request tells of all that ended lately
            asked["after"] = _iso(self._events_since)
        else:
            asked |= {"dag_id": one["dag_id"], "run_id": one["dag_run_id"]}
        if run not in self._events_of:
            self._events_of[run] = list(self._api.pages("/eventLogs", "event_logs", **asked))
        return [event for event in self._events_of[run] if _is_about(event, one)]

    def _runs(self, since: float) -> Iterator[Fact]:
        asked = {"updated_at_gte": _iso(since), "state": ["failed", "success"], "order_by": "id"}
        for run in self._api.pages(_RUNS, "dag_runs", **asked):
            yield from self._one(_name_of(run), partial(self._ended_run, run))
        for run in self._api.pages(_RUNS, "dag_runs", updated_at_gte=_iso(since), state=["running"], order_by="id"):
            yield from self._one(_name_of(run), partial(self._begun_run, run))

    def _ended_run(self, run: dict[str, Any]) -> Iterator[Fact]:
        yield self._failed_run(run) if run["state"] == "failed" else self._about_run(run, DagRunSucceeded)

    def _begun_run(self, run: dict[str, Any]) -> Iterator[Fact]:
        if run.get("start_date"):
            yield replace(self._about_run(run, DagRunStarted), time=seconds(run["start_date"]))

    def _begun_before(self, now: float) -> Iterator[Fact]:
        """The runs that began in the day before the first look: a deadline may ask whether today's has."""
        asked = {"start_date_gte": _iso(now - _DAY_S), "order_by": "-start_date"}
        for run in itertools.islice(self._api.pages(_RUNS, "dag_runs", **asked), _BEGUN_MOST):
            yield from self._one(_name_of(run), partial(self._begun_run, run))

    def _failed_run(self, run: dict[str, Any]) -> Fact:
        bare = self._about_run(run, DagRunFailed, reason="")
        before = self._known(bare.key)
        if before is not None and "reconciler" in before.provider:
            return bare
        if (run["dag_id"], run["dag_run_id"]) in self._explained:
            return self._about_run(run, DagRunFailed, cause="upstream", reason="a task of it failed")
        path = path_of("dags", run["dag_id"], "dagRuns", run["dag_run_id"], "taskInstances")
        name, ask = _name_of(run), self._questions.ask
        listed = partial(self._api.pages, path, "task_instances", order_by="id")
        tasks: list[dict[str, Any]] = []
        tasks = ask(f"tasks of {name}", lambda: list(listed()), tasks)
        details = ask(f"details of DAG {run['dag_id']}", partial(self._details, run["dag_id"]), None) or {}
        events = ask(f"event log of {name}", lambda: self._events({**run, "task_id": None}), None)
        judge = partial(diagnose_run, run, tasks, events or [], details.get("dag_run_timeout"))
        verdict = self._questions.row(f"cause of {name}", judge, Verdict("platform", _UNEXPLAINED, GUESSED))
        return self._about_run(
            run, DagRunFailed, cause=verdict.cause, reason=verdict.reason, certainty=verdict.certainty
        )

    def _details(self, dag_id: str) -> dict[str, Any] | None:
        """A DAG's details, None where Airflow has no such DAG."""
        return _mapping(self._api.once(path_of("dags", dag_id, "details")))

    def _about_run(self, run: dict[str, Any], kind: Any, **more: Any) -> Fact:
        """The fact that a run began, ended well or failed; the event's id is the one that the listener gives it."""
        end = run["start_date"] if kind is DagRunStarted else run["end_date"]
        certainty = more.pop("certainty", GUESSED)
        lasted = int((run.get("duration") or 0) * 1e9)
        if kind is DagRunFailed:
            more = {"provider": "reconciler", "duration_ns": lasted, **more}
        when = seconds(run["end_date"] or run["start_date"] or _iso_now())
        event = kind(identity=self._identity(run), time=_datetime(when), discriminator=_moment_of(end), **more)
        evidence = {"event.duration": lasted} | {
            f"airflow.{name}": run[name] for name in ("logical_date", "run_after", "partition_key") if run.get(name)
        }
        found = observed(
            event, time=when, certainty=certainty, evidence=evidence,
            about=self._about(run["dag_id"], run_type=run.get("run_type")),
        )  # fmt: skip
        return replace(found, provider="reconciler")

    def _health(self, told: dict[str, Any], scene: Scene, now: float) -> Iterator[Fact]:
        for key, name in _COMPONENTS.items():
            yield from self._one(f"health of the {name}", partial(self._health_of, key, name, told, scene, now))

    def _health_of(self, key: str, name: str, told: dict[str, Any], scene: Scene, now: float) -> Iterator[Fact]:
        said = told.get(key) or {}
        beat = said.get(f"latest_{key}_heartbeat")
        if beat is None and said.get("status") != "unhealthy":
            return  # it never ran
        age = now - seconds(beat) if beat is not None else None
        if name == "scheduler":
            self._scheduler_dozes = age is None or age > _BEATS_S
        if age is None:
            yield from self._without_a_heartbeat(name, scene, now)
            return
        gauges.heartbeat(name, age)
        scene.beaten = [*{*scene.beaten, name}]
        scene.awaited = {other: since for other, since in scene.awaited.items() if other != name}
        if age > self._thresholds().component_silent:
            yield self._silent(name, f"its last heartbeat was {age:.0f} s ago", now)
            scene.silent = [*{*scene.silent, name}]
        elif name in scene.silent:
            scene.silent = [one for one in scene.silent if one != name]
            event = ComponentRecovered(identity=Identity(component=name), reason="it has a heartbeat again")
            yield observed(event, time=now)

    def _without_a_heartbeat(self, name: str, scene: Scene, now: float) -> Iterator[Fact]:
        """Airflow 3.4 forgets the heartbeat of a component that was stopped; one that has yet to start has none."""
        since = scene.awaited.get(name, now)
        scene.awaited = {**scene.awaited, name: min(since, now)}
        if name in scene.beaten:
            why = "it was stopped: it has no heartbeat any more"
        elif now - since >= _STARTS_S:
            why = f"it has not started: it had no heartbeat for {now - since:.0f} s"
        else:
            return
        yield self._silent(name, why, now)
        scene.silent = [*{*scene.silent, name}]

    def _peers(self, scene: Scene, now: float) -> Iterator[Fact]:
        known = copy.deepcopy(scene.peers)
        yield from silent_peers(self._api, known, now, self._thresholds().component_silent)
        scene.peers = known

    def _silent(self, name: str, reason: str, now: float) -> Fact:
        state = {"triggerer": "deferred", "scheduler": "scheduled"}.get(name)
        listed = partial(self._api.pages, _TASKS, "task_instances", state=[state], order_by="id")
        waiting: list[dict[str, Any]] = []
        if state:
            waiting = self._questions.ask(f"tasks that wait for the {name}", lambda: list(listed()), waiting)
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

    def _dag_list(self, scene: Scene, now: float) -> Iterator[Fact]:
        rows = list(self._api.pages("/dags", "dags", order_by="dag_id"))
        found = {one["dag_id"]: one for one in rows if isinstance(one.get("dag_id"), str)}
        before, turn = scene.dags, _longest_unasked(scene.dags)
        missing = [name for name in before if name not in found] if self._are_whole(rows, "dag_id") else []
        listed = {name: about for name, about in before.items() if name not in missing}
        for dag_id in missing:
            was_deleted = partial(self._was_deleted, dag_id, now)
            deleted = self._questions.row(f"deletion of DAG {dag_id}", was_deleted, None)
            gone = float(before[dag_id].get("gone", now))
            if deleted is None and now - gone < _UNKNOWN_S:
                listed[dag_id] = {**before[dag_id], "gone": gone}
            if deleted or dag_id in listed:
                continue  # a person did it, who need not be told; or it is not known yet
            file = before[dag_id].get("file")
            event = DagVanished(identity=self._identity({"dag_id": dag_id}), reason="no file contains it any more")
            yield self._dag(event, now, {"file": file})
        for dag_id in [name for name in found if name not in before and scene.slow_at]:
            yield self._dag(DagReturned(identity=Identity(dag_id=dag_id), reason="it is parsed again"), now)
        for dag_id, one in found.items():
            yield from self._one(f"next run of DAG {dag_id}", partial(self._overdue, one, scene, now))
            known = None if dag_id in turn else before.get(dag_id)
            ask = partial(self._known_dag, one, known, scene, now)
            listed[dag_id] = self._questions.row(f"DAG {dag_id}", ask, {}) or {**before.get(dag_id, {"paused": True})}
        scene.dags = self.dags = listed

    def _are_whole(self, rows: list[dict[str, Any]], name: str) -> bool:
        """True if each row says what it is about: only then a thing that is not listed is gone. Else it is counted."""
        odd = next((one for one in rows if not isinstance(one.get(name), str)), None)
        if odd is not None:
            self._questions.note(f"a row without {name}", TypeError(f"{name} is {str(odd.get(name))[:50]}"))
        return odd is None

    def _was_deleted(self, dag_id: str, now: float) -> bool:
        """Tell whether a person deleted a DAG that is gone: Airflow knows one whose file is gone, and marks it stale.

        Nobody may read in the event log about a DAG that Airflow does not know, so the log alone does not say it.
        """
        asked = {"event": "delete_dag", "dag_id": dag_id, "after": _iso(now - _DAY_S), "order_by": "event_log_id"}
        if any(True for _ in self._api.pages("/eventLogs", "event_logs", **asked)):
            return True
        try:
            return self._api.once(path_of("dags", dag_id)) is None
        except (LookupError, TypeError, ValueError):  # an answer of another shape says nothing of a deletion
            return False

    def _overdue(self, one: dict[str, Any], scene: Scene, now: float) -> Iterator[Fact]:
        due, since = self._next_run(one, scene, now)
        limits = self._thresholds()
        most = limits.overdue + (limits.component_silent if self._scheduler_dozes else 0.0)  # first, whether it is dead
        if due and now - max(seconds(due), since) > most and self._has_room(one):
            reason = f"the run that was due at {str(due)[:19].replace('T', ' ')} UTC has not begun"
            overdue = DagRunOverdue(identity=self._identity({"dag_id": one["dag_id"]}), reason=reason)
            yield observed(overdue, time=now, certainty=SEEN, about=_about_dag(one, self._environment))

    @staticmethod
    def _next_run(one: dict[str, Any], scene: Scene, now: float) -> tuple[str, float]:
        """The time at which the next run is due, and since when we know: a catch-up is late only from now on."""
        idle = one["is_paused"] or _is_draining(one) or one.get("has_import_errors")
        due = "" if idle else str(one.get("next_dagrun_run_after") or "")
        known, since = scene.dags.get(one["dag_id"], {}).get("next", ("", now))
        return due, since if known == due else now

    def _has_room(self, one: dict[str, Any]) -> bool:
        """True if the DAG may begin another run: one that has as many as it may is not late."""
        most = one.get("max_active_runs") or 16
        counted = {"state": ["running", "queued"], "run_type": ["scheduled", "manual", "asset_triggered"], "limit": 1}
        asked = self._api.once(path_of("dags", one["dag_id"], "dagRuns"), **counted)
        active = _mapping(asked) or {}
        return int(active.get("total_entries", 0)) < most

    def _known_dag(
        self, one: dict[str, Any], before: dict[str, Any] | None, scene: Scene, now: float
    ) -> dict[str, Any]:
        """The part of a DAG worth remembering; its params are asked for when it has changed or it is its turn."""
        known = {"file": one.get("relative_fileloc"), "paused": one["is_paused"], **_about_dag(one, self._environment)}
        known |= {"draining": True} if _is_draining(one) else {}
        known |= {name: one[name] for name in _LIMITS if one.get(name) is not None}
        known["next"] = self._next_run(one, scene, now)
        mark = [one.get("bundle_version"), one.get("last_expired"), known["tags"], one.get("timetable_summary")]
        if before is not None and before.get("mark") == mark:
            kept = {"deadlines": before.get("deadlines", []), "asked": before.get("asked", 0.0)}
            return {**known, "mark": mark, **kept}
        ask = partial(self._details, one["dag_id"])
        answer = self._questions.ask(f"details of DAG {one['dag_id']}", ask, None)
        if answer is None and before is None:
            before = scene.dags.get(one["dag_id"])
        if answer is None:
            return {**known, "mark": None, "deadlines": (before or {}).get("deadlines", []), "asked": 0.0}
        params = answer.get("params") or {}
        declared = params.get("contrail_deadlines") or {}
        deadlines = declared.get("value", []) if isinstance(declared, dict) else []
        return {**known, "mark": mark, "deadlines": deadlines, "asked": now}

    def _dag(self, event: Event, now: float, evidence: dict[str, Any] | None = None) -> Fact:
        dag_id = event.identity.dag_id if event.identity else None
        return observed(event, time=now, certainty=SEEN, evidence=evidence, about=self._about(dag_id))

    def _imports(self, scene: Scene, now: float) -> Iterator[Fact]:
        listed = list(self._api.pages("/importErrors", "import_errors", order_by="id"))
        found = {one["filename"]: one for one in listed if isinstance(one.get("filename"), str)}
        for name, one in found.items():
            yield from self._one(f"import error of {name}", partial(self._import_error, name, one, scene))
        over = [name for name in scene.broken if name not in found] if self._are_whole(listed, "filename") else []
        for name in over:
            yield observed(DagImportRepaired(reason="the file parses again", file_path=name), time=now)
        kept = {name: since for name, since in scene.broken.items() if name not in over}
        scene.broken = kept | {name: str(one.get("timestamp")) for name, one in found.items()}

    def _import_error(self, name: str, one: dict[str, Any], scene: Scene) -> Iterator[Fact]:
        last = str(one["stack_trace"]).strip().rpartition("\n")[2]
        lost = [dag_id for dag_id, about in scene.dags.items() if about.get("file") == name]
        evidence = {"error.stack_trace": one["stack_trace"][-4000:], "affected": ", ".join(lost[:20])}
        event = DagImportFailed(
            identity=self._identity({"dag_id": lost[0]}) if lost else None,
            time=_datetime(seconds(one["timestamp"])),
            reason=last,
            stack_trace=causes.bounded_trace(str(one["stack_trace"])),
            file_path=name,
        )
        yield observed(
            event, time=seconds(one["timestamp"]), certainty=CERTAIN, evidence=evidence,
            about=self._about(lost[0]) if lost else {"env": self._environment},
        )  # fmt: skip

    def _waiting(self, scene: Scene, now: float) -> Iterator[Fact]:
        stuck: dict[str, list[Any]] = {}
        listed = list(self._api.pages(_TASKS, "task_instances", state=list(_ACTIVE), order_by="id"))
        whole = self._are_whole(listed, "task_id")
        active = [one for one in listed if all(isinstance(one.get(name), str) for name in _OF_A_TASK)]
        under_way = {(one["dag_id"], one["dag_run_id"]) for one in active}
        idle = partial(self._idle, under_way, scene, now)
        yield from self._questions.row("runs that stand still", lambda: list(idle()), _NONE)
        capacity = self._capacity(active, scene, now)
        for one in [one for one in active if one["state"] in {"queued", "scheduled"}]:
            for fact in self._one(f"wait of {_name_of(one)}", partial(self._waits_long, one, capacity, scene, now)):
                stuck[fact.key] = _remembered(one)
                yield fact
        if not whole:
            stuck = scene.stuck | stuck
        for key, (*gone, loop) in _with_loops(scene.stuck):
            if key not in stuck:
                about = self._identity({**dict(zip(_STUCK, gone, strict=True)), **loop})
                yield self._stuck(TaskUnstuck(identity=about, reason="it waits no longer"), now)
        scene.stuck, scene.full = stuck, capacity.full

    def _waits_long(self, one: dict[str, Any], capacity: Capacity, scene: Scene, now: float) -> Iterator[Fact]:
        """The finding that a task waits for longer than it may, though nothing hinders it."""
        since = one.get("queued_when") if one["state"] == "queued" else one.get("scheduled_when")
        if since is None:
            return
        waited = _waited(one, since, now)
        free, known = self._free_since(one, capacity), self._key_of_wait(one) in scene.stuck
        if known and not capacity.is_paused(one):
            free = 0.0  # a limit that is used up now and then does not mean that it goes on
        if free == now:
            return  # it waits rightly
        waited = min(waited, now - free)
        words = self._questions.row(f"pool of {_name_of(one)}", partial(capacity.words, one), "")
        event = TaskStuck(
            identity=self._identity(one), cause="stuck_queued", reason=_waits(one, waited, words), state=one["state"]
        )
        fact = self._stuck(event, now)
        if waited >= self._thresholds().queued or known:  # from scheduled to queued it waits on
            yield fact

    def _key_of_wait(self, one: dict[str, Any]) -> str:
        return self._stuck(TaskStuck(identity=self._identity(one), cause="stuck_queued", reason="", state=""), 0.0).key

    def _unanswered(self, scene: Scene, now: float) -> Iterator[Fact]:
        """Tasks that have asked a person and have no answer; they are reminded of like any other incident."""
        asking: dict[str, list[Any]] = {}
        for detail in questions(self._api):
            ask = partial(self._asked, detail, now)
            none: list[tuple[Fact, list[Any]]] = []
            for fact, remembered in self._questions.row(f"question {detail.get('subject')}", ask, none):
                asking[fact.key] = remembered
                yield fact
        for key, (*gone, loop) in _with_loops(scene.asking):
            if key not in asking:
                about = self._identity({**dict(zip(_STUCK, gone, strict=True)), **loop})
                yield self._stuck(
                    TaskUnstuck(identity=about, cause="deadline", reason="it waits for no answer now"), now
                )
        scene.asking = asking

    def _asked(self, detail: dict[str, Any], now: float) -> list[tuple[Fact, list[Any]]]:
        found = []
        for one, waited, words in unanswered(detail, now):
            if waited >= self._thresholds().unanswered:
                event = TaskStuck(identity=self._identity(one), cause="deadline", reason=words, state=str(one["state"]))
                found.append((replace(self._stuck(event, now), severity="warning"), _remembered(one)))
        return found

    def _behind_pause(self, scene: Scene, now: float) -> Iterator[Fact]:
        """Runs that another DAG triggered, and perhaps waits for, of a DAG that is paused."""
        held: dict[str, str] = {}
        for run in triggered(self._api):
            for fact in self._one(_name_of(run), partial(self._held_back, run, scene, now)):
                held[f"{fact.dag_id}\x1f{fact.run_id}"] = fact.reason
                yield fact
        for key in [key for key in scene.held if key not in held]:
            dag_id, run_id = key.split("\x1f")
            about = self._identity({"dag_id": dag_id, "dag_run_id": run_id})
            yield self._stuck(DagRunUnstuck(identity=about, reason="it is no longer held back"), now)
        scene.held = held

    def _held_back(self, run: dict[str, Any], scene: Scene, now: float) -> Iterator[Fact]:
        for one, waited, words in behind_pause(run, scene.dags, now):
            if waited >= self._thresholds().queued:
                stuck = DagRunStuck(identity=self._identity(one), reason=words)
                yield replace(self._stuck(stuck, now), severity="warning")

    def _capacity(self, active: list[dict[str, Any]], scene: Scene, now: float) -> Capacity:
        """The free slots; the pools are asked for when something waits for one."""
        pools: list[dict[str, Any]] = []
        if any(one.get("state") == "scheduled" for one in active):
            pools = self._questions.ask("pools", lambda: list(self._api.pages("/pools", "pools", order_by="id")), [])
        known = os.environ.get("AIRFLOW__CORE__PARALLELISM", "")
        parallelism = int(known) if known.isdecimal() else None
        return Capacity(pools, active, scene.dags, scene.full, now=now, parallelism=parallelism)

    def _free_since(self, one: dict[str, Any], capacity: Capacity) -> float:
        """Since when nothing hinders a task; one that is queued has its slot already."""
        if one["state"] != "scheduled":
            return 0.0
        return self._questions.row(f"room of {_name_of(one)}", partial(capacity.free_since, one), 0.0)

    def _idle(self, active: set[tuple[str, str]], scene: Scene, now: float) -> Iterator[Fact]:
        """Runs that go on though none of their tasks does: Airflow 3 lets one wait for ever for an earlier run.

        Of the runs of a DAG the oldest is meant; the others may rightly wait for it.
        """
        oldest: dict[str, dict[str, Any]] = {}
        for run in self._api.pages(_RUNS, "dag_runs", state=["running"], order_by="run_after"):
            if isinstance(run.get("dag_id"), str) and isinstance(run.get("dag_run_id"), str):
                oldest.setdefault(run["dag_id"], run)
        before, scene.idle = scene.idle, {}
        for dag_id, run in oldest.items():
            if (dag_id, run["dag_run_id"]) in active or scene.dags.get(dag_id, {}).get("paused", True):
                continue
            key = f"{dag_id}\x1f{run['dag_run_id']}"
            since, told = before.get(key, [now, False])
            if now - since >= self._thresholds().queued:
                ask = partial(self._never_scheduled, dag_id, run["dag_run_id"])
                waiting = self._questions.ask(f"tasks of {_name_of(run)}", ask, None)
                told = told if waiting is None else bool(waiting)
                if waiting:
                    reason = f"it runs, and {', '.join(waiting[:5])} has waited {now - since:.0f} s to be scheduled"
                    yield self._stuck(DagRunStuck(identity=self._identity(run), reason=reason), now)
            scene.idle[key] = [since, told]
        for key in [key for key, (_, told) in before.items() if told and key not in scene.idle]:
            dag_id, run_id = key.split("\x1f")
            about = self._identity({"dag_id": dag_id, "dag_run_id": run_id})
            yield self._stuck(DagRunUnstuck(identity=about, reason="its tasks are scheduled again"), now)

    def _never_scheduled(self, dag_id: str, run_id: str) -> list[str]:
        """The tasks of a run that have not been scheduled, where none is under way in a state of its own."""
        path = path_of("dags", dag_id, "dagRuns", run_id, "taskInstances")
        tasks = list(self._api.pages(path, "task_instances", order_by="id"))
        if any(one["state"] not in {None, *_FINISHED} for one in tasks):
            return []
        return [one["task_id"] for one in tasks if one["state"] is None]

    def _stuck(self, event: Event, now: float) -> Fact:
        dag_id = event.identity.dag_id if event.identity else None
        return observed(event, time=now, certainty=SEEN, about=self._about(dag_id))

    def _auto_paused(self, scene: Scene, now: float) -> Iterator[Fact]:
        """Airflow's own pausing stands in its event log as ``paused``; a person's stands there as ``patch_dag``."""
        newest = scene.paused_until
        since = scene.slow_at - _OVERLAP_S if scene.slow_at else now - _LOOKBACK_S
        for event in self._api.pages(
            "/eventLogs", "event_logs", event="paused", after=_iso(since), order_by="event_log_id"
        ):
            number = self._questions.row("an event", lambda event=event: int(event["event_log_id"]), 0)  # type: ignore[misc]
            if number > scene.paused_until:
                newest = max(newest, number)
                yield from self._one(f"event {number}", partial(self._paused, event, scene))
        scene.paused_until = newest
        yield from self._unpaused(scene, now)

    def _paused(self, event: dict[str, Any], scene: Scene) -> Iterator[Fact]:
        limit = scene.dags.get(event["dag_id"], {}).get("max_consecutive_failed_dag_runs")
        counted = f"{limit} runs" if limit else "too many runs"
        paused = DagAutoPaused(
            identity=self._identity({"dag_id": event["dag_id"]}),
            time=_datetime(seconds(event["when"])),
            reason=f"{counted} failed in a row (max_consecutive_failed_dag_runs)",
        )
        when, evidence = seconds(event["when"]), {"failed_runs": limit} if limit else {}
        about = self._about(event["dag_id"])
        yield observed(paused, time=when, certainty=CERTAIN, evidence=evidence, about=about)
        scene.paused[event["dag_id"]] = False

    def _unpaused(self, scene: Scene, now: float) -> Iterator[Fact]:
        """DAGs that Airflow had paused and that run again; the list of DAGs may be older than the event."""
        for dag_id, was_seen in list(scene.paused.items()):
            if scene.dags.get(dag_id, {}).get("paused"):
                scene.paused[dag_id] = True
            elif was_seen:
                del scene.paused[dag_id]
                why = "it runs again" if dag_id in scene.dags else "Airflow no longer has the DAG"
                event = DagUnpaused(identity=self._identity({"dag_id": dag_id}), reason=why)
                yield observed(event, time=now)

    def _about(self, dag_id: str | None, **more: Any) -> dict[str, Any]:
        known = self.dags.get(dag_id or "", {})
        about = {name: known.get(name) for name in ("owner", "tags", "env")} | {"env": self._environment} | more
        return {name: value for name, value in about.items() if value}


def _sound(fact: Fact) -> list[Fact]:
    """The fact, if each of its names is a text. Raises TypeError: a ledger cannot keep what an odd answer named so."""
    for name in _NAMES:
        if not isinstance(getattr(fact, name), (str, NoneType)):
            raise TypeError(f"{name} is {str(getattr(fact, name))[:50]}")
    for name in ("map_index", "try_number"):
        if not isinstance(getattr(fact, name), (int, NoneType)):
            raise TypeError(f"{name} is {str(getattr(fact, name))[:50]}")
    return [fact]


def _mapping(answer: Any) -> dict[str, Any] | None:
    """An answer that must be an object. Raises TypeError."""
    if answer is not None and not isinstance(answer, dict):
        raise TypeError(f"an object was asked for, and a {type(answer).__name__} came")
    return answer


def _name_of(one: dict[str, Any]) -> str:
    """The subject of a row of a listing, for people and for counting."""
    names = ("dag_id", "dag_run_id", "task_id", "map_index", "try_number")
    said = [str(one[name]) for name in names if one.get(name) not in (None, -1)]
    if (iteration := _loop(one).get("iteration")) is not None:
        said.append(f"iteration {iteration}")
    return " ".join(said)


def _loop(one: dict[str, Any]) -> dict[str, Any]:
    """The place of a row of the API in a task loop (Airflow 3.4); nothing outside one."""
    if not isinstance(loop := one.get("loop_iteration"), dict):
        return {}
    return {
        "iteration": str(loop["iteration"]),
        "loop_id": str(loop["loop_id"]),
        "region_id": one.get("region_id"),
        "ti_id": one.get("id"),
    }


def _is_instance(one: dict[str, Any], fact: Fact) -> bool:
    """Tell whether a row is about the attempt of a task loop that a fact is about."""
    if fact.ti_id is not None:
        return str(one.get("id")) == fact.ti_id
    same = (one.get("map_index"), one.get("try_number")) == (fact.map_index, fact.try_number)
    return same and base_iteration(_loop(one).get("iteration")) == base_iteration(fact.iteration)


def _dag_version(one: dict[str, Any]) -> int | None:
    """The version of the DAG: that of a task's row, or the first of the several that a run's row may have."""
    found = one.get("dag_version") or next(iter(one.get("dag_versions") or ()), None)
    number = found.get("version_number") if isinstance(found, dict) else None
    return number if isinstance(number, int) else None


def _remembered(one: dict[str, Any]) -> list[Any]:
    """The part of a waiting task that a scene keeps."""
    return [*(one[name] for name in _STUCK), {name: one[name] for name in _IN_LOOP if one.get(name)}]


def _with_loops(stuck: dict[str, list[Any]]) -> Iterator[tuple[str, list[Any]]]:
    """The stuck tasks of a scene; those that an older version remembered know of no loop."""
    for key, values in stuck.items():
        yield key, values if len(values) > len(_STUCK) else [*values, {}]


def _waited(one: dict[str, Any], since: str, now: float) -> float:
    """The wait of a task's row; a row without what a fact needs is told apart from one that is whole."""
    for name in ("dag_id", "dag_run_id", "task_id", "map_index", "try_number", "pool"):
        one[name]
    return now - seconds(since)


def _is_about(event: dict[str, Any], one: dict[str, Any]) -> bool:
    """True if an event is about this attempt, or about the whole run."""
    if (event.get("dag_id"), event.get("run_id")) != (one["dag_id"], one["dag_run_id"]):
        return False
    return event.get("task_id") in (None, one.get("task_id"))


def _is_settled(fact: Fact) -> bool:
    """True if there is nothing more to find out: who failed it by hand is worth a second look."""
    if fact.status != "firing":
        return False
    return "reconciler" in fact.provider or (fact.certainty >= SEEN and fact.cause != "cancelled")


def _about_dag(one: dict[str, Any], environment: str) -> dict[str, Any]:
    owners = one.get("owners") or []
    return {"owner": ",".join(owners), "tags": [tag["name"] for tag in one.get("tags") or []], "env": environment}


def _is_draining(one: dict[str, Any]) -> bool:
    """True if a DAG begins no run any more, and ends those that it has begun (Airflow 3.4)."""
    return one.get("scheduling_state") == "draining" or bool(one.get("is_draining"))


def _waits(one: dict[str, Any], waited: float, pool: str) -> str:
    said = f"it has been {one['state']} for {waited:.0f} s in pool {one['pool']}"
    return f"{said}, {pool}" if pool else said


def _longest_unasked(dags: dict[str, dict[str, Any]]) -> set[str]:
    """The DAGs whose params were asked for longest ago: the listing does not tell when only those have changed."""
    return set(heapq.nsmallest(_ASKED_AGAIN, dags, key=lambda name: float(dags[name].get("asked", 0))))


def scene_from(value: Any) -> Scene:
    """The scene that was written as JSON, or a new one."""
    return Scene(**value) if value else Scene()


def _datetime(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, timezone.utc)


def _moment_of(timestamp: str | None) -> str:
    """The key of one end of a run, as :func:`observability.events.moment` writes it."""
    return moment(datetime.fromisoformat(timestamp.replace("Z", "+00:00"))) if timestamp else ""


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat()


def _iso_now() -> str:
    return datetime.now(timezone.utc).isoformat()
