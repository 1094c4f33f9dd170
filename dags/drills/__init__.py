"""What the failure drills need beside Airflow."""
