"""An installation into Kibana keeps to its API, repeats safely and says what it did.

Against a stand-in of Kibana's recorded behaviour (see ``kibana_stand_in``), which draws nothing.
"""

from __future__ import annotations

import copy
import json

import httpx
import pytest
from kibana_stand_in import KibanaStandIn
from local_server import LocalServer
from typer.testing import CliRunner

from observability import catalog
from observability.cli.dashboards import app, names_of
from observability.credentials import Credentials
from observability.dashboard_installer import kibana as module
from observability.dashboard_installer.changes import InstallError
from observability.dashboard_installer.kibana import Kibana, edited, install, open_kibana
from observability.dashboards.boards import BOARDS
from observability.dashboards.kibana import rules as rule_bodies
from observability.dashboards.kibana.objects import saved_objects
from observability.dashboards.names import Names
from observability.errors import SettingsError
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
    assert len(server.rules) == len(catalog.MONITORS)
    assert len(server.connectors) == 2


def test_a_second_installation_changes_nothing(server, kibana):
    install(kibana, Names())
    server.writes.clear()

    changes = install(kibana, Names())

    assert {change for change, _, _ in changes.lines} == {"unchanged"}
    assert server.writes == []


def test_another_address_updates_the_data_views_and_the_rules_and_nothing_else(kibana):
    install(kibana, Names())

    changes = install(kibana, Names(airflow_url="https://airflow.example"))

    updated = [what for change, what, _ in changes.lines if change != "unchanged"]
    assert [what for what in updated if not what.startswith("rule ")] == [
        "index-pattern Contrail: events",
        "index-pattern Contrail: logs",
        "index-pattern Contrail: audit",
        "index-pattern Contrail: metrics",
    ]
    assert len(updated) == 4 + len(catalog.MONITORS)  # a rule's alert links to the runbook on that Airflow


def test_what_is_not_ours_stays(server, kibana):
    theirs = {"type": "dashboard", "id": "theirs", "attributes": {"title": "Theirs"}, "references": []}
    server.objects["dashboard", "theirs"] = theirs
    server.rules["00000000-0000-0000-0000-000000000000"] = {"name": "Theirs"}

    install(kibana, Names())

    assert server.objects["dashboard", "theirs"] == theirs
    assert server.rules["00000000-0000-0000-0000-000000000000"] == {"name": "Theirs"}


def test_a_rule_that_somebody_changed_is_named_and_left_and_set_right_on_demand(server, kibana):
    install(kibana, Names())
    rule = next(rule for rule in server.rules.values() if "task-failed" in rule["tags"])
    rule |= {"enabled": False, "schedule": {"interval": "1h"}}
    server.writes.clear()

    changes = install(kibana, Names())

    assert server.writes == []
    assert changes.count("edited") == 1
    assert edited(kibana, Names()) == ["rule Contrail: A task failed for good"]

    changes = install(kibana, Names(), overwrite=True)

    assert changes.count("updated") == 1
    after = next(rule for rule in server.rules.values() if "task-failed" in rule["tags"])
    assert (after["enabled"], after["schedule"]) == (False, {"interval": "1m"})
    assert edited(kibana, Names()) == []


def test_an_older_version_of_ours_is_updated_and_beside_it_a_persons_work_stays(server, kibana, monkeypatch):
    newer = saved_objects(Names())
    older = copy.deepcopy(newer)
    for item in older:
        if item["type"] == "dashboard":
            item["attributes"]["description"] = "As it was."
    monkeypatch.setattr(module, "saved_objects", lambda _: older)
    install(kibana, Names())
    server.objects["dashboard", "contrail-run"]["attributes"]["title"] = "Mine"
    monkeypatch.setattr(module, "saved_objects", lambda _: newer)

    changes = install(kibana, Names())

    assert [what for change, what, _ in changes.lines if change == "edited"] == ["dashboard Contrail: run and task"]
    assert changes.count("updated") == len(BOARDS) - 1
    assert server.objects["dashboard", "contrail-run"]["attributes"]["title"] == "Mine"
    assert install(kibana, Names()).count("edited") == 1


