"""Every way to fail in a real Airflow: found, told once, with the right cause; beside it what plain callbacks told."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.failing_people import is_ended_rightly
from benchmarks.failing_platform import failing_platform, judge, unexplained
from benchmarks.failing_trials import try_all
from benchmarks.failing_ways import WAYS, Way, can_be_tried
from benchmarks.figure import Figure, Options, Sample, Target

Matrix = dict[str, dict[str, Any]]


def run(options: Options) -> list[Figure]:
    """Try the chosen ways, and print the matrix.

    ``options.only`` names ways or parts; with ``options.results`` (a file) what is good there is not tried again, and
    what is found is added, so that the parts may be run one by one.
    """
    known: Matrix = json.loads(options.results.read_text()) if options.results and options.results.exists() else {}
    here = [way for way in WAYS if can_be_tried(way)]
    asked = [way for way in here if not options.only or way.name in options.only or way.part in options.only]
    chosen = [way for way in asked if not known.get(way.name, {}).get("good")]
    strange: list[str] = []
    if chosen:
        found, strange = _try(chosen, mapped=40 if options.quick else 400)
        known |= found
    if options.results:
        options.results.write_text(json.dumps(known, indent=1))
    rows = [known[way.name] for way in here if way.name in known]
    Console(stderr=True, width=140).print(_matrix(rows))
    return _figures([way for way in here if way in asked or way.name in known], rows, strange)


def _try(chosen: list[Way], *, mapped: int) -> tuple[Matrix, list[str]]:
    """Each way's result, and the messages that nobody expected."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        failing_platform(Path(folder), mapped=mapped) as failing,
    ):
        try_all(failing, chosen)
        found = {one.way.name: one.document() for one in judge(failing, chosen)}
        for way in chosen:
            found[way.name]["ended rightly"] = is_ended_rightly(way, failing)
            found[way.name]["good"] &= found[way.name]["ended rightly"]
        return found, [f"{one['title']}: {one['summary']}" for one in unexplained(failing, failing.sent())]


def _figures(ways: list[Way], rows: list[dict[str, Any]], strange: list[str]) -> list[Figure]:
    told = [row["way"] for row in rows if row["alerts"] == row["expected"]]
    silent = [row["way"] for row in rows if row["expected"] and not row["alerts"]]
    plain = [row["way"] for row in rows if row["plain_callbacks"] == row["expected"]]
    wrong = [row["way"] for row in rows if not row["cause is right"]]
    unsaid = [row["way"] for row in rows if not row["ended rightly"]]
    bad = sorted({way.name for way in ways} - set(told))
    return [
        Figure(
            "ways told exactly once", "ways", Sample((len(told),)),
            ("plain Airflow callbacks", Sample((len(plain),))), (Target(at_least=len(ways)),),
            {"ways": len(ways), "wrong": bad, "matrix": rows},
        ),
        *(
            Figure(what, "ways", Sample((len(found),)), targets=(Target(at_most=0),), notes={"which": found})
            for what, found in {
                "ways that nobody heard of": silent,
                "wrong causes": wrong,
                "ends by people whose message does not say who": unsaid,
                "messages about nothing that happened": strange,
            }.items()
        ),
    ]  # fmt: skip


def _matrix(rows: list[dict[str, Any]]) -> Table:
    table = Table("way", "alerts", "expected", "cause", "seconds", "plain callbacks", title=f"{len(rows)} ways to fail")
    for row in rows:
        table.add_row(
            row["way"], f"{'' if row['good'] else '[red]'}{row['alerts']}", str(row["expected"]),
            ", ".join(row["causes"]), str(row["seconds"] or ""), str(row["plain_callbacks"]),
        )  # fmt: skip
    return table
