"""The ways to fail that need nothing but DAGs, in a real Airflow with airflow-plugin-watchdog in place of ours.

The plugin has its best settings: it looks each minute (the least that it takes), compares the fewest runs that it can
(3 beside 10), and sends to a Slack hook of this machine. Each DAG has thirty hourly runs behind it that succeeded, as
the plugin compares a run with earlier ones. A way is reported if a message or the plugin's own page names its DAG.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.failing_ways import WAYS, Way
from benchmarks.figure import Figure, Options, Sample
from benchmarks.in_api_server import PEER, install_peer
from benchmarks.two_airflows import _running as running
from benchmarks.two_airflows import _settings as of_airflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HERE = Path(__file__).parent
_HISTORY_RUNS, _HISTORY_S = "30", "2"
_LOOKS_S = 130.0
"""Time for two looks of the plugin after everything has ended."""
_READY_S, _ENDED_S = 240.0, 180.0
_NAMED = re.compile(r"\*(\w+)\* `way_(\w+?)(?:\.[^`]*)?`: (.*)")
_LASTING = ("stuck", "unanswered")
_ENDED = {"success", "failed"}
_LEFT: list[psutil.Process] = []
"""The processes that there were below this one at the end of the trial."""
_DAG_GONE = ("import_error", "vanished")


def run(options: Options) -> list[Figure]:
    """Try each way once, and count what the plugin reports of it."""
    ways = [way for way in WAYS if way.begins_alone or way.name in {"late_run", "auto_paused", *_DAG_GONE}]
    ways = [way for way in ways if not options.only or way.name in options.only or way.part in options.only]
    ways = [way for way in ways if way.name != "oom_kernel"]
    with tempfile.TemporaryDirectory(prefix="contrail-peer-", ignore_cleanup_errors=True) as folder:
        if not install_peer(Path(folder) / "plugin"):
            raise RuntimeError(f"{PEER} could not be installed; uv and a package registry are needed")
        reported = _try(ways, Path(folder))
    Console(stderr=True, width=140).print(_table(ways, reported))
    bad = [way for way in ways if way.alerts]
    told = [way.name for way in bad if reported[way.name]]
    again = [way.name for way in bad if len(reported[way.name]) > 1]
    alarms = [way.name for way in ways if not way.alerts and reported[way.name]]
    notes: dict[str, Any] = {"ways": len(bad), "messages": reported}
    return [
        Figure(f"failures that {PEER} reports", "ways", Sample((len(told),)), notes=notes | {"which": told}),
        Figure("of these, more than once", "ways", Sample((len(again),)), notes={"which": again}),
        Figure("alarms about what is well", "ways", Sample((len(alarms),)), notes={"which": alarms}),
    ]


def _try(ways: list[Way], folder: Path) -> dict[str, list[str]]:
    """The messages about each way: type and text."""
    home, dags = folder / "home", folder / "dags"
    home.mkdir()
    shutil.copytree(_HERE / "failing_dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    with (
        _none_left(),
        _receiver() as (url, texts, listen),
        running(home, dags, _settings(folder, dags, url), relay=False, triggerer=True) as one,
    ):
        listen()
        base = str(one._http.base_url).removesuffix("/api/v2/")  # noqa: SLF001
        with httpx.Client(base_url=base, timeout=60) as http:
            _await(lambda: http.get("/api/v2/version").is_success, _READY_S)
            http.headers["Authorization"] = f"Bearer {http.get('/auth/token').json()['access_token']}"
            names = {f"way_{way.name}" for way in ways}
            _await(lambda: names <= _dags(http), _READY_S)
            environment = {**os.environ, **_environment(home, dags, base, _settings(folder, dags, url))}
            command = [sys.executable, "-m", "benchmarks.history_fill", _HISTORY_RUNS, _HISTORY_S]
            subprocess.run(command, env=environment, check=True, capture_output=True)
            _fail(http, ways, dags)
            time.sleep(_LOOKS_S)
            page = http.get("/api/v2/variables/watchdog_last_results")
            shown = json.loads(page.json()["value"])["alerts"] if page.is_success else []
            _LEFT.extend(psutil.Process().children(recursive=True))
    return _by_way(ways, texts, shown)


@contextmanager
def _none_left() -> Iterator[None]:
    """End what outlives its Airflow: without us, a task with a segmentation fault goes on for ever."""
    try:
        yield
    finally:
        for process in _LEFT:
            with suppress(psutil.Error):
                process.kill()


def _fail(http: httpx.Client, ways: list[Way], dags: Path) -> None:
    """Run each DAG, those that last first, and wait until all others have ended; then break two files."""
    lasting = (*_LASTING, "late_run")
    runs = {}
    for way in sorted(ways, key=lambda way: way.name not in lasting):
        for _ in range(2 if way.name == "auto_paused" else 0 if way.name in _DAG_GONE else 1):
            path = f"/api/v2/dags/way_{way.name}/dagRuns"
            runs[_triggered(http, path), path] = way.name
    if {way.name for way in ways} & {*_DAG_GONE}:
        (dags / "broken_later.py").write_text("from airflow.sdk import DAG\n\nwith DAG(\n")
        (dags / "gone_later.py").unlink()

    def ended() -> bool:
        return {_state(http, f"{path}/{run}") for (run, path), name in runs.items() if name not in _LASTING} <= _ENDED

    _await(ended, _ENDED_S, every_s=5.0)


def _triggered(http: httpx.Client, path: str) -> str:
    """The id of a new run; an Airflow on SQLite answers 500 now and then while it writes."""
    for wait_s in (1.0, 3.0, 10.0, 30.0):
        if (answer := http.post(path, json={"logical_date": None})).is_success:
            return str(answer.json()["dag_run_id"])
        time.sleep(wait_s)
    raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:200]}")


def _by_way(ways: list[Way], texts: list[str], shown: list[dict[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        for kind, name, said in _NAMED.findall(text):
            found[name].append(f"{kind}: {said}")
    for one in shown:  # a message names twenty alerts at most
        name = str(one["dag_id"]).removeprefix("way_")
        found[name] = found[name] or [f"on its page: {one['type']}: {one['message']}"]
    return {way.name: found[way.name] for way in ways}


def _settings(folder: Path, dags: Path, url: str) -> dict[str, str]:
    settings = {
        "schedule_interval_minutes": 1, "failure_window_runs": 3, "failure_baseline_runs": 10,
        "alert_slack_webhook": url,
    }  # fmt: skip
    return {
        "PYTHONPATH": os.pathsep.join(map(str, (_HERE / "unobserved", folder / "plugin", dags))),
        "AIRFLOW_VAR_WATCHDOG_CONFIG": json.dumps(settings),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
    }


def _environment(home: Path, dags: Path, url: str, more: dict[str, str]) -> dict[str, str]:
    """The variables of that Airflow, for a command of this repository beside it."""
    return {**of_airflow(home, dags, url), **more, "PYTHONPATH": f"{more['PYTHONPATH']}{os.pathsep}{_HERE.parent}"}


@contextmanager
def _receiver() -> Iterator[tuple[str, list[str], Callable[[], None]]]:
    """A Slack hook of this machine, the texts that it was sent, and what makes it listen."""
    texts: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            texts.append(json.loads(body)["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    try:
        yield f"http://127.0.0.1:{server.server_port}/", texts, thread.start
    finally:
        server.shutdown()


def _state(http: httpx.Client, path: str) -> str:
    answer = http.get(path)
    return str(answer.json()["state"]) if answer.is_success else "unknown"


def _dags(http: httpx.Client) -> set[str]:
    return {one["dag_id"] for one in http.get("/api/v2/dags", params={"limit": 100}).json()["dags"]}


def _await(holds: Callable[[], bool], within_s: float, every_s: float = 1.0) -> None:
    """Ask until it holds, for so long at most."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if holds():
                return
        except (httpx.TransportError, KeyError):
            pass
        time.sleep(every_s)


def _table(ways: list[Way], reported: dict[str, list[str]]) -> Table:
    table = Table("way", "messages", "the first of them")
    for way in ways:
        said = reported[way.name]
        table.add_row(way.name, str(len(said)), said[0] if said else "")
    return table
