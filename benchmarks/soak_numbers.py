"""Numbers of boards and metric series, compared with Airflow's own runs and tasks by their outcome."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from observability.airflow.ui import boards
from observability.store.tables import Ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from observability.store import Store

__all__ = ["Account", "Number", "numbers"]

_STATES = ("success", "failed")
_OUTCOME = {"success": "success", "failed": "failure"}
_PANELS = (("dag_run", "run-outcomes"), ("task", "task-outcomes"))
"""Return each thing that is counted, and the panel of the first board that draws it by its outcome."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number that people see, and the bounds between which Airflow's own account has it."""

    where: str
    shown: int
    least: int
    most: int

    @property
    def fault(self) -> str:
        """The sentence that says what is wrong; "" where nothing is."""
        if self.least <= self.shown <= self.most:
            return ""
        wanted = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
        return f"{self.where} is {self.shown}, Airflow has {wanted}"


@dataclass(frozen=True, slots=True)
class Account:
    """Airflow's own account from ``since`` to ``now``, in seconds by the platform's clock.

    ``begun`` are those of ``tasks`` that had a process: only then can it tell of its end. ``disputed`` attempts have
    said another end than Airflow's, and a board of events counts both words.
    """

    runs: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    begun: list[dict[str, Any]]
    disputed: int
    since: float
    now: float


def numbers(store: Store, account: Account) -> Iterator[Number]:
    """Each number of the boards' and metrics' outcomes, with its bounds."""
    least = {"dag_run": _states(account.runs), "task": _states(account.begun)}
    most = {"dag_run": _states(account.runs), "task": _states(account.tasks)}
    for kind, panel in _PANELS:
        more = account.disputed if kind == "task" else 0
        drawn = _drawn(store, panel, account)
        counted = _counted(store, f"contrail.{kind}.outcomes", account)
        for state in _STATES:
            name = _OUTCOME[state] if kind == "dag_run" else state
            bounds = (least[kind][state], most[kind][state] + more)
            yield Number(f"board operations, panel {panel}, {name}", drawn.get(name, 0), *bounds)
            yield Number(f"metric contrail.{kind}.outcomes, {state}", counted.get(state, 0), *bounds)


def _states(rows: Iterable[dict[str, Any]]) -> Counter[str]:
    return Counter(str(row["state"]) for row in rows)


def _drawn(store: Store, key: str, account: Account) -> Mapping[str, int]:
    """The sum of each stack of a panel, as the board's page draws it."""
    board = boards.find_board("operations")
    panel = boards.find_panel(board or {}, key)
    if board is None or panel is None:
        raise LookupError(f"the board of operations has no panel {key!r}")
    view = boards.View(board, (account.now - account.since) / 3600, now=_moment(account.now))
    return {
        line.label: round(sum(value or 0 for value in line.values)) for line in boards.shown(store, view, panel).lines
    }


def _counted(store: Store, name: str, account: Account) -> Mapping[str, int]:
    """The sum of a counter by state."""
    until = _moment(account.now) + timedelta(minutes=1)
    ask = Ask(
        ("airflow.statsd",), {"metric.name": (name,)}, _moment(account.since), until,
        measures=(("sum", "metric.value"),), by=("airflow.state",),
    )  # fmt: skip
    return {str(state): round(values[0] or 0) for (state,), values in store.table(ask).items()}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
