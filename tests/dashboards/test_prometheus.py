"""Rules and dashboards as Prometheus' own tools see them: each query is parsed, each alert is played."""

import json
import re
import subprocess

import pytest
import yaml
from go_programs import go_program

from observability import catalog
from observability.dashboards.build import ROOT
from observability.dashboards.prometheus import grafana, rules
from observability.dashboards.prometheus.queries import matchers, name_of
from observability.dashboards.signals import metric_spec

RULES = ROOT / "dashboards" / "generated" / "prometheus" / "rules.yml"
GRAFANA = ROOT / "dashboards" / "generated" / "grafana"
NAMED = {key: spec for key, spec in catalog.MONITORS.items() if spec.metric is not None}
VARIABLES = {"$__interval": "5m", "$__range": "1h", "$env": ".*", "$dag_id": ".*", "$task_id": ".*"}


def promtool(*arguments):
    return subprocess.run(
        [go_program("promtool"), *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def played(place):
    """A unit test of promtool: the series of every monitor, firing (place 0) or not (1), and each alert then."""
    cases = []
    inputs = []
    for key, spec in NAMED.items():
        labels = {"env": "prod", **({spec.group_by: "it"} if spec.group_by else {}), **dict(spec.where)}
        series = name_of(spec.metric) + matchers(tuple((tag, (value,)) for tag, value in labels.items()))
        inputs.append({"series": series, "values": times_of(spec)[place]})
        kept = dict(spec.where) if spec.absent and metric_spec(spec.metric).type != "counter" else {}
        shown = {} if spec.absent else {tag: value for tag, value in labels.items() if tag in {"env", spec.group_by}}
        told = {"severity": spec.severity, "monitor": key, **shown, **kept}
        expected = [{"exp_labels": told, "exp_annotations": _annotations(key, spec)}] if place == 0 else []
        cases.append({"eval_time": "61m", "alertname": rules.alert_name(key), "exp_alerts": expected})
    return {"interval": "30s", "input_series": inputs, "alert_rule_test": cases}


def _annotations(key, spec):
    made = next(one for one in rules.rules() if one["alert"] == rules.alert_name(key))["annotations"]
    text = re.sub(r"\{\{ \$labels\.\w+ \}\}", "it", made["summary"])
    return {**made, "summary": text}


def times_of(spec):
    """Values every 30 s for 61 minutes: of a thing that is wrong, and of one that is not."""
    above = int(spec.above)
    if metric_spec(spec.metric).type == "counter":
        alive, first_event, standing = "0+1x122", f"_x120 {above + 1} {above + 1}", f"{above + 7}x122"
        return (standing, alive) if spec.absent else (first_event, standing)
    return ("1x20", "1x122") if spec.absent else (f"{above + 1}x122", f"{above}x122")


def test_every_monitor_with_a_metric_is_a_rule_and_the_others_are_none():
    assert [one["labels"]["monitor"] for one in rules.rules()] == list(NAMED)
    assert len(NAMED) == len(catalog.MONITORS)


def test_promtool_takes_the_rules():
    told = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert told.returncode == 0, told.stdout + told.stderr


def test_each_alert_fires_when_it_should_and_only_then(tmp_path):
    plan = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [played(0), played(1)]}
    path = tmp_path / "tests.yml"
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    told = promtool("test", "rules", str(path))
    assert told.returncode == 0, told.stdout + told.stderr


def test_promtool_parses_each_query_of_each_dashboard(tmp_path):
    found = {query for path in GRAFANA.glob("*.json") for query in grafana.queries(json.loads(path.read_text()))}
    assert len(found) > 30
    for variable, value in VARIABLES.items():
        found = {query.replace(variable, value) for query in found}
    assert not [query for query in found if "$" in query]
    group = {"name": "queries", "rules": [{"record": f"q{n}", "expr": one} for n, one in enumerate(sorted(found))]}
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [group]}))
    told = promtool("check", "rules", "--lint=none", str(path))
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("path", sorted(GRAFANA.glob("*.json")), ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_can_import(path):
    made = json.loads(path.read_text())
    assert made["uid"] == f"contrail-{path.stem}"
    assert len(made["uid"]) <= 40
    ids = [panel["id"] for panel in made["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in made["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells
    variables = {f"${one['name']}" for one in made["templating"]["list"]}
    for query in grafana.queries(made):
        assert set(re.findall(r"\$[a-z]\w*", query)) <= variables
