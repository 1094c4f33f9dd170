"""The real thing, started once a session: a platform that stays up, and a demo that has been played."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from once import once

from observability.local.api import Api
from observability.local.keys import password
from observability.local.layout import Layout
from observability.local.ports import any_port

CONTRAIL = (sys.executable, "-m", "observability.cli")


def clean_environment(**more):
    """This environment without what a person or the test session has set for Airflow and Contrail."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CONTRAIL_"))}
    return {**kept, **more}


def wait_until(holds, *, within):
    """Look again and again until ``holds()``; its value, or a failure after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not (value := holds()):
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.05)
    return value


def alive(pids):
    """The processes of ``pids`` that still run."""
    return [pid for pid in pids if _runs(pid)]


def _runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it may end while it is asked about
        return False


@dataclass
class Platform:
    """A running platform."""

    environment: dict[str, str]
    layout: Layout
    url: str

    def run(self, *arguments, **options):
        return subprocess.run(
            [*CONTRAIL, *arguments],
            env=self.environment,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
            **options,
        )

    def api(self):
        return Api(self.url, password(self.layout))

    def state(self):
        return json.loads(self.layout.state.read_text())

    def processes(self):
        """Every process of it, the guardian first."""
        guardian = psutil.Process(self.state()["guardian"])
        return [guardian, *guardian.children(recursive=True)]


_AT_THE_END = "import subprocess, sys; sys.stdin.read(); sys.exit(subprocess.run(sys.argv[1:]).returncode)"


@contextmanager
def end_with_us(command, *arguments, env):
    """Run a command at the end of the block, also when this process is killed before."""
    waits = subprocess.Popen(
        [sys.executable, "-c", _AT_THE_END, *command, *arguments],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        waits.stdin.close()
        assert waits.wait(60) == 0


@contextmanager
def started_platform(home, **more):
    """A platform that is up and healthy with the DAGs of ``local/dags``, down again behind the block."""
    port, statsd = any_port(socket.SOCK_STREAM), str(any_port(socket.SOCK_DGRAM))
    own = {
        "CONTRAIL_HOME": str(home),
        "CONTRAIL_AIRFLOW__PORT": str(port),
        "CONTRAIL_AIRFLOW__DAGS_FOLDER": str(Path(__file__).parents[1] / "local" / "dags"),
        "CONTRAIL_RELAY__STATSD_PORT": statsd,
        "CONTRAIL_STATSD__PORT": statsd,
    }
    environment = clean_environment(**own | more)
    running = Platform(environment, Layout(home), f"http://127.0.0.1:{port}")
    started = subprocess.run(
        [*CONTRAIL, "up", "--detach"], env=environment, capture_output=True, check=False, text=True, timeout=400
    )
    assert started.returncode == 0, started.stderr
    with end_with_us(CONTRAIL, "down", env=environment):
        yield running


@pytest.fixture(scope="session")
def platform(tmp_path_factory):
    """A platform that is up and healthy, with the one DAG ``long``."""
    with started_platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


@dataclass
class Demo:
    """A demo that was played to its end."""

    home: Path
    result: dict
    stdout: str
    stderr: str
    status: int

    def environment(self):
        """The environment of a process that reads its store."""
        return clean_environment(CONTRAIL_HOME=str(self.home), AIRFLOW_HOME=str(self.home / "airflow"))


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo, played once for the whole session."""
    home = once(tmp_path_factory, "demo", _play_demo)
    status, stdout, stderr = json.loads((home.parent / "demo.played").read_text())
    lines = stdout.splitlines()
    assert lines, stderr
    return Demo(home, json.loads(lines[-1]), stdout, stderr, status)


def _play_demo(home):
    played = subprocess.run(
        [*CONTRAIL, "demo", "--tied", "--json", "--patience", "450", "--home", str(home)],
        env=clean_environment(), capture_output=True, check=False, text=True, timeout=550,
    )  # fmt: skip
    (home.parent / "demo.played").write_text(json.dumps([played.returncode, played.stdout, played.stderr]))
