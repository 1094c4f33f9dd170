"""A task that is running when the platform is ended."""

import time

from airflow.sdk import dag, task


@dag(schedule=None)
def long():
    @task
    def sleep():
        time.sleep(600)

    sleep()


long()
