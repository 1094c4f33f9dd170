"""The parts of a look at Airflow's REST API: each asks about one thing, and answers with facts."""
