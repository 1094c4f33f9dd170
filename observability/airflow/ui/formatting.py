"""Format values for a person, and make the addresses that pages link to."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from observability.events import base_iteration, deed_note, deed_of, ui_path
from observability.timestamps import iso, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from observability.airflow.ui.pages.attempts import Attempt
    from observability.airflow.ui.pages.critical_path import Wait
    from observability.airflow.ui.pages.search import SearchPage
    from observability.events import Document, Region

__all__ = ["FILTERS", "Links", "ago", "drawn", "duration", "moment", "number", "plain", "size", "web"]

_PAGE = re.compile(r"[a-z][a-z-]{2,40}")
"""A name of a runbook's page."""
_NONE = "\N{EN DASH}"
_KIBI = 1024
_TO_MS = {"ns": 1e-6, "ms": 1.0, "s": 1000.0}
_ROWS = 60
"""A time line with more rows than this is not read."""
_DAY_S, _YEAR_D, _LONG_D = 86400, 365.25, 730
"""From two years on, a time is written in years."""
_LEAST_SHARE = 0.01
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

    def task(
        self,
        dag_id: str,
        task_id: str,
        run_id: str | None = None,
        map_index: int | None = None,
        iteration: str | None = None,
    ) -> str:
        """Our page of a task, or of a task instance."""
        if not run_id:
            return f"{self.dag(dag_id)}/tasks/{_q(task_id)}"
        chosen = {"map_index": map_index if _is_mapped(map_index) else None, "iteration": base_iteration(iteration)}
        query = urlencode({name: value for name, value in chosen.items() if value is not None})
        return f"{self.run(dag_id, run_id)}/tasks/{_q(task_id)}{'?' if query else ''}{query}"

    def search(self, **wanted: object) -> str:
        """Our search, with what an address says of it."""
        query = urlencode({name: value for name, value in wanted.items() if value not in (None, "", False)})
        return f"{self.root}/search{'?' if query else ''}{query}"

    def older(self, page: SearchPage) -> str:
        """The same search, from where it stopped on."""
        wanted = page.wanted
        return self.search(
            q=wanted.text,
            dag=wanted.dag_id,
            run=wanted.run_id,
            task=wanted.task_id,
            level=wanted.level,
            hours=wanted.hours,
            around=wanted.around,
            pattern=int(wanted.is_pattern),
            until=page.found.back_to,
        )

    def incident(self, incident_id: str) -> str:
        """Our page of an incident."""
        return f"{self.root}/incidents/{_q(incident_id)}"

    def runbook(self, runbook: object) -> str | None:
        """Address of a runbook, given by its page's name or its address; None for anything else."""
        page = str(runbook or "")
        return f"{self.root}/runbooks?page={page}" if _PAGE.fullmatch(page) else web(runbook)

    def airflow_task(
        self, dag_id: str, task_id: str, run_id: str, map_index: int | None = None, region: Region = None
    ) -> str:
        """Airflow's own page of a task instance; in a task loop Airflow asks for its region."""
        return (
            f"{self.airflow}/{ui_path(dag_id, run_id, task_id, map_index if _is_mapped(map_index) else None, region)}"
        )

    def board(self, key: str, **chosen: object) -> str:
        """Our page of a board, filtered by fields."""
        query = urlencode({name: value for name, value in chosen.items() if value not in (None, "")})
        return f"{self.root}/boards/{_q(key)}{'?' if query else ''}{query}"

    def kibana_logs(self, dag_id: str, run_id: str, task_id: str | None = None) -> str | None:
        """Discover on exactly these log lines; None without a Kibana."""
        if not self.kibana:
            return None
        parts = [
            f"airflow.dag_id:{_kql(dag_id)}",
            f"airflow.run_id:{_kql(run_id)}",
            *([f"airflow.task_id:{_kql(task_id)}"] if task_id else []),
        ]
        query = quote(" and ".join(parts).replace("!", "!!").replace("'", "!'"), safe="")
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
    days = seconds / _DAY_S
    return f"{days:.0f} d" if days < _LONG_D else f"{days / _YEAR_D:.1f} y"


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


