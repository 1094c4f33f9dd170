"""Reading the past of a real Airflow with thousands of runs: what its own pages take meanwhile, and without.

The Airflow runs on PostgreSQL. Its DAGs are parsed by its own DAG processor; the past is written into its own tables
(:mod:`benchmarks.history_fill`). The reader and a pause of it take turns while the questions of Airflow's UI are asked.
How far it is stands on stderr.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.everywhere_hosts import postgresql_databases
from benchmarks.two_airflows import _running as running

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["beside_airflow", "p95"]

_DAGS, _TASKS = 20, 2
_READY_S, _WARM_UP = 300.0, 3
_MOST_S = 1800.0
"""The reader ends then, however far it has come; pauses do not count."""
_DAG = f"""
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

for number in range({_DAGS}):
    with DAG(f"past_{{number:02}}", schedule="@hourly", catchup=False):
        before = None
        for task in range({_TASKS}):
            now = EmptyOperator(task_id=f"task_{{task}}")
            if before:
                before >> now
            before = now
"""
_ASKED = (
    "/ui/dags?limit=50&dag_runs_limit=14",
    "/ui/dashboard/dag_stats",
    "/ui/dashboard/historical_metrics_data?start_date=2020-01-01T00:00:00Z",
    "/ui/grid/structure/past_07",
    "/ui/grid/runs/past_07?limit=10&order_by=-run_after",
    "/api/v2/dags/past_07/details",
    "/api/v2/dags/~/dagRuns?limit=50&order_by=-run_after",
    "/api/v2/dags/past_07/dagRuns?limit=50&order_by=-run_after",
    "/api/v2/dags/~/dagRuns/~/taskInstances?limit=50&order_by=-start_date",
)
"""The questions of Airflow's UI for its first page, its list of DAGs, a DAG's grid, all runs and all task instances."""


def beside_airflow(runs: int, turns: int, turn_s: float, reader: str, *, to_the_end: bool) -> dict[str, Any]:
    """The reader's figures, and ``without`` and ``during``: the milliseconds of each answer of Airflow's UI.

    Unless it reads ``to_the_end``, the reader is done with the last turn.
    """
    _say("PostgreSQL and Airflow start")
    with tempfile.TemporaryDirectory(prefix="history-") as folder, postgresql_databases() as databases:
        home, dags = Path(folder, "airflow"), Path(folder, "dags")
        dags.mkdir()
        (dags / "past.py").write_text(_DAG)
        more = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{databases[0]}",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        }
        with running(home, dags, more, relay=False) as airflow:
            url = str(airflow._http.base_url).removesuffix("/api/v2/")  # noqa: SLF001
            with httpx.Client(base_url=url, timeout=60) as http:
                _await_dags(http)
                _say(f"Airflow has its {_DAGS} DAGs")
                _fill(home, more, runs)
                gate = Path(folder, "held")
                gate.touch()
                ledger = str(Path(folder, "ledger.db"))
                read = [sys.executable, "-c", reader, url, ledger, "90", str(gate), str(_MOST_S)]
                token = http.headers["Authorization"].partition(" ")[2]
                environment = os.environ | {"CONTRAIL_API_TOKEN": token}
                with subprocess.Popen(read, stdout=subprocess.PIPE, text=True, env=environment) as process:
                    try:
                        asked = _in_turns(http, gate, process, turns, turn_s)
                        if not to_the_end:
                            gate.with_name(f"{gate.name}.end").touch()
                        gate.unlink(missing_ok=True)
                        _say(f"the turns are over; the reader {'reads to the end' if to_the_end else 'ends'}")
                        found: dict[str, Any] = json.loads(process.communicate()[0])
                    finally:
                        process.kill()
    return found | asked


def _await_dags(http: httpx.Client) -> None:
    """Log in, and wait until the DAG processor has written every DAG."""
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        try:
            token = http.get("/auth/token").raise_for_status().json()["access_token"]
            http.headers["Authorization"] = f"Bearer {token}"
            if http.get("/api/v2/dags").raise_for_status().json()["total_entries"] == _DAGS:
                return
        except httpx.HTTPError:
            pass
        time.sleep(1)
    raise TimeoutError(f"Airflow did not have {_DAGS} DAGs within {_READY_S:.0f} s")


def _fill(home: Path, more: dict[str, str], runs: int) -> None:
    environment = {**os.environ, **more, "AIRFLOW_HOME": str(home), "CONTRAIL_AIRFLOW__IN_API_SERVER": "false"}
    command = [sys.executable, "-m", "benchmarks.history_fill", str(runs // _DAGS)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def _in_turns(
    http: httpx.Client, gate: Path, process: subprocess.Popen[str], turns: int, turn_s: float
) -> dict[str, list[float]]:
    """Ask what the UI asks while the reader is held and while it reads; the turns end when it has read everything."""
    taken: dict[str, list[float]] = {"without": [], "during": []}
    for path in _ASKED * _WARM_UP:
        http.get(path).raise_for_status()
    for turn in range(turns):
        gate.touch()
        time.sleep(1)  # the answer that is under way
        taken["without"] += _asking(http, None, turn_s)
        gate.unlink()
        taken["during"] += _asking(http, process, turn_s)
        middle = {name: f"{statistics.median(values or [0]):.0f} ms" for name, values in taken.items()}
        _say(f"turn {turn + 1} of {turns}: answers so far {middle}")
        if process.poll() is not None:
            break
    return taken


def _asking(http: httpx.Client, process: subprocess.Popen[str] | None, turn_s: float) -> Iterator[float]:
    """The milliseconds of each answer, for the length of a turn or until the reader is done."""
    until = time.monotonic() + turn_s
    while time.monotonic() < until:
        for path in _ASKED:
            began = time.perf_counter()
            http.get(path).raise_for_status()
            took = (time.perf_counter() - began) * 1000
            if process is not None and process.poll() is not None:
                return
            yield took


def _say(words: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {words}\n")
    sys.stderr.flush()


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=100)[94]
