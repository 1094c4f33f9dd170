"""Deeds of people on runs and tasks that failed, are late or under way: set, cleared or deleted.

Airflow's state says that it is so, and its event log who did it. A deed in the log is looked into at once. For what
leaves no trace there (the database), each run that is still open in the ledger is asked about in turn. A request
that Airflow refused stands in the log as well: nobody is named for it.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from observability.events import task_name
from observability.watch.facts import Fact, Status
from observability.watch.sources.api import path_of
from observability.watch.sources.carried_out import is_judged, may_be_done

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from observability.watch.sources.api import AirflowApi
    from observability.watch.sources.isolation import Questions

__all__ = ["OpenRun", "UserActions"]

_DEEDS = {
    "delete_dag_run": "deleted", "delete_dag": "deleted", "delete_task_instance": "deleted",
    "bulk_dag_runs": "changed", "bulk_task_instances": "changed",
    "patch_dag_run": "set", "patch_task_instance": "set", "patch_task_group_instances": "set",
    "clear_dag_run": "cleared", "clear_dag_runs": "cleared", "post_clear_task_instances": "cleared",
}  # fmt: skip
_IN_TURN = 10
"""Runs that are asked about at each slow look without a deed: a hundred take two and a half minutes."""
_UNSIGNED_S = 15.0
"""So long an end of which no deed is known waits for Airflow's event log to say who it was.

Nobody may read in it about a DAG that Airflow does not know: after a deletion, when the DAG's file is parsed again.
"""
_DEEDS_MOST = 500
_ASKED_EACH = 5
_JUDGED_MOST = 5
"""The newest requests about a run of which Airflow is asked whether it carried them out."""
_SLASH = "/"
_MEMBER = re.compile(r"(?P<task_id>[^\[]+)\[(?P<index>\d+)?(?:, )?(?:iteration (?P<iteration>\d+))?\]")


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that is open in the ledger.

    ``members`` are its tasks that are known as failed, as :func:`observability.events.task_name` names them; ``tries``
    is the highest attempt of them. Without a ``run_id`` it is a DAG that is known to be gone.
    """

    dag_id: str
    run_id: str = ""
    members: tuple[str, ...] = ()
    tries: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """DAG and run."""
        return self.dag_id, self.run_id


@dataclass
class UserActions:
    """Asks ``api`` about open runs, and remembers about which, so that each has its turn."""

    api: AirflowApi
    questions: Questions
    _asked: dict[tuple[str, str], int] = field(default_factory=dict)
    _unsigned: dict[tuple[str, str], float] = field(default_factory=dict)
    _turn: int = 0

    def did(self, known: Sequence[OpenRun], *, after: str, now: float, in_turn: bool) -> Iterator[Fact]:
        """Facts about what is no longer as the ledger has it; ``after`` is where the event log is read from."""
        if not known:
            return
        asked = {"included_events": sorted(_DEEDS), "after": after, "order_by": "-event_log_id"}
        listed = self.api.pages("/eventLogs", "event_logs", **asked)
        none: list[Fact] = []
        unread: list[dict[str, Any]] = []
        deeds = self.questions.ask("deeds of people", lambda: list(itertools.islice(listed, _DEEDS_MOST)), unread)
        self._unsigned = {one.key: since for one in known if (since := self._unsigned.get(one.key)) is not None}
        waited = [one for one in known if now - self._unsigned.get(one.key, now) >= _UNSIGNED_S][:_IN_TURN]
        touched = [one for one in known if any(_concerns(deed, one) for deed in deeds)]
        for one in dict.fromkeys((*touched, *waited, *(self._next(known) if in_turn else ()))):
            mine = [deed for deed in deeds if _concerns(deed, one)]
            ask = partial(_facts, self.api, one, mine, now)
            found = self.questions.ask(f"what became of {one.dag_id} {one.run_id}".rstrip(), ask, none)
            is_signed = all(" by " in fact.reason for fact in found)
            if not is_signed and now - self._unsigned.setdefault(one.key, now) < _UNSIGNED_S:
                continue
            self._unsigned.pop(one.key, None)
            yield from found

    def _next(self, known: Sequence[OpenRun]) -> list[OpenRun]:
        """Those that were asked about longest ago."""
        self._turn += 1
        self._asked = {one.key: turn for one in known if (turn := self._asked.get(one.key))}
        chosen = sorted(known, key=lambda one: self._asked.get(one.key, 0))[:_IN_TURN]
        self._asked |= {one.key: self._turn for one in chosen}
        return chosen


def _facts(api: AirflowApi, one: OpenRun, deeds: list[dict[str, Any]], now: float) -> list[Fact]:
    return list(_look(api, one, _done(api, deeds), now))


