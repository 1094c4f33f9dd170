"""A DAG whose file will no longer parse."""

from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("way_import_error", schedule=None, tags=["way"]):
    EmptyOperator(task_id="work")
