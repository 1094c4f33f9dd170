"""Airflow with delivery and watcher inside its API server beside one without: page, alert, memory, p95."""

from __future__ import annotations

import json
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

_PATIENCE_S = 600.0
_REQUESTS = 300
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
    """Start both in turn, and ask each the same; the alert is that of the first failure."""
    rounds = 1 if options.quick else options.rounds
    pairs = [(_round(inside=False), _round(inside=True)) for _ in range(rounds)]

    def side(number: int, name: str) -> Sample:
        return Sample(tuple(pair[number][name] for pair in pairs))

    more = Sample(tuple(inside["rss_mb"] - without["rss_mb"] for without, inside in pairs))
    return [
        Figure("API server answers to first page", "s", side(1, "page_s"), targets=(Target(at_most=60),)),
        Figure("first failure to first alert", "s", side(1, "alert_s"), targets=(Target(at_most=60),)),
        Figure("memory more in the API server", "MB", more, targets=(Target(at_most=60),)),
        Figure(
            "Airflow's own pages, p95", "ms", side(1, "p95_ms"), ("without", side(0, "p95_ms")),
            targets=(Target(ratio_at_most=1.1),),
        ),
    ]  # fmt: skip


def _round(*, inside: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="contrail-in-api-server-") as folder:
        home, dags = Path(folder), Path(folder) / "dags"
        dags.mkdir()
        (dags / "orders.py").write_text(_DAG)
        with running(home, dags, {"CONTRAIL_AIRFLOW__IN_API_SERVER": str(inside).lower()}, relay=False) as airflow:
            return _measured(home, str(airflow._http.base_url).removesuffix("/api/v2/"), inside=inside)  # noqa: SLF001


def _measured(home: Path, url: str, *, inside: bool) -> dict[str, float]:
    with httpx.Client(base_url=url, timeout=60) as http:
        _await(lambda: http.get("/api/v2/version").is_success)
        http.headers["Authorization"] = f"Bearer {http.get('/auth/token').json()['access_token']}"
        found = {"page_s": _await(lambda: http.get("/contrail/").is_success)} if inside else {}
        _await(lambda: http.get("/api/v2/dags/orders").is_success)
        made = http.post("/api/v2/dags/orders/dagRuns", json={"logical_date": None}).raise_for_status().json()
        path = f"/api/v2/dags/orders/dagRuns/{made['dag_run_id']}"
        _await(lambda: http.get(path).json()["state"] == "failed")
        if inside:
            lines = home / "contrail" / "alerts.jsonl"
            found["alert_s"] = _await(lambda: lines.exists() and bool(lines.read_text()))
            assert "no such table: orders" in json.dumps(json.loads(lines.read_text().splitlines()[0]))
        found["p95_ms"] = _p95(http)
        found["rss_mb"] = _server(url).memory_info().rss / 1e6
    return found


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
