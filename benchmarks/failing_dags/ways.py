"""One DAG per way to fail, each with plain callbacks beside ours that note what Airflow itself tells."""

from __future__ import annotations

import builtins
import ctypes
import json
import os
import resource
import signal
import sys
import time
from datetime import datetime, timedelta, timezone

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.triggers.file import FileTrigger
from airflow.sdk import (
    DAG,
    Asset,
    BaseOperator,
    DeadlineAlert,
    DeadlineReference,
    PokeReturnValue,
    SyncCallback,
    task,
    teardown,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from failing_trigger import Failing

from observability import measure
from observability.callbacks import on_deadline

NOTES = os.environ.get("PLAIN_CALLBACKS", "/dev/null")
MAPPED = int(os.environ.get("WAYS_MAPPED", "40"))


def _note(kind, context):
    run = context.get("dag_run")
    line = {"kind": kind, "dag_id": context["dag"].dag_id if "dag" in context else run.dag_id, "run_id": run.run_id}
    with open(NOTES, "a", encoding="utf-8") as file:
        file.write(json.dumps({**line, "time": time.time()}) + "\n")


def plain_task(context):
    """The callback that most teams attach to each task."""
    _note("task", context)


def plain_dag(context):
    """The callback that most teams attach to each DAG."""
    _note("dag", context)


def way(name, **more):
    """A DAG called ``way_<name>``."""
    defaults = {"retries": 0, "retry_delay": timedelta(seconds=1), "on_failure_callback": plain_task, "owner": "ways"}
    return DAG(
        f"way_{name}", default_args={**defaults, **more.pop("default_args", {})}, on_failure_callback=plain_dag,
        schedule=more.pop("schedule", None), start_date=datetime(2025, 1, 1, tzinfo=timezone.utc), catchup=False,
        tags=["way"], **more,
    )  # fmt: skip


def _raise(context=None):
    raise RuntimeError("the callback failed as well")


class Defer(BaseOperator):
    """Waits in the triggerer, for a file that never comes."""

    def __init__(self, *, wait=None, trigger=None, **kwargs):
        super().__init__(**kwargs)
        self.wait = wait
        self.trigger = trigger or FileTrigger(filepath="/nonexistent", poke_interval=1.0)

    def execute(self, context):
        self.defer(trigger=self.trigger, method_name="resume", timeout=self.wait)

    def resume(self, context, event=None):
        return event


with way("exception"):

    @task
    def work():
        raise ValueError("bad input")

    work()

with way("dependency"):

    @task
    def work():
        raise ConnectionRefusedError("the warehouse does not answer")

    work()

with way("data"):

    @task
    def work():
        json.loads("{cut")

    work()

with way("error_group"):

    @task
    def work():
        inner = ConnectionRefusedError("the warehouse does not answer")
        one = builtins.ExceptionGroup("one", [inner])
        raise builtins.ExceptionGroup("two parts failed", [OSError(28, "No space left on device"), one])

    work()

with way("interrupted"):

    @task
    def work():
        raise KeyboardInterrupt

    work()

with way("no_module"):

    @task
    def work():
        import no_such_module

        no_such_module.run()

    work()

with way("run_succeeds"):

    @task
    def work():
        raise ValueError("the run succeeds all the same")

    @task(trigger_rule="all_done")
    def last():
        pass

    work() >> last()

with way("bash_exit"):
    BashOperator(task_id="work", bash_command="exit 3")

with way("teardown"):

    @task
    def work():
        pass

    @teardown(on_failure_fail_dagrun=True)
    def clean():
        raise ValueError("nothing to take down")

    work() >> clean()

with way("not_mappable"):

    @task
    def numbers():
        return 17

    @task
    def work(number):
        pass

    work.expand(number=numbers())

with way("xcom"):

    @task
    def work():
        return open("/dev/null", "rb")

    work()

with way("skipped"):

    @task
    def work():
        raise AirflowSkipException("nothing to do")

    work()

with way("retry_then_success", default_args={"retries": 1}):

    @task
    def work(ti=None):
        if ti.try_number == 1:
            raise ValueError("only the first attempt fails")

    work()

with way("retry_then_failure", default_args={"retries": 1}):

    @task
    def work():
        raise ValueError("each attempt fails")

    work()

with way("fail_exception", default_args={"retries": 3}):

    @task
    def work():
        raise AirflowFailException("no use to try again")

    work()

with way("execution_timeout"):

    @task(execution_timeout=timedelta(seconds=2))
    def work():
        time.sleep(300)

    work()

with way("sigkill"):

    @task
    def work():
        os.kill(os.getpid(), signal.SIGKILL)

    work()

with way("sigkill_retried", default_args={"retries": 1}):

    @task
    def work(ti=None):
        if ti.try_number == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    work()

with way("sigkill_each", default_args={"retries": 1}):

    @task
    def work():
        os.kill(os.getpid(), signal.SIGKILL)

    work()

with way("sigint"):

    @task
    def work():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(30)

    work()

with way("sigterm"):

    @task
    def work():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    work()

with way("oom"):

    @task
    def work():
        resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))
        held = []
        while True:
            held.append(bytearray(os.urandom(1024) * 16_384))

    work()

