"""The state of a deadline for one DAG, run or asset, as a look at the ledger finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from observability.watch.forecasts import Forecasts, LiveForecast
    from observability.watch.known import Known
    from observability.watch.pauses import Pauses

__all__ = ["Look", "Standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a deadline for one DAG or run.

    ``upcoming``: it is not due yet, and nothing is known against it. ``near``: it may be missed. ``over``: it was
    missed, and what was late has happened since. ``kept``: it has happened, at ``ended``. ``occasion``: the run or day.
    """

    state: Literal["upcoming", "near", "missed", "over", "kept"]
    dag_id: str | None
    due: float
    reason: str
    run_id: str | None = None
    task_id: str | None = None
    ended: float | None = None
    expected: float | None = None
    chance: float | None = None
    """Of one that is foreseen: the likely end, and the chance that it is missed."""
    band: tuple[float, float, float, float] | None = None
    """The intervals of 50 % and 90 % in which the run ends, where it is foreseen."""
    foreseen_run: str | None = None
    """The run that is foreseen, where the deadline is about a day."""
    partition: str | None = None
    occasion: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """The past, the time and what is known of the DAGs, by which a look judges the deadlines."""

    known: Known
    now: float
    since: float
    """The time of the look before, which judged what had ended by then."""
    pauses: Pauses
    dags: Sequence[str]
    """The DAGs that deadlines may be about."""
    forecasts: Forecasts | None
    done: dict[tuple[str, ...], float]
    """The moments at which what was due on a day is known to have been done, so that it is not asked again."""

    def foreseen(self, dag_id: str) -> list[LiveForecast]:
        """The runs of a DAG that are under way and whose end can be foreseen."""
        if self.forecasts is None:
            return []
        found = self.forecasts.of_dag(self.known, dag_id, self.now)
        return [one for one in found if one.forecast is not None]
