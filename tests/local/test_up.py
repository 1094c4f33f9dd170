"""A real platform, from its start to its end."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from contextlib import suppress

import httpx
import psutil
import pytest
from airflow_platform import CONTRAIL, alive, clean_environment, wait_until

pytestmark = pytest.mark.airflow

COMPONENTS = ["relay", "api-server", "scheduler", "dag-processor", "triggerer", "watcher"]


def test_a_command_needs_nothing_but_the_home_to_find_the_platform(platform):
    bare = clean_environment(CONTRAIL_HOME=str(platform.layout.home))
    said = subprocess.run(
        [*CONTRAIL, "status", "--json"], env=bare, capture_output=True, check=False, text=True, timeout=60
    )
    assert (said.returncode, json.loads(said.stdout)["url"]) == (0, platform.url)


def test_airflows_own_command_line_sees_the_platform(platform):
    said = platform.run("airflow", "config", "get-value", "core", "dags_folder")
    assert said.stdout.strip().endswith("tests/local/dags")


def test_status_tells_each_component_as_healthy(platform):
    said = platform.run("status", "--json")
    now = json.loads(said.stdout)
    assert (said.returncode, now["healthy"]) == (0, True)
    assert {part["name"]: part["state"] for part in now["components"]} == dict.fromkeys(COMPONENTS, "healthy")
    assert (now["store"], now["delivery"]["dead_letters"]) == ("", 0)


def test_status_for_people_names_the_address_and_each_component(platform):
    said = platform.run("status").stdout
    assert [name for name in [platform.url, *COMPONENTS] if name not in said] == []


def test_starting_twice_is_refused_and_says_where_the_first_one_is(platform):
    again = platform.run("up")
    assert again.returncode == 4
    assert again.stderr == (
        f"contrail: the platform of {platform.layout.home} is running already at {platform.url} "
        f"(process {platform.state()['guardian']}); stop it by: contrail down\n"
    )


def test_a_taken_port_is_named_with_the_way_to_choose_another(platform, tmp_path):
    port = platform.url.rpartition(":")[2]
    environment = {**platform.environment, "CONTRAIL_HOME": str(tmp_path)}
    refused = subprocess.run(
        [*CONTRAIL, "up", "--port", port], env=environment, capture_output=True, check=False, text=True, timeout=60
    )
    assert refused.returncode == 4
    assert refused.stderr == (
        f"contrail: Airflow's API server cannot have 127.0.0.1:{port} (Address already in use); "
        "choose another port: contrail up --port N (or CONTRAIL_AIRFLOW__PORT=N)\n"
    )


def test_nothing_listens_beyond_loopback(platform):
    heard = set()
    for process in platform.processes():
        with suppress(psutil.NoSuchProcess):  # a task's, which has ended meanwhile
            opened = process.net_connections("tcp")
            heard |= {one.laddr.ip for one in opened if one.status == psutil.CONN_LISTEN}
    assert heard == {"127.0.0.1"}


def test_the_relay_takes_metrics_from_this_machine_only(platform):
    relay = psutil.Process(platform.state()["components"]["relay"]["pid"])
    port = int(platform.environment["CONTRAIL_RELAY__STATSD_PORT"])
    assert [each.laddr.ip for each in relay.net_connections("udp") if each.laddr.port == port] == ["127.0.0.1"]


def test_secrets_are_in_files_of_their_owner_only(platform):
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in platform.layout.keys.iterdir()}
    assert modes == dict.fromkeys(
        ["api-secret", "connections.json", "fernet-key", "jwt-secret", "passwords.json"], 0o600
    )
    assert stat.S_IMODE(platform.layout.keys.stat().st_mode) == 0o700


def secrets_of(platform):
    keys = [(platform.layout.keys / name).read_text() for name in ("api-secret", "fernet-key", "jwt-secret")]
    return [*keys, *json.loads(platform.layout.passwords.read_text()).values()]


def test_no_secret_is_in_a_log_or_an_event(platform):
    with platform.api() as api:
        api.call("GET", "/dags")
    folders = (platform.layout.log_folder, platform.layout.home / "journal")
    written = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert written
    leaks = [path.name for path in written for secret in secrets_of(platform) if secret.encode() in path.read_bytes()]
    assert leaks == []


def test_no_secret_is_on_a_command_line_or_in_an_environment(platform):
    def seen(process):
        try:
            return " ".join(process.cmdline()) + str(process.environ())
        except psutil.NoSuchProcess:
            return ""

    leaks = [secret for process in platform.processes() for secret in secrets_of(platform) if secret in seen(process)]
    assert leaks == []


def test_the_api_wants_a_login(platform):
    assert httpx.get(f"{platform.url}/api/v2/dags").status_code == 401


def test_component_logs_are_json_lines_of_their_owner_only(platform):
    for name in COMPONENTS:
        path = platform.layout.components / f"{name}.log"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        lines = path.read_text().splitlines()
        assert all(json.loads(line)["event"] is not None for line in lines if line.startswith("{"))
        assert any(line.startswith("{") for line in lines) or name == "watcher"


def test_a_component_that_is_killed_comes_back(platform):
    before = platform.state()["components"]["triggerer"]
    os.kill(before["pid"], signal.SIGKILL)

    def is_back():
        now = platform.state()["components"]["triggerer"]
        return now["restarts"] == before["restarts"] + 1 and now["pid"]

    wait_until(is_back, within=30)
    assert platform.state()["components"]["triggerer"]["last_exit"] == "signal SIGKILL"


def test_a_killed_guardian_leaves_nothing_behind_while_a_task_runs(platform):
    with platform.api() as api:
        wait_until(lambda: any(dag["dag_id"] == "long" for dag in api.pages("/dags", "dags")), within=60)
        api.call("POST", "/dags/long/dagRuns", json={"logical_date": None})
        wait_until(lambda: _is_running(api), within=60)
    processes = platform.processes()
    processes[0].kill()
    wait_until(lambda: not alive([process.pid for process in processes]), within=15)
    assert json.loads(platform.run("status", "--json").stdout)["phase"] == "stopped"


def _is_running(api):
    tasks = api.pages("/dags/~/dagRuns/~/taskInstances", "task_instances", {"state": "running"})
    return any(task["dag_id"] == "long" and task["pid"] for task in tasks)
