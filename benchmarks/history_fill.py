"""Give each DAG of an Airflow a past of hourly runs, by Airflow's own models.

``python -m benchmarks.history_fill RUNS`` runs with that Airflow's environment. Each run and task has the rows that a
scheduler leaves behind.
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
from sqlalchemy import select

_PARTS = 200


def fill(runs: int) -> None:
    """Write ``runs`` runs of each DAG, the last of which began an hour ago."""
    now, dice = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0), random.Random(1)
    with create_session() as session:
        versions = {one.dag_id: one for one in session.scalars(select(DagVersion))}
        for dag_id, version in versions.items():
            dag: Any = SerializedDagModel.get_dag(dag_id, session=session)
            for number in range(runs):
                session.add_all(_run(dag, version.id, now - timedelta(hours=number + 1), dice))
                if number % _PARTS == 0:
                    session.flush()
                    session.expunge_all()
            session.commit()


def _run(dag: Any, version: Any, at: datetime, dice: random.Random) -> list[Any]:
    """The run of an hour and its tasks, one after another; one run in fifty fails at its last task."""
    failed = dice.random() < 0.02  # noqa: PLR2004
    run = DagRun(
        dag.dag_id, f"scheduled__{at.isoformat()}", logical_date=at, run_after=at, start_date=at, run_type="scheduled",
        data_interval=(at, at), state=DagRunState.RUNNING, queued_at=at,
    )  # fmt: skip
    run.created_dag_version_id = version
    found: list[Any] = [run]
    for place, task in enumerate(sorted(dag.tasks, key=lambda one: one.task_id)):
        one = TaskInstance(task, version, run_id=run.run_id)
        is_last = place == len(dag.tasks) - 1
        one.state = TaskInstanceState.FAILED if failed and is_last else TaskInstanceState.SUCCESS
        one.try_number, one.start_date, one.queued_dttm, one.scheduled_dttm = 1, at, at, at
        at += timedelta(seconds=dice.uniform(20, 40))
        one.end_date, one.duration, one.hostname = at, (at - one.start_date).total_seconds(), "worker"
        found.append(one)
    run.end_date, run._state = at, DagRunState.FAILED if failed else DagRunState.SUCCESS  # noqa: SLF001
    return found


if __name__ == "__main__":
    fill(int(sys.argv[1]))
