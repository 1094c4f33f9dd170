"""The DAGs day by day: fourteen days of each as a strip, what changed since yesterday, and what is noisy."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeAlias

from observability.airflow.ui.pages.deadlines import due_of
from observability.airflow.ui.pages.reading import RUN_ENDED, events_of
from observability.store.questions import Ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.events import Document
    from observability.store import Readable

__all__ = ["DAYS", "Cell", "Change", "DagRow", "DaysPage", "changes", "days_page", "noisy"]

Cell: TypeAlias = "tuple[int, int, int | None, int]"
"""The runs of one DAG that ended on one day (UTC): good, failed, milliseconds on average, rows. A plain tuple, because
a page has ten thousand of them, and Python's collector need not follow it."""
DAYS = 14
_DAY_S = 86_400
_SHOWN = 200
_NOTHING: Cell = (0, 0, None, 0)
_EVENTS, _ALERTS = "etl.event", "contrail.alert"
_LONGER, _LEAST_LONGER_MS = 2.0, 60_000.0
_FEWER = 0.5
_REGULAR = 2
"""Runs of a day from which one without any is a change."""
_NOISY_DAYS, _NOISY_LEAST, _NOISY_MOST = 7, 5, 5


@dataclass(slots=True)
class DagRow:
    """One DAG: its days, the oldest first, and what is due of it next with the expected end."""

    dag_id: str
    cells: list[Cell]
    due: str | None = None
    expected: str | None = None
    is_late: bool = False

    @property
    def is_failing(self) -> bool:
        """True if a run failed on the last day that had any."""
        return next((failed > 0 for good, failed, _, _ in reversed(self.cells) if good or failed), False)

    @property
    def failed(self) -> int:
        """The runs that failed in all these days."""
        return sum(failed for _, failed, _, _ in self.cells)


