"""Contrail inside Airflow: the plugin, its listener and policy, the logging config. Only here is Airflow imported."""
