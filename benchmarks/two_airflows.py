"""Two Airflows side by side on this machine: one as it comes, one with ours; each with a home of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from observability.local import processes
from observability.local.environment import read_env_file
from observability.local.layout import repository
from observability.local.ports import any_port

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Airflow", "observed", "plain"]

_HERE = Path(__file__).parent
_SECRET = "a-secret-of-this-benchmark-and-of-nothing-else-0123456789-0123456789"
_OURS = ("LOGGING_CONFIG_CLASS", "STATSD", "LEGACY_NAMES")
_RELAY = ("-m", "observability.cli", "relay")


class Airflow:
    """A running Airflow: how to run the DAG, and what its tasks took."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self._http = httpx.Client(base_url=f"{url}/api/v2", timeout=30, transport=httpx.HTTPTransport(retries=3))

    def ready(self, dag_id: str) -> bool:
        """True if the DAG is there, and unpaused."""
        try:
            return self._http.patch(f"/dags/{dag_id}", json={"is_paused": False}).is_success
        except httpx.TransportError:
            return False

    def run(self, dag_id: str) -> list[dict[str, Any]]:
        """Run the DAG to its end; its task instances. Raises RuntimeError where one did not succeed."""
        run_id = (
            self._http.post(f"/dags/{dag_id}/dagRuns", json={"logical_date": None})
            .raise_for_status()
            .json()["dag_run_id"]
        )
        while self._state(f"/dags/{dag_id}/dagRuns/{run_id}") not in {"success", "failed"}:
            time.sleep(0.5)
        found = self._http.get(
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"limit": 100}
        ).raise_for_status()
        instances: list[dict[str, Any]] = found.json()["task_instances"]
        if {one["state"] for one in instances} != {"success"}:
            raise RuntimeError(f"not every task of {dag_id} succeeded; see {self.home}")
        return instances

    def tells(self) -> bool:
        """True if events were recorded here."""
        return any(path.stat().st_size for path in (self.home / "contrail" / "journal").glob("etl.event-*.journal"))

    def log_file(self, instance: dict[str, Any]) -> Path:
        """The log of a task instance."""
        return (
            self.home
            / "logs"
            / "dag_id={dag_id}/run_id={dag_run_id}/task_id={task_id}/attempt=1.log".format(**instance)
        )

    def _state(self, path: str) -> str:
        answer = self._http.get(path)
        return str(answer.json()["state"]) if answer.is_success else "unknown"


@contextmanager
def plain(home: Path, dags: Path, **more: str) -> Iterator[Airflow]:
    """Airflow as it comes, with our package hidden from it; ``more`` are variables of its environment."""
    with _running(home, dags, {"PYTHONPATH": str(_HERE / "unobserved"), **more}, relay=False) as airflow:
        yield airflow


@contextmanager
def observed(home: Path, dags: Path, **more: str) -> Iterator[Airflow]:
    """Airflow with our callbacks, logging config and metrics, and a relay beside it."""
    ours = {
        name: value
        for name, value in read_env_file(repository() / "config" / "airflow.env").items()
        if any(word in name for word in _OURS)
    }
    port = str(any_port(socket.SOCK_DGRAM))
    ports = dict.fromkeys(
        ("AIRFLOW__METRICS__STATSD_PORT", "CONTRAIL_STATSD__PORT", "CONTRAIL_RELAY__STATSD_PORT"), port
    )
    with _running(home, dags, {**ours, **ports, **more}, relay=True) as airflow:
        yield airflow


@contextmanager
def _running(
    home: Path, dags: Path, more: dict[str, str], *, relay: bool, triggerer: bool = False
) -> Iterator[Airflow]:
    port = any_port(socket.SOCK_STREAM)
    url = f"http://127.0.0.1:{port}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CONTRAIL_"))}
    environment = {**kept, **_settings(home, dags, url), **more}
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, check=True, capture_output=True)
    commands = [
        ("-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        ("-m", "airflow", "scheduler", "--skip-serve-logs"),
        ("-m", "airflow", "dag-processor"),
        *([("-m", "airflow", "triggerer", "--skip-serve-logs")] if triggerer else []),
    ]
    with ExitStack() as stack:
        for command in [_RELAY, *commands] if relay else commands:
            stack.enter_context(_process(command, environment, home / f"{command[2]}.log"))
        yield Airflow(home, url)


def _settings(home: Path, dags: Path, url: str) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "CONTRAIL_HOME": str(home / "contrail"),
        "CONTRAIL_AIRFLOW__IN_API_SERVER": "false",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "1",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API_AUTH__JWT_SECRET": _SECRET,
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    }


@contextmanager
def _process(arguments: tuple[str, ...], environment: dict[str, str], log: Path) -> Iterator[None]:
    """A component and all that it starts, for the length of a block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=output, stderr=output, start_new_session=True,
            preexec_fn=processes.born_with(os.getpid()),  # noqa: PLW1509 - the parent has one thread
        )  # fmt: skip
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
