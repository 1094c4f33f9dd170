"""An incident is held back until a moment, for a reason: a silence, the wait of its route, what explains it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from sqlalchemy import insert

from observability.watch.incidents import Incident
from observability.watch.inhibition import explanations_first, held
from observability.watch.ledger import records, schema
from observability.watch.rules.config import parse_rules

NOW = 1_000_000.0  # 1970-01-12T13:46:40Z
RULES = """
channels: {file: {type: file}, log: {type: log}}
receivers: {everybody: {channels: [file]}, both: {channels: [file, log]}, other: {channels: [log]}}
routes:
  - {receiver: everybody, match: {dag: waits}, wait: 5m}
  - {receiver: other, match: {dag: others}}
  - {receiver: both, match: {kind: deadline, tag: wide}}
  - {receiver: everybody}
"""
NUMBERS = itertools.count()


@pytest.fixture
def connection(ledger):
    with ledger.transaction(lock=True) as connection:
        yield connection


def incident(kind="task", **more):
    given = {
        "dag_id": "load",
        "run_id": "r1",
        "task_id": "t",
        "reason": "no",
        "first_seen": NOW,
        "state": "open",
        **more,
    }
    given = {"key": f"{kind}:{next(NUMBERS)}", "about": {}, "evidence": {}, **given}
    return Incident(id=f"{next(NUMBERS):016}", kind=kind, severity="error", cause="app", certainty=3, last_seen=NOW,
                    **given)  # fmt: skip


def saved(connection, *args, **more):
    one = incident(*args, **{"notified": "opened", **more})
    records.save_incident(connection, one)
    return one


def held_back(connection, one, now=NOW, more=""):
    return held(connection, parse_rules(RULES + more, "rules"), one, now)


def explained(one):
    return (NOW + 5, f"explained by incident {one.id}: no")


def test_an_ordinary_failure_is_said_at_once(connection):
    assert held_back(connection, incident()) is None


@pytest.mark.parametrize(
    ("now", "about", "until"),
    [
        (NOW, {}, NOW + 300),
        (NOW + 299.9, {}, NOW + 300),
        (NOW + 300, {}, None),
        (NOW, {"notified": "early_warning"}, None),
        (NOW, {"dag_id": "load", "first_seen": NOW + 50}, None),  # a host whose clock is ahead
        (NOW, {"state": "suspected"}, None),
    ],
)
def test_the_wait_of_its_route_is_counted_from_its_begin_and_until_people_know_of_it(connection, now, about, until):
    found = held_back(connection, incident(**{"dag_id": "waits", **about}), now)
    assert found == (None if until is None else (until, "its route waits whether it ends by itself"))


def silence(connection, starts, ends, **matchers):
    row = {"kind": "silence", "matchers": {"dag": ["load"], **matchers}, "starts": starts, "ends": ends, "who": "ann"}
    connection.execute(insert(schema.silences).values(**row, comment="known"))


@pytest.mark.parametrize(
    ("starts", "ends", "until"),
    [
        (NOW, NOW + 600, NOW + 60),  # it is asked again: a person may have ended it
        (NOW - 9, NOW + 60, NOW + 60),
        (NOW - 9, NOW + 10, NOW + 10),
        (NOW - 9, NOW, None),
        (NOW + 0.1, NOW + 600, None),
    ],
)
def test_a_silence_holds_from_its_begin_to_its_end(connection, starts, ends, until):
    silence(connection, starts, ends)
    assert held_back(connection, incident()) == (None if until is None else (until, "silenced by ann: known"))


@pytest.mark.parametrize(
    ("matchers", "about", "is_held"),
    [
        ({}, {}, True),
        ({}, {"dag_id": "other"}, False),
        ({}, {"state": "suspected"}, False),
        ({}, {"notified": "opened"}, True),
        ({"error": ["another"]}, {}, False),
        ({"error": ["another"]}, {"dag_id": "other"}, False),
    ],
)
def test_a_silence_holds_what_it_matches(connection, matchers, about, is_held):
    silence(connection, NOW, NOW + 9, **matchers)
    assert (held_back(connection, incident(**about)) is not None) is is_held


@pytest.mark.parametrize(
    ("starts", "ends", "until"),
    [
        ("13:46:40", "14:00:00", NOW + 60),
        ("13:46:41", "14:00:00", None),
        ("13:00:00", "13:47:10", NOW + 30),
        ("13:00:00", "13:46:40", None),
        (None, "13:46:50", NOW + 10),
        ("13:00:00", None, NOW + 60),
        (None, None, NOW + 60),
        (None, "13:46:40", None),
        ("14:00:00", None, None),
    ],
)
@pytest.mark.parametrize("dag", ["load", "other"])
def test_a_silence_of_the_rules_holds_what_it_matches_from_its_begin_to_its_end(connection, starts, ends, until, dag):
    times = {"starts": starts, "ends": ends}
    given = ", ".join(f"{name}: 1970-01-12T{at}Z" for name, at in times.items() if at)
    window = f"silences: [{{match: {{dag: load}}, comment: works, {given}}}]"
    expected = None if until is None or dag != "load" else (until, "silenced by the rules: works")
    assert held_back(connection, incident(dag_id=dag), more=window) == expected


def test_a_run_that_has_not_begun_is_explained_by_a_silent_scheduler_and_by_no_other_component(connection):
    late = incident("overdue", run_id=None)
    saved(connection, "component", subject="triggerer")
    assert held_back(connection, late) is None
    silent = saved(connection, "component", subject="scheduler", key="component:scheduler")
    assert held_back(connection, late) == explained(silent)
    assert held_back(connection, incident("run")) is None


@pytest.mark.parametrize(("ago", "is_held"), [(0, True), (29.9, True), (30, False), (None, False)])
def test_a_scheduler_that_is_back_has_half_a_minute_to_begin_what_was_due(connection, ago, is_held):
    over = {"state": "dismissed"} if ago is None else {"state": "resolved", "resolved_at": NOW - ago}
    silent = saved(connection, "component", subject="scheduler", key="component:scheduler", **over)
    assert held_back(connection, incident("overdue", run_id=None)) == (explained(silent) if is_held else None)


@pytest.mark.parametrize(("notified", "is_held"), [(2, False), (3, True), (4, True)])
@pytest.mark.parametrize("silent", [True, False])
def test_of_what_waits_for_a_silent_component_three_are_named(connection, notified, is_held, silent):
    for _ in range(notified):
        saved(connection, "stuck")
    saved(connection, "stuck", notified="")
    names = ("triggerer", "scheduler") if silent else ()
    components = [saved(connection, "component", subject=name, first_seen=NOW + at) for at, name in enumerate(names)]
    found = held_back(connection, incident("stuck"))
    assert found == (explained(components[0]) if is_held and silent else None)


@pytest.mark.parametrize(
    ("broken", "file", "is_held"),
    [("load.py", "load.py", True), ("/dags/load.py", "load.py", True), ("reload.py", "load.py", False),
     ("other.py", "load.py", False)],
)  # fmt: skip
def test_a_dag_that_is_gone_is_explained_by_its_file_that_does_not_parse(connection, broken, file, is_held):
    one = saved(connection, "import", subject=broken)
    gone = incident("dag", evidence={"file": file})
    assert held_back(connection, gone) == (explained(one) if is_held else None)
    assert held_back(connection, incident(evidence={"file": file})) is None


KINDS = {"task": True, "run": True, "stuck": True, "overdue": True, "import": True, "dag": True, "paused": True,
         "component": True, "deadline": False, "data": False, "sink": False}  # fmt: skip


@pytest.mark.parametrize(("kind", "explains"), KINDS.items())
def test_a_missed_deadline_of_a_dag_is_explained_by_what_is_wrong_with_it(connection, kind, explains):
    root = saved(connection, kind)
    late = incident("deadline", run_id=None)
    assert held_back(connection, late) == (explained(root) if explains else None)
    assert held_back(connection, replace(late, dag_id="other")) is None


@pytest.mark.parametrize("root", [{"notified": ""}, {"state": "resolved"}, {"state": "dismissed"}])
def test_what_people_do_not_know_of_or_is_over_explains_no_deadline(connection, root):
    saved(connection, "run", key="run:load:r1", **root)
    assert held_back(connection, incident("deadline")) is None
    assert held_back(connection, incident("deadline", run_id=None)) is None


def test_a_missed_deadline_of_a_run_is_explained_by_that_run_and_by_no_component(connection):
    saved(connection, "component", subject="scheduler", dag_id=None)
    root = saved(connection, "task", key="run:load:r1")
    assert held_back(connection, incident("deadline")) == explained(root)
    assert held_back(connection, incident("deadline", run_id="r2")) is None
    assert held_back(connection, incident("task")) is None


def test_a_missed_deadline_of_a_run_that_joined_another_is_explained_by_that(connection):
    whole = saved(connection, "run", run_id="r0")
    saved(connection, "run", key="run:load:r1", state="merged", merged_into=whole.id)
    assert held_back(connection, incident("deadline")) == explained(whole)


@pytest.mark.parametrize(("subject", "explains"), [("scheduler", True), ("dag-processor", True), ("triggerer", False)])
def test_a_run_that_did_not_begin_in_time_is_explained_by_what_begins_none(connection, subject, explains):
    root = saved(connection, "component", subject=subject, dag_id=None)
    late = incident("deadline", run_id=None)
    assert held_back(connection, late) == (explained(root) if explains else None)


def product(*parts, **more):
    return incident("deadline", run_id=None, dag_id=None, evidence={"deadline.parts": list(parts)}, **more)


@pytest.mark.parametrize(
    ("part", "explains"),
    [({"dag": "load"}, True), ({"dag": "l*"}, True), ({"dag": "other"}, False), ({"asset": "s3://a"}, True),
     ({"asset": "s3://b"}, False), ({"task": "load"}, False)],
)  # fmt: skip
def test_a_late_product_is_explained_by_the_dags_of_its_parts(connection, part, explains):
    records.record(connection, "asset_of", "load", "s3://a", "s3://a", NOW, NOW)
    root = saved(connection, "run")
    assert held_back(connection, product(part, about={})) == (explained(root) if explains else None)


def test_a_late_asset_is_explained_by_the_dag_that_updates_it(connection):
    records.record(connection, "asset_of", "load", "s3://a", "s3://a", NOW, NOW)
    late = incident("deadline", run_id=None, dag_id=None, evidence={"deadline.asset": "s3://a"})
    root = saved(connection, "run")
    assert held_back(connection, late) == explained(root)


@pytest.mark.parametrize(
    ("about", "root", "is_held"),
    [
        ({}, {}, True),  # the same people
        ({"tags": ["wide"]}, {}, False),  # more of them
        ({}, {"dag_id": "others"}, False),  # others
    ],
)
def test_a_late_product_of_people_who_have_not_heard_of_the_failure_is_told_to_them(connection, about, root, is_held):
    failure = saved(connection, "run", **root)
    late = product({"dag": "*"}, about=about)
    assert held_back(connection, late) == (explained(failure) if is_held else None)


def test_a_late_dag_of_people_who_have_not_heard_of_its_failure_is_explained_all_the_same(connection):
    failure = saved(connection, "run")
    assert held_back(connection, incident("deadline", run_id=None, about={"tags": ["wide"]})) == explained(failure)


@pytest.mark.parametrize(
    ("kind", "by", "is_held"),
    [("deadline", "explained by incident 7: no", True), ("deadline", "silenced by ann: known", False),
     ("deadline", "", False), ("overdue", "explained by incident 7: no", False)],
)  # fmt: skip
def test_a_deadline_whose_explanation_is_over_is_looked_at_once_more(connection, kind, by, is_held):
    found = held_back(connection, incident(kind, inhibited_by=by))
    assert found == ((NOW + 5, "what explained it is over") if is_held else None)


def test_what_people_know_of_is_explained_by_nothing(connection):
    saved(connection, "run", key="run:load:r1")
    assert held_back(connection, incident("deadline", notified="opened")) is None
    assert held_back(connection, incident("deadline", notified="early_warning")) is not None


def test_what_explains_others_is_looked_at_before_them():
    kinds = ["deadline", "dag", "run", "overdue", "component", "stuck", "task"]
    order = sorted(map(incident, kinds), key=explanations_first)
    assert [one.kind for one in order] == ["run", "component", "task", "dag", "overdue", "stuck", "deadline"]
