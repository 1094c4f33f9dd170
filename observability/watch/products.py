"""Judge a product: several DAGs, tasks and assets that must all be there by a time of day, as one deadline.

There is one incident for the whole. It says which parts are late, and what each of them waits for.
"""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from observability.watch.completions import Wanted, asset_done, run_done, runs_of_day, task_done, tasks_known
from observability.watch.due_by_clock import days_of, foreseen_at, judged_days
from observability.watch.forecasts import clock_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.watch.clock import ClockDay
    from observability.watch.deadline_state import Look, Standing
    from observability.watch.rules.deadline import Deadline, Part

__all__ = ["producers_of", "product_by_clock"]

_NAMED_MOST = 5
_RUNNING_MOST = 3
_OPEN_S = 7 * 86_400.0


def product_by_clock(look: Look, deadline: Deadline) -> Iterator[Standing]:
    """The state of a product; nothing where Airflow runs none of its DAGs on purpose."""
    dags = producers_of(look, deadline)
    if dags and all(look.pauses.starts_nothing(dag_id) for dag_id in dags):
        return
    late: dict[object, list[Part]] = {}

    def done(day: ClockDay) -> float | None:
        ends = [(part, _part_done(look, deadline, part, day)) for part in deadline.parts]
        late[day.date] = [part for part, end in ends if end is None]
        return None if late[day.date] else max(end for _, end in ends if end is not None)

    def said(day: ClockDay) -> str:
        parts = late.get(day.date, deadline.parts)
        words = "; ".join(_late_words(look, deadline, part, day) for part in parts[:_NAMED_MOST])
        more = f"; and {len(parts) - _NAMED_MOST} more" if len(parts) > _NAMED_MOST else ""
        words = f"{words}{more}".replace("{", "(").replace("}", ")")
        return f"{words}. {deadline.name} {{was}} due by"

    for one in judged_days(look, deadline, done, said):
        yield _foreseen(look, deadline, one, late) if one.state in {"near", "upcoming"} else one


def producers_of(look: Look, deadline: Deadline) -> list[str]:
    """The DAGs that a product is made of, also those that update its assets."""
    found: dict[str, None] = {}
    for part in deadline.parts:
        if part.asset is not None:
            found.update(dict.fromkeys(look.known.producers(part.asset)))
        else:
            found.update(dict.fromkeys(_dags_of(look, part)))
    return list(found)


def _dags_of(look: Look, part: Part) -> list[str]:
    return [dag_id for dag_id in look.dags if fnmatchcase(dag_id, str(part.dag))]


def _part_done(look: Look, deadline: Deadline, part: Part, day: ClockDay) -> float | None:
    """Return when a part was there; None where it, or one of the DAGs or tasks that it stands for, is not."""
    key = (*deadline.wants, part.name, part.partition or "", str(day.date))
    if (known := look.done.get(key)) is not None:
        return known
    wanted = Wanted.of(deadline, day, part.partition)
    ends: list[float | None]
    if part.asset is not None:
        ends = [asset_done(look.known, part.asset, wanted)]
    else:
        ends = [end for dag_id in _dags_of(look, part) for end in _ends(look, dag_id, part, wanted)]
    if not ends or None in ends:
        return None
    look.done[key] = max(end for end in ends if end is not None)
    return look.done[key]


def _ends(look: Look, dag_id: str, part: Part, wanted: Wanted) -> list[float | None]:
    if part.task is None:
        return [run_done(look.known, dag_id, wanted)]
    tasks = tasks_known(look.known, dag_id, part.task)
    return list(task_done(look.known, dag_id, tasks, wanted).values())


def _late_words(look: Look, deadline: Deadline, part: Part, day: ClockDay) -> str:
    """A part that is late, and what it waits for."""
    wanted = Wanted.of(deadline, day, part.partition)
    if part.asset is not None:
        key = f"partition {wanted.partition} of " if wanted.partition else ""
        waits = [_waits(look, deadline, dag_id, None) for dag_id in look.known.producers(part.asset)]
        return f"{key}{part.asset} has not been updated{_joined([one for one in waits if one])}"
    dags = _dags_of(look, part)
    if not dags:
        return f"{part.name} is late: Airflow knows no such DAG"
    waits = [_waits(look, deadline, dag_id, wanted) for dag_id in dags if None in _ends(look, dag_id, part, wanted)]
    return f"{part.name} is late{_joined(waits)}"


def _joined(waits: list[str]) -> str:
    return f" ({'; '.join(dict.fromkeys(waits))})" if waits else ""


def _waits(look: Look, deadline: Deadline, dag_id: str, wanted: Wanted | None) -> str:
    """Say what a DAG waits for: somebody to mend a failure, tasks that run, a begin, or that a person unpauses it."""
    if why := look.pauses.starts_nothing(dag_id):
        return why
    if (failure := look.known.failure_of(dag_id)) is not None:
        what = f"task {failure.task_id}" if failure.task_id else "its run"
        return f"it waits for a repair of {dag_id}: {what} has failed"
    for run in look.known.live_runs(dag_id, look.now - _OPEN_S):
        if wanted is not None and run.run_id not in {one.run_id for one in runs_of_day(look.known, dag_id, wanted)}:
            continue
        running = [name for name, one in run.tasks.items() if not one.is_done]
        since = clock_in(run.begun, deadline.timezone, look.now)
        tasks = f", {', '.join(running[:_RUNNING_MOST])} not done" if running else ""
        return f"it waits for {dag_id}, which runs since {since}{tasks}"
    return f"no run of {dag_id} has begun" if wanted is not None else ""


def _foreseen(look: Look, deadline: Deadline, one: Standing, late: dict[object, list[Part]]) -> Standing:
    """The standing by the forecast of the part that is likeliest to be late, if each late part has one."""
    day = next((day for day in days_of(deadline, look.now) if day.due == one.due), None)
    if day is None or "warn" in deadline.model_fields_set:
        return one
    worst: Standing | None = None
    for part in late.get(day.date, []):
        if part.asset is not None or part.task is not None:
            return one
        wanted = Wanted.of(deadline, day, part.partition)
        for dag_id in _dags_of(look, part):
            counted = {run.run_id for run in runs_of_day(look.known, dag_id, wanted)}
            live = [run for run in look.foreseen(dag_id) if run.run.run_id in counted]
            if not live:
                if run_done(look.known, dag_id, wanted) is None:
                    return one
                continue
            best = min(live, key=lambda run: run.forecast.chance_after(one.due) if run.forecast else 1.0)
            found = foreseen_at(deadline, best, one)
            found = replace(found, reason=f"{one.reason}; {dag_id}: {found.reason}")
            if worst is None or (found.chance or 0) > (worst.chance or 0):
                worst = found
    return worst or one
