"""CeleryExecutor on PostgreSQL and Redis, two workers with a relay each, and one worker killed in the middle."""

import json
import os
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from cluster import ROOT, Cluster, missing_programs, wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.elasticsearch, pytest.mark.timeout(1800)]

LINES = 5
INSTANCES = int(os.environ.get("CONTRAIL_TOPOLOGY_INSTANCES", "16"))
PATIENCE = 240 + 3 * INSTANCES
"""Seconds that the storm may take on a machine that is busy with other things, too."""
STORM = f"""
import time
from pathlib import Path
from airflow.sdk import dag, task
from observability import get_logger

@dag(schedule=None, default_args={{"owner": "platform-oncall", "retries": 0}}, max_active_tasks=8)
def storm():
    @task
    def numbers():
        return list(range({INSTANCES}))

    @task
    def work(number):
        log = get_logger("storm")
        for line in range({LINES}):
            log.info("worked", number=number, line=line)
            time.sleep(0.3)
        while Path(HOLD).exists():
            time.sleep(0.1)

    work.expand(number=numbers())

storm()
"""
"""Work that does not end while the file of ``hold`` is there, so that a worker has some when it is killed."""
FINAL = {"success", "failed", "skipped", "upstream_failed"}


def hold_file(folder):
    """The file of a cluster's folder that keeps the work of the storm from its end."""
    return folder / "hold"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, postgresql_server, elasticsearch_url):
    if missing := missing_programs():
        pytest.skip(f"not installed: {', '.join(missing)}; apt-get install redis-server")
    folder = tmp_path_factory.mktemp("cluster")
    dags = folder / "dags"
    shutil.copytree(ROOT / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    (dags / "storm.py").write_text(STORM.replace("HOLD", repr(str(hold_file(folder)))))
    daily = dags / "flights_daily.py"  # only the day that is asked for
    daily.write_text(daily.read_text().replace('schedule="@daily"', "schedule=None"))
    cluster = Cluster(folder, postgresql_server.database, elasticsearch_url, dags)
    try:
        cluster.start_broker()
        cluster.set_up()
        for host in ("main", "a", "b"):
            cluster.start("relay", host)
        for service in ("api-server", "scheduler", "dag-processor", "watcher"):
            cluster.start(service)
        for host in ("a", "b"):
            cluster.start("worker", host, "--celery-hostname", f"worker-{host}@%h")
        cluster.log_in()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def storm(cluster):
    """The storm, with worker a killed when a quarter is done: its task instances at the end."""
    run_id = cluster.trigger("storm")

    def states():
        return Counter(instance["state"] for instance in cluster.task_instances("storm", run_id))

    wait_until(
        lambda: states()["success"] > INSTANCES / 4,
        PATIENCE,
        "a quarter of the work",
    )
    hold = hold_file(cluster.folder)
    hold.touch()
    wait_until(lambda: running_on(cluster, run_id, "a"), PATIENCE, "work on the worker that is lost")
    cluster.kill("worker", "a")
    hold.unlink()
    wait_until(lambda: set(states()) <= FINAL, PATIENCE, "the end of the run")
    return [instance for instance in cluster.task_instances("storm", run_id) if instance["task_id"] == "work"]


def running_on(cluster, run_id, host):
    """Task instances that run on a worker now, by the log files of its host that are still being written."""
    running = {i["map_index"] for i in cluster.task_instances("storm", run_id) if i["state"] == "running"}
    files = cluster.logs(host).glob("dag_id=storm/*/task_id=work/map_index=*/attempt=1.log")
    return {
        int(path.parent.name.removeprefix("map_index=")) for path in files if path.read_text().count('"worked"')
    } & running


@pytest.fixture(scope="module")
def written(cluster, storm):
    """Every line that the tasks wrote, by number and line, from the files of both hosts."""
    lines = Counter()
    for host in ("a", "b"):
        for path in cluster.logs(host).glob("dag_id=storm/*/task_id=work/*/*.log"):
            for text in path.read_text().splitlines():
                if '"worked"' in text and (line := json.loads(text))["event"] == "worked":
                    lines[line["number"], line["line"]] += 1
    return lines


def test_the_lost_worker_had_work_and_the_rest_finishes(storm):
    states = Counter(instance["state"] for instance in storm)
    assert sum(states.values()) == INSTANCES
    assert 1 <= states["failed"] <= 3
    assert states["success"] == INSTANCES - states["failed"]


def test_every_line_of_both_workers_is_stored_once(cluster, written):
    def found():
        return Counter(
            (line["number"], line["line"])
            for line in cluster.documents("airflow.task", airflow__dag_id="storm")
            if line.get("event") == "worked"
        )

    wait_until(lambda: found().total() >= written.total(), 60, "the arrival of every line")
    assert found() == written
    assert len(written) > INSTANCES * LINES - 3 * LINES


def test_every_outcome_is_stored_once(cluster, storm):
    def outcomes():
        events = cluster.documents("etl.event", airflow__dag_id="storm", airflow__task_id="work")
        return Counter(
            (event["airflow.map_index"], event["event.action"])
            for event in events
            if event["event.action"] in {"task.succeeded", "task.failed"}
        )

    expected = Counter(
        (instance["map_index"], "task.succeeded" if instance["state"] == "success" else "task.failed")
        for instance in storm
    )
    # whoever saw a death itself has half a minute to say so before the watcher does, and a look may need several rounds
    wait_until(lambda: outcomes().total() >= expected.total(), 150, "the arrival of every outcome")
    assert outcomes() == expected


def test_the_lost_tasks_are_alerted_once(cluster, storm):
    lost = {instance["map_index"] for instance in storm if instance["state"] == "failed"}
    path = cluster.home("main") / "alerts.jsonl"

    def told():
        lines = path.read_text().splitlines() if path.exists() else []
        return [message for message in map(json.loads, lines) if message.get("kind") == "opened"]

    wait_until(told, 60, "an alert")
    ledger = sa.create_engine(cluster.environment("main")["CONTRAIL_WATCH__LEDGER_URL"])

    def facts():
        asked = sa.text("select document from contrail_facts where status = 'firing'")
        with ledger.connect() as connection:
            rows = connection.execute(asked).scalars().all()
        documents = (json.loads(row) if isinstance(row, str) else row for row in rows)
        return Counter(one["map_index"] for one in documents if one.get("task_id") == "work")

    wait_until(lambda: facts().total() >= len(lost), 60, "the fact of every lost task")
    assert facts() == Counter(lost)
    ledger.dispose()
    assert len({message["dedup_key"] for message in told()}) == len(told())


def test_the_warehouse_on_postgresql_takes_a_day(cluster, storm):
    run_id = cluster.trigger("flights_daily", logical_date="2013-07-04T00:00:00Z")
    path = f"/dags/flights_daily/dagRuns/{run_id}"
    wait_until(lambda: cluster.get(path)["state"] in {"success", "failed"}, 240, "the end of the day")
    assert cluster.get(path)["state"] == "success"
    known = json.loads(cluster.environment("main")["AIRFLOW_CONN_WAREHOUSE"])
    url = sa.URL.create(
        "postgresql+psycopg2", known["login"], known["password"], known["host"], known["port"], known["schema"]
    )
    warehouse = sa.create_engine(url)
    with warehouse.connect() as connection:
        query = sa.text("select count(*) from flights where flight_date = '2013-07-04'")
        assert connection.scalar(query) == 737
    warehouse.dispose()
    assert "# Flights of 2013-07-04" in Path(cluster.folder / "reports" / "2013-07-04.md").read_text()


def test_the_relay_says_what_airflow_stands_on(cluster, storm):
    wanted = {
        ("contrail.database.up", ""), ("contrail.broker.up", ""), ("contrail.queue.length", "default"),
        ("contrail.database.connections", "idle"), ("contrail.component.cpu_ms", "worker"),
        *(("contrail.component.memory_bytes", name) for name in ("scheduler", "api-server", "dag-processor", "worker")),
        *(("contrail.component.processes", name) for name in ("relay", "watcher", "task")),
    }  # fmt: skip

    missing = set(wanted)

    def read():
        found = {
            (one["metric.name"], one.get("airflow.component", one.get("airflow.queue", one.get("airflow.state", ""))))
            for one in cluster.documents("airflow.statsd")
            if one["metric.value"] > 0 or one["metric.name"] == "contrail.queue.length"
        }
        missing.difference_update(found)
        return not missing

    with suppress(AssertionError):
        wait_until(read, 60)
    assert missing == set()
