"""Every kind of finding on hosts that share nothing: does it reach every store, page, board, rule, alarm and person."""

from __future__ import annotations

import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from botocore.exceptions import BotoCoreError
from rich.console import Console
from rich.table import Table

from benchmarks.everywhere_findings import CONTROLS, FINDINGS, Finding, rules, start_run
from benchmarks.everywhere_hosts import STORES, Hosts, separate_hosts, until
from benchmarks.everywhere_places import PLACES, Places, about_controls
from benchmarks.figure import Figure, Options, Sample, Target
from observability.store import StoreError
from observability.store.cluster import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

Cells = dict[str, dict[str, bool | None]]
_GROUPS = ("deadlines", "tasks", "files", "components", "relays", "peers", "api")
_QUICK = ("exception", "sigkill", "deadline few_rows", "asset updated")
_AT_ONCE = 9
_BACK_S = 60.0
"""An API server that was held answers again within this time."""
_PATIENT = 2.0
"""On a machine that is busy with other things a finding may take so many times as long."""


def run(options: Options) -> list[Figure]:
    """Make the chosen findings happen, ask every place, and print a table of kinds and places.

    ``options.only`` names findings or groups; ``options.stores`` the stores; with ``options.results`` (a file) what is
    good there is not tried again, and what is found is added.
    """
    known: Cells = json.loads(options.results.read_text()) if options.results and options.results.exists() else {}
    chosen = [one for one in _chosen(options) if not _is_good(known.get(one.name))]
    stores = options.stores or STORES
    wrong: list[str] = []
    missing: dict[str, str] = {}
    if chosen:
        with (
            tempfile.TemporaryDirectory(prefix="everywhere-") as folder,
            separate_hosts(Path(folder), rules(), stores) as hosts,
        ):
            places = Places(hosts, stores)
            for control in CONTROLS:
                start_run(hosts, control)
            for part in _parts(chosen):
                _settle(hosts, places, part, known, missing)
                if options.results:
                    options.results.write_text(json.dumps(known, indent=1))
            places.begin_round()
            wrong = about_controls(places)
    Console(stderr=True, width=180).print(_table(known))
    cells = [(name, place, there) for name, row in known.items() for place, there in row.items() if there is not None]
    bad = [f"{name} at {place}" for name, place, there in cells if not there]
    notes = {"missing": bad, "why": missing, "table": known, "said of the healthy": wrong}
    return [
        Figure("cells that show the finding", "cells", Sample((len(cells) - len(bad),)),
               targets=(Target(at_least=len(cells)),), notes={"cells": len(cells), **notes}),
        Figure("places that call a healthy DAG ill", "places", Sample((len(wrong),)), targets=(Target(at_most=0),)),
    ]  # fmt: skip


def _chosen(options: Options) -> list[Finding]:
    only = options.only or (_QUICK if options.quick else ())
    return [one for one in FINDINGS if not only or one.name in only or one.group in only]


def _is_good(row: dict[str, bool | None] | None) -> bool:
    return row is not None and all(there is not False for there in row.values())


def _parts(chosen: list[Finding]) -> Iterator[list[Finding]]:
    """The findings that happen together: a group, or as much of it as six slots of workers take at once."""
    for group in _GROUPS:
        mine = [one for one in chosen if one.group == group]
        size = _AT_ONCE if group == "tasks" else max(1, len(mine))
        yield from (mine[start : start + size] for start in range(0, len(mine), size))


def _settle(hosts: Hosts, places: Places, mine: list[Finding], found: Cells, missing: dict[str, str]) -> None:
    """Make the findings of a group happen, and ask until each place shows them or their patience is over."""
    began, patience = time.monotonic(), min(_PATIENT, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / 2))
    with ThreadPoolExecutor(8) as pool:
        begun = [pool.submit(one.begin, hosts) for one in mine]
        found |= {one.name: dict.fromkeys(PLACES, False) for one in mine}
        waiting = list(mine)
        while waiting:
            time.sleep(2)
            places.begin_round()
            for one in waiting:
                _ask(places, one, found[one.name])
            over = time.monotonic() - began
            waiting = [one for one in waiting if not _is_good(found[one.name]) and over < patience * one.within_s]
        for one in mine:
            if one.end is not None:
                one.end(hosts)
        until(lambda: hosts.page("/"), _BACK_S)
        for one, each in zip(mine, begun, strict=True):
            if not each.cancel() and each.done() and (error := each.exception()):
                missing[one.name] = f"it could not be made to happen: {type(error).__name__}: {error}"
    places.begin_round()
    for one in mine:
        _ask(places, one, found[one.name])
        for place, there in found[one.name].items():
            if there is False:
                missing[f"{one.name} at {place}"] = places.why_not(one, place)


def _ask(places: Places, one: Finding, row: dict[str, bool | None]) -> None:
    """Ask in the order in which news travels: what has no event yet is nowhere else, but for a message."""
    for place in PLACES:
        if row[place] is False:
            try:
                row[place] = places.ask(one, place)
            except (StoreError, ClusterError, BotoCoreError, httpx.TransportError) as error:  # it is asked again
                Console(stderr=True).print(f"{one.name} at {place}: {error}", style="dim")


def _table(cells: Cells) -> Table:
    table = Table("finding", *PLACES, title="Everywhere")
    for name, row in cells.items():
        words = {True: "[green]yes[/]", False: "[red]NO[/]", None: "-"}
        table.add_row(name, *(words[row[place]] for place in PLACES))
    return table
