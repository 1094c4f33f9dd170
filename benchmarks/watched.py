"""A watcher in a process of its own, fed through a journal as callbacks feed it, and what it said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import orjson
import psutil

from observability.events import Identity, TaskFailed
from observability.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Watched", "failure"]

_RULES = """\
timing: {{storm_messages: {storm}, flap_messages: {storm}}}
channels: {{file: {{type: file, rate_per_minute: 1000000}}, log: {{type: log}}}}
receivers: {{everybody: {{channels: [file], fallback: log}}}}
routes: [{{receiver: everybody}}]
"""


@dataclass
class Watched:
    """A watcher below ``home`` that may be killed and started again; ``storm`` is the rate that makes digests.

    ``rules`` are others than those that notify of each failure, ``more`` further variables of its process.
    """

    home: Path
    storm: int = 1_000_000
    rules: str = ""
    more: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "alerts.yaml").write_text(self.rules or _RULES.format(storm=self.storm))
        (self.home / "journal").mkdir(exist_ok=True)
        self.journal = Journal(self.home / "journal")

    def start(self) -> None:
        """Start it, and wait for its first heartbeat."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTRAIL_")}
        environment = {**kept, "CONTRAIL_HOME": str(self.home), "CONTRAIL_STATSD__ENABLED": "false", **self.more}
        command = [sys.executable, "-m", "observability.cli.watch", "--no-api"]
        with (self.home / "watcher.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def wait_until_watching(self, within_s: float = 120.0) -> None:
        """Return when it is active."""
        until = time.monotonic() + within_s
        while not self._is_active():
            if time.monotonic() > until:
                raise RuntimeError(f"the watcher did not start; see {self.home / 'watcher.log'}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.kills += 1

    def stop(self) -> None:
        """End it well."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def rss_bytes(self) -> int:
        """Its resident memory now."""
        return int(psutil.Process(self.process.pid).memory_info().rss) if self.process else 0

    def report(self, document: dict[str, Any]) -> None:
        """Write an event as a callback would."""
        self.journal.append("etl.event", orjson.dumps(document))

    def said(self) -> list[dict[str, Any]]:
        """Every message in the file, in order; a line that is not whole yet is left out."""
        path = self.home / "alerts.jsonl"
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        return [orjson.loads(line) for line in lines if line.endswith(b"}")]

    def wait_for(self, number: int, within_s: float) -> list[dict[str, Any]]:
        """The messages, once ``number`` incidents have been told, or the time is over."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            said = self.said()
            if sum(max(1, len(one["incidents"])) for one in said if one["kind"] in {"opened", "digest"}) >= number:
                return said
            time.sleep(0.2)
        return self.said()

    def wait_for_next(self, number: int, within_s: float) -> None:
        """Return as soon as so many messages are in the file."""
        until = time.monotonic() + within_s
        while len(self.said()) < number:
            if time.monotonic() > until:
                raise RuntimeError(
                    f"message {number} was not told within {within_s} s; see {self.home / 'watcher.log'}"
                )
            time.sleep(0.005)

    def _is_active(self) -> bool:
        try:
            beat = json.loads((self.home / "watch.heartbeat").read_text())
        except (OSError, ValueError):
            return False
        return bool(beat["active"]) and self.process is not None and beat["pid"] == self.process.pid


def failure(dag: str, run: str, when: float | None = None) -> dict[str, Any]:
    """The document of a task that failed for good, each run by an error of its own: alike they are one incident."""
    moment = datetime.fromtimestamp(when or time.time(), timezone.utc)
    about = Identity(dag_id=dag, run_id=run, task_id="load", try_number=1, map_index=-1, owner="bench")
    reason = {"reason": "ValueError: no", "error_type": "ValueError", "fingerprint": f"{run}"}
    event = TaskFailed(identity=about, time=moment, cause="app", **reason)
    return event.document()
