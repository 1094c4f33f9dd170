"""Ways to fail, one task each: trigger it by hand to see what an alert, a log and a board make of one.

- **Run**: by hand only. One run drills what its param ``drill`` names (``all`` for everything; some take minutes), and
  skips the rest. The task that fails has the drill's name.
- **Params**: ``drill``; ``mapped`` and ``mapped_failing`` (how many instances of the drill ``mapped`` there are, and
  how many of them fail: 8 and 6; a storm is 400 and 300); ``seconds`` (how long ``slow`` takes, 60); ``memory_mb``
  (what ``oom`` may use, 64).

| drill | what happens |
|---|---|
| exception | the task's code raises |
| data_error | the data breaks a rule |
| dependency_error | nothing listens where the task connects to |
| retry_then_success | attempt 1 raises, attempt 2 succeeds: no failure at the end |
| retry_then_failure | both attempts raise |
| fail_exception | AirflowFailException: no retry although there is one left |
| execution_timeout | sleeps longer than its execution_timeout |
| sigkill | the process gets SIGKILL: no callback, no listener |
| os_exit | the process leaves by os._exit: the same |
| oom | the process takes more memory than its cgroup (else RLIMIT_AS) allows |
| supervisor_killed | the process that watches over the task gets SIGKILL: heartbeats end |
| sensor_timeout | a sensor waits for what does not come |
| trigger_timeout | a deferred task's trigger does not fire in time |
| trigger_raises | a deferred task's trigger raises in the triggerer |
| mapped | many instances of one task fail at once |
| upstream | a task before it fails, so it never runs |
| slow | takes ``seconds``: for deadlines, and for killing things meanwhile |
| stuck | waits for a pool that does not exist, until the run's timeout |
| skipped | skips itself |
| callback_raises | fails, and its own on_failure_callback raises |
"""

from __future__ import annotations

import os
import signal
import socket
import time
from datetime import timedelta

from airflow.sdk import BaseOperator, Param, dag, task

from observability import get_logger

log = get_logger(__name__)

ENTRIES = {"mapped": "mapped_numbers", "upstream": "upstream_cause"}
DRILLS = [line.split("|")[1].strip() for line in __doc__.splitlines() if line.startswith("| ")][1:]


class DrillError(RuntimeError):
    """The error that a drill raises."""


class Deferred(BaseOperator):
    """Defers to a trigger that waits for a file that is not there."""

    def __init__(self, *, poke_interval, give_up_after, **kwargs):
        super().__init__(**kwargs)
        self.poke_interval = poke_interval
        self.give_up_after = give_up_after

    def execute(self, context):
        from airflow.providers.standard.triggers.file import FileTrigger

        trigger = FileTrigger(filepath="/nonexistent/drill", poke_interval=self.poke_interval)
        self.defer(trigger=trigger, method_name="resume", timeout=self.give_up_after)

    def resume(self, context, event=None):
        return event


def raise_again(context):
    raise DrillError("the callback failed as well")


@dag(
    schedule=None,
    max_active_runs=20,
    dagrun_timeout=timedelta(minutes=30),
    default_args={"owner": "platform-oncall", "retries": 0, "retry_delay": timedelta(seconds=2)},
    params={
        "drill": Param("exception", type="string", enum=[*DRILLS, "all"], description="How to fail."),
        "mapped": Param(8, type="integer", minimum=1, maximum=1000, description="Instances of the drill mapped."),
        "mapped_failing": Param(6, type="integer", minimum=0, maximum=1000, description="How many of them fail."),
        "seconds": Param(60, type="number", minimum=0, maximum=3600, description="How long the drill slow takes."),
        "memory_mb": Param(64, type="integer", minimum=16, maximum=4096, description="What the drill oom may use."),
    },
    tags=["drill"],
    doc_md=__doc__,
)
def failure_drills():
    @task.branch
    def choose(params=None):
        chosen = DRILLS if params["drill"] == "all" else [params["drill"]]
        return [ENTRIES.get(name, name) for name in chosen]

    @task
    def exception():
        raise DrillError("this drill raises")

    @task
    def data_error():
        import pandas as pd
        import pandera.pandas as pa

        schema = pa.DataFrameSchema({"air_time": pa.Column(int, pa.Check.gt(0))})
        schema.validate(pd.DataFrame({"air_time": [227, -1]}), lazy=True)

    @task
    def dependency_error():
        with socket.create_connection(("127.0.0.1", 9), timeout=2):
            log.error("something listens on the discard port")

    @task(retries=1)
    def retry_then_success(ti=None):
        if ti.try_number == 1:
            raise DrillError("attempt 1 fails, attempt 2 will not")

    @task(retries=1)
    def retry_then_failure(ti=None):
        raise DrillError(f"attempt {ti.try_number} fails")

    @task(retries=1)
    def fail_exception():
        from airflow.sdk.exceptions import AirflowFailException

        raise AirflowFailException("not worth another attempt")

    @task(execution_timeout=timedelta(seconds=2))
    def execution_timeout():
        time.sleep(300)

    @task
    def sigkill():
        log.info("these are the last words of this process")
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def os_exit():
        os._exit(7)

    @task
    def oom(params=None):
        from drills.memory import exhaust, limit

        log.info("limited", by=limit(params["memory_mb"] << 20))
        exhaust()

    @task
    def supervisor_killed():
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(0)

    @task.sensor(poke_interval=1, timeout=3, mode="reschedule")
    def sensor_timeout():
        return False

    trigger_timeout = Deferred(task_id="trigger_timeout", poke_interval=1.0, give_up_after=timedelta(seconds=5))
    trigger_raises = Deferred(task_id="trigger_raises", poke_interval="soon", give_up_after=timedelta(minutes=5))

    @task
    def mapped_numbers(params=None):
        return list(range(params["mapped"]))

    @task
    def mapped(number, params=None):
        if number < params["mapped_failing"]:
            raise DrillError(f"instance {number} of {params['mapped']} fails")

    @task
    def upstream_cause():
        raise DrillError("so the task after this one never runs")

    @task
    def upstream():
        log.error("this must not run")

    @task
    def slow(params=None):
        time.sleep(params["seconds"])

    @task(pool="no_such_pool")
    def stuck():
        log.error("this must not run")

    @task
    def skipped():
        from airflow.sdk.exceptions import AirflowSkipException

        raise AirflowSkipException("nothing to do today")

    @task(on_failure_callback=raise_again)
    def callback_raises():
        raise DrillError("and its callback fails too")

    numbers, cause = mapped_numbers(), upstream_cause()
    mapped.expand(number=numbers)
    cause >> upstream()
    choose() >> [
        exception(), data_error(), dependency_error(), retry_then_success(), retry_then_failure(), fail_exception(),
        execution_timeout(), sigkill(), os_exit(), oom(), supervisor_killed(), sensor_timeout(), trigger_timeout,
        trigger_raises, numbers, cause, slow(), stuck(), skipped(), callback_raises(),
    ]  # fmt: skip


failure_drills()
