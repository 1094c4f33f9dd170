"""Judge what takes too long, and what was not done for too long."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from observability.durations import lasting
from observability.timestamps import iso
from observability.watch.completions import partitions_of
from observability.watch.deadline_state import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.watch.deadline_state import Look
    from observability.watch.known import Span
    from observability.watch.rules.deadline import Deadline

__all__ = ["last_within", "lasting_longer", "lasting_shorter", "longer_than", "partitions_within"]


def lasting_longer(look: Look, deadline: Deadline, dag_id: str, what: str, limit: float) -> Iterator[Standing]:
    """The ``runs``, or ``attempts`` of tasks, that take longer than ``limit`` seconds."""
    for span in look.known.spans(dag_id, what, look.now, limit * deadline.warn):
        if not deadline.task or fnmatchcase(span[0], deadline.task):
            yield from longer_than(look, deadline, dag_id, span, limit)


def longer_than(  # noqa: PLR0913, PLR0917 - the rule, and what it is about
    look: Look, deadline: Deadline, dag_id: str, span: Span, limit: float, than: str = ""
) -> Iterator[Standing]:
    """The state of one run or attempt, if it takes longer than ``limit`` seconds or comes near."""
    subject, occasion, start, end = span
    due, last = start + limit, end if end is not None else look.now
    named = f"task {subject}" if subject else "the run"
    run_id, task_id = occasion.partition("\x1f")[0], subject or None
    which = "" if than else f"{subject} of {run_id}" if subject else run_id
    if last >= due and end != due:  # one that ends in the very second in which it is due is in time
        reason = f"{named} takes longer than {than}{lasting(limit)}, it began at {iso(start, 'seconds')}"
        state: Literal["missed", "over"] = "missed" if end is None else "over"
        yield Standing(state, dag_id, due, reason, run_id, task_id, end, occasion=which)
    elif end is None and deadline.warn < 1 and look.now >= start + limit * deadline.warn:
        reason = f"{named} is not done, and is due at {iso(due, 'seconds')}"
        yield Standing("near", dag_id, due, reason, run_id, task_id, occasion=which)


def lasting_shorter(look: Look, deadline: Deadline, dag_id: str, what: str, limit: float) -> Iterator[Standing]:
    """Those that are under way and not late, and those that have ended in time since the last look."""
    for subject, occasion, start, end in look.known.spans(dag_id, what, look.now, 0.0, look.since):
        if deadline.task and not fnmatchcase(subject, deadline.task):
            continue
        run_id, task_id = occasion.partition("\x1f")[0], subject or None
        which = f"{subject} of {run_id}" if subject else run_id
        named = f"task {subject}" if subject else "the run"
        state: Literal["upcoming", "kept"] = "upcoming" if end is None else "kept"
        yield Standing(
            state,
            dag_id,
            start + limit,
            f"{named} began at {iso(start, 'seconds')}",
            run_id,
            task_id,
            end,
            occasion=which,
        )


def last_within(  # noqa: PLR0913, PLR0917 - one rule for assets and successes
    look: Look, deadline: Deadline, dag_id: str | None, last: float | None, within: float, what: str, why: str = ""
) -> Iterator[Standing]:
    """Judge what was not done since ``last``, and is allowed ``within`` seconds without the pauses of its DAG."""
    now = look.now
    since = last if last is not None else look.known.first_looked(f"deadline:{deadline.name}:{dag_id or ''}", now)
    paused = look.pauses.within(dag_id, since, now) if dag_id else 0.0
    due = since + within + paused
    words = f"{what} since {iso(since, 'seconds')}" if last is not None else f"{what} that is known"
    if now >= due:
        yield Standing("missed", dag_id, due, f"{words}; {why or f'{lasting(within)} allowed'}")
    elif deadline.warn < 1 and now >= due - within * (1 - deadline.warn):
        yield Standing("near", dag_id, due, f"{words}; it is due at {iso(due, 'seconds')}")


def partitions_within(look: Look, deadline: Deadline, within: float) -> Iterator[Standing]:
    """Each partition of an asset that is known, and whose key matches: it must have been updated so lately."""
    glob = str(deadline.partition)
    found: dict[str, float | None] = {**partitions_of(look.known, str(deadline.asset), glob, look.now)}
    if not set("*?[") & set(glob):
        found.setdefault(glob, None)
    for key, last in sorted(found.items()):
        what = f"partition {key} of {deadline.asset} has not been updated"
        for one in last_within(look, deadline, None, last, within, what):
            yield replace(one, partition=key)