class FailingOnce(Kibana):
    """A Kibana of which one call fails, before (``lost`` False) or after it was carried out."""

    def __init__(self, url, failing, *, lost):
        super().__init__(Credentials(url=url))
        self.calls, self.failing, self.lost = 0, failing, lost

    def ask(self, method, path, **given):
        self.calls += 1
        if self.calls != self.failing:
            return super().ask(method, path, **given)
        if self.lost:
            super().ask(method, path, **given)
        return httpx.Response(503, json={"message": "it failed once"})


def fails(kibana, names):
    """Tell whether an installation ends with the failure of that one call."""
    try:
        install(kibana, names)
    except InstallError as error:
        said = str(error)
    else:
        return False
    assert "it failed once" in said
    return True


@pytest.fixture
def few(monkeypatch):
    """Three rules and a board without links stand for all: each rule is a call to read it and one to write it."""
    every, whole = saved_objects, module.rules
    monkeypatch.setattr(module, "rules", lambda names: dict(list(whole(names).items())[:3]))

    def some(names):
        kept = [one for one in every(names) if one["type"] == "index-pattern" or "contrail-run" in one["id"]]
        views = [[to for to in one["references"] if to["type"] == "index-pattern"] for one in kept]
        return [{**one, "references": few} for one, few in zip(kept, views, strict=True)]

    monkeypatch.setattr(module, "saved_objects", some)


@pytest.mark.parametrize(
    ("lost", "space"),
    [
        (False, ""),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in ((True, ""), (False, "data"), (True, "data"))),
    ],
)
def test_whichever_call_of_a_first_installation_fails_the_next_one_finishes_it(few, lost, space):
    names, failing, failed = Names(space=space), 0, True
    while failed:
        failing += 1
        server = KibanaStandIn()
        kibana = FailingOnce(server.url, failing, lost=lost)
        failed = fails(kibana, names)
        kibana.failing = -1
        assert not install(kibana, names).count("edited"), failing
        last = install(kibana, names)
        assert {change for change, _, _ in last.lines} == {"unchanged"}, failing
        assert len(last.lines) == len(server.objects) + len(server.connectors) + len(server.rules), failing
        kibana.close()
        server.close()
    assert failing >= 14  # status, export, import, export, five things read and written, the record


@pytest.mark.parametrize("lost", [pytest.param(False, marks=pytest.mark.slow), True])
def test_whichever_call_of_an_upgrade_fails_a_persons_work_stays_and_the_next_one_finishes_it(few, lost):
    failing, failed = 0, True
    newer = Names(airflow_url="https://airflow.example")
    while failed:
        failing += 1
        server = KibanaStandIn()
        kibana = FailingOnce(server.url, -1, lost=lost)
        install(kibana, Names())
        server.objects["dashboard", "contrail-run"]["attributes"]["title"] = "Mine"
        kibana.calls, kibana.failing = 0, failing
        failed = fails(kibana, newer)
        kibana.failing = -1
        changes = install(kibana, newer)
        assert [what for change, what, _ in changes.lines if change == "edited"] == ["dashboard Contrail: run and task"]
        last = install(kibana, newer)
        assert (last.count("created"), last.count("updated")) == (0, 0), failing
        assert server.objects["dashboard", "contrail-run"]["attributes"]["title"] == "Mine"
        kibana.close()
        server.close()
    assert failing >= 12


def test_how_often_a_field_was_chosen_is_nobodys_edit(server, kibana):
    install(kibana, Names())
    view = server.objects["index-pattern", "contrail-logs"]["attributes"]
    fields = json.loads(view["fieldAttrs"])
    view["fieldAttrs"] = json.dumps({**fields, "level": {**fields["level"], "count": 7}, "etl.rows_in": {"count": 2}})

    assert {change for change, _, _ in install(kibana, Names()).lines} == {"unchanged"}


def test_every_rule_tells_the_server_log_and_the_alert_index_when_it_starts_and_when_it_is_over():
    bodies = rule_bodies.rules(Names()).values()

    told = {(action["group"], action["id"]) for body in bodies for action in body["actions"]}
    assert told == {(group, one) for group in ("query matched", "recovered") for one in rule_bodies.connectors(Names())}


