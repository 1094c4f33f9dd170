"""The link "Runbook" of a message opens a page of the plugin."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from observability import catalog
from observability.airflow.ui.runbooks import names, runbook
from observability.watch.incidents import Incident
from observability.watch.notify.messages import Links

LINKS = Links(airflow="https://host/airflow")


def incident(kind, cause="app", **evidence):
    return Incident(
        id="i", key="k", state="open", kind=kind, severity="error", cause=cause, reason="", certainty=3,
        first_seen=0.0, last_seen=0.0, dag_id="d", evidence=evidence,
    )  # fmt: skip


@pytest.mark.parametrize("kind", catalog.INCIDENT_KINDS)
@pytest.mark.parametrize("cause", catalog.CAUSES)
def test_every_message_links_to_a_runbook_that_there_is(kind, cause):
    found = re.fullmatch(
        r"https://host/airflow/contrail/runbooks\?page=([a-z-]+)", LINKS.runbook(incident(kind, cause))
    )
    assert found is not None
    assert found[1] in names()


def test_a_runbook_of_a_rule_is_its_own_and_never_a_script():
    assert LINKS.runbook(incident("rule", **{"incident.runbook": "relay-lag"})).endswith("?page=relay-lag")
    assert LINKS.runbook(incident("rule", **{"incident.runbook": "https://wiki/x"})) == "https://wiki/x"
    for bad in ("javascript:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", 'https://x"onclick=', "https://x y"):
        address = LINKS.runbook(incident("rule", **{"incident.runbook": bad}))
        assert address.startswith("https://host/airflow/contrail/runbooks")


def test_every_runbook_is_shown_with_links_that_stay_on_the_pages():
    for name in names():
        title, body = runbook(name)
        assert title
        assert re.findall(r'href="(?!https?://|\?page=)', body) == []


@pytest.mark.parametrize("name", ["../security", "/etc/passwd", "no-such-page", "", "task-failed.md"])
def test_no_other_file_is_shown(name):
    assert runbook(name) is None


def test_the_wheel_carries_them():
    assert '"docs/runbooks" = "observability/airflow/ui/runbook_pages"' in Path("pyproject.toml").read_text("utf-8")
