"""The page for people who have an Airflow is followed word for word, in an empty environment with one nobody prepared.

``contrail-etl`` itself comes from the wheel of this repository, as pip is told by a variable. Everything else is what
the page says. Needs a package registry and minutes: ``make chaos`` runs it. Its short form reads the page.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest
from cluster import wait_until
from existing import install, interpreter
from postgresql import free_port
from test_packaging import run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "existing-airflow.md").read_text("utf-8")
WITHIN_S = 60
DAG = """
from airflow.sdk import dag, task

@dag(schedule=None, is_paused_upon_creation=False)
def orders():
    @task
    def load():
        print("opening the file")
        raise ValueError("no such table: orders")
    load()

orders()
"""


def commands():
    """The lines of the page's first block, without what stands behind ``#``."""
    section = PAGE.partition("## Install it\n")[2]
    block = re.match(r"```bash\n(.*?)```", section, re.DOTALL)
    return [shlex.join(shlex.split(line, comments=True)) for line in block[1].splitlines()]


def test_the_page_begins_with_an_installation_of_ten_lines():
    section = PAGE.partition("## Install it\n")[2].partition("| to name the first address")[0]
    assert len(section.splitlines()) <= 10
    install_it, address, restart = commands()
    assert install_it == "pip install contrail-etl"
    assert address.startswith("export CONTRAIL_ALERTS=https://hooks.slack.com/services/")
    assert restart == "airflow standalone"


class Guest:
    """An Airflow in a folder of its own, and a shell in which the page's lines are typed."""

    def __init__(self, folder, wheel):
        self.folder, self.port = folder, free_port()
        python = interpreter("3.11")
        self.binaries = install(python, folder / "venv", "apache-airflow==3.3.2", "pip")
        self.home = folder / "home" / "airflow"
        (self.home / "dags").mkdir(parents=True)
        (self.home / "dags" / "orders.py").write_text(DAG)
        airflows = ("AIRFLOW", "CONTRAIL_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(airflows)}
        self.environ = {
            **kept,
            "HOME": str(folder / "home"),
            "PATH": f"{self.binaries}:{os.environ['PATH']}",
            "VIRTUAL_ENV": str(folder / "venv"),
            "PIP_FIND_LINKS": str(wheel.parent),
            # a machine that is shared has no port 8080 to give
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{self.port}",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
        }
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.running = None

    def type(self, *lines):
        """Type the lines; the last one stays."""
        with (self.folder / "out").open("ab") as out:
            self.running = subprocess.Popen(
                ["bash", "-ec", "\n".join(lines)], env=self.environ, cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def log_in(self):
        """True once the API server has given a token."""
        with suppress(OSError, ValueError, httpx.TransportError):
            word = json.loads((self.home / "simple_auth_manager_passwords.json.generated").read_text())["admin"]
            answer = self.api.post("/auth/token", json={"username": "admin", "password": word})
            if answer.is_success:
                self.api.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
                return True
        return False

    def shows(self, path):
        """True once a page of ours is there."""
        with suppress(httpx.TransportError):
            return self.api.get(path).is_success
        return False

    def close(self):
        """End all that was started."""
        everything = psutil.Process(self.running.pid).children(recursive=True) if self.running else []
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.running.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.running.wait(20)
        for each in everything:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self.api.close()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-c", f"import hatchling.build as b; b.build_wheel({str(folder)!r})", cwd=ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_whoever_follows_the_page_has_pages_and_a_message_within_a_minute_each(tmp_path, wheel):
    guest = Guest(tmp_path, wheel)
    try:
        follow(guest)
    finally:
        guest.close()


def follow(guest):
    """Do as the page says. Its Slack cannot be reached from here: the same message is a line of the file beside it."""
    guest.type(*commands())
    wait_until(guest.log_in, 900, "a login to Airflow")
    wait_until(lambda: guest.shows("/contrail/"), WITHIN_S, "the first page")
    wait_until(lambda: guest.shows("/api/v2/dags/orders"), 400, "the parsing of the DAG")
    made = guest.api.post("/api/v2/dags/orders/dagRuns", json={"logical_date": None}).raise_for_status().json()
    path = f"/api/v2/dags/orders/dagRuns/{made['dag_run_id']}"
    wait_until(lambda: guest.api.get(path).json()["state"] == "failed", 400, "the failure")
    lines = guest.home / "contrail" / "alerts.jsonl"
    wait_until(lambda: lines.exists() and lines.read_text(), WITHIN_S, "the first message")
    told = [json.loads(line) for line in lines.read_text().splitlines()]  # later also that Slack cannot be reached
    (message,) = [one for one in told if "orders" in one["title"]]
    assert "no such table: orders" in json.dumps(message)
    page = f"/contrail/dags/orders/runs/{quote(made['dag_run_id'], safe='')}/tasks/load"
    wait_until(lambda: "opening the file" in guest.api.get(page).text, WITHIN_S, "the lines of the task")
