"""The fact in a document: what it is about, how sure it is, and the key by which several sources mean the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from observability import catalog
from observability.events import AuditRecorded, ChannelBroken, Identity, TaskFailed
from observability.watch.facts import (
    CERTAIN,
    GUESSED,
    OWN_PROVIDERS,
    SEEN,
    Fact,
    from_document,
    is_of_a_watcher,
    late_assets,
    merged,
    observed,
)

WHEN = "2026-01-09T12:00:00.000Z"
NOW = 1_767_960_000.0
FAILED = {"event.action": "task.failed", "@timestamp": WHEN, "event.provider": "callback", "airflow.cause": "oom",
          "airflow.dag_id": "load", "airflow.run_id": "r1", "airflow.task_id": "t",
          "airflow.try_number": 2}  # fmt: skip


def fact(**more):
    given = {"kind": "task", "status": "firing", "time": NOW, "dag_id": "load", "run_id": "r1", "task_id": "t", **more}
    return Fact(**given)


def read(**more):
    document = {**FAILED, **{name.replace("__", "."): value for name, value in more.items()}}
    return from_document({name: value for name, value in document.items() if value is not None})


def test_a_fact_with_all_that_its_document_says():
    found = read(
        airflow__map_index=3, airflow__iteration="1", airflow__loop_id="l", airflow__region_id="g", airflow__ti_id="i",
        event__reason="it died", message="more", incident__severity="critical", event__id="e1", airflow__owner="ann",
        airflow__tags=("a", "b"), airflow__operator="X", airflow__run_type="manual", service__environment="prod",
        airflow__team="core", trace__id="t1", error__message="no room", event__duration=7, airflow__pool="p",
    )  # fmt: skip
    assert found == Fact(
        kind="task", status="firing", time=NOW, cause="oom", reason="it died", severity="critical", certainty=SEEN,
        provider="callback", dag_id="load", run_id="r1", task_id="t", map_index=3, try_number=2, iteration="1",
        loop_id="l", region_id="g", ti_id="i", evidence={"error.message": "no room", "event.duration": 7},
        about={
            "owner": "ann", "tags": ["a", "b"], "operator": "X", "run_type": "manual", "env": "prod", "team": "core",
            "trace_id": "t1",
        },
        event_id="e1",
    )  # fmt: skip
    assert found.event is None


def test_a_fact_of_a_document_that_says_the_least():
    found = read(event__provider=None, airflow__cause=None)
    assert (found.map_index, found.provider, found.reason, found.event_id) == (-1, "journal", "", "")
    assert (found.cause, found.certainty) == (catalog.INCIDENT_KINDS["task"].cause, GUESSED)
    assert (found.evidence, found.about, found.severity) == ({}, {}, catalog.EVENTS["task.failed"].alert)


@pytest.mark.parametrize(
    ("document", "reason"),
    [({"event.reason": "a", "message": "b"}, "a"), ({"message": "b"}, "b"), ({"event.reason": "a"}, "a"), ({}, "")],
)
def test_the_reason_is_the_events_own_else_its_message(document, reason):
    assert from_document({**FAILED, **document}).reason == reason


@pytest.mark.parametrize(
    ("document", "certainty"),
    [({"error.type": "E"}, CERTAIN), ({}, SEEN), ({"airflow.cause": None}, GUESSED),
     ({"error.type": "E", "airflow.cause": None}, CERTAIN)],
)  # fmt: skip
def test_an_exception_is_surer_than_last_words_and_they_than_a_bare_state(document, certainty):
    kept = {name: value for name, value in {**FAILED, **document}.items() if value is not None}
    assert from_document(kept).certainty == certainty
    assert GUESSED < SEEN < CERTAIN


def test_the_cause_of_a_run_is_a_guess():
    ended = {**FAILED, "event.action": "dag_run.failed"}
    assert from_document(ended).certainty == GUESSED
    assert from_document({**ended, "error.type": "E"}).certainty == CERTAIN


@pytest.mark.parametrize(
    ("severity", "kept"), [("info", "info"), ("warning", "warning"), ("fatal", None), (None, None), (5, None)]
)
def test_a_severity_that_is_none_is_that_of_the_event(severity, kept):
    assert read(incident__severity=severity).severity == (kept or catalog.EVENTS["task.failed"].alert)


def test_a_cause_that_is_none_of_ours_is_that_of_the_kind():
    assert read(airflow__cause="gremlins").cause == catalog.INCIDENT_KINDS["task"].cause


@pytest.mark.parametrize(
    ("cause", "provider", "status"),
    [
        ("lost_heartbeat", "callback", "suspected"),
        ("lost_heartbeat", "relay", "suspected"),
        ("oom", "callback", "firing"),
    ],
)
def test_a_lost_heartbeat_is_a_suspicion_until_airflow_says_that_it_is_final(cause, provider, status):
    assert read(airflow__cause=cause, event__provider=provider).status == status


def test_a_lost_heartbeat_that_a_watcher_found_is_final():
    found = TaskFailed(identity=Identity(dag_id="load", task_id="t"), cause="lost_heartbeat", reason="x",
                       provider="reconciler")  # fmt: skip
    assert observed(found).status == "firing"


@pytest.mark.parametrize("provider", sorted(OWN_PROVIDERS))
def test_what_a_watcher_found_is_not_taken_twice(provider):
    assert read(event__provider=provider) is None
    assert read(event__provider=f"relay+{provider}") is None
    assert is_of_a_watcher({"event.provider": provider})


@pytest.mark.parametrize("action", ["incident.opened", "notification.sent"])
def test_what_a_watcher_decided_is_not_taken_at_all(action):
    assert is_of_a_watcher({"event.action": action})
    assert read(event__action=action) is None


def test_what_others_saw_is_of_no_watcher():
    assert not is_of_a_watcher(FAILED)
    assert not is_of_a_watcher({})


@pytest.mark.parametrize("action", ["no.such", "", None])
def test_what_says_nothing_of_an_incident_is_of_no_concern(action):
    assert read(event__action=action) is None


def test_an_event_of_a_source_is_a_fact_with_what_the_source_adds():
    event = ChannelBroken(channel="hook", reason="503")
    bare = observed(event)
    assert (bare.kind, bare.subject, bare.reason, bare.event_id, bare.event) == ("delivery", "hook", "503", "", event)
    assert (bare.evidence, bare.about) == ({}, {})
    more = observed(event, time=5.5, certainty=CERTAIN, evidence={"a": 1}, about={"env": "x"})
    assert (more.time, more.certainty, more.evidence, more.about) == (5.5, CERTAIN, {"a": 1}, {"env": "x"})
    assert observed(event, time=0.0, certainty=GUESSED).time == 0.0


def test_an_event_that_says_nothing_of_an_incident_is_no_fact():
    with pytest.raises(ValueError, match=r"audit\.recorded says nothing of an incident"):
        observed(AuditRecorded(audit_event="trigger"))


LOOP = {"iteration": "1", "loop_id": "l", "ti_id": "i"}


@pytest.mark.parametrize(
    "other",
    [{"dag_id": "x"}, {"run_id": "x"}, {"task_id": "x"}, {"map_index": 0}, {"try_number": 1}, {"subject": "x"},
     {"kind": "run"}, {"dag_id": None}, LOOP],
    ids="-".join,
)  # fmt: skip
def test_facts_about_different_things_have_different_keys(other):
    assert fact(**other).key != fact().key
    assert len(fact(**other).key) == 32


@pytest.mark.parametrize("same", [{"time": 1.0}, {"status": "suspected"}, {"reason": "x"}, {"region_id": "g"},
                                  {"evidence": {"airflow.partition_key": "p"}}], ids="-".join)  # fmt: skip
def test_facts_about_one_thing_have_one_key(same):
    assert fact(**same).key == fact().key


def test_the_keys_of_facts_stay_from_version_to_version():
    assert fact().key == "b1f5fd302cab6057dacee1a4423aa655"
    assert (
        fact(kind="deadline", subject="soon", evidence={"airflow.partition_key": "p"}).key
        == "46c37c88346be2c5c6c3e1aec42b33da"
    )


def test_a_deadline_is_told_from_another_by_its_partition():
    keys = {
        fact(kind="deadline", evidence=evidence).key for evidence in ({}, *({"airflow.partition_key": p} for p in "ab"))
    }
    assert len(keys) == 3


@pytest.mark.parametrize(("kind", "one"), [("component", True), ("import", True), ("task", False), ("unknown", False)])
def test_what_is_known_by_its_subject_is_one_thing_wherever_it_is_seen(kind, one):
    assert (fact(kind=kind, subject="s").key == fact(kind=kind, subject="s", dag_id="x").key) is one


def test_a_fact_as_json_is_the_same_fact_without_its_event():
    event = ChannelBroken(channel="hook", reason="503")
    given = fact(evidence={"a": 1}, about={"b": 2}, event=event)
    assert "event" not in given.as_json()
    assert Fact(**given.as_json()) == given == replace(given, event=None)
    assert "ChannelBroken" not in repr(given)


@pytest.mark.parametrize(("map_index", "iteration", "member"), [(-1, None, "t"), (0, None, "t[0]")])
def test_a_member_is_named_as_the_incident_lists_it(map_index, iteration, member):
    assert fact(map_index=map_index, iteration=iteration).member == member
    assert fact().map_index == -1


@pytest.mark.parametrize(
    ("evidence", "assets"),
    [
        ({}, ()),
        ({"deadline.asset": "a"}, ("a",)),
        ({"deadline.parts": [{"asset": "b"}, {"dag": "x"}, {"asset": "a"}, {"asset": "b"}]}, ("b", "a")),
        ({"deadline.asset": "a", "deadline.parts": [{"asset": "b"}]}, ("a", "b")),
    ],
)
def test_the_assets_that_a_deadline_waits_for(evidence, assets):
    assert late_assets(evidence) == assets


@pytest.mark.parametrize(("known", "new", "cause"), [(2, 3, "new"), (3, 2, "known"), (2, 2, "known")])
def test_of_two_words_the_surer_one_has_the_cause_and_wins_in_evidence(known, new, cause):
    one = fact(cause="known", certainty=known, provider="relay", evidence={"a": "known", "b": 1}, about={"x": "known"})
    said = {"evidence": {"a": "new", "c": 2}, "about": {"x": "new", "y": 1}}
    two = fact(cause="new", certainty=new, provider="callback", time=NOW - 5, **said)
    both = merged(one, two)
    assert (both.cause, both.certainty, both.time, both.provider) == (cause, max(known, new), NOW - 5, "relay+callback")
    assert (both.evidence, both.about) == ({"a": cause, "b": 1, "c": 2}, {"x": cause, "y": 1})
    assert merged(two, one).time == NOW - 5


@pytest.mark.parametrize(
    ("known", "new", "stands"),
    [("firing", "suspected", "firing"), ("suspected", "firing", "firing"), ("suspected", "attempt", "attempt")],
)
def test_what_is_final_stays_final(known, new, stands):
    assert merged(fact(status=known), fact(status=new)).status == stands


@pytest.mark.parametrize(
    ("known", "new", "both"),
    [
        ("relay", "relay", "relay"),
        ("relay+callback", "callback", "relay+callback"),
        ("relay", "reconciler", "relay+reconciler"),
    ],
)
def test_who_said_so_is_named_once(known, new, both):
    assert merged(fact(provider=known), fact(provider=new)).provider == both


@pytest.mark.parametrize(("known", "new", "kept"), [("g", None, "g"), (None, "h", "h"), ("g", "h", "g")])
def test_a_region_is_kept_whoever_knows_it(known, new, kept):
    assert merged(fact(region_id=known), fact(region_id=new)).region_id == kept
    event = ChannelBroken(channel="hook", reason="503")
    assert merged(fact(), fact(event=event)).event is event
