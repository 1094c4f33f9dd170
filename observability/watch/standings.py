"""The states of a deadline at a moment: the one evaluation of the rules, live and in a replay."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from observability.watch.deadline_state import Standing
from observability.watch.due_by_clock import asset_by_clock, foreseen_at, runs_by_clock, starts_by_clock, tasks_by_clock
from observability.watch.due_within import last_within, lasting_longer, lasting_shorter, partitions_within
from observability.watch.products import product_by_clock
from observability.watch.unusual import asset_staler, fails_more, loads_of, slower_runs, starts_later

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.watch.deadline_state import Look
    from observability.watch.rules.deadline import Deadline

__all__ = ["standings_of"]


def standings_of(look: Look, deadline: Deadline) -> Iterator[Standing]:
    """Each state of a deadline. A DAG that Airflow runs not, on purpose, is neither late nor stale."""
    if deadline.asset is not None:
        if not _nobody_updates(look, deadline.asset):
            yield from _of_asset(look, deadline)
        return
    if deadline.parts:
        yield from product_by_clock(look, deadline)
        return
    starts = deadline.clock is not None or deadline.success_within is not None
    for dag_id in [dag_id for dag_id in look.dags if fnmatchcase(dag_id, deadline.dag)]:
        if not (look.pauses.starts_nothing(dag_id) if starts else look.pauses.stands_still(dag_id)):
            yield from _of_dag(look, deadline, dag_id)


def _of_dag(look: Look, deadline: Deadline, dag_id: str) -> Iterator[Standing]:
    if deadline.run_finishes_within is not None:
        limit = deadline.run_finishes_within
        late = _without_pauses(look, lasting_longer(look, deadline, dag_id, "runs", limit), limit, deadline)
        yield from _with_forecasts(look, deadline, dag_id, late)
        yield from _in_time(look, deadline, dag_id, "runs", limit)
    elif deadline.task_finishes_within is not None:
        limit = deadline.task_finishes_within
        yield from lasting_longer(look, deadline, dag_id, "attempts", limit)
        yield from _in_time(look, deadline, dag_id, "attempts", limit)
    elif deadline.slower_than_usual is not None:
        for one, limit in slower_runs(look, deadline, dag_id):
            yield from _without_pauses(look, iter((one,)), limit, deadline)
    elif deadline.starts_by is not None:
        yield from starts_by_clock(look, deadline, dag_id)
    elif deadline.run_finishes_by is not None:
        yield from runs_by_clock(look, deadline, dag_id)
    elif deadline.task_finishes_by is not None:
        yield from tasks_by_clock(look, deadline, dag_id)
    elif deadline.success_within is not None:
        last = look.known.last_success(dag_id)
        yield from last_within(look, deadline, dag_id, last, deadline.success_within, "no successful run")
    else:
        yield from _unusual(look, deadline, dag_id)


def _unusual(look: Look, deadline: Deadline, dag_id: str) -> Iterator[Standing]:
    if deadline.starts_later_than_usual is not None:
        yield from starts_later(look, deadline, dag_id)
    elif deadline.fails_more_than_usual is not None:
        yield from fails_more(look, deadline, dag_id)
    else:
        yield from loads_of(look, deadline, dag_id)


def _of_asset(look: Look, deadline: Deadline) -> Iterator[Standing]:
    if deadline.fresh_by is not None:
        yield from asset_by_clock(look, deadline)
    elif deadline.staler_than_usual is not None:
        yield from asset_staler(look, deadline)
    elif deadline.partition is not None:
        yield from partitions_within(look, deadline, float(deadline.fresh_within or 0))
    else:
        last, within = look.known.last_update(str(deadline.asset)), float(deadline.fresh_within or 0)
        yield from last_within(look, deadline, None, last, within, f"{deadline.asset} has not been updated")


def _in_time(look: Look, deadline: Deadline, dag_id: str, what: str, limit: float) -> Iterator[Standing]:
    """Judge what is under way and not late, and what has ended in time since the last look."""
    for one in lasting_shorter(look, deadline, dag_id, what, limit):
        last = one.ended if one.ended is not None else look.now
        free = look.pauses.within(dag_id, one.due - limit, last, draining=False) if what == "runs" else 0.0
        if last < one.due + free or one.ended == one.due + free:
            yield replace(one, due=one.due + free)


def _without_pauses(look: Look, standings: Iterator[Standing], limit: float, deadline: Deadline) -> Iterator[Standing]:
    """The same, where a run is allowed the time in which its DAG was paused as well."""
    for one in standings:
        last = one.ended if one.ended is not None else look.now
        due = one.due + look.pauses.within(str(one.dag_id), one.due - limit, last, draining=False)
        if last >= due and one.ended != due:
            yield replace(one, due=due)
        elif one.ended is None and deadline.warn < 1 and look.now >= due - limit * (1 - deadline.warn):
            yield replace(one, state="near", due=due)


def _with_forecasts(look: Look, deadline: Deadline, dag_id: str, standings: Iterator[Standing]) -> Iterator[Standing]:
    """The standings of runs, where one whose end is foreseen is warned of by its forecast, not by the clock."""
    if "warn" in deadline.model_fields_set:
        yield from standings
        return
    foreseen = {one.run.run_id: one for one in look.foreseen(dag_id)}
    for one in standings:
        if one.state != "near" or one.run_id not in foreseen:
            yield one
    for run_id, live in foreseen.items():
        due = live.run.begun + float(deadline.run_finishes_within or 0)
        due += look.pauses.within(dag_id, live.run.begun, look.now, draining=False)
        if look.now < due:
            yield foreseen_at(deadline, live, Standing("upcoming", dag_id, due, "", run_id, occasion=run_id))


def _nobody_updates(look: Look, asset: str) -> bool:
    """True if every DAG that is known to have updated an asset is paused, draining or gone."""
    producers = look.known.producers(asset)
    return bool(producers) and all(look.pauses.starts_nothing(dag_id) for dag_id in producers)