def brief(text: str | None) -> str:
    """An ISO time as ``01-02 03:04``, of another year as its date, for a column that has little room; UTC."""
    if not text:
        return _NONE
    this_year = text[:4] == str(datetime.now(timezone.utc).year)
    return f"{text[5:10]} {text[11:16]}" if this_year else text[:10]


def clock(text: str | None) -> str:
    """An ISO time as ``01-02 03:04:05``; UTC."""
    return f"{text[5:10]} {text[11:19]}" if text else _NONE


def ago(text: str | None) -> str:
    """The time since an ISO time, in words."""
    if not text:
        return _NONE
    then = parsed(text)
    return duration(max(0.0, (datetime.now(timezone.utc) - then).total_seconds() * 1000)) + " ago"


def plain(value: object, unit: str) -> str:
    """A value of a panel in its unit: 1500000 ns → ``1.5 ms``, 0.25 percent → ``25 %``."""
    if value is None:
        return _NONE
    if not isinstance(value, (int, float)):
        return moment(str(value)) if unit == "date" else str(value)
    if unit in _TO_MS:
        return duration(value * _TO_MS[unit])
    if unit == "percent":
        return _percent(100 * value)
    if unit == "bytes":
        return size(value)
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _percent(share: float) -> str:
    """Two decimals below 1, else one, without noughts at the end."""
    if 0 < share < _LEAST_SHARE:
        return f"< {_LEAST_SHARE} %"
    digits = f"{share:.2f}" if abs(share) < 1 else f"{share:.1f}"
    return f"{digits.rstrip('0').rstrip('.')} %"


def drawn(value: float | None, unit: str) -> float | None:
    """The number that a chart draws for a value: times in ms, shares in percent."""
    return None if value is None else value * _TO_MS.get(unit, 100 if unit == "percent" else 1)


def web(address: object) -> str | None:
    """``address`` where a click on it opens a web page; None for ``javascript:`` and everything else."""
    found = str(address or "").strip()
    return found if found.lower().startswith(("https://", "http://")) else None


def _q(part: object) -> str:
    return quote(str(part), safe="")


def _kql(value: str) -> str:
    """``value`` as a phrase of Kibana's query language."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_mapped(index: object) -> bool:
    """A template passes what a document lacks as something that is no number."""
    return isinstance(index, int) and index >= 0


def _attempt_row(attempt: Attempt) -> dict[str, Any]:
    now = datetime.now(timezone.utc).timestamp() * 1000
    ended = parsed(attempt.ended).timestamp() * 1000
    running = attempt.state == "running"
    return {
        "name": attempt.name,
        "try": attempt.try_number,
        "state": attempt.state,
        "start": ended - (attempt.duration_ms or 0),
        "end": max(now, ended) if running else ended,
    }


def _attempt_rows(attempts: list[Attempt], waits: Sequence[Wait | None] = ()) -> list[dict[str, Any]]:
    """A row for each attempt, with what it waited for; the many of a mapped task share a row."""
    rows = [_attempt_row(attempt) for attempt in attempts]
    for row, wait in zip(rows, waits, strict=False):
        if wait is not None:
            row.update(since=wait.since * 1000, why=wait.why)
    if len(rows) <= _ROWS:
        return rows
    return [row | {"name": attempt.task_id} for row, attempt in zip(rows, attempts, strict=True)]


def _deed_rows(deeds: list[Document]) -> list[dict[str, Any]]:
    """Moment and words of each deed, for marks on a time line."""
    return [
        {
            "at": parsed(one["@timestamp"]).timestamp() * 1000,
            "what": f"{one.get('user.name') or 'somebody'} {deed_of(one)}",
        }
        for one in deeds
    ]


def _data(value: Any) -> str:
    return json.dumps(value, default=str)


FILTERS = {
    "duration": duration,
    "iso": iso,
    "size": size,
    "number": number,
    "moment": moment,
    "ago": ago,
    "data": _data,
    "attempt_rows": _attempt_rows,
    "deed_rows": _deed_rows,
    "deed": deed_of,
    "deed_note": deed_note,
    "brief": brief,
    "clock": clock,
    "plain": plain,
    "drawn": drawn,
    "web": web,
}
"""The filters that templates use."""
