"""Links of messages lead where people elsewhere can open them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from observability.doctor.link import Broken
from observability.doctor.notifications import _links
from observability.settings import load_settings
from observability.watch.incidents import Incident
from observability.watch.notify.messages import Links
from observability.watch.rules.config import parse_rules

RULES = "channels: {a: {type: %s}}\nreceivers: {r: {channels: [a]}}\nroutes: [{receiver: r}]\n"


def settings(monkeypatch, tmp_path, channel, **environ):
    rules = tmp_path / "alerts.yaml"
    rules.write_text(RULES % channel)
    monkeypatch.setenv("CONTRAIL_WATCH__RULES_FILE", str(rules))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize(
    "named",
    [{}, {"AIRFLOW__API__BASE_URL": "http://localhost:8080"}, {"CONTRAIL_CORE__PUBLIC_URL": "http://[::1]:80"}],
)
def test_the_doctor_says_that_people_elsewhere_would_be_sent_to_this_machine(monkeypatch, tmp_path, named):
    with pytest.raises(Broken, match="only this machine opens; people elsewhere read a"):
        _links(settings(monkeypatch, tmp_path, "slack, url: 'env:X'", **named))


def test_the_doctor_is_content_where_nobody_is_told_elsewhere_or_the_address_is_theirs(monkeypatch, tmp_path):
    assert _links(settings(monkeypatch, tmp_path, "file"))
    named = {"AIRFLOW__API__BASE_URL": "https://airflow.example.com/etl/"}
    assert _links(settings(monkeypatch, tmp_path, "slack, url: 'env:X'", **named)) == "https://airflow.example.com/etl"


@pytest.mark.parametrize(
    "text", ["a#b", "a?b", "a%2Fb", "a/b", "a b", "größe", "日本", "a&b=c", "a'b\"c", "a+b", "..", "a;b"]
)
def test_an_id_of_any_letters_stays_one_part_of_the_address(text):
    from urllib.parse import parse_qs, unquote, urlsplit

    one = Incident(
        id="i", key="k", state="open", kind="task", severity="error", cause="app", reason="", certainty=3,
        first_seen=0.0, last_seen=0.0, dag_id=text, run_id=text, task_id=text, map_index=3,
    )  # fmt: skip
    links = dict(Links(airflow="https://host/airflow", kibana="https://kibana").to(one))
    parts = [unquote(part) for part in urlsplit(links["Airflow"]).path.split("/")]
    assert parts == ["", "airflow", "dags", text, "runs", text, "tasks", text, "mapped", "3"]
    ours = urlsplit(links["Contrail"])
    assert [unquote(part) for part in ours.path.split("/")] == [
        "", "airflow", "contrail", "dags", text, "runs", text, "tasks", text,
    ]  # fmt: skip
    assert parse_qs(ours.query) == {"map_index": ["3"]}
    assert "#" not in links["Kibana"].partition("#")[2]


@pytest.mark.parametrize(("hours", "acts"), [("0", False), ("24", True)])
def test_a_message_has_links_to_act_by_where_their_life_is_longer_than_nothing(hours, acts):
    options = load_settings(environ={"CONTRAIL_WATCH__ACT_LINK_HOURS": hours})
    assert Links.of(options, parse_rules(RULES % "file", "rules")).acts is acts


@pytest.mark.parametrize(
    ("environ", "region", "group"),
    [
        ({}, "", "/airflow.task"),
        ({"CONTRAIL_STORE__BACKEND": "cloudwatch"}, "eu-west-1", "/airflow.task"),
        ({"CONTRAIL_RELAY__SINKS": "embedded,cloudwatch"}, "eu-west-1", "/airflow.task"),
    ],
)
def test_cloudwatch_is_linked_where_a_sink_or_the_store_is_there(environ, region, group):
    options = load_settings(environ={"CONTRAIL_CLOUDWATCH__REGION": "eu-west-1", **environ})
    found = Links.of(options, parse_rules(RULES % "file", "rules"))
    assert (found.cloudwatch_region, found.cloudwatch_group.endswith(group)) == (region, True)


def test_an_instance_is_linked_by_its_index_and_in_a_loop_by_its_region():
    links = Links(airflow="https://host")
    one = Incident(
        id="i", key="k", state="open", kind="task", severity="error", reason="r", certainty=3, first_seen=0.0,
        last_seen=0.0, cause="app", dag_id="d", run_id="r", task_id="t", map_index=0,
    )  # fmt: skip
    assert dict(links.to(one))["Airflow"] == "https://host/dags/d/runs/r/tasks/t/mapped/0"
    assert dict(links.to(one))["Contrail"] == "https://host/contrail/dags/d/runs/r/tasks/t?map_index=0"
    looped = replace(one, map_index=-1, iteration="2", region_id="x")
    assert dict(links.to(looped))["Airflow"] == "https://host/dags/d/runs/r/tasks/t?region_id=x&region_index=2"
    assert dict(links.to(looped))["Contrail"] == "https://host/contrail/dags/d/runs/r/tasks/t?iteration=2"
    of_a_run = replace(looped, task_id=None)
    assert dict(links.to(of_a_run))["Airflow"] == "https://host/dags/d/runs/r"
    assert dict(links.to(of_a_run))["Contrail"] == "https://host/contrail/dags/d/runs/r"
