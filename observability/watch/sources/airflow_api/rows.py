"""The rows of Airflow's answers, read one by one: their names, times and places; what cannot be understood raises."""

from __future__ import annotations

import heapq
from types import NoneType
from typing import TYPE_CHECKING, Any

from observability.durations import lasting
from observability.events import (
    base_iteration,
    moment,
)
from observability.timestamps import parsed
from observability.watch.facts import SEEN, Fact, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = [
    "DAY_S",
    "LOOKBACK_S",
    "MOST_REMEMBERED",
    "NONE",
    "OVERLAP_S",
    "RUNS",
    "STUCK",
    "TASKS",
    "UNEXPLAINED",
    "about_dag",
    "dag_version",
    "is_about",
    "is_draining",
    "is_instance",
    "is_settled",
    "longest_unasked",
    "loop_of",
    "mapping",
    "moment_of",
    "name_of",
    "remembered",
    "sound",
    "wait_in_words",
    "waited_since",
    "with_loops",
]

OVERLAP_S = 30.0
LOOKBACK_S = 300.0
_ASKED_AGAIN = 10
"""DAGs whose params are asked for at each slow look, in turn: a hundred DAGs take two and a half minutes."""
DAY_S = 86_400.0
MOST_REMEMBERED = 2000
_QUEUE = "default"
UNEXPLAINED = "it failed, and Airflow's answers do not say why"
NONE: list[Fact] = []
_NAMES = ("dag_id", "run_id", "task_id", "iteration", "loop_id", "region_id", "ti_id", "subject", "reason")
TASKS = "/dags/~/dagRuns/~/taskInstances"
RUNS = "/dags/~/dagRuns"
STUCK = ("dag_id", "dag_run_id", "task_id", "map_index", "try_number", "pool")
_IN_LOOP = ("loop_iteration", "region_id", "id")


def sound(fact: Fact) -> list[Fact]:
    """The fact, if each of its names is a text. Raises TypeError: a ledger cannot keep what an odd answer named so."""
    for name in _NAMES:
        if not isinstance(getattr(fact, name), (str, NoneType)):
            raise TypeError(f"{name} is {str(getattr(fact, name))[:50]}")
    for name in ("map_index", "try_number"):
        if not isinstance(getattr(fact, name), (int, NoneType)):
            raise TypeError(f"{name} is {str(getattr(fact, name))[:50]}")
    return [fact]


def mapping(answer: Any) -> dict[str, Any] | None:
    """An answer that must be an object. Raises TypeError."""
    if answer is not None and not isinstance(answer, dict):
        raise TypeError(f"an object was asked for, and a {type(answer).__name__} came")
    return answer


def name_of(one: dict[str, Any]) -> str:
    """The subject of a row of a listing, for people and for counting."""
    names = ("dag_id", "dag_run_id", "task_id", "map_index", "try_number")
    said = [str(one[name]) for name in names if one.get(name) not in (None, -1)]
    if (iteration := loop_of(one).get("iteration")) is not None:
        said.append(f"iteration {iteration}")
    return " ".join(said)


def loop_of(one: dict[str, Any]) -> dict[str, Any]:
    """The place of a row of the API in a task loop (Airflow 3.4); nothing outside one."""
    if not isinstance(loop := one.get("loop_iteration"), dict):
        return {}
    return {
        "iteration": str(loop["iteration"]),
        "loop_id": str(loop["loop_id"]),
        "region_id": one.get("region_id"),
        "ti_id": one.get("id"),
    }


def is_instance(one: dict[str, Any], fact: Fact) -> bool:
    """Tell whether a row is about the attempt of a task loop that a fact is about."""
    if fact.ti_id is not None:
        return str(one.get("id")) == fact.ti_id
    same = (one.get("map_index"), one.get("try_number")) == (fact.map_index, fact.try_number)
    return same and base_iteration(loop_of(one).get("iteration")) == base_iteration(fact.iteration)


def dag_version(one: dict[str, Any]) -> int | None:
    """The version of the DAG: that of a task's row, or the first of the several that a run's row may have."""
    found = one.get("dag_version") or next(iter(one.get("dag_versions") or ()), None)
    number = found.get("version_number") if isinstance(found, dict) else None
    return number if isinstance(number, int) else None


def remembered(one: dict[str, Any]) -> list[Any]:
    """The part of a waiting task that a scene keeps."""
    return [*(one[name] for name in STUCK), {name: one[name] for name in _IN_LOOP if one.get(name)}]


def with_loops(stuck: dict[str, list[Any]]) -> Iterator[tuple[str, list[Any]]]:
    """The stuck tasks of a scene; those that an older version remembered know of no loop."""
    for key, values in stuck.items():
        yield key, values if len(values) > len(STUCK) else [*values, {}]


def waited_since(one: dict[str, Any], since: str, now: float) -> float:
    """The wait of a task's row; a row without what a fact needs is distinguished from one that is whole."""
    for name in ("dag_id", "dag_run_id", "task_id", "map_index", "try_number", "pool"):
        one[name]
    return now - seconds(since)


def is_about(event: dict[str, Any], one: dict[str, Any]) -> bool:
    """True if an event is about this attempt, or about the whole run."""
    if (event.get("dag_id"), event.get("run_id")) != (one["dag_id"], one["dag_run_id"]):
        return False
    return event.get("task_id") in (None, one.get("task_id"))


def is_settled(fact: Fact) -> bool:
    """True if there is nothing more to find out: who failed it by hand is worth a second look."""
    if fact.status != "firing":
        return False
    return "reconciler" in fact.provider or (fact.certainty >= SEEN and fact.cause != "cancelled")


def about_dag(one: dict[str, Any], environment: str) -> dict[str, Any]:
    """Return what rules match by, from a row of the list of DAGs."""
    owners = one.get("owners") or []
    return {"owner": ",".join(owners), "tags": [tag["name"] for tag in one.get("tags") or []], "env": environment}


def is_draining(one: dict[str, Any]) -> bool:
    """True if a DAG begins no run any more, and ends those that it has begun (Airflow 3.4)."""
    return one.get("scheduling_state") == "draining" or bool(one.get("is_draining"))


def wait_in_words(one: dict[str, Any], waited: float, pool: str) -> str:
    """Say how long a task has waited; ``pool`` says more about its limits."""
    queue = str(one.get("queue") or _QUEUE) if one["state"] == "queued" else _QUEUE
    where = "" if queue == _QUEUE else f" and queue {queue}"
    said = f"it has been {one['state']} for {lasting(waited)} in pool {one['pool']}{where}"
    return f"{said}, {pool}" if pool else said


def longest_unasked(dags: dict[str, dict[str, Any]]) -> set[str]:
    """The DAGs whose params were asked for longest ago: the listing does not tell when only those have changed."""
    return set(heapq.nsmallest(_ASKED_AGAIN, dags, key=lambda name: float(dags[name].get("asked", 0))))


def moment_of(timestamp: str | None) -> str:
    """The key of one end of a run, as :func:`observability.events.moment` writes it."""
    return moment(parsed(timestamp)) if timestamp else ""
