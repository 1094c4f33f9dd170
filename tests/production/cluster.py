"""The deployment of docker-compose.yml on this machine: the same commands, three 'hosts' with a relay each, no Docker.

Host ``main`` has Airflow's servers and the watcher; ``a`` and ``b`` have a Celery worker each. A host has its own log
folder and Contrail home, as machines do; PostgreSQL, Redis and the store are shared.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
from postgresql import free_port
from topology import COMMANDS

from observability.local.environment import read_env_file
from observability.settings import load_settings
from observability.store.store import Query, open_store

ROOT = Path(__file__).parents[2]
HOSTS = ("main", "a", "b")
_ENV = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CONTRAIL_"))}
_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def wait_until(what, within, why="it"):
    """Ask until ``what()`` answers; the answer."""
    end = time.monotonic() + within
    while not (answer := what()):
        assert time.monotonic() < end, f"{why} did not happen within {within} s"
        time.sleep(0.25)
    return answer


def udp_port():
    """A UDP port that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Cluster:
    """The processes, by service and host."""

    def __init__(self, folder, database, elasticsearch, dags):
        self.folder = folder
        self.port, self.broker_port = free_port(), free_port()
        self._password, self._broker_password = secrets.token_hex(16), secrets.token_hex(16)
        self._statsd = {host: udp_port() for host in HOSTS}
        self._running: dict[tuple[str, str], subprocess.Popen] = {}
        self._shared = self._common(database, elasticsearch, dags)
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def _common(self, database, elasticsearch, dags):
        airflow, ledger, warehouse = (database() for _ in range(3))
        url = "{login}:{password}@{host}:{port}/{schema}"
        (self.folder / "passwords.json").write_text(json.dumps({"admin": self._password}))
        keys = {
            name: secrets.token_urlsafe(48) for name in ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")
        }
        address = f"http://127.0.0.1:{self.port}"
        return {
            **_ENV,
            **read_env_file(ROOT / "config" / "airflow.env"),
            **keys,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.folder / "passwords.json"),
            "AIRFLOW__API__BASE_URL": address,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://" + url.format(**airflow),
            "AIRFLOW__CELERY__RESULT_BACKEND": "db+postgresql+psycopg2://" + url.format(**airflow),
            "AIRFLOW__CELERY__BROKER_URL": f"redis://:{self._broker_password}@127.0.0.1:{self.broker_port}/0",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "3",
            "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES": "10",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "postgres", **warehouse}),
            "AIRFLOW_CONN_AIRFLOW_API": json.dumps(
                {
                    "conn_type": "http",
                    "host": "127.0.0.1",
                    "port": self.port,
                    "login": "admin",
                    "password": self._password,
                }
            ),
            "AIRFLOW_VAR_FLIGHTS_OUTPUT": str(self.folder / "data"),
            "AIRFLOW_VAR_FLIGHTS_REPORTS": str(self.folder / "reports"),
            "CONTRAIL_RELAY__SINKS": "elasticsearch",
            "CONTRAIL_STORE__BACKEND": "elasticsearch",
            "CONTRAIL_ELASTICSEARCH__URL": elasticsearch,
            "CONTRAIL_ELASTICSEARCH__CONNECTION_ID": "",
            "CONTRAIL_CORE__ENVIRONMENT": f"topology{self.port}",
            "CONTRAIL_RELAY__STATSD_INTERVAL_S": "2",
            "CONTRAIL_WATCH__API_URL": address,
            "CONTRAIL_WATCH__LEDGER_URL": "postgresql+psycopg2://" + url.format(**ledger),
            "CONTRAIL_WATCH__RECONCILE_S": "2",
            "CONTRAIL_WATCH__RULES_FILE": str(ROOT / "config" / "alerts.yaml"),
        }

    def home(self, host):
        """Contrail's home on a host."""
        return self.folder / host / "contrail"

    def logs(self, host):
        """The log folder of a host."""
        return self.folder / host / "logs"

    def environment(self, host):
        """The environment of every process of a host."""
        port = str(self._statsd[host])
        return {
            **self._shared,
            "CONTRAIL_HOME": str(self.home(host)),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.logs(host)),
            "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(self.logs(host) / "dag_processor"),
            "AIRFLOW__METRICS__STATSD_PORT": port,
            "CONTRAIL_STATSD__PORT": port,
            "CONTRAIL_RELAY__STATSD_PORT": port,
            "CONTRAIL_RELAY__COMPONENT_METRICS": "processes" if host != "main" else "processes,database,broker",
        }

    def start(self, service, host="main", *more):
        """Start a service of the compose file on a host."""
        command = [*COMMANDS[service], *more]
        if service == "api-server":
            command[-3], command[-1] = "127.0.0.1", str(self.port)
        self._spawn(service, host, command)

    def start_broker(self):
        """Redis, with a password that stands on no command line."""
        configuration = self.folder / "redis.conf"
        configuration.write_text(
            f"bind 127.0.0.1\nport {self.broker_port}\ndir {self.folder}\nsave ''\n"
            f"requirepass {self._broker_password}\n"
        )
        self._spawn("valkey", "main", ["redis-server", str(configuration)])

    def _spawn(self, service, host, command):
        self.logs(host).mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{host}-{service}.out").open("ab") as out:
            self._running[service, host] = subprocess.Popen(
                command, env=self.environment(host), stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                cwd=self.folder, start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - it calls prctl and nothing else
            )  # fmt: skip

    def set_up(self):
        """The one-shot services."""
        for service in ("init", "elk-setup"):
            done = subprocess.run(
                COMMANDS[service], env=self.environment("main"), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def documents(self, dataset, **where):
        """The content of the store, as everybody reads it."""
        settings = load_settings(environ=self.environment("main"))
        store = open_store(settings)
        try:
            known = {name.replace("__", "."): value for name, value in where.items()}
            return list(store.documents(Query(dataset, known)))
        finally:
            store.close()

    def kill(self, service, host):
        """SIGKILL a service with all that it started, as when its machine is lost."""
        process = self._running.pop((service, host))
        lost = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for each in lost:
            each.suspend()
        for each in lost:
            each.kill()
        process.wait()

    def log_in(self):
        """A session with the API server, once it answers."""

        def token():
            try:
                answer = self.api.post("/auth/token", json={"username": "admin", "password": self._password})
            except httpx.TransportError:
                return None
            return answer.json()["access_token"] if answer.is_success else None

        self.api.headers["Authorization"] = f"Bearer {wait_until(token, 120, 'a login to the API server')}"

    def get(self, path, **params):
        """The JSON of ``/api/v2<path>``."""
        return self.api.get(f"/api/v2{path}", params=params).raise_for_status().json()

    def trigger(self, dag_id, **body):
        """Unpause a DAG, once it is parsed, and run it; the run's id."""
        wait_until(lambda: self.api.get(f"/api/v2/dags/{dag_id}").is_success, 120, f"the parsing of {dag_id}")
        self.api.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
        answer = self.api.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, **body})
        assert answer.is_success, answer.text
        return answer.json()["dag_run_id"]

    def task_instances(self, dag_id, run_id):
        """Every task instance of a run."""
        found, path = [], f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        while page := self.get(path, limit=100, offset=len(found))["task_instances"]:
            found += page
        return found

    def stop(self, *only):
        """End what is running: politely, then not."""
        chosen = [key for key in self._running if not only or key[0] in only]
        for key in chosen:
            self._running[key].send_signal(signal.SIGTERM)
        for key in chosen:
            process = self._running.pop(key)
            group = _group(process)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            for each in group:
                if each.is_running():
                    each.kill()
            process.wait()

    def close(self):
        """Leave nothing behind but the folder."""
        self.stop()
        self.api.close()


def _group(process):
    try:
        return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def missing_programs():
    """The Debian packages that are not installed."""
    return [program for program in ("redis-server",) if shutil.which(program) is None]
