"""Details that a message about a task gains while it is sent: the end of its log, how many failed, what it blocks.

When the message is written, the log may not be there yet, and the others of a mapped task are still failing. It is
asked for in the thread that delivers, so that nothing else waits for it; what cannot be had in time is left out.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from observability.events import region_of
from observability.watch.log_tail import tail_of
from observability.watch.notify.messages import plain
from observability.watch.sources.api import ApiUnavailable, path_of
from observability.watch.sources.isolation import ODD_ANSWERS
from observability.watch.sources.logs import log_path, place_of, records_of

if TYPE_CHECKING:
    from pathlib import Path

    from observability.watch.notify.message import Message
    from observability.watch.sources.api import AirflowApi

__all__ = ["TaskContext"]

_KINDS = {"opened", "update", "reminder", "escalated"}
_COUNTED = re.compile(r" \(\d+ mapped tasks\)$")
_SHOWN = 5
_REST_S = 30.0


class TaskContext:
    """Completes messages from the log folder and Airflow's API; ``api`` None: from the log folder alone."""

    def __init__(self, log_folder: Path, api: AirflowApi | None) -> None:
        self._folder, self._airflow = log_folder, api
        self._rest_until = 0.0

    @property
    def _api(self) -> AirflowApi | None:
        """Airflow's API, unless it has just failed: a message must not wait for it again and again."""
        return self._airflow if time.monotonic() >= self._rest_until else None

    def __call__(self, message: Message) -> Message:
        """The message with what can be found out now; never raises."""
        if message.kind not in _KINDS or not (message.dag_id and message.run_id and message.task_id):
            return message
        found = message
        for complete in (self._with_log, self._counted, self._blocked):
            try:
                found = complete(found)
            except ODD_ANSWERS as error:
                if isinstance(error, ApiUnavailable):
                    self._rest_until = time.monotonic() + _REST_S
                log = structlog.get_logger("contrail.watch")
                log.info("a message goes without what Airflow knows", reason=str(error))
        return found

    def _with_log(self, one: Message) -> Message:
        return one if one.log else replace(one, log=self._tail(one))

    def close(self) -> None:
        """Let go of connections."""
        if self._airflow is not None:
            self._airflow.close()

    def _tail(self, one: Message) -> tuple[str, ...]:
        attempt = one.try_number or 1
        index = -1 if one.map_index is None else one.map_index
        path = log_path(self._folder, str(one.dag_id), str(one.run_id), str(one.task_id), index, attempt, one.iteration)
        lines = tail_of(records_of(path)) or self._asked(one, attempt, index)
        return tuple(plain(line, 300) for line in lines)

    def _asked(self, one: Message, attempt: int, index: int) -> list[str]:
        """The log as Airflow reads it, from whichever host or service keeps it."""
        if (api := self._api) is None:
            return []
        path = path_of("dags", str(one.dag_id), "dagRuns", str(one.run_id), "taskInstances", str(one.task_id))
        region = region_of(one.region_id, index, one.iteration)
        known = {"region_id": region[0], "region_index": region[1]} if region else {}
        said = api.get(f"{path}/logs/{attempt}", full_content=True, **place_of({"map_index": index, **known})) or {}
        content = said.get("content")
        lines = content if isinstance(content, list) else str(content or "").splitlines()
        return tail_of(line if isinstance(line, dict) else {"event": line} for line in lines)

    def _counted(self, one: Message) -> Message:
        """With the number of failed ones of a mapped task, as it is now."""
        if (api := self._api) is None or one.map_index is None:
            return one
        failed = _number(api, one, task_id=one.task_id, state="failed")
        total = _number(api, one, task_id=one.task_id)
        if failed <= 1 or total <= 1:
            return one
        title = f"{_COUNTED.sub('', one.title)} ({failed} of {total} mapped)"
        return replace(one, title=title, count=max(one.count, failed), failed=failed)

    def _blocked(self, one: Message) -> Message:
        """With the tasks that cannot run because of it."""
        if (api := self._api) is None or any(label == "Blocks" for label, _ in one.details):
            return one
        path = path_of("dags", str(one.dag_id), "dagRuns", str(one.run_id))
        found = api.get(f"{path}/taskInstances", state="upstream_failed", limit=_SHOWN) or {}
        names = list(dict.fromkeys(str(task["task_id"]) for task in found.get("task_instances", ())))
        more = int(found.get("total_entries") or 0) - len(found.get("task_instances", ()))
        if not names:
            return one
        value = plain(", ".join(names) + (f" and {more} more" if more > 0 else ""))
        return replace(one, details=(*one.details[:2], ("Blocks", value), *one.details[2:]))


def _number(api: AirflowApi, one: Message, **where: Any) -> int:
    path = path_of("dags", str(one.dag_id), "dagRuns", str(one.run_id))
    return int((api.get(f"{path}/taskInstances", limit=1, **where) or {}).get("total_entries") or 0)
