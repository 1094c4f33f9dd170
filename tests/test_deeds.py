"""A row of Airflow's event log reads in the words of people; Airflow's own name of it stays beside them."""

from __future__ import annotations

import ast
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from observability import catalog
from observability.dashboards.labels import LABELS
from observability.emit import emit
from observability.events import deed_note, deed_of, setting_of
from observability.watch.acts import ACTS
from observability.watch.sources.audit import recorded

AIRFLOW = Path(find_spec("airflow").origin).parent


def logged():
    """The names under which the routes of the installed Airflow write into its event log: those of their functions."""
    for path in (AIRFLOW / "api_fastapi").rglob("*.py"):
        for one in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(one, ast.FunctionDef) and "action_logging()" in ast.unparse(one).partition("def ")[0]:
                yield one.name


def entry(event, extra=None, outcome="success", **more):
    """The event that the product makes of a row of Airflow's event log."""
    row = {"event_log_id": 1, "event": event, "when": "2026-01-02T03:04:05Z", "owner": "ann", "extra": extra, **more}
    return recorded(row, outcome)


def test_every_route_that_airflow_logs_and_every_act_of_ours_has_words():
    names = set(logged())
    assert len(names) > 40
    assert [name for name in sorted(names) if name not in catalog.AUDIT_EVENTS] == []
    assert [name for name in ACTS if f"contrail.{name}" not in catalog.AUDIT_EVENTS] == []


@pytest.mark.parametrize(
    ("event", "extra", "expected"),
    [
        ("post_clear_task_instances", '{"dry_run": false, "method": "POST"}', "cleared tasks"),
        ("patch_dag", '{"is_paused": true, "method": "PATCH"}', "paused the DAG"),
        ("patch_dags", '{"is_paused": "False"}', "unpaused several DAGs"),
        ("patch_dag", None, "set whether the DAG is paused"),
        ("patch_dag", "[1, 2]", "set whether the DAG is paused"),
        ("patch_task_instance", '{"new_state": "success", "note": "x"}', "set the task to success"),
        ("patch_dag_run", '{"note": "seen", "method": "PATCH"}', "wrote a note on the run"),
        ("patch_dag_run", '{"state": "fai', "set the state or the note of the run"),
        ("cli_dag_trigger", None, "triggered a run on the command line"),
        ("cli_something_new", None, "ran a command: something new"),
        ("a_route_of_a_later_airflow", None, "a route of a later airflow"),
        ("state of a plugin", '{"new_state": "lost"}', "state of a plugin"),
    ],
)
def test_a_deed_reads_in_the_words_of_people_and_an_unknown_one_stays_readable(event, extra, expected):
    assert deed_of(entry(event, extra).document()) == expected


@pytest.mark.parametrize(
    ("event", "extra", "task", "expected"),
    [
        (
            "patch_task_instance",
            '{"new_state": "success", "note": "by hand", "method": "PATCH"}',
            "load",
            ("set task load to success", "note by hand"),
        ),
        (
            "post_clear_task_instances",
            '{"dry_run": false, "task_ids": ["a", "b"], "only_failed": true}',
            None,
            ("cleared tasks", "task ids a, b, only failed yes"),
        ),
        (
            "update_hitl_detail",
            '{"method": "PATCH", "params_input": {}}',
            "ask",
            ("answered a question of a task: ask", ""),
        ),
        (
            "cli_dag_pause",
            "airflow dags pause load",
            None,
            ("paused the DAG on the command line", "airflow dags pause load"),
        ),
    ],
)
def test_what_was_written_beside_a_deed_is_shown_without_what_its_words_say(event, extra, task, expected):
    document = entry(event, extra, task_id=task).document()
    assert (deed_of(document), deed_note(document)) == expected


def test_the_message_of_the_event_says_it_and_the_boards_have_the_words(told):
    emit(entry("patch_task_instance", '{"new_state": "failed"}'))
    (document,) = told()
    assert (document["message"], document["airflow.audit_event"]) == (
        "ann set the task to failed", "patch_task_instance",
    )  # fmt: skip
    assert LABELS["airflow.audit_event"]["trigger_dag_run"] == "Trigger a run"


@pytest.mark.parametrize(
    ("event", "extra", "words"),
    [
        (
            "patch_task_instance",
            '{"new_state": "success"}',
            {"success": "set task load to success", "failure": "asked to set task load to success; nothing changed",
             "unknown": "asked to set task load to success"},
        ),
        (
            "patch_dag",
            '{"is_paused": true}',
            {"success": "paused the DAG: load", "unknown": "asked to pause the DAG: load"},
        ),
        (
            "cli_dag_trigger", None,
            {"unknown": "asked to trigger a run on the command line: load"},
        ),
        ("contrail.rerun", None, {"success": "reran what failed, from the incident: load"}),
        ("a_route_of_a_later_airflow", None, {"unknown": "a route of a later airflow: load"}),
    ],
)  # fmt: skip
def test_a_deed_is_said_as_done_only_where_airflow_showed_that_it_did_it(event, extra, words):
    said = {outcome: deed_of(entry(event, extra, outcome, task_id="load").document()) for outcome in words}
    assert said == words


def test_each_deed_begins_with_a_verb_that_has_a_past():
    said = {name: deed_of(entry(name).document()) for name in catalog.AUDIT_EVENTS}
    assert {name for name, words in said.items() if words == f"asked to {catalog.AUDIT_EVENTS[name]}"} == set()
    irregular = {"began", "cancelled", "gave", "made", "reran", "set", "stopped", "took", "wrote"}
    assert {words.split()[0] for words in said.values() if not words.split()[0].endswith("ed")} <= irregular


@pytest.mark.parametrize(
    ("state", "index", "expected"),
    [
        ("success", "3", ("success", 3)),
        ("skipped", -1, ("skipped", None)),
        ("failed", "9" * 5000, ("failed", None)),
        ("failed", "", ("failed", None)),
        ("sucess", "3", None),
        ({"a": 1}, "3", None),
        (None, "3", None),
    ],
)
def test_only_a_state_that_a_task_can_be_set_to_is_taken(state, index, expected):
    row = {
        "@timestamp": "2026-01-01T00:00:00Z", "airflow.audit_event": "patch_task_instance", "airflow.task_id": "load",
        "airflow.audit_extra": json.dumps({"new_state": state, "map_index": index}), "event.outcome": "success",
    }  # fmt: skip
    found = setting_of(row)
    assert (found and (found.state, found.map_index)) == expected
    assert setting_of(row | {"event.outcome": "unknown"}) is None
