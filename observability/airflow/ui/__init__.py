"""Contrail's pages inside the Airflow UI: what a person who clicks on a red square wants next."""
