"""A platform that stays up: its DAGs, a clock that is set forward, faults at set times, and what its processes use."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from benchmarks import own_platform
from observability.local.api import Api
from observability.local.keys import password
from observability.local.layout import Layout, repository
from observability.local.ports import any_port

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator

__all__ = ["LOOK_S", "RESTARTED", "SILENT_S", "Soaking", "Usage", "before_midnight", "can_shift_the_clock"]

_DAGS = Path(__file__).parent / "soak_dags"
LOOK_S, SILENT_S = 10.0, 60.0
_RULES = f"""\
timing: {{storm_messages: 5000, flap_messages: 5000}}
thresholds: {{component_silent: {SILENT_S:.0f}s, queued: 10m, overdue: 10m}}
channels: {{file: {{type: file, rate_per_minute: 10000}}}}
receivers: {{everybody: {{channels: [file]}}}}
routes: [{{receiver: everybody}}]
"""
RESTARTED = ("triggerer", "dag-processor", "relay", "watcher", "api-server", "scheduler")
"""The components that are ended in turn, each once by SIGTERM and once by SIGKILL."""


def can_shift_the_clock() -> bool:
    """True if there is a C compiler, which makes the library that moves the clock."""
    return shutil.which("cc") is not None


def before_midnight(minutes: float) -> int:
    """Seconds by which to move the clock, so that it is ``minutes`` before midnight in UTC."""
    now = datetime.now(timezone.utc)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((midnight - now).total_seconds() - minutes * 60)


@dataclass
class Usage:
    """The use of a component, look by look: seconds since the start, resident bytes, open descriptors."""

    looks: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def minutes(self) -> float:
        """The time between the looks that a slope is taken of."""
        looks = self.looks[len(self.looks) // 2 :]
        return (looks[-1][0] - looks[0][0]) / 60 if looks else 0.0

    def slope(self, column: int) -> float:
        """Least-squares slope per hour over the second half of the looks, when everything has been loaded once."""
        looks = self.looks[len(self.looks) // 2 :]
        if len(looks) < 3:  # noqa: PLR2004 - a line through two points says nothing
            return 0.0
        times, values = [look[0] for look in looks], [float(look[column]) for look in looks]
        middle, level = sum(times) / len(times), sum(values) / len(values)
        spread = sum((moment - middle) ** 2 for moment in times)
        risen = sum((moment - middle) * (value - level) for moment, value in zip(times, values, strict=True))
        return risen / spread * 3600 if spread else 0.0


class Soaking:
    """A platform below ``home`` whose clock is ``shift_s`` seconds ahead; stopped and started again, it is the same."""

    def __init__(self, home: Path, *, every_minutes: int, shift_s: int = 0, seed: int = 1) -> None:
        self.home, self.shift_s = home, shift_s
        self.layout = Layout(home / "contrail")
        self.usage: dict[str, Usage] = {}
        self.faults: list[str] = []
        self._answered = time.monotonic()
        self.silent_s: dict[str, float] = {}
        """The oldest heartbeat of each component that Airflow's health was seen to have; its age in seconds."""
        self._chance = random.Random(seed)
        self._port, self._statsd = any_port(socket.SOCK_STREAM), str(any_port(socket.SOCK_DGRAM))
        self._every = every_minutes
        self._began = time.monotonic()
        self.began = self.now
        """The moment at which the first day began, by the platform's clock."""
        self._prepare()

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def now(self) -> float:
        """Seconds since 1970 by the platform's clock."""
        return time.time() + self.shift_s

    @property
    def environment(self) -> dict[str, str]:
        """The variables of each process of the platform."""
        shifted = {"LD_PRELOAD": str(self.home / "clock.so"), "CLOCK_SHIFT_S": str(self.shift_s)}
        return {
            **own_platform.clean_environment(),
            **(shifted if self.shift_s else {}),
            "PYTHONPYCACHEPREFIX": str(self.home / "bytecode"),  # a moved clock would make the checkout's own stale
            "SOAK_EVERY_MINUTES": str(self._every),
            **own_platform.variables(self.home, self.layout.home, port=self._port, statsd=self._statsd),
            "CONTRAIL_STORE__RETENTION_DAYS": "1",
        }

    @contextmanager
    def running(self) -> Iterator[Api]:
        """Start the platform, give a session with its Airflow, and stop it, also if it does not come up in time."""
        try:
            self.contrail("up", "--detach", "--wait-timeout", "600", timeout_s=660)
            with Api(self.url, password(self.layout), patience_s=120) as api:
                self._answered = time.monotonic()
                yield api
        finally:
            self.contrail("down", timeout_s=300, check=False)  # a busy machine is slow

    def contrail(self, *arguments: str, timeout_s: float = 120, check: bool = True) -> str:
        """The output of a command, run by the platform's clock."""
        return own_platform.contrail(*arguments, env=self.environment, timeout_s=timeout_s, check=check)

    def look(self) -> None:
        """Note what each component uses, and the platform's home on disk."""
        moment = time.monotonic() - self._began
        for name, process in self._processes().items():
            with suppress(psutil.Error):
                family = [process, *process.children(recursive=True)] if name == "api-server" else [process]
                used = sum(one.memory_info().rss for one in family)
                self.usage.setdefault(f"{name} {process.pid}", Usage()).looks.append((moment, used, process.num_fds()))
        self.usage.setdefault("disk", Usage()).looks.append((moment, _bytes_below(self.layout.home), 0))
        with suppress(httpx.HTTPError, ValueError):
            self._look_at_health(httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5).json())
            self._answered = time.monotonic()
        away = time.monotonic() - self._answered
        self.silent_s["api-server"] = max(away, self.silent_s.get("api-server", 0.0))

    def _look_at_health(self, health: dict[str, Any]) -> None:
        for key, said in health.items():
            if beat := said.get(f"latest_{key}_heartbeat"):
                name, age = key.replace("_", "-"), self.now - datetime.fromisoformat(beat).timestamp()
                self.silent_s[name] = max(age, self.silent_s.get(name, 0.0))

    def end_one(self, name: str, number: signal.Signals) -> None:
        """End a component; its supervisor starts it again."""
        with suppress(psutil.NoSuchProcess):
            self._processes()[name].send_signal(number)
            self.faults.append(f"{number.name} {name}")

    def sent(self) -> list[dict[str, Any]]:
        """Every notification of this platform so far."""
        found: list[dict[str, Any]] = json.loads(self.contrail("alerts", "sent", "--since", "30d", "--json"))
        return found

    def _processes(self) -> dict[str, psutil.Process]:
        parts = json.loads(self.layout.state.read_text())["components"]
        found = {}
        for name, part in parts.items():
            with suppress(psutil.NoSuchProcess):
                if part["pid"]:
                    found[name] = psutil.Process(part["pid"])
        return found

    def _prepare(self) -> None:
        dags = self.home / "dags"
        dags.mkdir(parents=True)
        shutil.copy(_DAGS / "many.py", dags)
        shutil.copy(repository() / "dags" / "canary.py", dags)
        (self.home / "rules.yaml").write_text(_RULES)
        if self.shift_s:
            source = str(_DAGS / "shifted_clock.c")
            subprocess.run(
                ["cc", "-shared", "-fPIC", "-O2", "-o", str(self.home / "clock.so"), source, "-ldl"], check=True
            )


def _bytes_below(folder: Path) -> int:
    """The bytes of all files below a folder; one that goes while it is looked at has none."""
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(here, name).lstat().st_size
    return total
