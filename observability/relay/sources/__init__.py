"""Sources of records: Airflow's log folder, our journal, the StatsD socket."""
