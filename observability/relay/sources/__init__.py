"""Where records come from: Airflow's log folder, our journal, the StatsD socket."""
