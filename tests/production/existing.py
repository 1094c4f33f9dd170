"""An Airflow that exists: made by pip in an environment of its own, with our wheel in it and two settings."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from cluster import _die_with_parent, udp_port, wait_until
from postgresql import free_port

_ENV = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CONTRAIL_", "PYTHON"))}
SERVERS = {
    "relay": ("contrail", "relay"),
    "api-server": ("airflow", "api-server", "--host", "127.0.0.1", "--workers", "1", "--port"),
    "scheduler": ("airflow", "scheduler", "--skip-serve-logs"),
    "dag-processor": ("airflow", "dag-processor"),
    "triggerer": ("airflow", "triggerer", "--skip-serve-logs"),
    "watcher": ("contrail", "watch"),
}


def interpreter(version):
    """A Python of that version; None where this machine has none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for path in filter(None, found):
        told = subprocess.run([path, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, check=False)
        if told.stdout.decode().strip() == str(tuple(map(int, version.split(".")))):
            return path
    return None


def install(python, folder, *packages, as_of=None):
    """The ``bin`` of a new virtual environment with the packages, as the registry had them on the day ``as_of``."""
    uv = shutil.which("uv")
    if as_of and not uv:
        pytest.skip("taking packages as they were on a day needs uv: pip install uv")
    subprocess.run([uv, "venv", "-q", "--python", python, folder] if uv else [python, "-m", "venv", folder], check=True)
    dated = ["--exclude-newer", as_of] if as_of else []
    pip = [uv, "pip", "install", "-q", *dated] if uv else [folder / "bin" / "pip", "install", "-q"]
    done = subprocess.run(
        [*pip, *map(str, packages)], env={**os.environ, "VIRTUAL_ENV": str(folder)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode and "dns error" in done.stderr.lower() + done.stdout.lower():
        pytest.skip(f"no package registry can be reached: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "bin"


class Existing:
    """Airflow's components and ours on SQLite, each started by its own command."""

    def __init__(self, binaries, folder, dags):
        self.binaries, self.folder = binaries, folder
        self.port = free_port()
        self.home, self.logs = folder / "contrail", folder / "airflow" / "logs"
        self._password, self._running = secrets.token_hex(16), {}
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120)
        self.environment = self._environment(dags, str(udp_port()))

    def _environment(self, dags, statsd):
        (self.folder / "passwords.json").write_text(json.dumps({"admin": self._password}))
        address = self.api.base_url
        return {
            **_ENV,
            "PATH": f"{self.binaries}:{os.environ['PATH']}",
            # the two settings of docs/existing-airflow.md
            "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "observability.airflow.logging_config.LOGGING_CONFIG",
            "CONTRAIL_RELAY__SINKS": "embedded",
            # metrics, as there
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
            "AIRFLOW__METRICS__LEGACY_NAMES_ON": "False",
            "AIRFLOW__METRICS__STATSD_PORT": statsd,
            "CONTRAIL_STATSD__PORT": statsd,
            "CONTRAIL_RELAY__STATSD_PORT": statsd,
            "CONTRAIL_RELAY__STATSD_INTERVAL_S": "2",
            # where everything is
            "CONTRAIL_HOME": str(self.home),
            "CONTRAIL_WATCH__API_URL": str(address).rstrip("/"),
            "CONTRAIL_WATCH__RECONCILE_S": "2",
            "CONTRAIL_AIRFLOW__IN_API_SERVER": "false",
            "CONTRAIL_API_USERNAME": "admin",
            "CONTRAIL_API_PASSWORD": self._password,
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/".replace("//execution", "/execution"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.folder / "passwords.json"),
            "AIRFLOW__API__BASE_URL": str(address),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        }  # fmt: skip

    def run(self, *command, **more):
        """A command of that environment, to its end."""
        return subprocess.run(
            [self.binaries / command[0], *command[1:]], env={**self.environment, **more}, capture_output=True,
            text=True, check=False, cwd=self.folder, timeout=240,
        )  # fmt: skip

    def start(self):
        """Everything, from the database on."""
        migrated = self.run("airflow", "db", "migrate")
        assert migrated.returncode == 0, migrated.stderr[-3000:]
        for name, (program, *arguments) in SERVERS.items():
            command = [str(self.binaries / program), *arguments, *([str(self.port)] if name == "api-server" else [])]
            with (self.folder / f"{name}.out").open("ab") as out:
                self._running[name] = subprocess.Popen(
                    command, env=self.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.folder,
                    start_new_session=True, preexec_fn=_die_with_parent,  # noqa: PLW1509 - it calls prctl only
                )  # fmt: skip
        self.api.headers["Authorization"] = f"Bearer {wait_until(self._token, 180, 'a login to the API server')}"

    def _token(self):
        with suppress(httpx.TransportError):
            answer = self.api.post("/auth/token", json={"username": "admin", "password": self._password})
            if answer.is_success:
                return answer.json()["access_token"]
        return None

    def get(self, path, **params):
        """The JSON of ``/api/v2<path>``."""
        return self.api.get(f"/api/v2{path}", params=params).raise_for_status().json()

    def play(self, dag_id):
        """A run of the DAG, once it is parsed, and its state at the end."""
        wait_until(lambda: self.api.get(f"/api/v2/dags/{dag_id}").is_success, 120, f"the parsing of {dag_id}")
        self.api.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
        made = self.api.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None})
        assert made.is_success, made.text
        run_id = made.json()["dag_run_id"]
        path = f"/dags/{dag_id}/dagRuns/{run_id}"
        wait_until(lambda: self.get(path)["state"] in {"success", "failed"}, 300, f"the end of {dag_id}")
        return run_id, self.get(path)["state"]

    def stop(self, name):
        """End one component as a roll-out does, and wait for its end."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(60)

    def close(self):
        """End what was started."""
        everything = [
            each
            for process in self._running.values()
            for each in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True))
        ]
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 15
        for process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, end - time.monotonic()))
        for each in everything:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        for process in self._running.values():
            process.wait()
        self.api.close()
