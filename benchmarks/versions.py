"""Each feature on real Airflows 3.3 and 3.4: are lines, events, messages and pages what Airflow's own API says."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.airflows import python_of
from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.versions_airflow import Versioned
from benchmarks.versions_compare import COMPARED, Row, compare, settle
from benchmarks.versions_plays import GROUPS, play

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSIONS = ("3.3", "3.4")
Known = dict[str, dict[str, dict[str, Any]]]
"""The rows by DAG and version."""


def run(options: Options) -> list[Figure]:
    """Run the DAGs of the chosen groups on the chosen versions, and print a table of DAGs and versions.

    ``options.only`` names groups (loops, features, beside, examples), versions (3.3, 3.4) and globs of DAGs.
    With ``options.results`` (a file) the rows that are found are added to those that it holds.
    """
    known: Known = json.loads(options.results.read_text()) if options.results and options.results.exists() else {}
    versions = [one for one in VERSIONS if one in options.only] or list(VERSIONS[1:] if options.quick else VERSIONS)
    groups = [one for one in GROUPS if one in options.only] or list(GROUPS)
    globs = tuple(one for one in options.only if one not in {*VERSIONS, *GROUPS})
    unasked: list[str] = []
    for version in versions:
        for group in groups:
            rows, others = _try(version, group, globs, quick=options.quick)
            unasked += others
            for row in rows:
                known.setdefault(row.dag_id, {})[version] = row.document()
            if options.results:
                options.results.write_text(json.dumps(known, indent=1))
    Console(stderr=True, width=180).print(_table(known))
    return _figures(known, unasked)


def _try(version: str, group: str, globs: tuple[str, ...], *, quick: bool) -> tuple[list[Row], list[str]]:
    """The rows of a group's DAGs on one version, and the faults that are about none of them."""
    chosen = GROUPS[group]
    if version not in chosen.versions:
        return [], []
    with (
        tempfile.TemporaryDirectory(prefix="versions-") as folder,
        Versioned(Path(folder), python_of(version), chosen.files, examples=chosen.examples).running() as airflow,
    ):
        played = play(airflow, chosen, quick=quick, only=globs)
        settle(airflow, played)
        return compare(airflow, played)


def _figures(known: Known, unasked: list[str]) -> list[Figure]:
    rows = [(dag_id, version, row) for dag_id, found in known.items() for version, row in found.items()]
    figures = []
    for name in COMPARED:
        wrong = {f"{dag_id} on {version}": row["why"][name] for dag_id, version, row in rows if row["why"].get(name)}
        figures.append(
            Figure(f"DAGs whose {name} are right", "DAGs", Sample((len(rows) - len(wrong),)),
                   targets=(Target(at_least=len(rows)),), notes={"of": len(rows), "wrong": wrong})
        )  # fmt: skip
    notes = {"messages": unasked}
    figures.append(
        Figure("faults beside the DAGs", "faults", Sample((len(unasked),)), targets=(Target(at_most=0),), notes=notes)
    )
    return figures


def _table(known: Known) -> Table:
    table = Table("DAG", "Airflow", *(f"{name}: right = found" for name in COMPARED), title="Versions")
    for dag_id, versions in sorted(known.items()):
        for version, row in sorted(versions.items()):
            table.add_row(dag_id, version, *_cells(row))
    return table


def _cells(row: dict[str, Any]) -> Iterable[str]:
    for name in COMPARED:
        expected, found = row["counts"][name]
        good = not row["why"].get(name)
        yield f"{expected} = {found}" if good else f"[red]{expected}, {found}: {'; '.join(row['why'][name])[:300]}[/]"
