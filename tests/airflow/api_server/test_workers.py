"""An API server with several workers has one guest; when its worker is killed another takes over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from airflow_platform import clean_environment, wait_until

from observability.airflow.api_server.status import read_status
from observability.local.ports import any_port

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.fixture
def server(tmp_path):
    """The home, and the process, of an API server with three workers and nothing else."""
    environ = clean_environment(
        AIRFLOW_HOME=str(tmp_path), CONTRAIL_HOME=str(tmp_path / "contrail"), CONTRAIL_AIRFLOW__IN_API_SERVER="true"
    )
    airflow = [sys.executable, "-m", "airflow"]
    subprocess.run([*airflow, "db", "migrate"], env=environ, check=True, capture_output=True)
    command = [*airflow, "api-server", "--host", "127.0.0.1", "--workers", "3"]
    with (tmp_path / "server.log").open("wb") as log:
        command += ["--port", str(any_port(socket.SOCK_STREAM))]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
    yield tmp_path / "contrail", process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_one_worker_has_the_guest_and_another_when_that_is_killed(server):
    home, process = server

    def guest(but=0):
        found = read_status(home)
        runs = found.is_fresh and (found.relay, found.watcher) == ("running", "running")
        return found.pid if runs and found.pid != but and psutil.pid_exists(found.pid) else 0

    wait_until(guest, within=180)
    first, log = guest(), home.parent / "server.log"
    assert first != process.pid
    assert log.read_text().count("contrail watches from within the API server") == 1
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: guest(but=first), within=120)
    wait_until(lambda: log.read_text().count("contrail watches from within the API server") == 2, within=60)