@dataclass(frozen=True, slots=True)
class DaysPage:
    """The DAGs that were asked for, those with trouble first; ``first`` is the day of the first cell."""

    rows: list[DagRow]
    found: int
    first: str
    text: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One sentence about a DAG that does not do what it did the day before; ``is_bad``: for the worse."""

    dag_id: str
    words: str
    is_bad: bool


@dataclass(slots=True)
class _Outcomes:
    good: int = 0
    failed: int = 0
    ms: float | None = None
    rows: int = 0


def days_page(store: Readable, *, text: str = "", state: str = "", every: bool = False) -> DaysPage:
    """The DAGs whose name has ``text`` and that are in ``state``: failing, late, or any."""
    now = datetime.now(timezone.utc)
    first = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    place = {int(first.timestamp()) + number * _DAY_S: number for number in range(DAYS)}
    days: dict[str, list[Cell]] = defaultdict(lambda: [_NOTHING] * DAYS)
    for (day_s, dag, action), (count, ms) in _runs(store, first, now, _DAY_S).items():
        cells, day = days[dag], place[day_s]
        cells[day] = _with_runs(cells[day], action, int(count), ms)
    for (day_s, dag), (rows,) in _rows(store, first, now, _DAY_S).items():
        cells, day = days[dag], place[day_s]
        cells[day] = (*cells[day][:3], int(rows or 0))
    rows = [DagRow(dag, found) for dag, found in days.items()]
    _add_due(store, {row.dag_id: row for row in rows}, now)
    wanted = [row for row in rows if text.lower() in row.dag_id.lower() and _is(row, state)]
    wanted.sort(key=lambda row: (not row.is_failing, not row.is_late, -row.failed, row.dag_id))
    return DaysPage(wanted if every else wanted[:_SHOWN], len(wanted), first.date().isoformat(), text, state)


def changes(store: Readable) -> list[Change]:
    """A sentence for each DAG whose last 24 hours differ from the 24 before, the bad first."""
    now = datetime.now(timezone.utc)
    today, before = _outcomes(store, now), _outcomes(store, now - timedelta(days=1))
    found = [
        change
        for dag in sorted({*today, *before})
        if (change := _change(dag, today.get(dag, _Outcomes()), before.get(dag, _Outcomes()))) is not None
    ]
    return sorted(found, key=lambda change: not change.is_bad)


def noisy(store: Readable) -> list[tuple[str, int]]:
    """The DAGs about which most messages were sent in seven days: (DAG, messages)."""
    now = datetime.now(timezone.utc)
    where = {"event.action": ("notification.sent",)}
    asked = Ask((_ALERTS,), where, now - timedelta(days=_NOISY_DAYS), now, by=("airflow.dag_id",), homeless=False)
    counted = [(str(dag), int(count)) for (dag,), (count,) in store.table(asked).items() if count >= _NOISY_LEAST]
    return sorted(counted, key=lambda one: (-one[1], one[0]))[:_NOISY_MOST]


def _with_runs(cell: Cell, action: str, count: int, ms: float | None) -> Cell:
    """The day with the runs of one outcome added."""
    good, failed, before_ms, rows = cell
    if ms is not None and before_ms is not None:
        ms = (before_ms * (good + failed) + ms * count) / (good + failed + count)
    took = before_ms if ms is None else round(ms)
    return (good + count, failed, took, rows) if action == "dag_run.succeeded" else (good, failed + count, took, rows)


def _change(dag: str, now: _Outcomes, then: _Outcomes) -> Change | None:
    ran, did = now.good + now.failed, then.good + then.failed
    if now.failed and not then.failed:
        was = "none did the day before" if did else "it did not run the day before"
        return Change(dag, f"{now.failed} of {ran} runs failed, {was}", is_bad=True)
    if not ran and did >= _REGULAR:
        return Change(dag, f"no run has ended, {did} did the day before", is_bad=True)
    if then.failed and now.good and not now.failed:
        return Change(dag, f"runs succeed again, {then.failed} of {did} failed the day before", is_bad=False)
    if now.ms and then.ms and now.ms >= _LONGER * then.ms and now.ms - then.ms >= _LEAST_LONGER_MS:
        return Change(dag, f"a run takes {now.ms / then.ms:.1f} times as long as the day before", is_bad=True)
    if now.good and then.good and then.rows and now.rows / now.good < _FEWER * then.rows / then.good:
        words = f"a run writes {now.rows / now.good:,.0f} rows, {then.rows / then.good:,.0f} the day before"
        return Change(dag, words, is_bad=True)
    return None


def _outcomes(store: Readable, until: datetime) -> dict[str, _Outcomes]:
    """The runs of each DAG that ended in the 24 hours before ``until``."""
    since = until - timedelta(days=1)
    found: dict[str, _Outcomes] = defaultdict(_Outcomes)
    for (dag, action), (count, ms) in _runs(store, since, until).items():
        one = found[dag]
        if action == "dag_run.succeeded":
            one.good, one.ms = int(count), ms
        else:
            one.failed = int(count)
    for (dag,), (rows,) in _rows(store, since, until).items():
        found[dag].rows = int(rows or 0)
    return dict(found)


def _runs(store: Readable, since: datetime, until: datetime, bucket_s: int = 0) -> Mapping[Any, Any]:
    """Count and average duration in milliseconds by stretch of time, DAG and outcome."""
    asked = Ask(
        (_EVENTS,), {"event.action": RUN_ENDED}, since, until, (("count", ""), ("average", "event.duration")),
        ("airflow.dag_id", "event.action"), bucket_s, homeless=False,
    )  # fmt: skip
    return {key: (count, None if ns is None else ns / 1e6) for key, (count, ns) in store.table(asked).items()}


def _rows(store: Readable, since: datetime, until: datetime, bucket_s: int = 0) -> Mapping[Any, Any]:
    """The rows that measured steps wrote, by stretch of time and DAG."""
    asked = Ask(
        (_EVENTS,), {"event.action": ("step.measured",)}, since, until, (("sum", "etl.rows_out"),),
        ("airflow.dag_id",), bucket_s, homeless=False,
    )  # fmt: skip
    return store.table(asked)


def _add_due(store: Readable, rows: Mapping[str, DagRow], now: datetime) -> None:
    """Add to each DAG what is due of it next, and that something of it is late."""
    events = [
        one
        for one in events_of(store, {}, dataset=_ALERTS, since=now - timedelta(days=2), limit=20_000)
        if str(one["event.action"]).startswith("deadline.")
    ]
    for one in sorted(due_of(events), key=lambda due: str(due.event.get("deadline.due"))):
        row = rows.get(str(one.event.get("airflow.dag_id")))
        if row is None:
            continue
        if one.state == "missed":
            row.is_late = True
        elif row.due is None and one.state in {"upcoming", "approached"} and _due(one.event) > now.isoformat():
            row.due, row.is_late = _due(one.event), row.is_late or one.state == "approached"
            row.expected = str(one.forecast["deadline.expected"]) if one.forecast else None


def _due(event: Document) -> str:
    return str(event.get("deadline.due") or "")


def _is(row: DagRow, state: str) -> bool:
    return {"failing": row.is_failing, "late": row.is_late}.get(state, True)
