import json
import subprocess
import sys
from pathlib import Path

import pytest

DAGS = Path(__file__).parents[2] / "dags"
FILES = sorted(path.name for path in DAGS.glob("*.py"))
HEAVY = {"pandas", "pandera", "pyarrow", "boto3", "elasticsearch", "requests", "numpy"}
_PARSE = """
import json, sys
from pathlib import Path
import airflow.sdk
from airflow.dag_processing.dagbag import BundleDagBag
before = set(sys.modules)
bag = BundleDagBag({folder!r}, bundle_path=Path({folder!r}), bundle_name="dags")
known = {{
    dag_id: {{
        "tags": sorted(dag.tags),
        "doc": bool(dag.doc_md),
        "owners": sorted({{task.owner for task in dag.tasks}}),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "tasks": sorted(dag.task_ids),
        "file": dag.fileloc.rsplit("/", 1)[-1],
    }}
    for dag_id, dag in bag.dags.items()
}}
loaded = sorted(set(sys.modules) - before)
from failure_drills import DRILLS
print(json.dumps({{"errors": bag.import_errors, "dags": known, "modules": loaded, "drills": DRILLS}}))
"""


@pytest.fixture(scope="module")
def parsed():
    """The DAGs that Airflow makes of the folder, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PARSE.format(folder=str(DAGS))],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_every_file_parses_and_is_one_dag_of_its_name(parsed):
    assert parsed["errors"] == {}
    assert {dag_id: known["file"] for dag_id, known in parsed["dags"].items()} == {
        name.removesuffix(".py"): name for name in FILES
    }


def test_every_dag_has_an_owner_tags_and_a_page(parsed):
    for dag_id, known in parsed["dags"].items():
        assert known["tags"], dag_id
        assert known["doc"], dag_id
        assert known["owners"], dag_id
        assert "airflow" not in known["owners"], dag_id


def test_no_dag_file_imports_what_only_a_task_needs(parsed):
    assert HEAVY & {name.split(".")[0] for name in parsed["modules"]} == set()


def test_catchup_is_bounded(parsed):
    daily = parsed["dags"]["flights_daily"]
    assert (daily["catchup"], daily["max_active_runs"]) == (True, 2)


def test_every_drill_of_the_page_is_a_task(parsed):
    assert len(parsed["drills"]) == 20
    assert set(parsed["drills"]) <= set(parsed["dags"]["failure_drills"]["tasks"])
