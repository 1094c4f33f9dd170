"""Proves every five minutes that what is emitted arrives: one sample of every kind of event, through the real path.

    check_previous_round → send_round

- **Run**: every five minutes, one at a time, not caught up.
- **Events**: the samples carry ``canary.probe`` = the round's number and are neither counted nor alerted. What a round
  found is a fact: ``canary.verified`` (with the time that the round took), or ``canary.missing``, which pages.
- **If it is red**: the task itself could not run. If ``canary.missing`` came: see ``contrail doctor``.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.sdk import dag, task

from observability import get_logger

log = get_logger(__name__)

ARRIVES_WITHIN_S = 30


@dag(
    schedule="*/5 * * * *",
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=4),
    default_args={"owner": "platform-oncall", "retries": 0},
    tags=["canary"],
    doc_md=__doc__,
)
def canary():
    @task
    def check_previous_round(ti=None):
        """Ask the store for the round before this one, and tell what it has of it."""
        from observability.canary import arrival, report
        from observability.settings import get_settings
        from observability.store.store import open_store

        previous = ti.xcom_pull(task_ids="send_round", include_prior_dates=True)
        if previous is None:
            log.info("there is no round before this one")
            return
        store = open_store(get_settings())
        try:
            found = arrival(store, previous["round"], datetime.fromisoformat(previous["sent_at"]))
        finally:
            store.close()
        report(previous["round"], found, previous["took_ns"], log=log.log)

    @task
    def send_round():
        """Emit a sample of every kind; note how long they take to arrive."""
        from observability.canary import await_arrival, send_round
        from observability.settings import get_settings
        from observability.store.store import open_store

        sent_at = datetime.now(timezone.utc)
        number = int(sent_at.timestamp())
        log.info("sent", round=number, kinds=send_round(number))
        store = open_store(get_settings())
        try:
            took_ns = await_arrival(store, number, sent_at, timeout_s=ARRIVES_WITHIN_S)
        finally:
            store.close()
        return {"round": number, "sent_at": sent_at.isoformat(), "took_ns": took_ns}

    check_previous_round() >> send_round()


canary()
