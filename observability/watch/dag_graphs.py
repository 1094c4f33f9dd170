"""Ask Airflow which tasks follow which, in a thread, for the DAGs whose runs are foreseen."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from observability.watch.sources.api import ApiError, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.watch.sources.api import AirflowApi

__all__ = ["DagGraphs", "Graphs"]

_AGAIN_S = 3600.0
"""A graph is asked for again after this, because a DAG may have changed."""
_POLL_S = 0.5


class Graphs(Protocol):
    """Tells which tasks of a DAG follow which."""

    def graph_of(self, dag_id: str) -> tuple[bool, Mapping[str, set[str]] | None]:
        """True with the graph if it is known, None for one that cannot be told; False while it is asked for."""
        ...


class DagGraphs(threading.Thread):
    """The graphs that were asked for; :meth:`graph_of` never waits."""

    def __init__(self, api: AirflowApi) -> None:
        super().__init__(name="dag-graphs", daemon=True)
        self._api = api
        self._over = threading.Event()
        self._wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._known: dict[str, tuple[float, Mapping[str, set[str]] | None]] = {}
        self._asked: dict[str, float] = {}

    def stop(self) -> None:
        """End after the request that is under way."""
        self._over.set()

    def graph_of(self, dag_id: str) -> tuple[bool, Mapping[str, set[str]] | None]:
        """True with the graph if the answer is here, None for one that Airflow cannot tell; False while it is asked."""
        now = time.monotonic()
        known = self._known.get(dag_id)
        if (known is None or now - known[0] > _AGAIN_S) and now - self._asked.get(dag_id, -_AGAIN_S) >= _AGAIN_S:
            self._asked[dag_id] = now
            self._wanted.put(dag_id)
        return (False, None) if known is None else (True, known[1])

    def run(self) -> None:
        """The thread."""
        while not self._over.is_set():
            try:
                dag_id = self._wanted.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            self._known[dag_id] = (time.monotonic(), self._ask(dag_id))
        self._api.close()

    def _ask(self, dag_id: str) -> Mapping[str, set[str]] | None:
        try:
            answer = self._api.get(path_of("dags", dag_id, "tasks"))
            return _graph(answer)
        except (ApiError, AttributeError, KeyError, TypeError, ValueError) as error:
            said = "the tasks of a DAG cannot be had; its graph is inferred from its runs"
            structlog.get_logger("contrail.watch").info(said, dag_id=dag_id, reason=str(error))
            return None


def _graph(answer: Any) -> Mapping[str, set[str]] | None:
    """The tasks that follow each task, from the answer of ``/dags/{dag_id}/tasks``."""
    if not isinstance(answer, dict) or not answer.get("tasks"):
        return None
    return {str(one["task_id"]): {str(name) for name in one["downstream_task_ids"] or ()} for one in answer["tasks"]}
