"""Room for a task: the limits of Airflow that make it wait rightly, and when each of them was last used up.

A task waits rightly while its pool has too few open slots, its run or its task as many instances under way as may be,
or the executor is full. A limit that is free for a moment between two tasks is not gone: the wait is counted from when
it was last seen used up.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Capacity"]

_UNDER_WAY = ("queued", "running", "restarting")
_ENDLESS = -1


class Capacity:
    """The free slots at one look. ``full`` says when each limit was last seen used up; it is moved on, and kept.

    ``pools`` and ``dags`` are as the API lists them, ``active`` are the task instances that have not ended.
    """

    def __init__(  # noqa: PLR0913 - what the API told at one look
        self,
        pools: Sequence[Mapping[str, Any]],
        active: Sequence[Mapping[str, Any]],
        dags: Mapping[str, Mapping[str, Any]],
        full: dict[str, float],
        *,
        now: float,
        parallelism: int | None = None,
    ) -> None:
        self._pools = {str(pool.get("name")): pool for pool in pools}
        self._dags, self._before, self._now, self._parallelism = dags, full, now, parallelism
        under_way = [one for one in active if one.get("state") in _UNDER_WAY]
        self._all = len(under_way)
        self._of_run = Counter((one.get("dag_id"), one.get("dag_run_id")) for one in under_way)
        self._of_task = Counter((one.get("dag_id"), one.get("task_id")) for one in under_way)
        self.full: dict[str, float] = {}

    def free_since(self, one: Mapping[str, Any]) -> float:
        """Since when nothing hinders a scheduled task; now while something does, 0 when nothing ever did."""
        since = 0.0
        for limit, used_up in self._limits(one).items():
            if used_up:
                self.full[limit] = self._now
            elif limit in self._before:
                self.full[limit] = self._before[limit]
            since = max(since, self.full.get(limit, 0.0))
        return since

    def is_paused(self, one: Mapping[str, Any]) -> bool:
        """True if people have paused the task's DAG: then it waits because they want it to."""
        return bool(self._dags.get(one["dag_id"], {}).get("paused"))

    def words(self, one: Mapping[str, Any]) -> str:
        """The facts of the task's pool, or of its DAG's limit, that a person should know."""
        if (why := self._hopeless(one)) is not None:
            return why
        pool = self._pools.get(str(one["pool"]))
        if pool is None or int(pool["slots"]) == _ENDLESS:
            return ""
        return f"which has {pool['open_slots']} of {pool['slots']} slots open"

    def is_closed(self, one: Mapping[str, Any]) -> bool:
        """True if people have left no slots in the task's pool: then they may want it to wait."""
        pool = self._pools.get(str(one["pool"]))
        return pool is not None and int(pool["slots"]) == 0

    def _limits(self, one: Mapping[str, Any]) -> dict[str, bool]:
        """The limits that a task is under, by a name that others under them share, and whether each is used up."""
        dag_id, run_id = one["dag_id"], one["dag_run_id"]
        dag = self._dags.get(dag_id, {})
        most = dag.get("max_active_tasks")
        paused = {f"paused:{dag_id}": bool(dag.get("paused"))}
        if self._hopeless(one) is not None:
            return paused  # whether something else is full as well delays nothing
        return {
            **paused,
            **self._pool_limit(one),
            f"run:{dag_id}:{run_id}": most is not None and self._of_run[dag_id, run_id] >= int(most),
            # max_active_tis_per_dag is in no answer of the API: another instance that is under way speaks for it
            f"task:{dag_id}:{one['task_id']}": self._of_task[dag_id, one["task_id"]] > 0,
            "executor": self._parallelism is not None and self._all >= self._parallelism,
        }

    def _hopeless(self, one: Mapping[str, Any]) -> str | None:
        """The reason why it waits for ever, to be said after its pool's name; None where it may get its turn."""
        most = self._dags.get(one["dag_id"], {}).get("max_active_tasks")
        if most is not None and int(most) <= 0:
            return f"and its DAG allows no task to run (max_active_tasks is {most})"
        pool, need = self._pools.get(str(one["pool"])), int(one.get("pool_slots") or 1)
        if pool is None:
            return "which does not exist" if self._pools else None
        if int(pool["slots"]) == 0:
            return "which has no slots"
        return f"which has {pool['slots']} slots, and it needs {need}" if 0 < int(pool["slots"]) < need else None

    def _pool_limit(self, one: Mapping[str, Any]) -> dict[str, bool]:
        pool, need = self._pools.get(str(one["pool"])), int(one.get("pool_slots") or 1)
        if pool is None or int(pool["slots"]) == _ENDLESS:
            return {}
        return {f"pool:{pool['name']}:{need}": int(pool["open_slots"]) < need}
