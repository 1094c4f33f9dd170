"""The short form of `benchmarks everywhere`: findings of workers on hosts of their own reach every place."""

from __future__ import annotations

import pytest

from benchmarks import everywhere
from benchmarks.everywhere_findings import CONTROLS, FINDINGS
from benchmarks.everywhere_hosts import Missing
from benchmarks.figure import Options
from observability import catalog
from observability.watch.rules.config import CONDITIONS

pytestmark = pytest.mark.timeout(900)


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.elasticsearch
@pytest.mark.aws
def test_what_happens_on_one_host_is_known_in_every_store_page_board_rule_alarm_and_channel():
    try:
        figures = everywhere.run(Options(quick=True))
    except Missing as missing:
        pytest.skip(str(missing))
    assert [(figure.what, figure.notes.get("missing")) for figure in figures if not figure.met] == []


def test_every_kind_of_event_that_may_wake_somebody_is_made_to_happen_or_left_out_with_a_reason():
    left_out = {
        "rule.fired",  # Kibana itself tells it: tests/watch/test_kibana.py
        "canary.missing",  # takes rounds of minutes: make soak
    }
    waking = {action for action, spec in catalog.EVENTS.items() if spec.alert in {"error", "critical"}}
    assert sorted(waking - {one.action for one in FINDINGS} - left_out) == []


def test_every_condition_of_a_deadline_is_made_to_happen():
    rules = everywhere.rules()
    assert [condition for condition in CONDITIONS if f'"{condition}"' not in rules and condition != "asset"] == []


def test_findings_have_names_of_their_own_and_none_is_about_a_control():
    names = [one.name for one in FINDINGS]
    assert len(names) == len(set(names))
    assert {one.dag_id for one in FINDINGS if one.told}.isdisjoint(CONTROLS)
