"""Notice in a task's log that its process died without a word, and say so as an event.

A task that is killed runs no callback: the supervisor's last line is all that says so. The search is for
bytes; only a line that is found is parsed.
"""

from __future__ import annotations

import re
import time
from datetime import timezone
from typing import TYPE_CHECKING, Any

import orjson
from msgspec.structs import replace

from observability import attempt_notes
from observability.emit import emit
from observability.events import Identity, TaskKilled
from observability.exit_messages import ending_of
from observability.relay.sinks.sink import Batch, SendResult, Sink
from observability.relay.steps.memory import MemoryKills
from observability.timestamps import parsed

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.events import Event

__all__ = ["EXIT_MESSAGES", "KilledTaskDetector", "death_of"]

EXIT_MESSAGES = re.compile(
    rb'"event":"(?:Process terminated by signal|Process exited abnormally|\\n\*{8,} Received SIGSEGV'
    rb"|Server indicated the task shouldn't be running anymore)"
)
_OLD_NEWS_S = 172_800.0
"""Deaths longer ago than this are history: a relay that is new to an Airflow does not report them."""


class KilledTaskDetector(Sink):
    """Reads task logs like a sink and emits ``task.killed``; equal deaths have equal ids."""

    name = "killed_tasks"
    gathers = True

    def __init__(self, tell: Callable[[Event], Any] = emit, memory: MemoryKills | None = None) -> None:
        self._tell = tell
        self._memory = memory or MemoryKills()

    def send(self, batch: Batch) -> SendResult:
        """Look through the batch."""
        for document in batch.documents:
            death = death_of(document) if EXIT_MESSAGES.search(document) else None
            if death is not None and death.time is not None and time.time() - death.time.timestamp() < _OLD_NEWS_S:
                self._tell(self._with_cause(death, death.time.timestamp()))
        return SendResult(len(batch.ids))

    def close(self) -> None:
        """Look at the kernel's counter no more."""
        self._memory.close()

    def _with_cause(self, death: TaskKilled, when: float) -> TaskKilled:
        """With ``oom`` only where the task's own cgroup says so; what else is known of memory is a remark."""
        if death.signal != "SIGKILL" or death.identity is None:
            attempt_notes.note_end(death.identity or Identity())
            return death
        found = attempt_notes.died(death.identity)
        if found.answer == "killed":
            limit = f", whose limit is {found.limit >> 20} MiB" if found.limit else ""
            reason = f"the kernel killed it for memory (SIGKILL): so counts its own cgroup{limit}"
            return replace(death, cause="oom", reason=reason, memory_limit=found.limit)
        if found.answer == "shared":
            remark = f"a process of its cgroup, which {found.tasks} tasks share, was killed for memory since it began"
            return replace(death, reason=f"{death.reason}; {remark}")
        if found.answer == "unknown" and self._memory.near(when):
            return replace(death, reason=f"{death.reason}; the host killed something for memory at that time")
        return death


def death_of(document: bytes) -> TaskKilled | None:
    """The death that a document of a task's log tells of, None where it only quotes one."""
    try:
        fields = orjson.loads(document)
    except orjson.JSONDecodeError:
        return None
    ending = ending_of(fields) if isinstance(fields, dict) else None
    if ending is None:
        return None
    return TaskKilled(
        identity=Identity(
            dag_id=fields["airflow.dag_id"],
            task_id=fields["airflow.task_id"],
            run_id=fields["airflow.run_id"],
            try_number=fields["airflow.try_number"],
            map_index=fields["airflow.map_index"],
            iteration=fields.get("airflow.iteration"),
            ti_id=str(fields["ti_id"]) if "airflow.iteration" in fields and fields.get("ti_id") else None,
        ),
        time=parsed(fields["@timestamp"]).astimezone(timezone.utc),
        cause=ending.cause,
        reason=ending.reason,
        signal=ending.signal,
        exit_code=ending.exit_code,
    )
