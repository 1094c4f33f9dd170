"""A real Prometheus scrapes a relay, evaluates the generated rules, and answers every query of the Grafana boards."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from go_programs import go_program

from observability.dashboards.build import ROOT
from observability.dashboards.prometheus import grafana, rules
from observability.relay.relay import Relay
from observability.settings import load_settings

GENERATED = ROOT / "dashboards" / "generated"
VARIABLES = {"$__interval": "5m", "$__range": "1h", "$env": ".*", "$dag_id": ".*", "$task_id": ".*"}
CONFIGURATION = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}
rule_files: ["{rules}"]
scrape_configs:
  - {{job_name: contrail, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def relay(tmp_path):
    environ = {
        "CONTRAIL_CORE__HOME": str(tmp_path / "home"),
        "CONTRAIL_RELAY__LOG_FOLDER": str(tmp_path / "logs"),
        "CONTRAIL_RELAY__STATSD_PORT": "0",
        "CONTRAIL_RELAY__METRICS_PORT": str(free_port()),
    }
    running = Relay(load_settings(environ=environ))
    yield running
    running.stop()
    running.run()


@pytest.fixture
def ask(tmp_path, relay):
    """Ask the API of a Prometheus that scrapes the relay."""
    port, scraped = free_port(), relay.settings.relay.metrics_port
    path = tmp_path / "prometheus.yml"
    path.write_text(CONFIGURATION.format(rules=GENERATED / "prometheus" / "rules.yml", port=scraped))
    command = [
        go_program("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage", "--log.level=warn",
    ]  # fmt: skip
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def get(name, **parameters):
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{name}?{query}", timeout=30) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            return json.load(error)

    try:
        wait_for(lambda: is_up(get))
        yield get
    finally:
        server.terminate()
        server.wait(30)


def is_up(get):
    try:
        (target,) = get("targets")["data"]["activeTargets"]
    except (OSError, ValueError):
        return False
    assert not target["lastError"] or target["health"] != "up"
    return target["health"] == "up"


def wait_for(true, deadline_s=60):
    deadline = time.monotonic() + deadline_s
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def values(get, query):
    return {
        tuple(sorted(one["metric"].items())): float(one["value"][1])
        for one in get("query", query=query)["data"]["result"]
    }


def receive(relay, *lines):
    for one in lines:
        relay.statsd.take(one)
    relay.statsd.flush()


def test_prometheus_scrapes_a_relay_and_an_alert_fires_with_the_failure_that_it_is_about(relay, ask):
    succeeded = b"contrail.task.outcomes:4|c|#dag_id:flights,task_id:load,env:prod,state:success"
    receive(relay, succeeded, b"contrail.task.duration_ms:1500|ms|#dag_id:flights,task_id:load,env:prod")
    wait_for(lambda: list(values(ask, 'contrail_task_outcomes_total{dag_id="flights"}').values()) == [4])
    assert list(values(ask, "contrail_task_duration_seconds_sum").values()) == [1.5]

    receive(relay, b"contrail.task.outcomes:1|c|#dag_id:flights,task_id:load,env:prod,state:failed")
    firing = wait_for(lambda: [one for one in ask("alerts")["data"]["alerts"] if one["state"] == "firing"])
    told = {one["labels"]["monitor"]: one["labels"].get("dag_id") for one in firing}
    assert told["task-failed"] == "flights"

    alerts = {one["name"] for one in evaluated(ask) if one["type"] == "alerting"}
    assert alerts == {one["alert"] for one in rules.rules()}
    assert {one.get("lastError") for one in evaluated(ask)} == {None}


def evaluated(get):
    """Each rule, when Prometheus has evaluated it."""

    def whole():
        each = [one for group in get("rules")["data"]["groups"] for one in group["rules"]]
        return each if all(one["health"] != "unknown" for one in each) else None

    return wait_for(whole)


def test_every_query_of_every_grafana_board_is_answered(relay, ask):
    found = {
        query
        for path in (GENERATED / "grafana").glob("*.json")
        for query in grafana.queries(json.loads(path.read_text()))
    }
    for variable, value in VARIABLES.items():
        found = {query.replace(variable, value) for query in found}
    answers = {query: ask("query", query=query) for query in found}
    assert {query: one for query, one in answers.items() if one["status"] != "success"} == {}
    assert len(answers) > 30