def test_a_document_of_the_alert_index_names_the_rule_the_group_and_the_runbook():
    body = next(body for body in rule_bodies.rules(Names()).values() if "task-failed" in body["tags"])
    written = next(action for action in body["actions"] if "documents" in action["params"])["params"]["documents"]

    assert written == [
        {
            "rule": "task-failed",
            "group": "{{alert.actionGroup}}",
            "alert": "{{alert.id}}",
            "group_by": "dag_id",
            "value": "{{context.value}} events",
            "limit": "above 0 events",
            "severity": "error",
            "runbook": "http://127.0.0.1:8080/contrail/runbooks?page=task-failed",
            "title": "A task failed for good",
            "link": "{{{context.link}}}",
            "rule_url": "{{{rule.url}}}",
            "kibana_rule_id": "{{rule.id}}",
        }
    ]


def test_every_rule_says_which_thing_it_is_about_or_its_own_name():
    bodies = rule_bodies.rules(Names())
    for key, spec in catalog.MONITORS.items():
        body = next(body for body in bodies.values() if key in body["tags"])
        (document,) = next(a for a in body["actions"] if "documents" in a["params"])["params"]["documents"]
        grouped = body["params"]["groupBy"] == "top"
        assert document["alert"] == ("{{alert.id}}" if grouped else spec.title)
        assert grouped is not spec.absent, key


def test_a_value_has_the_unit_of_its_limit():
    bodies = rule_bodies.rules(Names())
    values = {
        body["tags"][1]: (document["value"], document["limit"])
        for body in bodies.values()
        for action in body["actions"]
        for document in action["params"].get("documents", [])
    }

    assert values["data-stale"] == ("{{#EvalMath}}round(context.value / 3600000, 1){{/EvalMath}} h", "above 48 h")
    assert values["relay-lag"] == ("{{#EvalMath}}round(context.value / 60000, 1){{/EvalMath}} min", "above 5 min")
    assert values["rows-rejected"] == ("{{context.value}} rows", "above 1000 rows")


def test_runbooks_are_addresses_where_the_setting_names_one(tmp_path):
    settings = load_settings(
        environ={
            "CONTRAIL_CORE__HOME": str(tmp_path),
            "CONTRAIL_CORE__RUNBOOK_URL": "https://books.example/run/",
        }
    )

    told = [
        document["runbook"]
        for body in rule_bodies.rules(names_of(settings)).values()
        for action in body["actions"]
        for document in action["params"].get("documents", [])
    ]
    assert "https://books.example/run/task-failed.md" in told
    assert all(one.startswith("https://books.example/run/") for one in told)


def test_two_spaces_have_ids_of_their_own_and_a_second_run_changes_nothing_in_either(server):
    for space in ("", "ops", "data-eng"):
        client = Kibana(Credentials(url=server.url), space=space)
        first = install(client, Names(space=space))
        second = install(client, Names(space=space))
        client.close()
        assert {change for change, _, _ in first.lines} == {"created"}
        assert {change for change, _, _ in second.lines} == {"unchanged"}

    assert len(server.rules) == 3 * len(catalog.MONITORS)


def first_column(panels):
    panel = next(one for one in panels if one["type"] == "lens")
    return next(
        iter(
            panel["embeddableConfig"]["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]["main"][
                "columns"
            ].values()
        )
    )


def with_filter(panels):
    first_column(panels)["filter"] = {"query": "airflow.dag_id: x", "language": "kuery"}


def without_a_key(panels):
    first_column(panels).pop("customLabel")


def one_panel_less(panels):
    panels.pop()


def empty_things(panels):
    panels[0]["embeddableConfig"]["timeRange"] = None
    panels[1]["embeddableConfig"]["savedVis"]["data"]["aggs"] = []
    panels[2]["version"] = "8.17.0"


