"""Record one row of each listing of Airflow's API on what a demo left behind: ``python record.py DEMO_HOME``."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1])]

from chromium import api_server  # noqa: E402 - found by the line above

from observability.local.api import Api  # noqa: E402
from observability.local.environment import environment  # noqa: E402
from observability.local.keys import password  # noqa: E402
from observability.local.layout import Layout  # noqa: E402
from observability.settings import load_settings  # noqa: E402

LISTS = {
    "task_instance": ("/dags/failure_drills/dagRuns/~/taskInstances", "task_instances"),
    "dag_run": ("/dags/failure_drills/dagRuns", "dag_runs"),
    "dag": ("/dags", "dags"),
    "import_error": ("/importErrors", "import_errors"),
    "event_log": ("/eventLogs", "event_logs"),
}


def parse_a_broken_file(home):
    """Have Airflow's dag processor look once at the DAGs and a file that does not parse."""
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(home)})
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(HERE.parents[2] / "dags", folder, dirs_exist_ok=True)
        Path(folder, "broken.py").write_text("from airflow.sdk import DAG\n\nwith DAG(\n")
        command = [sys.executable, "-m", "airflow", "dag-processor", "--num-runs", "1"]
        where = {"AIRFLOW__CORE__DAGS_FOLDER": folder}
        subprocess.run(command, env=environment(Layout(home), options) | where, check=True, timeout=120)


def main(home):
    """Write the rows beside this file."""
    with api_server(home) as url, Api(url, password(Layout(home))) as api:
        parse_a_broken_file(home)
        found = {name: next(api.pages(path, key)) for name, (path, key) in LISTS.items()}
        found["health"] = api.call("GET", "/monitor/health")
    found["event_log"]["extra"] = None  # it names the machine
    text = re.sub(r"/tmp/tmp\w+/", "/opt/airflow/dags/", json.dumps(found, indent=1, sort_keys=True))
    (HERE / "airflow-api.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