def _done(api: AirflowApi, deeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The deeds, newest first, without requests that were refused, and older ones than can be asked about."""
    found, asked = [], 0
    for deed in deeds:
        asked += is_judged(deed)
        if asked > _JUDGED_MOST:
            break
        if may_be_done(api, deed):
            found.append(deed)
    return found


def _look(api: AirflowApi, one: OpenRun, deeds: list[dict[str, Any]], now: float) -> Iterator[Fact]:
    """Facts about a run that differ from what is known."""
    if not one.run_id:
        if api.once(path_of("dags", one.dag_id)) is None:
            gone = _fact(one, "withdrawn", now, f"the DAG was deleted{_by(deeds, 'deleted', 'changed')}")
            yield replace(gone, kind="dag")
        return
    if _SLASH in one.run_id:
        return  # Airflow's own routes end at a slash, quoted or not: it cannot be asked about this run
    path = path_of("dags", one.dag_id, "dagRuns", one.run_id)
    run = api.once(path)
    if run is None:
        what = "the DAG" if any(deed.get("event") == "delete_dag" for deed in deeds) else f"run {one.run_id}"
        yield _fact(one, "withdrawn", now, f"{what} was deleted{_by(deeds, 'deleted', 'changed')}")
        return
    state, set_by = run.get("state"), [deed for deed in deeds if _sets_run(deed)]
    found = list(_members(api, path, one, deeds, now)) if one.members else []
    if state == "success" and set_by and (not one.members or len(found) < len(one.members)):
        yield _fact(one, "withdrawn", now, f"run {one.run_id} was set to success{_by(set_by, 'set', 'changed')}")
    elif one.members:
        yield from found
    elif state != "failed" and (by := _by((deed for deed in deeds if _names(deed, one)), "cleared")):
        yield _fact(one, "cleared", now, f"it was cleared{by}")  # it ran again before it was looked at


def _members(api: AirflowApi, path: str, one: OpenRun, deeds: list[dict[str, Any]], now: float) -> Iterator[Fact]:
    """Facts about the failed tasks of a run that still exists."""
    listed = api.pages(f"{path}/taskInstances", "task_instances", state=["failed"], order_by="id")
    failed = {_name(task) for task in listed}
    gone = [member for member in one.members if member not in failed]
    said: tuple[Status, str] | None = None
    for number, member in enumerate(gone):
        if number < _ASKED_EACH or said is None:
            said = _verdict(_instance(api, path, member), one, deeds)
        if said is not None:
            yield _fact(one, said[0], now, f"{member} {said[1]}", member)


def _verdict(task: dict[str, Any] | None, one: OpenRun, deeds: list[dict[str, Any]]) -> tuple[Status, str] | None:
    """The state now of a task that is known as failed, in words; None: it ran again by itself, and tells of itself."""
    if task is None:
        return "withdrawn", f"was deleted{_by(deeds, 'deleted', 'changed')}"
    state, again = task.get("state"), int(task.get("try_number") or 0) > one.tries > 0
    if state == "success" and again:
        by = _by(deeds, "cleared")
        return ("cleared", f"was cleared{by}") if by else None
    if state in {"success", "skipped"}:
        return "withdrawn", f"was set to {state}{_by(deeds, 'set', 'changed')}"
    if state == "removed":
        is_mapped = int(task.get("map_index", -1)) >= 0
        why = "the DAG no longer has it, or maps it to fewer" if is_mapped else "the DAG no longer has it"
        return "withdrawn", f"was taken out of the run by Airflow: {why}"
    if state == "upstream_failed":
        return "withdrawn", "was not run again by Airflow: a task before it failed"
    return "cleared", f"was cleared{_by(deeds, 'cleared', 'changed')}"


def _instance(api: AirflowApi, path: str, member: str) -> dict[str, Any] | None:
    """The present state of a task that is listed as failed; None where there is no such thing any more."""
    task_id, index, iteration = _parts(member)
    if iteration is None:
        return cast("dict[str, Any] | None", api.once(f"{path}{path_of('taskInstances', task_id, *index)}"))
    listed = api.pages(f"{path}/taskInstances", "task_instances", task_id=task_id, order_by="id")
    return next((task for task in listed if _name(task) == member), None)


def _parts(member: str) -> tuple[str, tuple[int, ...], str | None]:
    """Task, map index where there is one, and iteration of a task as an incident lists it."""
    found = _MEMBER.fullmatch(member)
    if found is None:
        return member, (), None
    return found["task_id"], (int(found["index"]),) if found["index"] else (), found["iteration"]


def _fact(one: OpenRun, status: Status, now: float, reason: str, member: str = "") -> Fact:
    task_id, index, iteration = _parts(member)
    return Fact(
        kind="task" if member else "run", status=status, time=now, reason=reason, dag_id=one.dag_id,
        run_id=one.run_id or None, task_id=task_id or None, map_index=index[0] if index else -1, iteration=iteration,
    )  # fmt: skip


def _by(deeds: Iterable[dict[str, Any]], *kinds: str) -> str:
    """`` by ann``, where the newest of such deeds says who; else nothing."""
    for deed in deeds:
        if _DEEDS.get(str(deed.get("event"))) in kinds:
            return f" by {deed['owner']}" if deed.get("owner") else " by a person"
    return ""


def _sets_run(deed: dict[str, Any]) -> bool:
    """Tell whether a person set a run to success: a note that is written on it is logged under the same name."""
    return deed.get("event") in {"patch_dag_run", "bulk_dag_runs"} and '"success"' in str(deed.get("extra"))


def _names(deed: dict[str, Any], one: OpenRun) -> bool:
    """Tell whether a deed is surely about a run; the row of clearing has it in the body of the request alone."""
    return one.run_id in (deed.get("run_id"), _body(deed).get("dag_run_id"))


def _body(deed: dict[str, Any]) -> dict[str, Any]:
    """The body of the request that Airflow logged, as far as it is one."""
    try:
        body = json.loads(str(deed.get("extra")))
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _concerns(deed: dict[str, Any], one: OpenRun) -> bool:
    """Tell whether a deed may be about a run: one about several names neither DAG nor run."""
    if deed.get("dag_id") not in (None, "~", one.dag_id):  # an odd answer has a list there
        return False
    return deed.get("run_id") in (None, "~", one.run_id) or not one.run_id


def _name(task: dict[str, Any]) -> str:
    loop = task.get("loop_iteration")
    return task_name(task["task_id"], task.get("map_index", -1), str(loop["iteration"]) if loop else None)
