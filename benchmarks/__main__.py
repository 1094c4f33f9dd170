"""The command line of the benchmarks."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.figure import Options
from benchmarks.registry import UnknownBenchmarkError, load, titles

if TYPE_CHECKING:
    from benchmarks.figure import Figure, Sample

_MARK = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}


def main(  # noqa: PLR0913 - an option of the command line each
    name: Annotated[str, typer.Argument(help="A benchmark, or 'list'.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line instead of a table.")] = False,
    rounds: Annotated[int, typer.Option(help="Rounds of each contender.", min=1)] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Take the short form that tests take.")] = False,
    kinds: Annotated[
        str, typer.Option(help="everywhere, failures: findings, ways or parts of them, with commas.")
    ] = "",
    stores: Annotated[str, typer.Option(help="everywhere: embedded, elasticsearch, cloudwatch; with commas.")] = "",
    results: Annotated[
        Path | None, typer.Option(help="everywhere, failures: a file of earlier results to go on from.")
    ] = None,
) -> None:
    """Measure ours next to its peers, or list what can be measured."""
    if name == "list":
        _list(json=json)
        return
    try:
        run = load(name)
    except UnknownBenchmarkError as error:
        raise typer.BadParameter(str(error)) from None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or what it started would stay
    began = time.monotonic()
    figures = run(Options(rounds, quick, _words(kinds), _words(stores), results))
    met = all(figure.met is not False for figure in figures)
    if json:
        _print_line(name, figures, met=met, seconds=time.monotonic() - began)
    else:
        Console().print(_table(name, figures))
    raise typer.Exit(0 if met else 1)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _list(*, json: bool) -> None:
    if json:
        print(orjson.dumps(titles()).decode())
        return
    table = Table("benchmark", "what it measures")
    for name, title in titles().items():
        table.add_row(name, title)
    Console().print(table)


def _print_line(name: str, figures: list[Figure], *, met: bool, seconds: float) -> None:
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}
    found = [figure.document() for figure in figures]
    print(
        orjson.dumps(
            {"benchmark": name, "met": met, "seconds": round(seconds, 1), **machine, "figures": found}
        ).decode()
    )


def _table(name: str, figures: list[Figure]) -> Table:
    table = Table("what", "ours", "peer", "theirs", "ratio", "target", "", title=f"{name} (median, lowest to highest)")
    for figure in figures:
        peer, theirs = figure.peer or ("", None)
        table.add_row(
            f"{figure.what} [dim]{figure.unit}[/]",
            _shown(figure.ours),
            peer,
            _shown(theirs) if theirs else "",
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            "; ".join(map(str, figure.targets)),
            _MARK[figure.met],
        )
    return table


def _shown(sample: Sample) -> str:
    middle = _number(sample.median)
    spread = f" [dim]({_number(sample.low)} to {_number(sample.high)})[/]" if len(sample.values) > 1 else ""
    return middle + spread


def _number(value: float) -> str:
    """Four digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - four digits


if __name__ == "__main__":
    sys.argv[0] = "python -m benchmarks"
    typer.run(main)
