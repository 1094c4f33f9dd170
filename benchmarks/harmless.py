"""Count the lines of real text without a secret that the mask changes; ``HARMLESS_SHOW=1`` shows them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, Options, Sample, Target
from observability import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST, _QUICK = 200_000, 5_000
_LOGS = ("*.log", "*.jsonl")


def run(options: Options) -> list[Figure]:
    """Mask lines of the logs below ``HARMLESS_LOGS`` (a folder), and of Airflow's own texts: log calls and messages.

    Airflow's sources assign passwords in code, which is to be masked in a log: that figure is there to compare with.
    """
    most = _QUICK if options.quick else _MOST
    redact.forget_secrets()
    folder = os.environ.get("HARMLESS_LOGS")
    found = [_changed("lines of Airflow's texts", _texts(), most)]
    return [*found, _changed("lines of logs", _logs(Path(folder)), most, Target(at_most=20.0))] if folder else found


def _changed(what: str, lines: Iterator[str], most: int, *targets: Target) -> Figure:
    read = changed = 0
    for line in lines:
        read += 1
        if read > most:
            break
        if (masked := redact.text(line)) != line:
            changed += 1
            if os.environ.get("HARMLESS_SHOW"):
                sys.stderr.write(f"{line.strip()[:200]}\n  {masked.strip()[:200]}\n")
    per = 100_000 * changed / max(read, 1)
    return Figure(f"changed of 100,000 {what}", "lines", Sample((per,)), targets=targets, notes={"read": read})


def _logs(folder: Path) -> Iterator[str]:
    for pattern in _LOGS:
        for path in sorted(folder.rglob(pattern)):
            yield from path.read_text("utf-8", "replace").splitlines()


def _texts() -> Iterator[str]:
    """Yield the lines of Airflow's sources that have a message in them."""
    import airflow

    for path in sorted(Path(airflow.__file__).parent.rglob("*.py")):
        for line in path.read_text("utf-8", "replace").splitlines():
            if "log." in line or "raise " in line or line.strip().startswith(('"', 'f"', "#")):
                yield line
