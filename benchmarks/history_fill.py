"""Give each DAG of an Airflow a past of hourly runs: the first of a DAG by Airflow's own models, the others as copies.

``python -m benchmarks.history_fill RUNS [SECONDS]`` runs with that Airflow's environment. Each run and task has the
rows that a scheduler leaves behind, a task of about so many seconds; the copies are inserted in bulk.
"""

from __future__ import annotations

import random
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.models.dag_version import DagVersion
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import insert, inspect, select, text

_PARTS = 500
_Row = dict[str, Any]


def fill(runs: int, usual_s: float = 30.0) -> None:
    """Write ``runs`` runs of each DAG, the last of which began an hour ago.

    A task takes ``usual_s``, give or take a third.
    """
    now, dice = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0), random.Random(1)
    with create_session() as session:
        versions = {one.dag_id: one for one in session.scalars(select(DagVersion))}
        for number, (dag_id, version) in enumerate(versions.items()):
            dag: Any = SerializedDagModel.get_dag(dag_id, session=session)
            first = _first(dag, version.id, now - timedelta(hours=1), usual_s)
            session.add_all(first)
            session.flush()
            run, *tasks = (_row(session, one) for one in first)
            copies = [_copy(run, tasks, now - timedelta(hours=hour), dice, usual_s) for hour in range(2, runs + 1)]
            for begin in range(0, len(copies), _PARTS):
                part = copies[begin : begin + _PARTS]
                session.execute(insert(DagRun.__table__), [one for one, _ in part])
                session.execute(insert(TaskInstance.__table__), [one for _, many in part for one in many])
            session.commit()
            sys.stderr.write(f"{(number + 1) * runs:,} of {len(versions) * runs:,} runs are written\n")
        session.execute(text("ANALYZE"))  # as the database of an Airflow that ran for weeks has been
        session.commit()


def _first(dag: Any, version: Any, at: datetime, usual_s: float) -> list[Any]:
    """A run and its tasks, which succeeded one after another."""
    run = DagRun(
        dag.dag_id, _name(at), logical_date=at, run_after=at, start_date=at, run_type="scheduled",
        data_interval=(at, at), state=DagRunState.RUNNING, queued_at=at,
    )  # fmt: skip
    run.created_dag_version_id = version
    found: list[Any] = [run]
    for task in sorted(dag.tasks, key=lambda one: one.task_id):
        one = TaskInstance(task, version, run_id=run.run_id)
        one.state, one.try_number, one.hostname = TaskInstanceState.SUCCESS, 1, "worker"
        one.start_date = one.queued_dttm = one.scheduled_dttm = at
        at += timedelta(seconds=usual_s)
        one.end_date, one.duration = at, usual_s
        found.append(one)
    run.end_date, run._state = at, DagRunState.SUCCESS  # noqa: SLF001
    return found


def _row(session: Any, one: Any) -> _Row:
    """The columns of a row as the database has them, without its key."""
    session.refresh(one)
    columns = {attribute.columns[0].name: attribute.key for attribute in inspect(type(one)).column_attrs}
    return {name: getattr(one, key) for name, key in columns.items() if name in one.__table__.c and name != "id"}


def _copy(run: _Row, tasks: list[_Row], at: datetime, dice: random.Random, usual_s: float) -> tuple[_Row, list[_Row]]:
    """The same run at another hour; each task takes as long as is usual, one run in fifty fails at its last task."""
    failed, began = dice.random() < 0.02, at  # noqa: PLR2004
    copies: list[_Row] = []
    for task in tasks:
        took = dice.uniform(2 * usual_s / 3, 4 * usual_s / 3)
        end = at + timedelta(seconds=took)
        times = dict.fromkeys(("start_date", "queued_dttm", "scheduled_dttm"), at)
        copies.append({**task, **times, "run_id": _name(began), "end_date": end, "duration": took, "updated_at": end})
        at = end
    if failed and copies:
        copies[-1]["state"] = TaskInstanceState.FAILED
    moments = ("logical_date", "run_after", "start_date", "queued_at", "data_interval_start", "data_interval_end")
    state = DagRunState.FAILED if failed else DagRunState.SUCCESS
    ends = {"run_id": _name(began), "state": state, "end_date": at, "updated_at": at}
    return {**run, **dict.fromkeys(moments, began), **ends}, copies


def _name(at: datetime) -> str:
    return f"scheduled__{at.isoformat()}"


if __name__ == "__main__":
    fill(int(sys.argv[1]), *map(float, sys.argv[2:]))
