"""A DAG whose file will be deleted."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("way_vanished", schedule=None, tags=["way"]):
    EmptyOperator(task_id="work")
