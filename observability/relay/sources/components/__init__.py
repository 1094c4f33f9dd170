"""Readers of what Airflow stands on: processes and their cgroups, the database, the queues of the broker."""
