"""Delivery and the watcher inside Airflow's API server, while no process of their own does them."""
