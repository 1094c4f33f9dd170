"""The list of DAGs and what it says: gone, back, overdue, paused, or no longer parsed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from observability import causes
from observability.events import (
    DagAutoPaused,
    DagImportFailed,
    DagImportRepaired,
    DagReturned,
    DagRunOverdue,
    DagUnpaused,
    DagVanished,
    Identity,
)
from observability.timestamps import iso, utc
from observability.watch.facts import CERTAIN, SEEN, Fact, observed, seconds
from observability.watch.sources.airflow_api.components import BEATS_S
from observability.watch.sources.airflow_api.look import seen
from observability.watch.sources.airflow_api.rows import (
    DAY_S,
    LOOKBACK_S,
    OVERLAP_S,
    about_dag,
    is_draining,
    longest_unasked,
    mapping,
)
from observability.watch.sources.api import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.watch.sources.airflow_api.look import Look
    from observability.watch.sources.airflow_api.scene import Scene


__all__ = ["Dags"]

_UNKNOWN_S = 60.0
"""So long a DAG that is gone waits for Airflow's answer whether a person deleted it."""
_LIMITS = ("max_active_tasks", "max_consecutive_failed_dag_runs")


class Dags:
    """Compares the DAGs with those of the look before."""

    def __init__(self, look: Look) -> None:
        """``look`` is shared by all parts of a look."""
        self._look = look

    def listed(self, scene: Scene, now: float) -> Iterator[Fact]:
        """Find DAGs that are gone, back or overdue, and remember the others."""
        rows = list(self._look.api.pages("/dags", "dags", order_by="dag_id"))
        found = {one["dag_id"]: one for one in rows if isinstance(one.get("dag_id"), str)}
        before, turn = scene.dags, longest_unasked(scene.dags)
        missing = [name for name in before if name not in found] if self._look.are_whole(rows, "dag_id") else []
        listed = {name: about for name, about in before.items() if name not in missing}
        for dag_id in missing:
            was_deleted = partial(self._was_deleted, dag_id, now)
            deleted = self._look.questions.row(f"deletion of DAG {dag_id}", was_deleted, None)
            gone = float(before[dag_id].get("gone", now))
            if deleted is None and now - gone < _UNKNOWN_S:
                listed[dag_id] = {**before[dag_id], "gone": gone}
            if deleted or dag_id in listed:
                continue  # a person did it, who need not be notified; or it is not known yet
            file = before[dag_id].get("file")
            event = DagVanished(identity=self._look.identity({"dag_id": dag_id}), reason="no file contains it any more")
            yield seen(self._look, event, now, {"file": file})
        for dag_id in [name for name in found if name not in before and scene.slow_at]:
            yield seen(self._look, DagReturned(identity=Identity(dag_id=dag_id), reason="it is parsed again"), now)
        for dag_id, one in found.items():
            yield from self._look.one(f"next run of DAG {dag_id}", partial(self._overdue, one, scene, now))
            known = None if dag_id in turn else before.get(dag_id)
            ask = partial(self._known_dag, one, known, scene, now)
            listed[dag_id] = self._look.questions.row(f"DAG {dag_id}", ask, {}) or {
                **before.get(dag_id, {"paused": True})
            }
        scene.dags = self._look.dags = listed

    def _was_deleted(self, dag_id: str, now: float) -> bool:
        """Tell whether a person deleted a DAG that is gone: Airflow knows one whose file is gone, and marks it stale.

        Nobody may read in the event log about a DAG that Airflow does not know, so the log alone does not say it.
        """
        asked = {
            "event": "delete_dag",
            "dag_id": dag_id,
            "after": iso(now - DAY_S),
            "order_by": "event_log_id",
        }
        if any(True for _ in self._look.api.pages("/eventLogs", "event_logs", **asked)):
            return True
        return self._look.api.once(path_of("dags", dag_id)) is None

    def _overdue(self, one: dict[str, Any], scene: Scene, now: float) -> Iterator[Fact]:
        due, since = self._next_run(one, scene, now)
        limits = self._look.thresholds()
        most = limits.overdue + (
            limits.component_silent if self._look.scheduler_dozes else 0.0
        )  # first, whether it is dead
        if due and now - max(seconds(due), since) > most and self._has_room(one):
            reason = f"the run that was due at {str(due)[:19].replace('T', ' ')} UTC has not begun"
            overdue = DagRunOverdue(identity=self._look.identity({"dag_id": one["dag_id"]}), reason=reason)
            yield observed(overdue, time=now, certainty=SEEN, about=about_dag(one, self._look.environment))

    def _next_run(self, one: dict[str, Any], scene: Scene, now: float) -> tuple[str, float]:
        """The time at which the next run is due, and since when we know: a catch-up is late only from now on.

        Each parse moves the next run of a DAG without catch-up onwards, also while no scheduler begins any. The first
        one that was due after the scheduler's last sign of life stays the one that is awaited.
        """
        idle = one["is_paused"] or is_draining(one) or one.get("has_import_errors")
        due = "" if idle else str(one.get("next_dagrun_run_after") or "")
        known, since = scene.dags.get(one["dag_id"], {}).get("next", ("", now))
        beat = self._look.last_beat
        if due and known and beat is not None and beat + BEATS_S < seconds(known) <= now:
            return known, since
        return due, since if known == due else now

    def _has_room(self, one: dict[str, Any]) -> bool:
        """True if the DAG may begin another run: one that has as many as it may is not late."""
        most = one.get("max_active_runs") or 16
        counted = {"state": ["running", "queued"], "run_type": ["scheduled", "manual", "asset_triggered"], "limit": 1}
        asked = self._look.api.once(path_of("dags", one["dag_id"], "dagRuns"), **counted)
        active = mapping(asked) or {}
        return int(active.get("total_entries", 0)) < most

    def _known_dag(
        self, one: dict[str, Any], before: dict[str, Any] | None, scene: Scene, now: float
    ) -> dict[str, Any]:
        """The part of a DAG worth remembering; its params are asked for when it has changed or it is its turn."""
        known = {
            "file": one.get("relative_fileloc"),
            "paused": one["is_paused"],
            **about_dag(one, self._look.environment),
        }
        known |= {"draining": True} if is_draining(one) else {}
        known |= {name: one[name] for name in _LIMITS if one.get(name) is not None}
        known["next"] = self._next_run(one, scene, now)
        mark = [one.get("bundle_version"), one.get("last_expired"), known["tags"], one.get("timetable_summary")]
        if before is not None and before.get("mark") == mark:
            kept = {"deadlines": before.get("deadlines", []), "asked": before.get("asked", 0.0)}
            return {**known, "mark": mark, **kept}
        ask = partial(self._look.details, one["dag_id"])
        answer = self._look.questions.ask(f"details of DAG {one['dag_id']}", ask, None)
        if answer is None:
            kept = scene.dags.get(one["dag_id"], {})
            return {**known, "mark": None, "deadlines": kept.get("deadlines", []), "asked": 0.0}
        params = answer.get("params") or {}
        declared = params.get("contrail_deadlines") or {}
        deadlines = declared.get("value", []) if isinstance(declared, dict) else []
        return {**known, "mark": mark, "deadlines": deadlines, "asked": now}

    def imports(self, scene: Scene, now: float) -> Iterator[Fact]:
        """Find files that no longer parse, and those that do again."""
        listed = list(self._look.api.pages("/importErrors", "import_errors", order_by="id"))
        found = {one["filename"]: one for one in listed if isinstance(one.get("filename"), str)}
        for name, one in found.items():
            yield from self._look.one(f"import error of {name}", partial(self._import_error, name, one, scene))
        over = [name for name in scene.broken if name not in found] if self._look.are_whole(listed, "filename") else []
        for name in over:
            yield observed(DagImportRepaired(reason="the file parses again", file_path=name), time=now)
        kept = {name: since for name, since in scene.broken.items() if name not in over}
        scene.broken = kept | {name: str(one.get("timestamp")) for name, one in found.items()}

    def _import_error(self, name: str, one: dict[str, Any], scene: Scene) -> Iterator[Fact]:
        last = str(one["stack_trace"]).strip().rpartition("\n")[2]
        lost = [dag_id for dag_id, about in scene.dags.items() if about.get("file") == name]
        evidence = {"error.stack_trace": one["stack_trace"][-4000:], "affected": ", ".join(lost[:20])}
        event = DagImportFailed(
            identity=self._look.identity({"dag_id": lost[0]}) if lost else None,
            time=utc(seconds(one["timestamp"])),
            reason=last,
            stack_trace=causes.bounded_trace(str(one["stack_trace"])),
            file_path=name,
        )
        yield observed(
            event, time=seconds(one["timestamp"]), certainty=CERTAIN, evidence=evidence,
            about=self._look.about(lost[0]) if lost else {"env": self._look.environment},
        )  # fmt: skip

    def auto_paused(self, scene: Scene, now: float) -> Iterator[Fact]:
        """Airflow's own pausing stands in its event log as ``paused``; a person's stands there as ``patch_dag``."""
        newest = scene.paused_until
        since = scene.slow_at - OVERLAP_S if scene.slow_at else now - LOOKBACK_S
        for event in self._look.api.pages(
            "/eventLogs", "event_logs", event="paused", after=iso(since), order_by="event_log_id"
        ):
            number = self._look.questions.row("an event", lambda event=event: int(event["event_log_id"]), 0)  # type: ignore[misc]
            if number > scene.paused_until:
                newest = max(newest, number)
                yield from self._look.one(f"event {number}", partial(self._paused, event, scene))
        scene.paused_until = newest
        yield from self._unpaused(scene, now)

    def _paused(self, event: dict[str, Any], scene: Scene) -> Iterator[Fact]:
        limit = scene.dags.get(event["dag_id"], {}).get("max_consecutive_failed_dag_runs")
        counted = f"{limit} runs" if limit else "too many runs"
        paused = DagAutoPaused(
            identity=self._look.identity({"dag_id": event["dag_id"]}),
            time=utc(seconds(event["when"])),
            reason=f"{counted} failed in a row (max_consecutive_failed_dag_runs)",
        )
        when, evidence = seconds(event["when"]), {"failed_runs": limit} if limit else {}
        about = self._look.about(event["dag_id"])
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
                event = DagUnpaused(identity=self._look.identity({"dag_id": dag_id}), reason=why)
                yield observed(event, time=now)
