"""A DAG whose file will no longer parse."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("way_import_error", schedule=None, tags=["way"]):
    EmptyOperator(task_id="work")
