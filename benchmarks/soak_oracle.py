"""Compare a platform's pages and alerts with what Airflow's API and its own disk say happened, as sets."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.soak_numbers import Account, numbers
from benchmarks.soaking import LOOK_S, SILENT_S
from observability.catalog import DATASETS
from observability.local.keys import USER, password
from observability.settings import load_settings
from observability.store import Query, open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from benchmarks.soaking import Soaking
    from observability.local.api import Api
    from observability.store import Store

__all__ = ["Verdict", "resume", "settle", "verdict"]

_QUIET_S, _PATIENCE_S = 20.0, 240.0
_DAY_S = 86_400.0
_TILE = re.compile(r"<li class=\"\w+\"><b>([\d,.\s ]+)</b> ([^<]+)</li>")
_LIVE = ("queued", "running")
_DISPUTES = (
    b"Server indicated the task shouldn't be running anymore", b"Failed to report terminal task state",
    b"(Airflow could not be informed of it, and decides",
)  # fmt: skip
_BEGINS = b"::group::Pre Execute"
_WAITS_AGAIN = (b"Rescheduling task during startup", b"Pausing task as DEFERRED")

Attempt = tuple[str, str, str, int, int]
"""DAG, run, task, map index, try."""


@dataclass
class Verdict:
    """Faults by kind, each a sentence; how much was compared.

    ``disputed`` is no fault: the process said how its attempt ended, and Airflow, which had given it up or did not
    hear of it, decided otherwise. Both words are in the store, and a board may count both; pages take Airflow's.
    ``unheard`` is none either: metrics that were sent while the relay was being started again.
    """

    missed: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    disputed: list[str] = field(default_factory=list)
    unheard: list[str] = field(default_factory=list)
    compared: dict[str, int] = field(default_factory=dict)

    def faults(self) -> dict[str, list[str]]:
        """The faults by what they are called in a figure."""
        return {
            "missed": self.missed,
            "doubled": self.doubled,
            "false": self.false,
            "kept beyond the retention": self.kept,
        }

    def summary(self) -> str:
        """One line."""
        found = ", ".join(f"{len(faults)} {kind}" for kind, faults in self.faults().items())
        return f"{found}; {len(self.disputed)} disputed; compared {self.compared}"


def resume(api: Api) -> None:
    """Let every DAG run again after :func:`settle`."""
    for dag in list(api.pages("/dags", "dags")):
        api.call("PATCH", f"/dags/{dag['dag_id']}", json={"is_paused": False})


def settle(soaking: Soaking, api: Api) -> None:
    """Pause every DAG and wait until Airflow, the relay and the watcher have nothing left to do."""
    deadline = time.monotonic() + _PATIENCE_S
    _pause_between_runs(api, deadline)
    before: tuple[Any, ...] = ()
    quiet_since = time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - quiet_since < _QUIET_S:
        with _store(soaking) as store:
            now = (
                len(soaking.sent()),
                *(store.count(Query(name)).get("", 0) for name in DATASETS if "statsd" not in name),
            )
        if now != before:
            before, quiet_since = now, time.monotonic()
        time.sleep(2)


def _pause_between_runs(api: Api, deadline: float) -> None:
    """Pause each DAG when it has no live run: the scheduler starts no task of a paused DAG, so a run would stand still.

    A DAG that is never without one is paused at the end.
    """
    active = {dag["dag_id"] for dag in api.pages("/dags", "dags") if not dag["is_paused"]}
    while active:
        live = {run["dag_id"] for run in api.pages("/dags/~/dagRuns", "dag_runs", {"state": list(_LIVE)})}
        over = time.monotonic() > deadline
        for dag_id in list(active if over else active - live):
            api.call("PATCH", f"/dags/{dag_id}", json={"is_paused": True})
            active.discard(dag_id)
        time.sleep(1)


def verdict(soaking: Soaking, api: Api, since: float = 0.0) -> Verdict:
    """Compare what happened since ``since`` (seconds by the platform's clock) with what is stored, said and shown."""
    if broken := [one["filename"] for one in api.pages("/importErrors", "import_errors")]:
        raise RuntimeError(f"nothing was soaked: {', '.join(broken)} does not parse")
    found = Verdict()
    moment = datetime.fromtimestamp(since, timezone.utc) if since else None
    known = api.pages("/dags/~/dagRuns", "dag_runs")
    runs = [run for run in known if _at(run["start_date"]) >= since > 0 or not since]
    earlier = {(run["dag_id"], run["dag_run_id"]) for run in known} - {
        (run["dag_id"], run["dag_run_id"]) for run in runs
    }
    tasks = _tasks(api, {(run["dag_id"], run["dag_run_id"]) for run in runs})
    with _store(soaking) as store:
        stored = store.documents(Query("etl.event", since=moment))
        events = [one for one in stored if (one.get("airflow.dag_id"), one.get("airflow.run_id")) not in earlier]
        alerts = list(store.documents(Query("contrail.alert", since=moment)))
        _compare_attempts(found, tasks, events, soaking.layout.log_folder)
        _compare_runs(found, runs, events)
        _compare_lines(found, soaking.layout.log_folder, store, since - soaking.shift_s if since else 0.0, moment)
        _compare_canary(found, runs, tasks, events, soaking.layout.log_folder)
        logs = soaking.layout.log_folder
        begun = [one for one in tasks if _has_begun(_path_of(logs, _attempt_of_task(one)))]
        account = Account(runs, tasks, begun, len(found.disputed), since or soaking.began, soaking.now)
        _compare_numbers(found, soaking, store, account)
        if since:
            _compare_retention(found, store, since)
    _compare_messages(found, api.pages("/dags/~/dagRuns", "dag_runs"), soaking.sent())  # a streak outlasts midnight
    _compare_components(found, alerts, soaking)
    _compare_page(found, soaking, tasks)
    return found


class _store:  # noqa: N801 - reads as a function
    def __init__(self, soaking: Soaking) -> None:
        self._store = open_store(load_settings(environ=soaking.environment))

    def __enter__(self) -> Store:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def _tasks(api: Api, runs: set[tuple[str, str]]) -> list[dict[str, Any]]:
    found = api.pages("/dags/~/dagRuns/~/taskInstances", "task_instances", {"order_by": "id"})
    return [one for one in found if (one["dag_id"], one["dag_run_id"]) in runs]


def _compare_attempts(found: Verdict, tasks: list[dict[str, Any]], events: list[dict[str, Any]], logs: Path) -> None:
    """Each attempt that Airflow knows has one event that says how it ended, and no other has one."""
    failed = {_attempt_of_task(one) for one in tasks if one["state"] == "failed"}
    told: dict[Attempt, Counter[str]] = defaultdict(Counter)
    for event in events:
        action = event["event.action"]
        if action.startswith("task.") and action != "task.started" and "canary.probe" not in event:
            told[_attempt_of(event)][action] += 1
    expected = _ends(tasks)
    for attempt, actions in expected.items():
        mine = told.get(attempt, Counter())
        must = attempt in failed or _has_begun(_path_of(logs, attempt))
        if must and not actions & set(mine):
            found.missed.append(f"{attempt} should have one of {sorted(actions)}, has {dict(mine)}")
        if wrong := set(mine) - actions - {"task.killed"}:
            kind = found.disputed if _is_disputed(_path_of(logs, attempt)) else found.false
            kind.append(f"{attempt} ended with {sorted(actions)} and has {sorted(wrong)}")
    for attempt, mine in told.items():
        found.doubled += [f"{attempt} has {action} {number} times" for action, number in mine.items() if number > 1]
        if attempt not in expected:
            found.false.append(f"{attempt} has {dict(mine)}, and Airflow knows no such end")
    found.compared["attempts"] = len(expected)


def _ends(tasks: list[dict[str, Any]]) -> dict[Attempt, set[str]]:
    """Each attempt that has ended, with the kinds of event of which it must have one if it began.

    When a scheduler is killed, Airflow gives what it had queued the next number, so that some attempts never began.
    """
    ends = {"success": {"task.succeeded"}, "failed": {"task.failed"}, "skipped": {"task.skipped", "task.killed"}}
    expected: dict[Attempt, set[str]] = {}
    for one in tasks:
        dag_id, run_id, task_id, map_index, last = _attempt_of_task(one)
        for attempt in range(1, last):
            expected[dag_id, run_id, task_id, map_index, attempt] = {"task.retried", "task.killed"}
        if one["state"] in ends and last > 0:
            expected[dag_id, run_id, task_id, map_index, last] = ends[one["state"]]
    return expected


def _path_of(logs: Path, attempt: Attempt) -> Path:
    """The log of an attempt, by Airflow's own template."""
    dag_id, run_id, task_id, map_index, number = attempt
    folder = logs / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
    if map_index >= 0:
        folder /= f"map_index={map_index}"
    return folder / f"attempt={number}.log"


def _has_begun(log: Path) -> bool:
    """True where the attempt's last process came further than its first line, with which it asks what it is to run.

    An attempt has a process for each time that Airflow starts it. One that found no DAG is put back, and one that was
    deferred waits: such an attempt may get its next number meanwhile, and has not ended under this one.
    """
    if not log.exists():
        return False
    said = log.read_bytes()
    last = said[max(0, said.rfind(_BEGINS)) :]
    return last.count(b"\n") > 1 and not any(words in last for words in _WAITS_AGAIN)


def _is_disputed(log: Path) -> bool:
    """True where Airflow's own lines say that it and the attempt's process did not agree how the attempt ended.

    Airflow had given the attempt up while its process still ran, or the process could not report the end.
    """
    return log.exists() and any(words in log.read_bytes() for words in _DISPUTES)


def _attempt_of_task(task: dict[str, Any]) -> Attempt:
    return task["dag_id"], task["dag_run_id"], task["task_id"], task["map_index"], task["try_number"]


def _attempt_of(event: dict[str, Any]) -> Attempt:
    return (
        str(event.get("airflow.dag_id")), str(event.get("airflow.run_id")), str(event.get("airflow.task_id")),
        int(event.get("airflow.map_index", -1)), int(event.get("airflow.try_number", 0)),
    )  # fmt: skip


def _compare_runs(found: Verdict, runs: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    told = Counter(
        (event["airflow.dag_id"], event["airflow.run_id"], event["event.action"])
        for event in events
        if event["event.action"] in {"dag_run.succeeded", "dag_run.failed"} and "canary.probe" not in event
    )
    ends = {"success": "dag_run.succeeded", "failed": "dag_run.failed"}
    expected = {(run["dag_id"], run["dag_run_id"], ends[run["state"]]) for run in runs if run["state"] in ends}
    found.missed += [f"run {run}" for run in expected - set(told)]
    found.false += [f"run {run}" for run in set(told) - expected]
    found.doubled += [f"run {run} {number} times" for run, number in told.items() if number > 1]
    found.compared["runs"] = len(expected)


def _compare_numbers(found: Verdict, soaking: Soaking, store: Store, account: Account) -> None:
    """The boards' and the metrics' counts of runs and tasks by outcome.

    What a task sent by UDP while a relay was being started again nobody received: then a metric may have fewer.
    """
    deaf = account.since == soaking.began and any(fault.endswith(" relay") for fault in soaking.faults)
    seen = list(numbers(store, account))
    for one in [one for one in seen if one.fault]:
        if one.shown > one.most:
            found.false.append(one.fault)
        else:
            (found.unheard if deaf and one.where.startswith("metric") else found.missed).append(one.fault)
    found.compared["numbers of boards and metrics"] = len(seen)


def _compare_lines(found: Verdict, folder: Path, store: Store, since: float, moment: datetime | None) -> None:
    """Each line of each task's log is stored once; ``since`` is by the real clock, as the files' times are here.

    A trigger that runs again truncates its log: then the store has more than the file, each line at a place of its own.
    """
    stored: Counter[str] = Counter()
    places: Counter[tuple[str, int]] = Counter()
    for document in store.documents(Query("airflow.task", since=moment)):
        path = str(document["log.file.path"])
        stored[path] += not document.get("log.part")
        places[path, int(document["offset"])] += 1
    found.doubled += [f"line at {place} {number} times" for place, number in places.items() if number > 1]
    written = {}
    for log in folder.glob("dag_id=*/**/*.log"):
        if log.stat().st_mtime >= since:
            with log.open("rb") as file:
                written[str(log.relative_to(folder))] = sum(1 for line in file if line.strip())
    by_end = {_relative(path, folder): number for path, number in stored.items()}
    for name, number in written.items():
        there = by_end.get(name, 0)
        if there < number:
            found.missed.append(f"{number - there} of {number} lines of {name}")
        elif there > number and ".trigger." not in name:
            found.doubled.append(f"{there - number} lines of {name}")
    found.compared["lines"] = sum(written.values())


def _relative(path: str, folder: Path) -> str:
    return path.removeprefix(f"{folder}/")


def _compare_canary(
    found: Verdict, runs: list[dict[str, Any]], tasks: list[dict[str, Any]], events: list[dict[str, Any]], logs: Path
) -> None:
    """Each round of the canary finds what it sent, unless Airflow itself ended the run before its tasks were done."""
    own = [run for run in runs if run["dag_id"] == "canary"]
    failed = [_attempt_of_task(task) for task in tasks if task["dag_id"] == "canary" and task["state"] == "failed"]
    broken = [one for one in failed if b'"level":"error"' in _path_of(logs, one).read_bytes()]
    found.missed += [f"canary round {run_id} failed in {task_id}" for _, run_id, task_id, *_ in broken]
    rounds = [run for run in own if run["state"] == "success"]
    actions = Counter(event["event.action"] for event in events if "canary.probe" not in event)
    if actions["canary.missing"]:
        found.false.append(f"{actions['canary.missing']} rounds of the canary were told missing")
    if actions["canary.verified"] < len(rounds):
        found.missed.append(f"{actions['canary.verified']} of {len(rounds)} rounds of the canary were verified")
    found.compared |= {"canary rounds": len(rounds), "canary rounds that Airflow cut short": len(own) - len(rounds)}


def _compare_retention(found: Verdict, store: Store, since: float) -> None:
    """Nothing of the first day's logs is left: it is older than the retention of one day."""
    old = datetime.fromtimestamp(since - _DAY_S, timezone.utc)
    for dataset in ("airflow.task", "airflow.component", "airflow.statsd"):
        if number := store.count(Query(dataset, until=old)).get("", 0):
            found.kept.append(f"{number} documents of {dataset} from before {old}")


def _compare_messages(found: Verdict, known: Iterable[dict[str, Any]], sent: list[dict[str, Any]]) -> None:
    """A DAG that fails is told once for each time that it begins to fail, and again when its error is another.

    Who is fine is never told of.
    """
    runs = list(known)
    failures = [one for one in sent if one["kind"] == "opened" and one["cause"] != "deadline"]
    opened = Counter(str(one["dag_id"]) for one in failures)
    errors: dict[str, set[str]] = defaultdict(set)
    for one in failures:
        errors[str(one["dag_id"])].add(re.sub(r"\d+|[0-9a-f]{8,}|scheduled__\S+", "", str(one["summary"])))
    by_dag: dict[str, list[str]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: str(run["start_date"])):
        by_dag[run["dag_id"]].append(run["state"])
    for dag_id, states in by_dag.items():
        begun = sum(
            state == "failed" and before != "failed" for before, state in zip(["", *states], states, strict=False)
        )
        if opened[dag_id] < begun:
            found.missed.append(f"{dag_id} began to fail {begun} times and was told {opened[dag_id]} times: {states}")
        elif opened[dag_id] > begun + max(0, len(errors[dag_id]) - 1):
            kind = found.doubled if begun else found.false
            kind.append(f"{dag_id} began to fail {begun} times and was told {opened[dag_id]} times: {states}")
    late = Counter(one["run_id"] for one in sent if one["kind"] == "opened" and one["cause"] == "deadline")
    expected = {run["dag_run_id"] for run in runs if run["dag_id"].startswith("late_")}
    told = {one["run_id"] for one in sent if one["cause"] == "deadline" and str(one["dag_id"]).startswith("late_")}
    found.missed += [f"the deadline of {run} was missed, and nobody was told" for run in expected - told]
    found.false += [f"the deadline of {run} was not missed" for run in set(late) - expected]
    found.compared["messages"] = len(sent)


def _compare_components(found: Verdict, alerts: list[dict[str, Any]], soaking: Soaking) -> None:
    """Only a component is reported silent that was so for Airflow, which is asked each few seconds, or itself away."""
    silent = [one for one in alerts if one["event.action"] == "component.silent" and "canary.probe" not in one]
    for one in silent:
        name = str(one["airflow.component"])
        if soaking.silent_s.get(name, 0.0) < SILENT_S - LOOK_S:
            found.false.append(f"{name} was told silent: {one.get('event.reason')}")
    found.compared["silent components"] = len(silent)


def _compare_page(found: Verdict, soaking: Soaking, tasks: list[dict[str, Any]]) -> None:
    """The tiles of the first page, by the page itself."""
    with httpx.Client(base_url=soaking.url, timeout=60) as browser:
        body = {"username": USER, "password": password(soaking.layout)}
        token = browser.post("/auth/token", json=body).raise_for_status().json()["access_token"]
        page = browser.get("/contrail/", headers={"Authorization": f"Bearer {token}"}, follow_redirects=True)
    tiles = {name: int(re.sub(r"\D", "", number)) for number, name in _TILE.findall(page.raise_for_status().text)}
    last = {(one["dag_id"], one["task_id"], one["map_index"]): one["state"] for one in _in_order(tasks)}
    expected = {
        "tasks failed": sum(one["state"] == "failed" for one in tasks),
        "failing now": sum(state == "failed" for state in last.values()),
        "silent components": 0,
        "observations lost": 0,
    }
    for name, number in expected.items():
        shown, most = tiles.get(name), number + (len(found.disputed) if name == "tasks failed" else 0)
        if shown is None or shown < number:
            found.missed.append(f"the first page shows {shown} {name}, Airflow has {number}")
        elif shown > most:
            found.false.append(f"the first page shows {shown} {name}, Airflow has {number}")
    found.compared["tiles"] = len(expected)


def _in_order(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    ended = [one for one in tasks if one["state"] in {"success", "failed"}]
    yield from sorted(ended, key=lambda one: str(one["end_date"]))


def _at(moment: str | None) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() if moment else 0.0
