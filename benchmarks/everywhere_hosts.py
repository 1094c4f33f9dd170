"""A deployment as pods have it: each component on a host of its own with its own folders and relay, nothing shared.

The commands are those of docker-compose.yml. A host is a folder, a UDP port and a host name (a UTS namespace); what
the hosts share is what pods share: PostgreSQL, Redis, Elasticsearch, CloudWatch (moto) and Airflow's API.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from observability.local.elasticsearch_node import ElasticsearchNode
from observability.local.environment import read_env_file
from observability.local.ports import any_port
from observability.local.processes import born_with
from observability.settings import load_settings
from observability.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.settings import Settings
    from observability.store import Store

__all__ = ["HOSTS", "STORES", "Hosts", "Missing", "postgresql_databases", "separate_hosts", "until"]

_ROOT = Path(__file__).parent.parent
_DAGS = (Path(__file__).parent / "everywhere_dags", Path(__file__).parent / "failing_dags")
HOSTS = {
    "api": "api-server", "sched": "scheduler", "dagproc": "dag-processor", "trig": "triggerer",
    "worker-a": "worker", "worker-b": "worker", "watch": "watcher",
}  # fmt: skip
"""Host → the service on it; a relay runs beside each."""
STORES = ("embedded", "elasticsearch", "cloudwatch")
_PROGRAMS = {"redis-server": "redis-server", "unshare": "util-linux", "mvn": "maven"}
_READY_S = 240.0
_PAGE_S = 10.0


class Missing(RuntimeError):  # noqa: N818 - a state of the machine
    """A program that the deployment needs is not installed; the message names it."""


def until(holds: Callable[[], Any], within_s: float, every_s: float = 0.5) -> Any:
    """Ask until ``holds()`` answers with something, for so long at most; the last answer."""
    end = time.monotonic() + within_s
    while not (answer := holds()) and time.monotonic() < end:
        time.sleep(every_s)
    return answer


@dataclass
class Hosts:
    """The running deployment. ``environment`` is its name in every store."""

    home: Path
    environment: str
    shared: dict[str, str]
    port: int
    password: str
    statsd: dict[str, int]
    running: dict[tuple[str, str], subprocess.Popen[bytes]] = field(default_factory=dict)
    api: httpx.Client = field(default_factory=httpx.Client)
    starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    """The thread that starts every process: the kernel ends them with the thread that they were born from."""

    def environ(self, host: str) -> dict[str, str]:
        """The environment of every process of a host."""
        folder, port = self.home / host, str(self.statsd[host])
        return {
            **self.shared,
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
            "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(folder / "logs" / "dag_processor"),
            "AIRFLOW__METRICS__STATSD_PORT": port,
            "CONTRAIL_CORE__HOME": str(folder / "contrail"),
            "CONTRAIL_AIRFLOW__IN_API_SERVER": "false",
            "CONTRAIL_RELAY__STATSD_PORT": port,
            "CONTRAIL_STATSD__PORT": port,
            "PYTHONPATH": str(folder / "dags"),
        }

    def start(self, service: str, host: str, *more: str, **environ: str) -> None:
        """Start a service of docker-compose.yml on a host; ``environ`` is what it sees beside the host's own."""
        command = [*_commands()[service], *more]
        if service == "api-server":
            command[command.index("0.0.0.0")] = "127.0.0.1"
            command[command.index("8080")] = str(self.port)
        for folder in ("logs", "airflow", "contrail"):
            (self.home / host / folder).mkdir(parents=True, exist_ok=True)
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', host, *command]
        with (self.home / host / f"{service}.out").open("ab") as out:
            begun = self.starter.submit(
                subprocess.Popen,
                named, env={**self.environ(host), **environ}, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                cwd=self.home / host, start_new_session=True, preexec_fn=born_with(os.getpid()),
            )  # fmt: skip
            self.running[service, host] = begun.result()

    def signal(self, service: str, host: str, number: int) -> None:
        """Send a signal to a service and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.running[service, host].pid, number)

    def restart(self, service: str, host: str, **environ: str) -> None:
        """End a service as its container would be, and start it again."""
        self.signal(service, host, signal.SIGTERM)
        self.running[service, host].wait(60)
        self.start(service, host, **environ)

    def log_in(self) -> None:
        """A session with the API server, once it answers. Raises :class:`Missing` when it does not."""
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

        def token() -> str:
            with suppress(httpx.TransportError):
                answer = self.api.post("/auth/token", json={"username": "admin", "password": self.password})
                return str(answer.json()["access_token"]) if answer.is_success else ""
            return ""

        if not (found := until(token, _READY_S)):
            raise Missing(f"the API server does not answer; see {self.home / 'api'}")
        self.api.headers["Authorization"] = f"Bearer {found}"

    def call(self, method: str, path: str, **given: Any) -> Any:
        """The JSON of an answer of Airflow's API; None where it refuses."""
        for _ in range(5):
            answer = self.api.request(method, f"/api/v2{path}", **given)
            if answer.status_code < 500:  # noqa: PLR2004 - HTTP
                return answer.json() if answer.is_success and answer.content else None
            time.sleep(1)
        return None

    def page(self, path: str) -> str:
        """The HTML of a page of Contrail in the Airflow UI; "" while the API server does not answer."""
        try:
            answer = self.api.get(f"/contrail{path}", timeout=_PAGE_S)
        except httpx.TransportError:
            return ""
        return answer.text if answer.is_success else ""

    def settings(self, host: str, backend: str) -> Settings:
        """The settings of somebody on a host who reads ``backend``."""
        return load_settings(environ={**self.environ(host), "CONTRAIL_STORE__BACKEND": backend})

    @contextmanager
    def stores(self, backend: str) -> Iterator[list[Store]]:
        """The place where ``backend`` is read: one cluster, one account, or an embedded store on each host."""
        hosts = list(HOSTS) if backend == "embedded" else ["watch"]
        opened = [open_store(self.settings(host, backend)) for host in hosts if self._has_store(host, backend)]
        try:
            yield opened
        finally:
            for store in opened:
                store.close()

    def messages(self) -> list[dict[str, Any]]:
        """The notifications in the watcher's channel."""
        path = self.home / "watch" / "contrail" / "alerts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def edit_dags(self, name: str, text: str | None) -> None:
        """Write a DAG file on every host, or delete it, as a new image would."""
        for host in HOSTS:
            path = self.home / host / "dags" / name
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.write_text(text)

    def close(self) -> None:
        """End every process."""
        for process in self.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGTERM)
        end = time.monotonic() + 15
        for process in self.running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, end - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.starter.shutdown()
        self.api.close()

    def _has_store(self, host: str, backend: str) -> bool:
        return backend != "embedded" or (self.home / host / "contrail" / "store.db").exists()


