"""The versions that we say we work with: an Airflow of each, with our wheel, one setting and a run that is observed.

Minutes per row, and packages from a registry: ``make matrix`` runs it. Its rows stand in docs/existing-airflow.md.
"""

import json
import re
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from cluster import wait_until
from existing import SERVERS, Existing, install, interpreter
from test_packaging import run

from benchmarks.airflows import PRE_RELEASES
from observability.catalog import AIRFLOW_METRICS
from observability.doctor.scheduling import TRIED
from observability.journal import frames

ROOT = Path(__file__).parents[2]
ROWS = (
    # Python, Airflow, Elasticsearch's client
    ("3.10", "3.1", "9"),
    ("3.11", "3.1", "8"),
    ("3.12", "3.2", "9"),
    ("3.13", "3.3", "9"),
    ("3.11", "3.4", "9"),
)
AS_OF = {"3.2": "2026-06-05"}
"""The day from which an Airflow's dependencies are taken: 3.2.2 itself does not run with today's. Needs uv."""
TRACED_BY_DEFAULT = {"3.2", "3.3", "3.4"}
"""An Airflow 3.1 gives a run a trace id only where OpenTelemetry is on."""
SENT_BY_EACH_RUN = {"3.4": {"scheduler.dagruns.queued", "task.queued_duration", "dag.serialization.version_created"}}
"""Those of an Airflow's new metrics that come without an error or a trigger."""
REGISTRY = "lib/python*/site-packages/airflow/_shared/observability/metrics/metrics_template.yaml"
OF_THE_WATCHER = ("incident.", "notification.")
DAG = """
from airflow.sdk import dag, task
from observability import callbacks, default_args, get_logger, measure, metrics

log = get_logger(__name__)

def own(context):
    print("a callback of the author's own:", context["ti"].task_id)

@dag(schedule=None, on_failure_callback=own)
def tried():
    @task(on_success_callback=own)
    def works():
        with measure("load", table="tried") as step:
            step.input(3)
            step.rejected(1, rule="one")
            step.output(2)
        metrics.increment("tried.count")
        log.info("it worked", answer=42)

    @task(on_failure_callback=own)
    def breaks():
        raise ValueError("broken on purpose")

    works() >> breaks()

@dag(schedule=None)
def crashes():
    @task
    def reads_nowhere():
        import ctypes
        ctypes.string_at(0)

    reads_nowhere()

tried()
crashes()
"""


def test_the_page_states_the_rows_and_no_others():
    page = (ROOT / "docs" / "existing-airflow.md").read_text("utf-8")
    table = page.partition("| Python | Airflow |")[2].partition("\n\n")[0].splitlines()[2:]
    stated = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    tried = [(python, ".".join(airflow.split(".")[:2]), client.split(".")[0]) for python, airflow, client, *_ in stated]
    assert tried == [*ROWS, ("3.11", "3.3", "9")]  # the last is what everything else is tested on
    assert version("apache-airflow").startswith(tried[-1][1])


