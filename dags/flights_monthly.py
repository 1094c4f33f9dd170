"""The months that new days belong to, as Parquet: one file per month and carrier.

- **Run**: whenever the Asset ``warehouse.flights`` was updated; the months are those of the days that triggered it. By
  hand, give the param ``month``.
- **Params**: ``month`` (YYYY-MM; for runs by hand).
- **Variables**: ``flights_output`` (as in flights_daily); files are ``monthly/<month>/<carrier>.parquet`` in it.
- **Connection**: ``warehouse``.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Param, dag, task

from flights.assets import FLIGHTS
from observability import get_logger, measure

log = get_logger(__name__)

HOME = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()


@dag(
    schedule=[FLIGHTS],
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "analytics", "retries": 1, "retry_delay": timedelta(seconds=10)},
    params={"month": Param("", type="string", pattern=r"^(\d{4}-\d{2})?$", description="YYYY-MM, for a run by hand.")},
    tags=["flights", "etl"],
    doc_md=__doc__,
)
def flights_monthly():
    @task
    def find_parts(params=None, triggering_asset_events=None):
        """The (month, carrier) pairs to write."""
        from flights.monthly import carriers_of
        from flights.warehouse import connect

        days = [
            event.extra["day"]
            for events in triggering_asset_events.values()
            for event in events
            if "day" in event.extra
        ]
        months = sorted({day[:7] for day in days} | ({params["month"]} if params["month"] else set()))
        if not months:
            raise ValueError("nothing says which month: trigger this DAG with the param month, such as 2013-07")
        parts = [{"month": month, "carrier": carrier} for month in months for carrier in carriers_of(connect(), month)]
        log.info("found parts", months=months, parts=len(parts))
        return parts

    @task(map_index_template="{{ part['month'] }} {{ part['carrier'] }}", max_active_tis_per_dagrun=4)
    def write_part(part):
        """One carrier's month as a Parquet file."""
        from airflow.sdk import Variable

        from flights.monthly import flights_of, write
        from flights.stage import open_folder
        from flights.warehouse import connect

        output = (
            open_folder(Variable.get("flights_output", default=f"{HOME}/flights").rstrip("/"))
            / "monthly"
            / part["month"]
        )
        with measure("write_part", table="monthly") as step:
            rows = step.input(flights_of(connect(), part["month"], part["carrier"]))
            write(output, part["carrier"], rows)
            step.output(rows)

    write_part.expand(part=find_parts())


flights_monthly()
