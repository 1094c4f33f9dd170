"""Drive Airflow through the demo by its REST API, and tell how far each run is."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from observability.demo.days import BAD_DAY, CLEAN_DAYS, LAST_DAY
from observability.local.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.local.api import Api

__all__ = ["DRILLS", "Chapter", "Scenario", "Snapshot"]

DRILLS = {
    "retry_then_success": "fails once, then succeeds",
    "exception": "fails for good",
    "sigkill": "killed by SIGKILL",
}
"""Drill of ``failure_drills`` → the demo's name for it."""

_DAGS = ("flights_daily", "flights_monthly", "failure_drills")
_ENDED = ("success", "failed")
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Chapter:
    """One run: what it shows, and how far it is."""

    title: str
    dag_id: str
    run_id: str
    state: str
    tasks: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All runs and task instances, as Airflow's API knows them."""

    runs: list[dict[str, Any]]
    tasks: list[dict[str, Any]]

    def chapters(self) -> list[Chapter]:
        """The runs with their titles: the days first, in order."""
        tasks: dict[tuple[str, str], Counter[str]] = {}
        for task in self.tasks:
            tasks.setdefault((task["dag_id"], task["dag_run_id"]), Counter())[task["state"] or "waiting"] += 1
        snapshot = [
            Chapter(
                _title(run),
                run["dag_id"],
                run["dag_run_id"],
                run["state"],
                tasks.get((run["dag_id"], run["dag_run_id"]), Counter()),
            )
            for run in self.runs
        ]
        return sorted(snapshot, key=lambda chapter: (_DAGS.index(chapter.dag_id), chapter.title))


class Scenario:
    """The demo's events in their order; ``show`` is told after each look at Airflow."""

    def __init__(self, api: Api, show: Callable[[Snapshot], None], *, patience_s: float) -> None:
        self._api = api
        self._show = show
        self._deadline = time.monotonic() + patience_s

    def play(self) -> Snapshot:
        """Set everything going and wait until the last run has ended in time. Raises :class:`PlatformError` if not."""
        self._await("its DAGs to be parsed", self._are_parsed)
        for drill in DRILLS:
            self._api.call(
                "POST", "/dags/failure_drills/dagRuns", json={"logical_date": None, "conf": {"drill": drill}}
            )
        self._pause("failure_drills", paused=False)
        self._pause("flights_daily", paused=False)
        # An update of the Asset counts for a DAG that is not paused: so the last day makes one run, not each day one.
        self._await("the first days", self._last_day_comes)
        self._pause("flights_monthly", paused=False)
        self._await("every run to end", self._is_over)
        self._pause(
            "flights_daily", paused=True
        )  # `contrail up` on this home shall show the demo, not load all of 2013
        return self._look()

    def _are_parsed(self) -> bool:
        known = {dag["dag_id"] for dag in self._api.pages("/dags", "dags")}
        if known.issuperset(_DAGS):
            return True
        errors = list(self._api.pages("/importErrors", "import_errors"))
        if errors:
            raise PlatformError(
                f"{errors[0]['filename']} does not parse: {errors[0]['stack_trace'].strip().splitlines()[-1]}"
            )
        return False

    def _pause(self, dag_id: str, *, paused: bool) -> None:
        self._api.call("PATCH", f"/dags/{dag_id}", json={"is_paused": paused})

    def _last_day_comes(self) -> bool:
        """True if all days but the last are loaded, or the last one is about to be."""
        done = [(task["task_id"], task["dag_run_id"]) for task in self._look().tasks if task["state"] == "success"]
        loaded = sum(task_id == "load" for task_id, _ in done)
        return loaded >= len(CLEAN_DAYS) or any(
            task_id == "transform" and LAST_DAY.isoformat() in run_id for task_id, run_id in done
        )

    def _is_over(self) -> bool:
        snapshot = self._look()
        states = Counter(run["dag_id"] for run in snapshot.runs)
        started = states["flights_daily"] == len(CLEAN_DAYS) + 1 and states["flights_monthly"] >= 1
        return started and all(run["state"] in _ENDED for run in snapshot.runs) and not self._is_queued()

    def _is_queued(self) -> bool:
        """True if an update of the Asset still waits to become a run."""
        try:
            return bool(self._api.call("GET", "/dags/flights_monthly/assets/queuedEvents")["total_entries"])
        except PlatformError as error:
            if ": 404 " in str(error):
                return False
            raise

    def _look(self) -> Snapshot:
        snapshot = Snapshot(
            list(self._api.pages("/dags/~/dagRuns", "dag_runs")),
            list(self._api.pages("/dags/~/dagRuns/~/taskInstances", "task_instances")),
        )
        self._show(snapshot)
        return snapshot

    def _await(self, what: str, holds: Callable[[], bool]) -> None:
        while not holds():
            if time.monotonic() > self._deadline:
                raise PlatformError(
                    f"the demo waited too long for {what}; look into its logs, or give it more time: --patience"
                )
            time.sleep(_LOOK_EVERY_S)


def _title(run: dict[str, Any]) -> str:
    if run["dag_id"] == "failure_drills":
        return DRILLS.get(str((run.get("conf") or {}).get("drill")), "drill")
    if run["dag_id"] == "flights_monthly":
        return "month to Parquet"
    day = str(run["logical_date"])[:10]
    return f"bad rows {day}" if day == BAD_DAY.isoformat() else f"clean day {day}"
