"""A DAG whose file will be deleted."""

from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("way_vanished", schedule=None, tags=["way"]):
    EmptyOperator(task_id="work")
