"""The sources of what happens: the journal, the log folder, and Airflow's API."""
