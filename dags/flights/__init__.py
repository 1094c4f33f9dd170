"""The flights ETL without Airflow: read, check, join, store one day at a time."""
