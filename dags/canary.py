"""Proves every five minutes that what is emitted arrives: one sample of every kind of event, through the real path.

    send_round → check_round

- **Run**: every five minutes, one at a time, not caught up. A round is sent and judged within its run, so that a run
  that is cleared, retried or started by hand says nothing of another.
- **Events**: the samples stand in a data stream of their own (``contrail.probe``), as they never happened. What a round
  found is a fact: ``canary.verified`` (with the time that the round took), or ``canary.missing``, which pages.
- **If it is red**: the task itself could not run. If ``canary.missing`` came: see ``contrail doctor``.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.sdk import dag, task

from observability import get_logger

log = get_logger(__name__)

WAITED_FOR_S = 30
ARRIVES_WITHIN_S = 120


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
    def send_round():
        """Emit a sample of every kind, and measure how long they take to arrive."""
        from observability.canary import ask, send_round
        from observability.settings import get_settings

        sent_at = datetime.now(timezone.utc)
        number = int(sent_at.timestamp())
        log.info("sent", round=number, kinds=send_round(number))
        _, took_ns = ask(get_settings(), number, sent_at, wait_s=WAITED_FOR_S)
        return {"round": number, "sent_at": sent_at.isoformat(), "took_ns": took_ns}

    @task.sensor(mode="reschedule", poke_interval=10, timeout=2 * ARRIVES_WITHIN_S)
    def check_round(sent):
        """Tell what the store has of the round: when it is there, or when it should have been."""
        from observability.canary import ask, report
        from observability.settings import get_settings

        sent_at = datetime.fromisoformat(sent["sent_at"])
        found, _ = ask(get_settings(), sent["round"], sent_at)
        age = datetime.now(timezone.utc) - sent_at
        if not found.complete and age.total_seconds() < ARRIVES_WITHIN_S:
            return False
        report(sent["round"], found, sent["took_ns"] or int(age.total_seconds() * 1e9), log)
        return True

    check_round(send_round())


canary()