with way("segfault"):

    @task
    def work():
        ctypes.string_at(0)

    work()

with way("runner_fails"):

    @task
    def work():
        raise ValueError("a surrogate, which Airflow's logger cannot write: \udce9")

    work()

with way("system_exit"):

    @task
    def work():
        sys.exit(3)

    work()

with way("command_killed"):
    BashOperator(task_id="work", bash_command="kill -9 $$")

with way("template"):
    BashOperator(task_id="work", bash_command="echo {{ nobody.knows }}")

with way("os_exit"):

    @task
    def work():
        os._exit(7)

    work()

with way("supervisor_killed"):

    @task
    def work():
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(0)

    work()

with way("stuck"):

    @task(pool="no_such_pool")
    def work():
        pass

    work()

with way("no_slots"):

    @task(pool="ways_shut")
    def work():
        pass

    work()

with way("no_active_tasks", max_active_tasks=0):

    @task
    def work():
        pass

    work()

with way("fail_fast", fail_fast=True):

    @task
    def work():
        time.sleep(8)
        raise ValueError("so the other is stopped")

    @task
    def other():
        time.sleep(90)

    work()
    other()

with way("run_timeout", dagrun_timeout=timedelta(seconds=5)):

    @task
    def work():
        time.sleep(60)

    work()

with way("stuck_queued"):

    @task
    def work():
        pass

    work()

with way("deadlock"):

    @task
    def numbers(ti=None):
        return [0, 1] if ti.try_number == 1 else [0]

    @task
    def work(number):
        raise AirflowSkipException("nothing to do")

    @task(trigger_rule="all_skipped")
    def join():
        pass

    # Cleared and run again, one of two instances is removed: it is not skipped, so that join waits for it for ever.
    work.expand(number=numbers()) >> join()

with way("by_hand"):

    @task
    def work():
        time.sleep(90)

    work()

with way("upstream"):

    @task
    def first():
        raise ValueError("so the others never run")

    @task
    def second():
        pass

    @task
    def third():
        pass

    first() >> second() >> third()

with way("mapped", max_active_tasks=32):

    @task
    def work(number):
        if number % 4:
            raise ValueError("three of four fail")

    work.expand(number=list(range(MAPPED)))

with way("auto_paused", max_consecutive_failed_dag_runs=2):

    @task
    def work():
        raise ValueError("again and again")

    work()

with way("sensor_timeout"):

    @task.sensor(poke_interval=1, timeout=3, mode="poke")
    def work():
        return PokeReturnValue(is_done=False)

    work()

with way("sensor_rescheduled"):
    # Oftener than its executor reports, Airflow fails it for that the two disagree, before it is late.
    @task.sensor(poke_interval=6, timeout=5, mode="reschedule")
    def work():
        return PokeReturnValue(is_done=False)

    work()

with way("unanswered"):
    HITLOperator(task_id="work", subject="Shall it be loaded?", options=["Yes", "No"])

with way("unanswered_in_time"):
    HITLOperator(
        task_id="work", subject="Shall it be loaded?", options=["Yes", "No"], response_timeout=timedelta(seconds=4)
    )

with way("callback_raises"):

    @task(on_failure_callback=[plain_task, _raise])
    def work():
        raise ValueError("and its callback fails as well")

    work()

with way("trigger_timeout"):
    Defer(task_id="work", wait=timedelta(seconds=5))

with way("trigger_fails"):
    Defer(task_id="work", trigger=Failing())

with way("deferred"):
    Defer(task_id="work", wait=timedelta(minutes=30))

with way("run_by_hand"):

    @task
    def work():
        time.sleep(90)

    work()

with way("waits_for_ever"):

    @task(depends_on_past=True)
    def work():
        raise ValueError("the next run waits for this one for ever")

    work()

with way("triggers"):
    TriggerDagRunOperator(task_id="work", trigger_dag_id="way_triggered")

with way("triggered", is_paused_upon_creation=True):

    @task
    def work():
        pass

    work()

with way("late_run"):

    @task
    def work():
        time.sleep(14)

    work()

with way("few_rows"):

    @task
    def work():
        with measure("load", table="ways") as step:
            step.output(5)

    work()

with way("stale"):

    @task(outlets=[Asset("ways://stale")])
    def work():
        pass

    work()

with way("late_by_airflow", deadline=DeadlineAlert(
    reference=DeadlineReference.DAGRUN_QUEUED_AT,
    interval=timedelta(seconds=3),
    callback=SyncCallback(on_deadline, {"name": "late_by_airflow"}),
)):  # fmt: skip

    @task
    def work():
        time.sleep(15)

    work()

with way("no_channel"):

    @task
    def work():
        raise ValueError("told by a channel that nobody answers")

    work()

with way("never_started", schedule="* * * * *", is_paused_upon_creation=True):

    @task
    def work():
        pass

    work()

with way("fine"):

    @task
    def work():
        pass

    work()

for ended_by in ("set_success", "set_skipped", "run_set_success", "cleared", "run_deleted", "dag_deleted"):
    with way(ended_by):

        @task
        def work(ti=None):
            if ti.try_number == 1:
                raise ValueError("until a person sees to it")

        work()