@pytest.mark.parametrize(
    ("change", "becomes"),
    [(with_filter, "edited"), (without_a_key, "edited"), (one_panel_less, "edited"), (empty_things, "unchanged")],
)
def test_a_board_that_somebody_edited_is_named_and_one_that_kibana_rewrote_is_not(server, kibana, change, becomes):
    install(kibana, Names())
    stored = server.objects["dashboard", "contrail-dag"]
    panels = json.loads(stored["attributes"]["panelsJSON"])
    change(panels)
    stored["attributes"]["panelsJSON"] = json.dumps(panels)

    changes = install(kibana, Names())

    assert [change for change, what, _ in changes.lines if what == "dashboard Contrail: DAG"] == [becomes]
    assert edited(kibana, Names()) == (["dashboard Contrail: DAG"] if becomes == "edited" else [])
    install(kibana, Names(), overwrite=True)
    assert {change for change, _, _ in install(kibana, Names()).lines} == {"unchanged"}


def test_a_filter_that_somebody_added_to_a_rule_is_named_and_taken_away_on_demand(server, kibana):
    install(kibana, Names())
    rule = next(rule for rule in server.rules.values() if "task-failed" in rule["tags"])
    rule["params"]["searchConfiguration"]["filter"] = [{"query": {"match_phrase": {"airflow.dag_id": "x"}}}]

    assert install(kibana, Names()).count("edited") == 1
    changes = install(kibana, Names(), overwrite=True)

    assert [what for change, what, _ in changes.lines if change == "updated"] == [
        "rule Contrail: A task failed for good"
    ]


def test_an_older_kibana_is_refused_by_its_number(kibana, server):
    server.version = "8.11.4"

    with pytest.raises(InstallError, match=r"Kibana is 8\.11\.4; the boards need 8\.12 or newer"):
        install(kibana, Names())
    assert server.objects == {}


def test_an_object_that_kibana_does_not_import_is_named(kibana, monkeypatch):
    from observability.dashboard_installer import kibana as module

    whole = module.saved_objects
    monkeypatch.setattr(module, "saved_objects", lambda names: [o for o in whole(names) if o["type"] != "search"])

    with pytest.raises(InstallError, match="dashboard contrail-run: missing_references"):
        install(kibana, Names())


def test_a_kibana_that_is_not_there_is_said_with_the_option():
    client = Kibana(Credentials(url="http://127.0.0.1:9"))

    with pytest.raises(InstallError, match=r"is \[core\] kibana_url right"):
        install(client, Names())
    client.close()


def test_without_an_address_the_option_is_named(tmp_path):
    settings = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)})

    with pytest.raises(SettingsError, match=r"set \[core\] kibana_url"):
        open_kibana(settings)


def test_the_command_says_what_changed_and_then_that_nothing_did(server, monkeypatch, tmp_path):
    monkeypatch.setenv("CONTRAIL_CORE__HOME", str(tmp_path))
    monkeypatch.setenv("CONTRAIL_CORE__KIBANA_URL", server.url)
    get_settings.cache_clear()

    first = CliRunner().invoke(app, ["install", "kibana"])
    second = CliRunner().invoke(app, ["install", "kibana"])
    get_settings.cache_clear()

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "created   rule Contrail: A task failed for good" in first.output.splitlines()
    installed = len(server.objects) + len(server.connectors) + len(server.rules)
    assert second.output == f"{installed} unchanged\n"


def test_the_command_fails_with_one_line_where_there_is_no_kibana(monkeypatch, tmp_path):
    monkeypatch.setenv("CONTRAIL_CORE__HOME", str(tmp_path))
    get_settings.cache_clear()

    answer = CliRunner().invoke(app, ["install", "kibana"])
    get_settings.cache_clear()

    assert isinstance(answer.exception, SettingsError)
    assert str(answer.exception).startswith("no Kibana is named; set [core] kibana_url")


class Saying(LocalServer):
    """Answers everything with one body."""

    def __init__(self, body):
        self._body = body

    def serve(self, request):
        request.rfile.read(int(request.headers.get("content-length") or 0))
        request.send_response(200)
        request.send_header("content-length", str(len(self._body)))
        request.end_headers()
        request.wfile.write(self._body)


@pytest.mark.parametrize("ask", [install, edited])
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"7", b"<html>", b"[" * 5000, b"\xff\xfe", b'{"version":{"number":"9.4"}}']
)
def test_what_is_no_kibana_is_refused_in_words(ask, body):
    with Saying(body) as server:
        client = Kibana(Credentials(url=server.url))
        with pytest.raises(InstallError, match="Kibana"):
            ask(client, Names())
        client.close()
