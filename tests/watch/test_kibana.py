"""Lines that Kibana's rules write into their index become incidents, and never twice what the watcher knows."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from watch_office import failed

from observability import catalog
from observability.credentials import Credentials
from observability.dashboards.kibana.rules import rules
from observability.dashboards.names import Names
from observability.store.cluster import Cluster
from observability.watch.facts import Fact
from observability.watch.sources import kibana
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
    source.settle()


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


@pytest.fixture
def index(elasticsearch_url):
    """An index of this test's own, of which nothing is there yet."""
    cluster = Cluster(Credentials(url=elasticsearch_url))
    name = f"contrail-kibana-alerts-{uuid.uuid4().hex[:8]}"
    yield cluster, name
    cluster.send("DELETE", f"/{name}")
    cluster.close()


def source_of(index):
    cluster, name = index
    return KibanaSource(lambda: Cluster(Credentials(url=cluster.url)), name)


def write(index, *alerts):
    cluster, name = index
    for one in alerts:
        cluster.ask("POST", f"/{name}/_doc?refresh=true", one)


def take(source, office, *, now=None, stands=True):
    """A round in which the source is asked; one that does not stand is rolled back."""
    with suppress(ZeroDivisionError), office.ledger.transaction(lock=True) as connection:
        source.exchange(connection, office.engine, now or office.now)
        1 / stands  # the ledger goes away
    if stands:
        source.settle()


def later(seconds, about):
    stamp = datetime.fromtimestamp(NOW + seconds, timezone.utc).isoformat(timespec="milliseconds")
    return alert(about=about) | {"@timestamp": stamp.replace("+00:00", "Z")}


def dags_of(office):
    office.pass_time(60)
    return sorted(dag for _, dag, *_ in office.said())


@pytest.mark.elasticsearch
def test_documents_are_read_from_the_index_once_and_in_order(office, index):
    source = source_of(index)
    take(source, office, now=NOW - 60)
    source.read()  # there is no index yet
    write(index, alert(about="one"), alert(about="two"))
    source.read()
    source.read()
    take(source, office)
    assert dags_of(office) == ["one", "two"]


@pytest.mark.elasticsearch
def test_an_alert_that_is_written_after_a_later_one_was_read_is_told(office, index):
    """Kibana dates an alert by the start of its rule's run, and rules run beside each other."""
    source = source_of(index)
    take(source, office, now=NOW - 60)
    write(index, later(20, "quick"))
    source.read()
    take(source, office)
    write(index, later(5, "slow"), later(20, "of the same moment"))
    for _ in range(3):
        source.read()
        take(source, office)
    assert dags_of(office) == ["of the same moment", "quick", "slow"]


@pytest.mark.elasticsearch
def test_what_a_round_read_that_did_not_stand_is_told_by_the_next(office, index):
    source = source_of(index)
    take(source, office, now=NOW - 60)
    write(index, alert(about="one"))
    source.read()
    take(source, office, stands=False)
    write(index, alert(about="two"))
    source.read()
    take(source, office)
    assert dags_of(office) == ["one", "two"]


@pytest.mark.elasticsearch
def test_the_next_watcher_goes_on_where_the_one_before_it_ended(office, index):
    source = source_of(index)
    take(source, office, now=NOW - 60)
    write(index, later(5, "one"))
    source.read()
    take(source, office)
    office.pass_time(1200)
    successor = source_of(index)
    take(successor, office)
    write(index, later(3, "two"))
    successor.read()
    take(successor, office)
    assert dags_of(office) == ["one", "two"]


@pytest.mark.elasticsearch
def test_more_alerts_than_one_answer_holds_are_all_read(office, index, monkeypatch):
    monkeypatch.setattr(kibana, "_MOST", 3)
    source = source_of(index)
    take(source, office, now=NOW - 60)
    write(index, *[later(number, f"dag{number}") for number in range(8)])
    for _ in range(6):
        source.read()
        take(source, office)
    assert dags_of(office) == [f"dag{number}" for number in range(8)]


@pytest.mark.elasticsearch
def test_an_alert_of_a_clock_far_ahead_hides_none_of_those_after_it(office, index):
    source = source_of(index)
    take(source, office, now=NOW - 60)
    write(index, alert(about="ahead") | {"@timestamp": "9999-01-01T00:00:00.000Z"})
    source.read()
    take(source, office)
    stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    write(index, alert(about="now") | {"@timestamp": stamp})
    for _ in range(2):
        source.read()
    assert [one["alert"] for one in source._found] == ["now"]


@pytest.mark.elasticsearch
def test_documents_of_others_in_the_index_stop_nothing(office, index):
    source = source_of(index)
    take(source, office, now=NOW - 60)
    write(index, {"@timestamp": STAMP}, {"rule": "task-failed"}, {"@timestamp": STAMP, "rule": ["task-failed"]})
    write(index, alert(about="one"))
    source.read()
    take(source, office)
    assert dags_of(office) == ["one"]


def test_an_answer_of_another_shape_does_not_end_the_thread(monkeypatch):
    answers = [{"hits": None}, {}, [], {"hits": {"hits": [{}]}}, {"hits": {"hits": [{"_id": "1", "_source": alert()}]}}]

    def ask(*_):
        if len(answers) == 1:
            source.stop()
        return answers.pop(0)

    source = KibanaSource(lambda: SimpleNamespace(ask=ask, close=lambda: None), "i")
    source._place = kibana._Place(STAMP)
    monkeypatch.setattr(kibana, "_POLL_S", 0.0)
    source.run()
    assert source._found == [alert()]


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
