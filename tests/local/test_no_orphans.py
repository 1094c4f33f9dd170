"""Nothing of the platform stays behind, whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from airflow_platform import CONTRAIL, alive, clean_environment, wait_until

from observability.local import elasticsearch_node
from observability.local.ports import any_port

STUB = Path(__file__).with_name("stub_platform.py")
NAMES = ("component", "child", "orphan", "relay")
STOP_S = 15


class Stub:
    def __init__(self, home, *words, **environment):
        self.home = home
        self.environment = clean_environment(CONTRAIL_HOME=str(home), **environment)
        command = [sys.executable, str(STUB), "keep", *words]
        self.guardian = subprocess.Popen(command, env=self.environment, start_new_session=True)
        self.pids = [int(wait_until(_pid(home, name), within=20)) for name in NAMES]

    def supervisor(self):
        return json.loads((self.home / "run" / "platform.json").read_text())["supervisor"]

    def end(self):
        for pid in alive([self.guardian.pid, *self.pids]):
            os.kill(pid, signal.SIGKILL)
        self.guardian.wait()


@pytest.fixture
def stub(tmp_path):
    started = Stub(tmp_path)
    yield started
    started.end()


@pytest.mark.parametrize(("after_s", "wait_s", "answered_first"), [("1.5", "30", True), ("600", "1", False)])
def test_what_runs_tasks_begins_when_the_api_server_answers_and_not_never(tmp_path, after_s, wait_s, answered_first):
    port = str(any_port(socket.SOCK_STREAM))
    given = {"CONTRAIL_AIRFLOW__PORT": port, "STUB_API_AFTER_S": after_s, "STUB_API_WAIT_S": wait_s}
    started = Stub(tmp_path, **given)
    try:
        assert (tmp_path / "api.pid").exists() == answered_first
    finally:
        started.end()


def gone(stub):
    return lambda: not alive(stub.pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_guardian_ends_everything(stub, number):
    stub.guardian.send_signal(number)
    wait_until(gone(stub), within=STOP_S)
    assert stub.guardian.wait(5) == 0


def test_a_killed_guardian_takes_everything_along(stub):
    supervisor = stub.supervisor()
    stub.guardian.kill()
    wait_until(gone(stub), within=STOP_S)
    wait_until(lambda: not alive([supervisor]), within=STOP_S)


def test_a_killed_supervisor_takes_everything_along(stub):
    os.kill(stub.supervisor(), signal.SIGKILL)
    wait_until(gone(stub), within=STOP_S)
    assert stub.guardian.wait(5) == 1


def test_down_ends_everything_and_says_so(stub):
    done = subprocess.run(
        [*CONTRAIL, "down"], env=stub.environment, capture_output=True, check=False, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, "Stopped.\n")
    assert not alive(stub.pids)


def test_down_again_says_that_nothing_runs(tmp_path):
    environment = clean_environment(CONTRAIL_HOME=str(tmp_path))
    done = subprocess.run([*CONTRAIL, "down"], env=environment, capture_output=True, check=False, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, f"No platform of {tmp_path} is running.\n")


def test_what_is_tied_to_a_parent_ends_with_it(tmp_path):
    starter = f"import subprocess, sys; subprocess.Popen([sys.executable, {str(STUB)!r}, 'keep', 'tied']).wait()"
    environment = clean_environment(CONTRAIL_HOME=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", starter], env=environment, start_new_session=True)
    pids = [int(wait_until(_pid(tmp_path, name), within=20)) for name in NAMES]
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(pids), within=STOP_S)


@pytest.mark.parametrize("end", ["SIGTERM", "the parent closes its input"])
def test_an_elasticsearch_ends_with_what_guards_it(end):
    command = [sys.executable, "-I", elasticsearch_node.__file__, "/bin/sleep", "600"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guard:
        node = int(guard.stdout.readline())
        if end == "SIGTERM":
            guard.terminate()
        else:
            guard.stdin.close()
        guard.wait(STOP_S)
    assert alive([node]) == []


def _pid(home, name):
    return lambda: (home / f"{name}.pid").exists() and (home / f"{name}.pid").read_text()


def test_a_component_that_died_is_started_again_later_each_time_and_this_is_said(stub):
    log = stub.home / "airflow" / "logs" / "components" / "platform.log"
    wait_until(lambda: "starting it again in 2 s" in log.read_text(), within=20)
    said = [line for line in log.read_text().splitlines() if "triggerer ended with exit status 1" in line]
    assert [wait in line for wait, line in zip(("in 1 s", "in 2 s"), said, strict=False)] == [True, True]


def test_airflow_is_started_when_the_relay_listens_on_the_socket_of_its_metrics(tmp_path):
    stub = Stub(tmp_path, AIRFLOW__METRICS__STATSD_SOCKET_PATH=str(tmp_path / "statsd.sock"))
    try:
        assert (tmp_path / "connected.pid").exists()
    finally:
        stub.guardian.send_signal(signal.SIGTERM)
        stub.guardian.wait(STOP_S)
