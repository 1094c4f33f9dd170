"""Every way to fail in a real Airflow: found, told once, with the right cause; beside it what plain callbacks told."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.failing_people import is_ended_rightly
from benchmarks.failing_platform import Outcome, failing_platform, judge
from benchmarks.failing_trials import try_all
from benchmarks.failing_ways import WAYS
from benchmarks.figure import Figure, Options, Sample, Target


def run(options: Options) -> list[Figure]:
    """Try them all at once, and print the matrix."""
    with (
        tempfile.TemporaryDirectory() as folder,
        failing_platform(Path(folder), mapped=40 if options.quick else 400) as failing,
    ):
        try_all(failing)
        outcomes = judge(failing)
        unsaid = [one.way.name for one in outcomes if not is_ended_rightly(one.way, failing)]
    Console(stderr=True).print(_matrix(outcomes))
    silent = [one for one in outcomes if one.way.alerts and not one.alerts]
    wrong = [one for one in outcomes if len(one.alerts) != one.way.alerts]
    cause = [one for one in outcomes if not one.cause_is_right]
    plain = [one for one in outcomes if one.plain != one.way.alerts]
    rows = [one.document() for one in outcomes]
    return [
        Figure(
            "ways told exactly once", "ways", Sample((len(WAYS) - len(wrong),)),
            ("plain Airflow callbacks", Sample((len(WAYS) - len(plain),))), (Target(at_least=len(WAYS)),),
            {"ways": len(WAYS), "wrong": [one.way.name for one in wrong], "matrix": rows},
        ),
        Figure("ways that nobody heard of", "ways", Sample((len(silent),)), targets=(Target(at_most=0),)),
        Figure("wrong causes", "ways", Sample((len(cause),)), targets=(Target(at_most=0),)),
        Figure(
            "ends by people whose message does not say who", "ways", Sample((len(unsaid),)),
            targets=(Target(at_most=0),), notes={"unsaid": unsaid},
        ),
    ]  # fmt: skip


def _matrix(outcomes: list[Outcome]) -> Table:
    table = Table("way", "alerts", "expected", "cause", "seconds", "plain callbacks", title="Ways to fail")
    for one in outcomes:
        good = len(one.alerts) == one.way.alerts and one.cause_is_right
        table.add_row(
            one.way.name, f"{'' if good else '[red]'}{len(one.alerts)}", str(one.way.alerts), ", ".join(one.causes),
            "" if one.seconds is None else f"{one.seconds:.1f}", str(one.plain),
        )  # fmt: skip
    return table