@contextmanager
def separate_hosts(home: Path, rules: str, stores: tuple[str, ...] = STORES) -> Iterator[Hosts]:
    """Start everything, one component after another. Raises :class:`Missing`."""
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        raise Missing(f"hosts of their own need root and {', '.join(missing) or 'util-linux'}: apt-get install them")
    with ExitStack() as stack:
        hosts = _make(home, rules, stores, stack)
        stack.callback(hosts.close)
        _run_once(hosts, "init")
        if "elasticsearch" in stores:
            _run_once(hosts, "elk-setup")
        for host, service in HOSTS.items():
            hosts.start("relay", host)
            extra = ("--celery-hostname", f"{host}@%h") if service == "worker" else ()
            hosts.start(service, host, *extra)
            if service == "api-server":
                hosts.log_in()
        yield hosts


def _make(home: Path, rules: str, stores: tuple[str, ...], stack: ExitStack) -> Hosts:
    for host in HOSTS:
        for folder in _DAGS:
            left_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(folder, home / host / "dags", ignore=left_out, dirs_exist_ok=True)
    (home / "watch" / "rules.yaml").write_text(rules)
    password, port = secrets.token_hex(12), any_port(socket.SOCK_STREAM)
    (home / "passwords.json").write_text(json.dumps({"admin": password}))
    databases = stack.enter_context(postgresql_databases())
    broker = _redis(home, stack)
    environment = f"e{secrets.token_hex(4)}"
    shared = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CONTRAIL_"))},
        **read_env_file(_ROOT / "config" / "airflow.env"),
        **_airflow(home, port, password, databases, broker),
        **_contrail(port, environment, stores, databases),
    }
    if "elasticsearch" in stores:
        shared["CONTRAIL_ELASTICSEARCH__URL"] = os.environ.get("ES_URL") or stack.enter_context(ElasticsearchNode()).url
    if "cloudwatch" in stores:
        shared |= stack.enter_context(_moto())
    statsd = {host: any_port(socket.SOCK_DGRAM) for host in HOSTS}
    return Hosts(home, environment, shared, port, password, statsd)


