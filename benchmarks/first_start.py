"""The first start beside 100,000 logs of three years: when a running task's lines are there, in what memory."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.small_files import _clean, _names
from benchmarks.task_log import write_task_log

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES, _LINES = 100_000, 3
_OLDEST_S = 3 * 365 * 86_400.0
_LIMIT_S = 3_600.0
_NEW = "dag_id=today/run_id=r/task_id=t/attempt=1.log"
_LIVE_EVERY_S = 1.0


def run(options: Options) -> list[Figure]:
    """One relay with the embedded store, from its start until the last old line is stored."""
    files = _FILES // 200 if options.quick else _FILES
    with tempfile.TemporaryDirectory() as folder:
        logs, home = Path(folder, "logs"), Path(folder, "home")
        _write(logs, files)
        first, whole, memory, late = _first_start(logs, home, files * _LINES + _LINES)
        order = _newest_first(logs, home / "store.db")
    what = f"beside {files:,} logs of three years"
    return [
        Figure(f"from the start to today's line, {what}", "s", Sample((first,)), targets=(Target(at_most=30.0),)),
        Figure(
            "from a line of a running task to the store, at the most",
            "s",
            Sample((late,)),
            targets=(Target(at_most=10.0),),
        ),
        Figure(f"until all of them are stored, {what}", "s", Sample((whole,))),
        Figure(f"memory at the most, {what}", "MB", Sample((memory,)), targets=(Target(at_most=120.0),)),
        Figure(f"later ones that are older, {what}", "%", Sample((order,)), targets=(Target(at_least=60.0),)),
    ]


def _first_start(logs: Path, home: Path, lines: int) -> tuple[float, float, float, float]:
    """Seconds to today's line and to all lines, the largest memory in MB, and the longest wait of a new line."""
    env = _clean() | {
        "CONTRAIL_CORE__HOME": str(home),
        "CONTRAIL_RELAY__LOG_FOLDER": str(logs),
        "CONTRAIL_RELAY__STATSD_PORT": "0",
        "CONTRAIL_STORE__RETENTION_DAYS": "36500",
    }
    began, first, memory = time.monotonic(), 0.0, 0.0
    live = _Live(logs / _NEW, home)
    relay = subprocess.Popen([sys.executable, "-m", "observability.cli", "relay"], env=env, stderr=subprocess.DEVNULL)
    try:
        while (took := time.monotonic() - began) < _LIMIT_S:
            memory = max(memory, psutil.Process(relay.pid).memory_info().rss / 1e6)
            if not first and _asked(home, "select count(*) from sources where dag_id = 'today'"):
                first = took
            left = lines + live.written - _asked(home, "select count(*) from logs")
            live.go_on(took, writing=bool(first) and left > len(live.waiting))
            if first and not left:
                return first, took, memory, live.longest
            time.sleep(0.2)
        raise TimeoutError(
            f"after {_LIMIT_S} s {_asked(home, 'select count(*) from logs')} of {lines} lines are stored"
        )
    finally:
        relay.terminate()
        relay.wait(30)


class _Live:
    """A task that says something each second, and how long that takes to the store."""

    def __init__(self, path: Path, home: Path) -> None:
        self.written, self.longest = 0, 0.0
        self.waiting: deque[float] = deque()
        self._path, self._home = path, home
        self._line = path.read_bytes().splitlines(keepends=True)[-1]

    def go_on(self, now: float, *, writing: bool) -> None:
        """Take note of what has arrived by now, and write another line when it is time."""
        source = "(select source from sources where dag_id = 'today')"
        stored = _asked(self._home, f"select count(*) from logs where source in {source}") - _LINES
        while self.waiting and stored > self.written - len(self.waiting):
            self.longest = max(self.longest, now - self.waiting.popleft())
        if writing and (not self.waiting or now - self.waiting[-1] > _LIVE_EVERY_S):
            with self._path.open("ab") as log:
                log.write(self._line)
            self.waiting.append(now)
            self.written += 1


def _newest_first(logs: Path, store: Path) -> float:
    """Of pairs of logs that arrive a hundredth of all apart, the share in % with the newer one first."""
    with closing(sqlite3.connect(store)) as connection:
        rows = connection.execute(
            "select json_extract(substr(prefix, 1, length(prefix) - 1) || '}', '$.\"log.file.path\"')"
            " from sources order by source"
        ).fetchall()
    ages = [(logs / name).stat().st_mtime for (name,) in rows]
    apart = max(1, len(ages) // 100)
    pairs = list(zip(ages, ages[apart:], strict=False))
    return 100.0 * sum(newer >= older for newer, older in pairs) / len(pairs)


def _asked(home: Path, question: str) -> int:
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{home / 'store.db'}?mode=ro", uri=True)) as connection:
        return int(connection.execute(question).fetchone()[0])
    return 0


def _write(logs: Path, files: int) -> None:
    template = logs / "template.log"
    write_task_log(template, _LINES)
    content = template.read_bytes()
    template.unlink()
    now = time.time()
    for name, age_s in _aged(files):
        path = logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for aged in (path, *path.parents[:3]):  # a folder is as old as what was made in it last
            os.utime(aged, (now - age_s, now - age_s))


def _aged(files: int) -> Iterator[tuple[str, float]]:
    """Names and ages in seconds; the last one is of now."""
    for number, name in enumerate(_names(files)):
        yield name, 86_400.0 + _OLDEST_S * (1 - number / files)
    yield _NEW, 0.0
