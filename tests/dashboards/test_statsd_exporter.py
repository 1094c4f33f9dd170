"""The mapping for Prometheus, held to the catalogue and to what statsd_exporter takes."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from observability import catalog
from observability.dashboards import statsd_exporter


def test_the_committed_mapping_is_that_of_the_catalogue():
    committed = Path(__file__).parents[2] / "config" / "statsd_exporter.yml"

    assert committed.read_text("utf-8") == statsd_exporter.mapping(), "run `make generate`"


def test_every_metric_but_a_set_is_mapped_under_a_name_that_prometheus_takes():
    mappings = yaml.safe_load(statsd_exporter.mapping())["mappings"]
    matched = {one["match"] for one in mappings}

    assert {name for name, spec in catalog.METRICS.items() if spec.type != "set"} <= matched
    assert not [one["name"] for one in mappings if not re.fullmatch(r"[a-z_][a-z0-9_]*", one["name"])]


def test_names_are_unique_and_say_their_unit():
    mappings = yaml.safe_load(statsd_exporter.mapping())["mappings"]
    names = [one["name"] for one in mappings]

    assert len(names) == len(set(names))
    assert all(one["name"].endswith("_total") for one in mappings if one["match_metric_type"] == "counter")
    assert all(one["name"].endswith("_seconds") for one in mappings if one["match_metric_type"] == "observer")
