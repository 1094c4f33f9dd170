"""An installation into Kibana keeps to its API, repeats safely and says what it did.

Against a stand-in of Kibana's recorded behaviour (see ``kibana_stand_in``), which draws nothing.
"""

from __future__ import annotations

import pytest
from kibana_stand_in import KibanaStandIn
from typer.testing import CliRunner

from dashboards.kibana import rules as rule_bodies
from dashboards.names import Names
from observability.cli.boards.changes import InstallError
from observability.cli.boards.kibana import Kibana, install, open_kibana
from observability.cli.dashboards import app
from observability.credentials import Credentials
from observability.settings import get_settings, load_settings


@pytest.fixture
def server():
    standing = KibanaStandIn()
    yield standing
    standing.close()


@pytest.fixture
def kibana(server):
    client = Kibana(Credentials(url=server.url))
    yield client
    client.close()


def test_a_first_installation_creates_everything(server, kibana):
    changes = install(kibana, Names())

    assert {change for change, _, _ in changes.lines} == {"created"}
    assert len(changes.lines) == len(server.objects) + len(server.connectors) + len(server.rules)
    assert len(server.rules) == 13
    assert len(server.connectors) == 2


def test_a_second_installation_changes_nothing(server, kibana):
    install(kibana, Names())
    server.writes.clear()

    changes = install(kibana, Names())

    assert {change for change, _, _ in changes.lines} == {"unchanged"}
    assert server.writes == []


def test_another_address_updates_the_data_views_and_nothing_else(kibana):
    install(kibana, Names())

    changes = install(kibana, Names(airflow_url="https://airflow.example"))

    assert [what for change, what, _ in changes.lines if change != "unchanged"] == [
        "index-pattern Contrail: events",
        "index-pattern Contrail: logs",
        "index-pattern Contrail: metrics",
    ]


def test_what_is_not_ours_stays(server, kibana):
    theirs = {"type": "dashboard", "id": "theirs", "attributes": {"title": "Theirs"}, "references": []}
    server.objects["dashboard", "theirs"] = theirs
    server.rules["00000000-0000-0000-0000-000000000000"] = {"name": "Theirs"}

    install(kibana, Names())

    assert server.objects["dashboard", "theirs"] == theirs
    assert server.rules["00000000-0000-0000-0000-000000000000"] == {"name": "Theirs"}


def test_a_rule_that_somebody_changed_is_set_right_and_stays_disabled(server, kibana):
    install(kibana, Names())
    rule = next(rule for rule in server.rules.values() if "task-failed" in rule["tags"])
    rule |= {"enabled": False, "schedule": {"interval": "1h"}}
    server.writes.clear()

    changes = install(kibana, Names())

    assert server.writes == [("PUT", "Contrail: A task failed for good")]
    assert changes.count("updated") == 1
    after = next(rule for rule in server.rules.values() if "task-failed" in rule["tags"])
    assert (after["enabled"], after["schedule"]) == (False, {"interval": "1m"})


def test_every_rule_tells_the_server_log_and_the_alert_index_when_it_starts_and_when_it_is_over():
    bodies = rule_bodies.rules(Names()).values()

    told = {(action["group"], action["id"]) for body in bodies for action in body["actions"]}
    assert told == {(group, one) for group in ("query matched", "recovered") for one in rule_bodies.CONNECTORS.values()}


def test_a_document_of_the_alert_index_names_the_rule_the_group_and_the_runbook():
    body = next(body for body in rule_bodies.rules(Names()).values() if "task-failed" in body["tags"])
    written = next(action for action in body["actions"] if "documents" in action["params"])["params"]["documents"]

    assert written == [
        {
            "rule": "task-failed",
            "group": "{{alert.actionGroup}}",
            "alert": "{{alert.id}}",
            "group_by": "dag_id",
            "value": "{{context.value}}",
            "severity": "error",
            "runbook": "docs/runbooks/task-failed.md",
            "title": "A task failed for good",
            "kibana_rule_id": "{{rule.id}}",
        }
    ]


def test_an_older_kibana_is_refused_by_its_number(kibana, server):
    server.version = "8.11.4"

    with pytest.raises(InstallError, match=r"Kibana is 8\.11\.4; the boards need 8\.12 or newer"):
        install(kibana, Names())
    assert server.objects == {}


def test_an_object_that_kibana_does_not_import_is_named(kibana, monkeypatch):
    from observability.cli.boards import kibana as module

    whole = module.saved_objects
    monkeypatch.setattr(module, "saved_objects", lambda names: [o for o in whole(names) if o["type"] != "search"])

    with pytest.raises(InstallError, match="dashboard contrail-run: missing_references"):
        install(kibana, Names())


def test_a_kibana_that_is_not_there_is_said_with_the_knob():
    client = Kibana(Credentials(url="http://127.0.0.1:9"))

    with pytest.raises(InstallError, match=r"is \[contrail\] kibana_url right"):
        install(client, Names())
    client.close()


def test_without_an_address_the_knob_is_named(tmp_path):
    settings = load_settings(environ={"CONTRAIL_CONTRAIL__HOME": str(tmp_path)})

    with pytest.raises(InstallError, match=r"set \[contrail\] kibana_url"):
        open_kibana(settings)


def test_the_command_says_what_changed_and_then_that_nothing_did(server, monkeypatch, tmp_path):
    monkeypatch.setenv("CONTRAIL_CONTRAIL__HOME", str(tmp_path))
    monkeypatch.setenv("CONTRAIL_CONTRAIL__KIBANA_URL", server.url)
    get_settings.cache_clear()

    first = CliRunner().invoke(app, ["install", "kibana"])
    second = CliRunner().invoke(app, ["install", "kibana"])
    get_settings.cache_clear()

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "created   rule Contrail: A task failed for good" in first.output.splitlines()
    installed = len(server.objects) + len(server.connectors) + len(server.rules)
    assert second.output == f"{installed} unchanged\n"


def test_the_command_fails_with_one_line_where_there_is_no_kibana(monkeypatch, tmp_path):
    monkeypatch.setenv("CONTRAIL_CONTRAIL__HOME", str(tmp_path))
    get_settings.cache_clear()

    answer = CliRunner().invoke(app, ["install", "kibana"])
    get_settings.cache_clear()

    assert answer.exit_code == 1
    assert answer.output.startswith("dashboards install: no Kibana is named")
