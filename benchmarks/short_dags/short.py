"""Four DAGs of three tasks, each of which sleeps for as long as the run's conf says."""

from __future__ import annotations

import time

from airflow.sdk import dag, task


def make(name):
    """Make one of the DAGs."""

    @dag(dag_id=name, schedule=None, max_active_runs=1, is_paused_upon_creation=False)
    def short():
        def step(number):
            @task(task_id=f"step{number}")
            def sleeps(dag_run=None):
                time.sleep(dag_run.conf["sleeps"][number])

            return sleeps()

        step(0) >> step(1) >> step(2)

    return short()


for one in range(4):
    globals()[f"short_{one}"] = make(f"short_{one}")
