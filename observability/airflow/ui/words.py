"""How values are shown to a person, and the addresses that pages link to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from observability.airflow.ui.answers import Attempt

__all__ = ["FILTERS", "Links", "ago", "duration", "moment", "number", "size"]

_NONE = "\N{EN DASH}"
_KIBI = 1024
_SMALL = 10
"""Below this, one more digit says something."""


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses of pages: ours below ``root``, Airflow's below ``airflow``, Kibana's below ``kibana``."""

    root: str = ""
    airflow: str = ""
    kibana: str = ""

    def dag(self, dag_id: str) -> str:
        """Our page of a DAG."""
        return f"{self.root}/dags/{_q(dag_id)}"

    def run(self, dag_id: str, run_id: str) -> str:
        """Our page of a run."""
        return f"{self.dag(dag_id)}/runs/{_q(run_id)}"

    def task(self, dag_id: str, task_id: str, run_id: str | None = None, map_index: int | None = None) -> str:
        """Our page of a task, or of a task instance."""
        if not run_id:
            return f"{self.dag(dag_id)}/tasks/{_q(task_id)}"
        suffix = f"?map_index={map_index}" if map_index is not None and map_index >= 0 else ""
        return f"{self.run(dag_id, run_id)}/tasks/{_q(task_id)}{suffix}"

    def airflow_task(self, dag_id: str, task_id: str, run_id: str, map_index: int | None = None) -> str:
        """Airflow's own page of a task instance."""
        mapped = f"/mapped/{map_index}" if map_index is not None and map_index >= 0 else ""
        return f"{self.airflow}/dags/{_q(dag_id)}/runs/{_q(run_id)}/tasks/{_q(task_id)}{mapped}"

    def kibana_logs(self, dag_id: str, run_id: str, task_id: str | None = None) -> str | None:
        """Discover on exactly these log lines; None without a Kibana."""
        if not self.kibana:
            return None
        parts = [
            f'airflow.dag_id:"{dag_id}"',
            f'airflow.run_id:"{run_id}"',
            *([f'airflow.task_id:"{task_id}"'] if task_id else []),
        ]
        query = quote(" and ".join(parts).replace("'", "!'"), safe="")
        return (
            f"{self.kibana}/app/discover#/?_g=(time:(from:now-30d,to:now))&_a=(query:(language:kuery,query:'{query}'))"
        )


def duration(milliseconds: float | None) -> str:
    """4200 → ``4.2 s``."""
    if milliseconds is None:
        return _NONE
    seconds = milliseconds / 1000
    for limit, divisor, unit in ((1, 0.001, "ms"), (90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return (
                f"{seconds / divisor:.2g} {unit}" if seconds / divisor < _SMALL else f"{seconds / divisor:.0f} {unit}"
            )
    return f"{seconds / 86400:.0f} d"


def size(amount: float | None) -> str:
    """1536 → ``1.5 KiB``."""
    if amount is None:
        return _NONE
    amount = float(amount)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < _KIBI:
            return f"{amount:.0f} {unit}" if amount.is_integer() else f"{amount:.1f} {unit}"
        amount /= _KIBI
    return f"{amount:.1f} TiB"


def number(value: float | None) -> str:
    """336776 → ``336,776``."""
    return _NONE if value is None else f"{value:,.0f}"


def moment(text: str | None) -> str:
    """An ISO time as ``2026-01-02 03:04:05 UTC``."""
    return f"{text[:10]} {text[11:19]} UTC" if text else _NONE


def ago(text: str | None) -> str:
    """How long ago an ISO time was."""
    if not text:
        return _NONE
    then = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return duration(max(0.0, (datetime.now(timezone.utc) - then).total_seconds() * 1000)) + " ago"


def _q(part: str) -> str:
    return quote(part, safe="")


def _attempt_row(attempt: Attempt) -> dict[str, Any]:
    ended = datetime.fromisoformat(attempt.ended.replace("Z", "+00:00")).timestamp() * 1000
    name = attempt.task_id if attempt.map_index < 0 else f"{attempt.task_id} [{attempt.map_index}]"
    return {
        "name": name,
        "try": attempt.try_number,
        "state": attempt.state,
        "start": ended - (attempt.duration_ms or 0),
        "end": ended,
    }


def _data(value: Any) -> str:
    return json.dumps(value, default=str)


FILTERS = {
    "duration": duration,
    "size": size,
    "number": number,
    "moment": moment,
    "ago": ago,
    "data": _data,
    "attempt_row": _attempt_row,
}
"""The filters that templates use."""
