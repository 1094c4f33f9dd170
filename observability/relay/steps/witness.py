"""Notice in a task's log that its process died without a word, and say so as an event.

A task that is killed runs no callback: the supervisor's last line is the only witness. The search is for
bytes; only a line that is found is parsed.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import orjson
from msgspec.structs import replace

from observability.emit import emit
from observability.events import Identity, TaskKilled
from observability.relay.sinks.sink import Answer, Batch, joined
from observability.relay.steps.memory import MemoryKills

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from observability.events import Event

__all__ = ["LAST_WORDS", "Witness", "death_of"]

LAST_WORDS = re.compile(
    rb'"event":"(?:Process terminated by signal|Process exited abnormally|\\n\*{8,} Received SIGSEGV'
    rb"|Server indicated the task shouldn't be running anymore)"
)
_RUNNER_FAILED = (125, 126)
"""With what ``_fork_main`` of Airflow's supervisor leaves when the runner, not the task, raised."""
_OLD_NEWS_S = 172_800.0
"""Deaths longer ago than this are history: a relay that is new to an Airflow does not report them."""


class Witness:
    """Reads task logs like a sink and emits ``task.killed``; equal deaths have equal ids."""

    name = "witness"

    def __init__(self, tell: Callable[[Event], Any] = emit, memory: MemoryKills | None = None) -> None:
        self._tell = tell
        self._memory = memory or MemoryKills()

    def send(self, batch: Batch) -> Answer:
        """Look through the batch."""
        for document in batch.documents:
            death = death_of(document) if LAST_WORDS.search(document) else None
            if death is not None and death.time is not None and time.time() - death.time.timestamp() < _OLD_NEWS_S:
                self._tell(self._with_cause(death, death.time.timestamp()))
        return Answer(len(batch.ids))

    def send_all(self, batches: Sequence[Batch]) -> Answer:
        """Look through the batches."""
        return joined(batches, [self.send(batch) for batch in batches])

    def close(self) -> None:
        """Look at the kernel's counter no more."""
        self._memory.close()

    def _with_cause(self, death: TaskKilled, when: float) -> TaskKilled:
        if death.signal == "SIGKILL" and self._memory.near(when):
            return replace(death, cause="oom", reason="the kernel ended the process for the memory it used (SIGKILL)")
        return death


def death_of(document: bytes) -> TaskKilled | None:
    """The death that a document of a task's log tells of, None where it only quotes one."""
    try:
        fields = orjson.loads(document)
    except orjson.JSONDecodeError:
        return None
    told = _told(fields)
    if told is None:
        return None
    return TaskKilled(
        identity=Identity(
            dag_id=fields["airflow.dag_id"],
            task_id=fields["airflow.task_id"],
            run_id=fields["airflow.run_id"],
            try_number=fields["airflow.try_number"],
            map_index=fields["airflow.map_index"],
        ),
        time=datetime.fromisoformat(fields["@timestamp"].replace("Z", "+00:00")).astimezone(timezone.utc),
        **told,
    )


def _left_with(code: int) -> str:
    if code in _RUNNER_FAILED:
        return f"Airflow's task runner failed itself (exit code {code}): its traceback is in the log of the worker"
    return f"the process left with exit code {code} and no report"


def _told(fields: dict[str, Any]) -> dict[str, Any] | None:
    said = str(fields.get("event", ""))
    if said.startswith("Process terminated by signal") and "signal" in fields:
        number, name = int(fields["signal"]), str(fields.get("signal_name") or fields["signal"])
        return {
            "cause": "killed",
            "reason": f"the process was ended by {name}",
            "signal": name,
            "exit_code": -abs(number),
        }
    if said.startswith("Process exited abnormally"):
        code = int(fields.get("exit_code", 1))
        return {"cause": "killed", "reason": _left_with(code), "exit_code": code}
    if said.startswith("Server indicated the task shouldn't be running anymore"):
        detail = fields.get("detail")
        state = detail.get("current_state") if isinstance(detail, dict) else None
        if state in (None, "failed", "success", "skipped", "removed", "restarting"):
            return {
                "cause": "cancelled",
                "reason": f"Airflow ended the task: its state had become {state or 'unknown'}",
            }
        return {
            "cause": "lost_heartbeat",
            "reason": f"Airflow no longer counted on this attempt: its state had become {state}",
        }
    if "SIGSEGV" in said and fields.get("level") == "critical":
        return {
            "cause": "killed",
            "reason": "the process crashed: segmentation fault",
            "signal": "SIGSEGV",
            "exit_code": -11,
        }
    return None
