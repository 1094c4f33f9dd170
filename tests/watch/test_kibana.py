"""Lines that Kibana's rules write into their index become incidents, and never twice what the watcher knows."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone

import pytest
from watch_office import failed

from observability import catalog
from observability.credentials import Credentials
from observability.dashboards.kibana.rules import rules
from observability.dashboards.names import Names
from observability.store.cluster import Cluster
from observability.watch.facts import Fact
from observability.watch.sources.kibana import KibanaSource, fact_of

NOW = 1_000_000.0
STAMP = datetime.fromtimestamp(NOW, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def alert(rule="task-failed", about="load", group="query matched"):
    """A document as the action of that rule writes it."""
    body = next(body for body in rules(Names()).values() if rule in body["tags"])
    document = next(one for one in body["actions"] if "documents" in one["params"])["params"]["documents"][0]
    filled = {"alert": about, "group": group, "value": "3", "kibana_rule_id": "r"}
    return {**document, **filled, "@timestamp": STAMP}


def tell(office, *alerts):
    source = KibanaSource(lambda: pytest.fail("no cluster here"), "contrail-kibana-alerts")
    source._found = list(alerts)
    with office.ledger.transaction(lock=True) as connection:
        source.exchange(connection, office.engine, office.now)


def test_an_alert_that_no_source_saw_becomes_an_incident_and_its_end_resolves_it(office):
    tell(office, alert())
    office.pass_time(60)
    tell(office, alert(group="recovered"))
    office.pass_time(60)

    assert [kind for kind, *_ in office.said()] == ["opened", "resolved"]
    (incident,) = office.incidents()
    assert (incident.kind, incident.dag_id, incident.severity) == ("rule", "load", "error")


def test_an_alert_about_what_is_known_is_not_told_again(office):
    office.see(failed())
    tell(office, alert())
    office.pass_time(60)

    assert office.said() == [("opened", "load", "t", "app")]


def test_an_alert_about_another_dag_than_the_known_one_is_told(office):
    office.see(failed())
    tell(office, alert(about="other"))
    office.pass_time(60)

    assert sorted(dag for _, dag, *_ in office.said()) == ["load", "other"]


def test_a_scheduler_that_is_known_to_be_silent_is_not_told_by_its_missing_metric(office):
    silent = Fact(kind="component", status="firing", time=NOW, subject="scheduler", severity="critical", certainty=3)
    office.see(silent)
    tell(office, alert("scheduler-heartbeat-absent", about="query matched"))
    office.pass_time(60)

    assert len(office.said()) == 1


def test_a_document_that_no_rule_of_ours_wrote_is_no_fact():
    assert fact_of({"@timestamp": STAMP, "rule": "theirs"}) is None


@pytest.mark.elasticsearch
def test_documents_are_read_from_the_index_once_and_in_order(office, elasticsearch_url):
    index = f"contrail-kibana-alerts-{uuid.uuid4().hex[:8]}"

    def connect():
        return Cluster(Credentials(url=elasticsearch_url))

    source = KibanaSource(connect, index)
    with office.ledger.transaction(lock=True) as connection:
        source.exchange(connection, office.engine, NOW - 60)
    source.read()  # there is no index yet
    cluster = connect()
    for about in ("one", "two"):
        cluster.ask("POST", f"/{index}/_doc?refresh=true", alert(about=about))
    cluster.close()

    source.read()
    source.read()
    with office.ledger.transaction(lock=True) as connection:
        source.exchange(connection, office.engine, office.now)
    office.pass_time(60)

    assert sorted(dag for _, dag, *_ in office.said()) == ["one", "two"]


SUBJECTS = {"component": "relay of a-host", "sink": "elasticsearch of a-host"}
"""Names of incidents whose kind has one in each place."""


@pytest.mark.parametrize("key", [key for key, rule in catalog.MONITORS.items() if rule.event and not rule.absent])
def test_what_a_source_has_reported_is_not_reported_again_by_the_rule_about_its_kind(office, key):
    rule = catalog.MONITORS[key]
    use = catalog.EVENTS[rule.event].incident
    kind = use.kind if use else "delivery" if key == "notification-failed" else "task"
    dag = "load" if rule.group_by == "dag_id" else None
    name = SUBJECTS.get(kind, "" if dag else "x")
    office.see(Fact(kind=kind, status="firing", time=NOW, dag_id=dag, run_id=dag and "r", subject=name, certainty=3))
    tell(office, alert(key, about=dag or name.partition(" of ")[0]))
    office.pass_time(60)

    assert [one.kind for one in office.incidents()] == [kind]
    assert len(office.said()) == 1


def test_a_relay_that_is_behind_because_its_sink_is_known_to_be_away_is_not_reported_again(office):
    office.see(Fact(kind="sink", status="firing", time=NOW, subject="elasticsearch of a-host", certainty=3))
    tell(office, alert("relay-lag", about="elasticsearch"))
    office.pass_time(60)
    assert len(office.said()) == 1
    tell(office, alert("relay-lag", about="cloudwatch"))
    office.pass_time(60)
    assert len(office.said()) == 2


def test_a_watcher_that_reads_that_no_watcher_is_at_work_says_nothing():
    assert fact_of(alert("watcher-silent", about="query matched")) is None