def _airflow(home: Path, port: int, password: str, databases: list[str], broker: str) -> dict[str, str]:
    address = f"http://127.0.0.1:{port}"
    login = {"conn_type": "http", "host": "127.0.0.1", "port": port, "login": "admin", "password": password}
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(48),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{databases[0]}",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{databases[0]}",
        "AIRFLOW__CELERY__BROKER_URL": broker,
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "3",
        "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "4",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW_CONN_AIRFLOW_API": json.dumps(login),
    }


def _contrail(port: int, environment: str, stores: tuple[str, ...], databases: list[str]) -> dict[str, str]:
    address = f"http://127.0.0.1:{port}"
    return {
        "CONTRAIL_CORE__ENVIRONMENT": environment,
        "CONTRAIL_CORE__PUBLIC_URL": address,
        "CONTRAIL_RELAY__SINKS": ",".join(stores),
        "CONTRAIL_RELAY__STATSD_INTERVAL_S": "4",
        "CONTRAIL_STORE__BACKEND": "elasticsearch" if "elasticsearch" in stores else "cloudwatch",
        "CONTRAIL_ELASTICSEARCH__CONNECTION_ID": "",
        "CONTRAIL_WATCH__API_URL": address,
        "CONTRAIL_WATCH__LEDGER_URL": f"postgresql+psycopg2://{databases[1]}",
        "CONTRAIL_WATCH__RECONCILE_S": "3",
        "CONTRAIL_WATCH__RULES_FILE": "rules.yaml",
        "NOBODY": "http://127.0.0.1:1/",
        "WAYS_MAPPED": "8",
    }


def _run_once(hosts: Hosts, service: str) -> None:
    done = subprocess.run(
        _commands()[service], env=hosts.environ("api"), capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        raise Missing(f"{service} failed: {done.stderr[-500:]}")


def _commands() -> dict[str, list[str]]:
    services = yaml.safe_load((_ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    return {name: service["command"] for name, service in services.items() if isinstance(service.get("command"), list)}


@contextmanager
def postgresql_databases() -> Iterator[list[str]]:
    """Two databases: Airflow's and the ledger."""
    sys.path.insert(0, str(_ROOT / "tests" / "support"))
    import postgresql

    if (programs := postgresql.programs()) is None:
        raise Missing("hosts of their own need postgresql: apt-get install it")
    server, stop = postgresql.start(programs)
    try:
        address = "{login}:{password}@{host}:{port}/{schema}"
        yield [address.format(**server.database()) for _ in range(2)]
    finally:
        stop()


def _redis(home: Path, stack: ExitStack) -> str:
    port, password = any_port(socket.SOCK_STREAM), secrets.token_hex(12)
    (home / "redis.conf").write_text(
        f"bind 127.0.0.1\nport {port}\ndir {home}\nsave ''\nrequirepass {password}\nlogfile redis.out\n"
    )
    process = subprocess.Popen(
        ["redis-server", str(home / "redis.conf")],
        preexec_fn=born_with(os.getpid()),  # noqa: PLW1509 - one prctl
        stdout=subprocess.DEVNULL,
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return f"redis://:{password}@127.0.0.1:{port}/0"


@contextmanager
def _moto() -> Iterator[dict[str, str]]:
    """CloudWatch as moto answers it, and the variables that lead to it, here as on the hosts."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    known = {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "eu-central-1",
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in known}
    os.environ.update(known)
    try:
        yield {
            **known,
            "CONTRAIL_CLOUDWATCH__CONNECTION_ID": "",
            "CONTRAIL_CLOUDWATCH__REGION": "eu-central-1",
            "CONTRAIL_CLOUDWATCH__ENDPOINT_URL": f"http://{host}:{port}",
        }
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        server.stop()
