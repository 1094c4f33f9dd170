"""Generated files are committed, and a name that goes from the catalogue is missed at once."""

from __future__ import annotations

import ast
from pathlib import Path

import airflow
import msgspec
import pytest
import yaml
from packaging.version import Version
from typer.testing import CliRunner

from observability import catalog
from observability.cli.dashboards import app
from observability.dashboards.boards import BOARDS
from observability.dashboards.build import ROOT, drift, generated
from observability.dashboards.cloudwatch.alarms import BANDS
from observability.dashboards.usage import events_used, metrics_used, unknown_names

PAGES = ROOT / "observability/airflow/ui/pages"
REGISTRY = Path(airflow.__file__).parent / "_shared/observability/metrics/metrics_template.yaml"


def is_sent(spec):
    """True if the Airflow that is installed is new enough for a metric; the matrix asks the newer ones."""
    return Version(spec.since or "0").release <= Version(airflow.__version__).release


def test_the_generated_files_are_those_of_the_catalogue():
    assert drift() == [], "run `make generate`"


def test_a_second_build_writes_the_same():
    assert generated() == generated()


def test_boards_rules_and_alarms_name_nothing_that_the_catalogue_lacks():
    assert unknown_names() == []


def test_every_metric_of_airflow_that_we_use_is_in_the_registry_of_its_wheel_with_the_same_type():
    registry = {entry["name"]: entry["type"] for entry in yaml.safe_load(REGISTRY.read_text("utf-8"))["metrics"]}

    ours = {name: spec.type for name, spec in catalog.AIRFLOW_METRICS.items() if is_sent(spec)}
    assert {name: registry.get(name) for name in ours} == ours


def test_every_metric_of_airflow_in_the_catalogue_is_on_a_board_or_in_a_rule():
    drawn = set(metrics_used()) | {rule.metric for rule in catalog.MONITORS.values()}

    assert sorted(set(catalog.AIRFLOW_METRICS) - drawn) == []


def test_every_kind_of_event_that_may_become_an_incident_is_on_a_board():
    alerting = {action for action, spec in catalog.EVENTS.items() if spec.alert}

    assert sorted(alerting - set(events_used())) == []


@pytest.mark.parametrize("action", catalog.EVENTS)
def test_every_kind_of_event_is_shown_by_a_panel_a_page_or_a_rule(action):
    pages = {
        node.value
        for path in PAGES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
    }
    rules = {rule.event for rule in catalog.MONITORS.values()}

    assert action in {*events_used(), *rules, *pages}, f"{action} would be emitted and seen by nobody"


def test_every_kind_of_event_that_may_become_an_incident_has_a_rule_or_a_reason_to_have_none():
    alerting = {action for action, spec in catalog.EVENTS.items() if spec.alert}
    ruled = {rule.event for rule in catalog.MONITORS.values()}

    assert sorted(alerting - ruled - set(catalog.UNRULED)) == []
    assert sorted(set(catalog.UNRULED) & ruled) == [], "an exception that nothing needs any more"


def test_every_kind_of_event_feeds_a_metric():
    assert [action for action, spec in catalog.EVENTS.items() if not spec.metrics] == []


@pytest.mark.parametrize("old", ["contrail.relay.rss_bytes", "pool.open_slots"])
def test_a_renamed_metric_is_named_with_its_panel_and_what_may_be_meant(monkeypatch, old):
    table = "METRICS" if old in catalog.METRICS else "AIRFLOW_METRICS"
    renamed = {f"{old}2" if name == old else name: spec for name, spec in getattr(catalog, table).items()}
    monkeypatch.setattr(catalog, table, renamed)

    found = unknown_names()

    assert found
    assert all(f"metric {old!r} is not in the catalogue; did you mean '{old}2'?" in line for line in found)
    with pytest.raises(LookupError, match="did you mean"):
        generated()
    answer = CliRunner().invoke(app, ["check"])
    assert answer.exit_code == 1
    assert f"did you mean '{old}2'" in answer.output


def test_a_renamed_event_is_named_with_every_panel_that_counts_it(monkeypatch):
    renamed = {"task.broke" if name == "task.failed" else name: spec for name, spec in catalog.EVENTS.items()}
    monkeypatch.setattr(catalog, "EVENTS", renamed)

    found = " ".join(unknown_names())

    assert "operations overview / Failed attempts by task" in found
    assert "rule task-failed" in found


def test_a_rule_on_a_metric_that_nobody_sends_is_found(monkeypatch):
    rule = msgspec.structs.replace(catalog.MONITORS["relay-lag"], metric="contrail.relay.lag")
    monkeypatch.setitem(catalog.MONITORS, "relay-lag", rule)

    assert any("rule relay-lag: metric 'contrail.relay.lag'" in line for line in unknown_names())


def test_a_metric_without_its_dimensions_in_cloudwatch_is_found(monkeypatch):
    monkeypatch.setitem(catalog.DIMENSIONS, "contrail.task.outcomes", (("env",),))

    assert any("CloudWatch does not get contrail.task.outcomes by env, state" in line for line in unknown_names())


def test_panels_have_keys_of_their_own_on_each_board():
    keys = [(board.key, panel.key) for board in BOARDS for panel in board.panels]

    assert len(keys) == len(set(keys))


def test_every_runbook_that_a_rule_or_an_alarm_names_is_there():
    named = {rule.runbook for rule in catalog.MONITORS.values()} | {band.runbook for band in BANDS.values()}

    assert sorted(name for name in named if not (ROOT / f"docs/runbooks/{name}.md").is_file()) == []