def test_the_range_of_airflows_is_said_in_one_way():
    rows = sorted({tuple(map(int, airflow.split("."))) for _, airflow, _ in ROWS})
    assert (rows[0], rows[-1]) == TRIED
    oldest, newest, next_one = (".".join(map(str, one)) for one in (*TRIED, (TRIED[1][0], TRIED[1][1] + 1)))
    bound = f'"apache-airflow>={oldest},<{next_one}"'
    assert bound in (ROOT / "pyproject.toml").read_text("utf-8")
    for page in ("README.md", "docs/existing-airflow.md", "docs/production.md"):
        assert f"Airflow {oldest} to {newest}" in (ROOT / page).read_text("utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-c", f"import hatchling.build as b; b.build_wheel({str(folder)!r})", cwd=ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module", params=ROWS, ids="-".join)
def existing(request, wheel, tmp_path_factory):
    """An Airflow of that row, running, in which the DAG ``tried`` has run to its end."""
    python, airflow, client = request.param
    if (found := interpreter(python)) is None:
        pytest.skip(f"this machine has no Python {python}: pyenv install {python}, or uv python install {python}")
    folder = tmp_path_factory.mktemp(f"py{python}-airflow{airflow}")
    packages = PRE_RELEASES.get(airflow, (f"apache-airflow=={airflow}.*",))
    binaries = install(
        found, folder / "venv", *packages, f"elasticsearch=={client}.*",
        f"{wheel}[elasticsearch,cloudwatch,alerts]", as_of=AS_OF.get(airflow),
    )  # fmt: skip
    dags = folder / "dags"
    dags.mkdir()
    (dags / "tried.py").write_text(DAG)
    running = Existing(binaries, folder, dags)
    try:
        running.start()
        running.airflow = airflow
        running.played = running.play("tried")
        yield running
    finally:
        running.close()


pytestmark = pytest.mark.timeout(900)
slow = pytest.mark.slow


def documents(existing):
    """Every event and metric on the disk."""
    files = sorted((existing.home / "journal").glob("*.journal"))
    return [json.loads(frame.document) for file in files for frame in frames(file.read_bytes()) if frame.document]


def events(existing):
    """Every event on the disk, in the order of its time."""
    found = (document for document in documents(existing) if "event.action" in document)
    return sorted(found, key=lambda event: event["@timestamp"])


def log_of(existing, task_id):
    """The lines of a try as the UI gets them."""
    run_id, _ = existing.played
    answer = existing.get(f"/dags/tried/dagRuns/{run_id}/taskInstances/{task_id}/logs/1")
    return [line if isinstance(line, dict) else {"event": line} for line in answer["content"]]


def texts(lines):
    """The text of a log, without the header that Airflow puts above it."""
    return [line["event"] for line in lines if line.get("timestamp")]


def relay(existing):
    """The relay's own status."""
    return json.loads((existing.home / "relay.status.json").read_text())


def opened(existing):
    """The messages that told of something new."""
    path = existing.home / "alerts.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [message for message in map(json.loads, lines) if message.get("kind") == "opened"]


@slow
def test_the_command_line_works(existing):
    assert "relay" in existing.run("contrail", "--help").stdout


@slow
def test_airflow_has_the_plugin_and_no_import_error(existing):
    plugins = {plugin["name"]: plugin for plugin in existing.get("/plugins", limit=100)["plugins"]}
    assert "contrail" in plugins
    assert existing.get("/importErrors")["total_entries"] == 0
    errors = existing.api.get("/api/v2/plugins/importErrors")
    assert not errors.is_success or errors.json()["total_entries"] == 0


@slow
def test_every_outcome_is_told_once(existing):
    run_id, state = existing.played
    assert state == "failed"

    def told():
        return Counter(
            (event["event.action"], event.get("airflow.task_id"))
            for event in events(existing)
            if event.get("airflow.run_id") == run_id and not event["event.action"].startswith(OF_THE_WATCHER)
        )

    wait_until(lambda: ("dag_run.failed", None) in told(), 30, "the end of the run")
    assert told() == {
        ("dag_run.started", None): 1,
        ("task.started", "works"): 1,
        ("step.measured", "works"): 1,
        ("rows.rejected", "works"): 1,
        ("task.succeeded", "works"): 1,
        ("task.started", "breaks"): 1,
        ("task.failed", "breaks"): 1,
        ("dag_run.failed", None): 1,
    }


@slow
def test_an_event_knows_whose_it_is(existing):
    (failed,) = [event for event in events(existing) if event["event.action"] == "task.failed"]
    expected = {
        "airflow.dag_id": "tried", "airflow.task_id": "breaks", "airflow.try_number": 1,
        "airflow.operator": "_PythonDecoratedOperator", "airflow.cause": "app",
        "error.type": "ValueError", "error.message": "broken on purpose",
    }  # fmt: skip
    assert {name: failed.get(name) for name in expected} == expected
    traces = {event.get("trace.id") for event in events(existing) if event["event.action"].startswith("task.")}
    assert len(traces) == 1
    assert (traces != {None}) is (existing.airflow in TRACED_BY_DEFAULT)


@slow
def test_the_authors_own_callbacks_still_run(existing):
    for task_id in ("works", "breaks"):
        lines = "".join(str(line) for line in log_of(existing, task_id))
        assert lines.count(f"a callback of the author's own: {task_id}") == 1


@slow
def test_a_log_whose_file_is_gone_is_read_back_from_the_store(existing):
    run_id, _ = existing.played
    before = log_of(existing, "works")
    (file,) = existing.logs.glob(f"dag_id=tried/run_id={run_id}/task_id=works/attempt=1.log")
    wait_until(lambda: relay(existing)["sinks"]["embedded"]["lag_bytes"] == 0, 30, "the delivery of everything")
    assert existing.run("contrail", "logs", "tried", "works").stdout.count("it worked") == 1
    kept = file.read_bytes()
    file.unlink()
    try:
        after = log_of(existing, "works")
    finally:
        file.write_bytes(kept)
    told = [line for line in after if line["event"] == "it worked"]
    assert [(line["answer"], line["level"]) for line in told] == [(42, "info")]
    assert texts(after) == texts(before)


@slow
def test_the_metrics_that_came_with_an_airflow_are_in_its_registry_and_received(existing):
    ours = {name: spec.type for name, spec in AIRFLOW_METRICS.items() if spec.since == existing.airflow}
    if not ours:
        pytest.skip(f"Airflow {existing.airflow} brought no metric that the boards show")
    (registry,) = (existing.folder / "venv").glob(REGISTRY)
    told = {metric["name"]: metric["type"] for metric in yaml.safe_load(registry.read_text("utf-8"))["metrics"]}
    assert {name: told.get(name) for name in ours} == ours
    wait_until(
        lambda: SENT_BY_EACH_RUN[existing.airflow] <= {one.get("metric.name") for one in documents(existing)},
        90, "the new metrics that each run sends",
    )  # fmt: skip


@slow
def test_the_doctor_finds_the_whole_chain_well(existing):
    def settled():
        done = existing.run("contrail", "doctor", "--json")
        links = {link["link"]: link for link in json.loads(done.stdout)["links"]}
        return links if links["metrics"]["state"] == "ok" else None

    found = wait_until(settled, 60, "metrics of Airflow's own")
    assert [link for link in found.values() if link["state"] in {"broken", "unknown"}] == []
    not_set_up = {name for name, link in found.items() if link["state"] == "off"}
    assert not_set_up == {"secrets", "component-metrics", "templates", "boards", "channels"}


@slow
def test_the_doctor_does_not_take_a_token_that_is_none_for_a_login(existing):
    done = existing.run("contrail", "doctor", "--json", CONTRAIL_API_TOKEN="nonsense")
    broken = {link["link"]: link["mend"] for link in json.loads(done.stdout)["links"] if link["state"] == "broken"}
    assert (done.returncode, broken) == (1, {"login": "correct or unset CONTRAIL_API_TOKEN"})


@slow
def test_the_watcher_tells_the_failure(existing):
    told = wait_until(lambda: opened(existing), 60, "an alert")
    assert len(told) == 1
    assert "tried" in told[0]["title"]


@slow
def test_nothing_of_ours_is_in_the_components_errors(existing):
    for name in SERVERS:
        text = (existing.folder / f"{name}.out").read_text("utf-8", "replace")
        traced = [line for line in text.splitlines() if "observability/" in line and re.search("File |Error", line)]
        assert traced == [], (name, traced[:5])


@slow
def test_a_segfault_ends_its_task_and_is_told(existing):
    """Airflow 3.4 has a handler of its own for it, under which the process would go on for ever."""
    assert existing.play("crashes")[1] == "failed"
    told = wait_until(lambda: [one for one in opened(existing) if one["dag_id"] == "crashes"], 90, "its message")
    assert len(told) == 1
    assert "segmentation fault" in json.dumps(told[0]).lower()


@slow
def test_a_triggerer_that_is_stopped_properly_is_told(existing):
    """Airflow 3.4 forgets the heartbeat of one that was told to end."""
    existing.stop("triggerer")
    wait_until(
        lambda: [one for one in opened(existing) if one["title"].startswith("Triggerer is down")], 240, "a message"
    )
