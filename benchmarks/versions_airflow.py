"""A platform of an Airflow of another version: `contrail up` of its own environment, with the DAGs to be tried."""

from __future__ import annotations

import json
import shutil
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks import own_platform
from observability.local.api import Api
from observability.local.keys import USER, password
from observability.local.layout import Layout
from observability.local.ports import any_port
from observability.settings import load_settings
from observability.store import Query, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.store import Store

__all__ = ["Versioned", "until"]

_DAGS = Path(__file__).parent / "feature_dags"
_RULES = """\
timing: {storm_messages: 5000, flap_messages: 5000}
thresholds: {component_silent: 2m, unanswered: 10s, overdue: 10m}
channels: {file: {type: file, rate_per_minute: 10000}}
receivers: {everybody: {channels: [file]}}
routes: [{receiver: everybody}]
"""


class Versioned:
    """A platform below ``home`` that runs by the interpreter ``python``, with the DAG ``files``."""

    api: Api

    def __init__(self, home: Path, python: Path, files: tuple[str, ...], *, examples: bool = False) -> None:
        self.home, self.layout = home, Layout(home / "contrail")
        self._python, self._examples = python, examples
        self.replaced: list[dict[str, Any]] = []
        """The task instances of a loop that a person had run again, as Airflow had them before."""
        self._port, self._statsd = any_port(socket.SOCK_STREAM), str(any_port(socket.SOCK_DGRAM))
        (home / "dags").mkdir(parents=True)
        for name in files:
            shutil.copy(_DAGS / name, home / "dags")
        (home / "rules.yaml").write_text(_RULES)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of each process of the platform."""
        return {
            **own_platform.clean_environment(),
            **own_platform.variables(self.home, self.layout.home, port=self._port, statsd=self._statsd),
            "CONTRAIL_WATCH__RECONCILE_S": "3",
            "AIRFLOW__METRICS__DAG_TAGS_IN_METRICS": "True",
            "AIRFLOW__METRICS__STATSD_SOCKET_PATH": str(self.home / "statsd.sock"),  # Airflow 3.3 knows UDP only
            "AIRFLOW__CORE__LOAD_EXAMPLES": str(self._examples),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
        }

    @contextmanager
    def running(self) -> Iterator[Versioned]:
        """Start the platform, with the patience that a busy machine needs, and stop it."""
        try:
            self.contrail("up", "--detach", "--wait-timeout", "900", timeout_s=1000)
            with Api(f"http://127.0.0.1:{self._port}", password(self.layout), patience_s=120) as self.api:
                yield self
        finally:
            self.contrail("down", timeout_s=60, check=False)

    def contrail(self, *arguments: str, timeout_s: float = 120, check: bool = True) -> str:
        """The output of a command of that environment."""
        return own_platform.contrail(
            *arguments, env=self.environment, python=self._python, timeout_s=timeout_s, check=check
        )

    def documents(self, dataset: str) -> list[dict[str, Any]]:
        """Everything that the store has of a dataset."""
        store: Store = open_store(load_settings(environ=self.environment))
        try:
            return list(store.documents(Query(dataset)))
        finally:
            store.close()

    def messages(self) -> list[dict[str, Any]]:
        """Every message that people got."""
        path = self.layout.home / "alerts.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def page(self, path: str) -> str:
        """The HTML of one of our pages."""
        with httpx.Client(base_url=self.api.url, timeout=60) as browser:
            body = {"username": USER, "password": password(self.layout)}
            token = browser.post("/auth/token", json=body).raise_for_status().json()["access_token"]
            asked = browser.get(f"/contrail{path}", headers={"Authorization": f"Bearer {token}"}, follow_redirects=True)
        return asked.raise_for_status().text


def until(holds: Callable[[], Any], within_s: float, what: str) -> Any:
    """Ask again and again until ``holds()``; its value. Raises RuntimeError after ``within_s``."""
    deadline = time.monotonic() + within_s
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.5)
    return value
