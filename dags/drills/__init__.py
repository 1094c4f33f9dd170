"""Helpers of the failure drills beside Airflow."""
