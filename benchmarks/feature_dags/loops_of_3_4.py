"""Task loops of Airflow 3.4: each iteration prints lines that name it; some fail, one is killed, one is run again."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta

from airflow.sdk import LoopDecision, dag, task, task_group


def say(loop, ti, what, number=5):
    for line in range(number):
        print(f"MARK {what} loop={loop.index} map={ti.map_index} try={ti.try_number} line={line}")


@dag(schedule=None, catchup=False, tags=["loops", "env:prod", "team:x", "pool:y"])
def loop_lines():
    """Three iterations that succeed."""

    @task_group
    def body():
        @task
        def step(*, loop, ti):
            say(loop, ti, "loop_lines")
            return loop.index

        step()

    body.loop(max_iterations=3)


@dag(schedule=None, catchup=False, tags=["loops"])
def loop_measured():
    """Three iterations that measure what they load: 10, 20, 30 rows."""

    @task_group
    def body():
        @task
        def load(*, loop, ti):
            from observability import measure, metrics

            with measure("load", table="looped") as step:
                step.input(10 * (loop.index + 1))
                step.output(10 * (loop.index + 1))
            metrics.increment("looped.count")
            say(loop, ti, "loop_measured")
            return loop.index

        load()

    body.loop(max_iterations=3)


@dag(schedule=None, catchup=False, tags=["loops"])
def loop_fails():
    """Iteration 0 works, 1 fails once and then works, 2 fails for good with another error."""

    @task_group
    def body():
        @task(retries=1, retry_delay=timedelta(seconds=1))
        def step(*, loop, ti):
            say(loop, ti, "loop_fails")
            if loop.index == 1 and ti.try_number == 1:
                raise ValueError("iteration one, first try")
            if loop.index == 2:
                raise KeyError(f"iteration two, try {ti.try_number}")
            return loop.index

        step()

    body.loop(max_iterations=4)


@dag(schedule=None, catchup=False, tags=["loops"])
def loop_killed():
    """Iteration 1 is killed by the kernel's SIGKILL, for good."""

    @task_group
    def body():
        @task
        def step(*, loop, ti):
            say(loop, ti, "loop_killed")
            if loop.index == 1:
                time.sleep(0.5)
                os.kill(os.getpid(), signal.SIGKILL)
            return loop.index

        step()

    body.loop(max_iterations=3)


@dag(schedule=None, catchup=False, tags=["loops"])
def loop_mapped():
    """A mapped task inside a loop: two iterations of three; in iteration 1 position 2 fails."""

    @task_group
    def body():
        @task
        def choose(*, loop, ti):
            say(loop, ti, "loop_mapped.choose")
            return [1, 2, 3]

        @task
        def process(value, *, loop, ti):
            say(loop, ti, "loop_mapped.process")
            if loop.index == 1 and ti.map_index == 2:
                raise RuntimeError("iteration one, position two")
            return value + loop.index

        process.expand(value=choose())

    body.loop(max_iterations=2)


@dag(schedule=None, catchup=False, tags=["loops"])
def loop_never_done():
    """The condition stays false at the cap: the gate fails."""

    @task_group
    def body():
        @task
        def step(*, loop, ti):
            say(loop, ti, "loop_never_done")
            return loop.index

        step()

    def enough(*, loop):
        return LoopDecision(stop=False, reason=f"only {loop.result}")

    body.loop(max_iterations=2, until=enough)


@dag(schedule=None, catchup=False, tags=["loops"])
def loop_all_fail_softly():
    """Each iteration fails its first try with the same error and works on the second: three retries to tell."""

    @task_group
    def body():
        @task(retries=1, retry_delay=timedelta(seconds=1))
        def step(*, loop, ti):
            say(loop, ti, "loop_soft")
            if ti.try_number == 1:
                raise ValueError("the first try of each iteration")
            return loop.index

        step()

    body.loop(max_iterations=3)


@dag(schedule=None, catchup=False, tags=["loops"])
def loop_tolerates():
    """``side`` fails in iterations 0 and 2, and the run goes on: two failures, and no success repairs the first."""

    @task_group
    def body():
        @task
        def side(*, loop, ti):
            say(loop, ti, "loop_tolerates.side")
            if loop.index != 1:
                raise ValueError(f"iteration {loop.index} of the side")

        @task(trigger_rule="all_done")
        def step(_side, *, loop, ti):
            say(loop, ti, "loop_tolerates.step")
            return loop.index

        step(side())

    body.loop(max_iterations=3)


@dag(schedule=None, catchup=False, tags=["loops"])
def loop_mapped_retries():
    """A mapped task in a loop, of which one position needs a second try in each iteration."""

    @task_group
    def body():
        @task
        def choose(*, loop, ti):
            say(loop, ti, "loop_mapped_retries.choose")
            return [1, 2]

        @task(retries=1, retry_delay=timedelta(seconds=1))
        def process(value, *, loop, ti):
            say(loop, ti, "loop_mapped_retries.process")
            if ti.map_index == 1 and ti.try_number == 1:
                raise RuntimeError("the first try of position one")
            return value

        process.expand(value=choose())

    body.loop(max_iterations=2)


@dag(schedule=None, catchup=False, tags=["loops"])
def loop_forked():
    """Three iterations; the benchmark clears the second, so that Airflow runs the loop again from there."""

    @task_group
    def body():
        @task
        def step(*, loop, ti):
            say(loop, ti, "loop_forked")
            return loop.index

        step()

    body.loop(max_iterations=3)


loop_lines()
loop_measured()
loop_fails()
loop_killed()
loop_mapped()
loop_never_done()
loop_all_fail_softly()
loop_tolerates()
loop_mapped_retries()
loop_forked()
