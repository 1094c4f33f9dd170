"""Forecasts of the runs that are under way, from the ledger; learned once for a run and renewed as its tasks end."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from observability.timestamps import utc
from observability.watch.forecast import MOST_RUNS, RunModel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from observability.watch.dag_graphs import Graphs
    from observability.watch.forecast import Forecast
    from observability.watch.known import Known
    from observability.watch.run_times import RunTimes

__all__ = ["CALM_AT", "Forecasts", "LiveForecast", "clock_in", "in_words"]

CALM_AT = 0.3
"""A warning stands until the chance to miss falls below this, so that it does not come and go."""
_OPEN_S = 7 * 86_400.0
_MODELS_MOST = 500
_LEAST_RENEW_S, _RENEW = 1.0, 0.01


@dataclass(frozen=True, slots=True)
class LiveForecast:
    """A run that is under way, and its forecast; None where too little is known, and ``why`` says what."""

    run: RunTimes
    forecast: Forecast | None
    why: str = ""


class Forecasts:
    """Forecasts by run. ``graphs`` asks Airflow for the tasks of a DAG; without it they are inferred from its runs."""

    def __init__(self, graphs: Graphs | None = None) -> None:
        self._graphs = graphs
        self._models: OrderedDict[tuple[str, str], RunModel | None] = OrderedDict()
        self._known: dict[tuple[str, str], tuple[float, int, LiveForecast]] = {}

    def of_dag(self, known: Known, dag_id: str, now: float) -> Iterator[LiveForecast]:
        """The runs of a DAG that are under way, the oldest first, each with its forecast."""
        for run in known.live_runs(dag_id, now - _OPEN_S):
            yield self._of_run(known, run, now)

    def _of_run(self, known: Known, run: RunTimes, now: float) -> LiveForecast:
        key = (run.dag_id, run.run_id)
        heard = sum(1 + one.ended for one in run.tasks.values())
        last = self._known.get(key)
        if last is not None and last[1] == heard and 0 <= now - last[0] < _renew_after(last[2], now):
            return last[2]
        is_known, graph = self._graphs.graph_of(run.dag_id) if self._graphs else (True, None)
        if not is_known:
            return LiveForecast(run, None, "Airflow is asked for its tasks")
        model = self._model(known, run, graph)
        if model is None:
            found = LiveForecast(run, None, "not enough history")
        elif not run.ordinary:
            found = LiveForecast(run, None, "it is no ordinary run")
        elif not run.tasks and now - run.begun > model.longest_start_s:
            found = LiveForecast(run, None, "nothing is heard of its tasks")
        else:
            found = LiveForecast(run, model.forecast(run, now))
        if len(self._known) > _MODELS_MOST:
            self._known.clear()
        self._known[key] = (now, heard, found)
        return found

    def _model(self, known: Known, run: RunTimes, graph: Mapping[str, Collection[str]] | None) -> RunModel | None:
        """The model of a run, learned when it is first asked for."""
        key = (run.dag_id, run.run_id)
        if key not in self._models:
            earlier = known.earlier_runs(run.dag_id, run.begun, MOST_RUNS)
            self._models[key] = RunModel.learn(earlier, run.begun, graph)
            if len(self._models) > _MODELS_MOST:
                self._models.popitem(last=False)
        return self._models[key]


def in_words(found: Forecast, due: float, zone: str) -> str:
    """A forecast beside its deadline: ``expected 09:25 (09:10-09:50), due 09:00 UTC; transform takes twice its usual``.

    The interval is the one of 90 %.
    """
    low, high = found.interval(0.9)
    day = _local(due, zone).date()
    said = f"expected {_clock(found.expected, zone, day)} ({_clock(low, zone, day)}-{_clock(high, zone, day)})"
    said += f", due {_clock(due, zone, day)} {zone}"
    if found.slow is not None:
        task, times = found.slow
        said += f"; {task} takes {_times(times)} its usual"
    return said


def clock_in(moment: float, zone: str, now: float) -> str:
    """The time of day of a moment in a zone, with the date where that is not today."""
    return _clock(moment, zone, _local(now, zone).date())


def _renew_after(known: LiveForecast, now: float) -> float:
    """Seconds for which a forecast is good while nothing is heard: a part of what is left."""
    if known.forecast is None:
        return 60.0
    return max(_LEAST_RENEW_S, _RENEW * (known.forecast.expected - now))


def _local(moment: float, zone: str) -> datetime:
    return utc(moment).astimezone(ZoneInfo(zone))


def _clock(moment: float, zone: str, day: object) -> str:
    local = _local(moment, zone)
    return f"{local:%H:%M}" if local.date() == day else f"{local:%Y-%m-%d %H:%M}"


def _times(times: float) -> str:
    if 1.8 <= times < 2.3:  # noqa: PLR2004 - what people call twice
        return "twice"
    return f"{times:.0f} times" if times >= 3 else f"{times:.1f} times"  # noqa: PLR2004
