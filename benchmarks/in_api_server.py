"""Airflow with delivery and watcher inside its API server beside one without: page, alert, memory, p95.

And beside airflow-plugin-watchdog, the plugin of the index that comes closest. The other one that is near,
airflow-watcher 2.0.0, does not install beside Airflow 3: it requires ``apache-airflow<3.0``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.two_airflows import _running as running

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PEER", "install_peer"]

_PATIENCE_S = 600.0
_REQUESTS = 300
PEER, _PEER_WAIT_S = "airflow-plugin-watchdog==0.6.4", 90.0
_PAGES = ("/api/v2/dags", "/ui/dags", "/api/v2/dags/~/dagRuns")
_DAG = """
from airflow.sdk import dag, task

@dag(schedule=None, is_paused_upon_creation=False)
def orders():
    @task
    def load():
        raise ValueError("no such table: orders")
    load()

orders()
"""


def run(options: Options) -> list[Figure]:
    """Start the contenders in alternating order, and ask each the same; the alert is that of the first failure."""
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="contrail-peer-") as folder:
        names = ["without", "ours", *(["peer"] if install_peer(Path(folder)) else [])]
        for number in range(1 if options.quick else options.rounds):
            for name in names if number % 2 == 0 else reversed(names):
                found.setdefault(name, []).append(_round(name, Path(folder)))

    def side(name: str, what: str) -> Sample:
        return Sample(tuple(one[what] for one in found[name]))

    def more(name: str) -> Sample:
        pairs = zip(found[name], found["without"], strict=True)
        return Sample(tuple(one["rss_mb"] - without["rss_mb"] for one, without in pairs))

    figures = [
        Figure("API server answers to first page", "s", side("ours", "page_s"), targets=(Target(at_most=60),)),
        Figure("first failure to first alert", "s", side("ours", "alert_s"), targets=(Target(at_most=60),)),
        Figure("memory more in the API server", "MB", more("ours"), targets=(Target(at_most=60),)),
        Figure(
            "Airflow's own pages, p95", "ms", side("ours", "p95_ms"), ("without", side("without", "p95_ms")),
            targets=(Target(ratio_at_most=1.1),),
        ),
    ]  # fmt: skip
    if "peer" in found:
        alerts = int(sum(one["alerts"] for one in found["peer"]))
        note = {f"alerts of {PEER} about the failure, looking each minute, in {_PEER_WAIT_S:.0f} s": alerts}
        figures += [
            Figure(f"memory more, beside {PEER}", "MB", more("ours"), (PEER, more("peer")), notes=note),
            Figure(f"p95, beside {PEER}", "ms", side("ours", "p95_ms"), (PEER, side("peer", "p95_ms"))),
        ]
    return figures


def install_peer(folder: Path) -> bool:
    """True if the plugin that comes closest could be installed into ``folder``, beside an Airflow that has ours."""
    uv = shutil.which("uv")
    if uv is None:
        return False
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target", str(folder), PEER]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _round(name: str, peer: Path) -> dict[str, float]:
    more = {"CONTRAIL_AIRFLOW__IN_API_SERVER": str(name == "ours").lower()}
    if name == "peer":  # ours is hidden from that Airflow
        more["PYTHONPATH"] = os.pathsep.join((str(Path(__file__).parent / "unobserved"), str(peer)))
        more["AIRFLOW_VAR_WATCHDOG_CONFIG"] = json.dumps({"schedule_interval_minutes": 1})
    with tempfile.TemporaryDirectory(prefix="contrail-in-api-server-") as folder:
        home, dags = Path(folder), Path(folder) / "dags"
        dags.mkdir()
        (dags / "orders.py").write_text(_DAG)
        with running(home, dags, more, relay=False) as airflow:
            return _measured(home, str(airflow._http.base_url).removesuffix("/api/v2/"), name)  # noqa: SLF001


def _measured(home: Path, url: str, name: str) -> dict[str, float]:
    with httpx.Client(base_url=url, timeout=60) as http:
        _await(lambda: http.get("/api/v2/version").is_success)
        http.headers["Authorization"] = f"Bearer {http.get('/auth/token').json()['access_token']}"
        found = {"page_s": _await(lambda: http.get("/contrail/").is_success)} if name == "ours" else {}
        _await(lambda: http.get("/api/v2/dags/orders").is_success)
        made = http.post("/api/v2/dags/orders/dagRuns", json={"logical_date": None}).raise_for_status().json()
        path = f"/api/v2/dags/orders/dagRuns/{made['dag_run_id']}"
        _await(lambda: http.get(path).json()["state"] == "failed")
        if name == "ours":
            lines = home / "contrail" / "alerts.jsonl"
            found["alert_s"] = _await(lambda: lines.exists() and "no such table: orders" in lines.read_text())
        if name == "peer":
            found["alerts"] = _alerts_of_peer(http)
        found["p95_ms"] = _p95(http)
        found["rss_mb"] = _server(url).memory_info().rss / 1e6
    return found


def _alerts_of_peer(http: httpx.Client) -> float:
    """The alerts of the other plugin about the DAG that failed, after it has had time for more than one look."""
    until = time.monotonic() + _PEER_WAIT_S
    while time.monotonic() < until:
        answer = http.get("/api/v2/variables/watchdog_last_results")
        if answer.is_success and "orders" in answer.text:
            return 1.0
        time.sleep(1.0)
    return 0.0


def _await(holds: Callable[[], bool]) -> float:
    """Seconds until it holds. Raises TimeoutError."""
    began = time.monotonic()
    while time.monotonic() - began < _PATIENCE_S:
        try:
            if holds():
                return time.monotonic() - began
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"not within {_PATIENCE_S:.0f} s")


def _p95(http: httpx.Client) -> float:
    took: list[float] = []
    for number in range(_REQUESTS):
        began = time.perf_counter()
        http.get(_PAGES[number % len(_PAGES)], params={"limit": 50}).raise_for_status()
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)[int(_REQUESTS * 0.95)]


def _server(url: str) -> Any:
    """The process that listens at this address."""
    port = int(url.rpartition(":")[2])
    for process in psutil.process_iter(["pid"]):
        try:
            if any(one.laddr.port == port and one.status == "LISTEN" for one in process.net_connections("tcp")):
                return process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    raise ProcessLookupError(url)
