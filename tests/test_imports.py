import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import grimp
import pytest

from observability import option_types
from observability.watch.rules.config import ChannelSpec

ROOT = Path(__file__).parents[1]
HEAVY = {"boto3", "botocore", "duckdb", "elasticsearch", "numpy", "pandas", "pandera", "pyarrow", "requests"}

PROGRAM = """
import importlib, json, runpy, sys
import airflow.sdk
heavy = lambda: sorted({{name.partition(".")[0] for name in sys.modules}} & set({heavy!r}))
found = {{"airflow with our policy": heavy()}}
OURS = ["", ".logs", ".metrics", ".measure", ".callbacks", ".emit"]
for name in OURS + [".airflow.policy", ".airflow.plugin", ".airflow.listener"]:
    importlib.import_module("observability" + name)
    found["observability" + name] = heavy()
sys.path.insert(0, {dags!r})
for path in {files!r}:
    runpy.run_path(path)
    found[path.rpartition("/")[2]] = heavy()
print(json.dumps(found))
"""
FILES = sorted(str(path) for path in (ROOT / "dags").glob("*.py"))


@pytest.fixture(scope="module")
def heavy():
    """The heavy libraries that are loaded after each import, in a process such as one that parses DAG files."""
    program = PROGRAM.format(heavy=sorted(HEAVY), dags=str(ROOT / "dags"), files=FILES)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_that_airflow_loads_of_ours_imports_a_heavy_library(heavy):
    assert {name: found for name, found in heavy.items() if found and not name.endswith(".py")} == {}


def test_no_dag_file_imports_a_heavy_library_before_a_task_needs_it(heavy):
    assert {name: found for name, found in heavy.items() if found} == {}
    assert len([name for name in heavy if name.endswith(".py")]) == len(FILES) > 0


def test_the_guard_would_see_a_heavy_library():
    program = PROGRAM.replace("import airflow.sdk", "import boto3").partition("sys.path.insert")[0]
    program = program.format(heavy=sorted(HEAVY)).partition("OURS = ")[0] + "print(json.dumps(found))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"airflow with our policy": ["boto3", "botocore"]}


def test_a_dag_file_that_names_the_public_face_loads_neither_events_nor_the_journal():
    program = (
        "import sys\nfrom observability import get_logger, measure, metrics\nget_logger('x')\n"
        "print(sorted(name for name in sys.modules if name.startswith('observability.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = set(json.loads(done.stdout.replace("'", '"')))
    assert found & {"observability.events", "observability.emit", "observability.journal"} == set()


def test_each_channel_sink_and_store_that_can_be_chosen_is_a_module_that_opens_it():
    chosen = {
        "watch.notify.channels": (get_args(get_type_hints(ChannelSpec)["type"]), "open_channel"),
        "relay.sinks": (get_args(option_types.SinkName), "open_sink"),
        "store": (get_args(option_types.Backend), "open_store"),
    }
    assert all(names for names, _ in chosen.values())
    for folder, (names, opens) in chosen.items():
        for name in names:
            assert callable(getattr(import_module(f"observability.{folder}.{name}"), opens)), (folder, name)


def circles(imports):
    """The modules that import each other, however far round; ``imports`` has the imports of each module."""
    reached = {}
    for module in imports:
        found, ahead = set(), [*imports[module]]
        while ahead:
            one = ahead.pop()
            if one not in found:
                found.add(one)
                ahead += imports[one]
        reached[module] = found
    return sorted(
        {
            tuple(sorted(one for one in found if module in reached[one]))
            for module, found in reached.items()
            if module in found
        }
    )


def test_no_module_imports_one_that_imports_it_not_even_for_types():
    graph = grimp.build_graph("observability", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 400
    assert circles(imports) == []


def test_a_circle_through_a_third_module_is_found():
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}) == [("a", "b", "c")]


def test_the_environment_of_the_tests_brings_nothing_that_each_airflow_process_imports_for_a_second():
    names = {line.partition("==")[0] for line in (ROOT / "requirements/dev.lock").read_text("utf-8").splitlines()}
    assert "jsonschema" in names
    assert "rfc3987-syntax" not in names, "jsonschema imports it where it is: 1.5 s of CPU in each Airflow process"
