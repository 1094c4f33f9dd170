"""A DAG that loses a task while a run of it goes on."""

import time

from airflow.sdk import DAG, task

with DAG("way_removed", schedule=None, tags=["way"]):

    @task
    def first():
        time.sleep(20)

    @task
    def work():
        pass

    first() >> work()
