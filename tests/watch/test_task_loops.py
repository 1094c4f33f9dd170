"""Each iteration of a task loop is a thing of its own, as path, task process and Airflow's API know it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import httpx
import orjson
import pytest
from watch_office import Office, run_ended

from observability import attempt_notes
from observability.events import Identity, TaskFailed, TaskStarted, TaskSucceeded, ui_path
from observability.from_airflow import identify
from observability.relay.sinks.killed_tasks import KilledTaskDetector
from observability.relay.sinks.sink import Batch
from observability.relay.sources.files.airflow_logs import log_stream
from observability.watch.facts import from_document
from observability.watch.rules.config import Thresholds
from observability.watch.sources.airflow_api.scene import Scene
from observability.watch.sources.api import AirflowApi
from observability.watch.sources.logs import log_path
from observability.watch.sources.reconcile import Reconciler
from observability.watch.sources.user_actions import OpenRun, UserActions

RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "airflow_3_4_loops.json").read_text())
ROWS = RECORDED["rows"]
KILLED = next(one for one in ROWS if one["dag_id"] == "loop_killed" and one["state"] == "failed")
NOW = datetime.fromisoformat(KILLED["end_date"].replace("Z", "+00:00")).timestamp() + 5


class Airflow:
    """Airflow 3.4's API as it answers about what was recorded."""

    def __init__(self, rows=ROWS):
        self.rows, self.asked = rows, []

    def answer(self, request):  # noqa: PLR0911 - one for each path
        path, params = request.url.path.removeprefix("/api/v2"), request.url.params
        self.asked.append((path, dict(params)))
        if path == "/monitor/health":
            return httpx.Response(200, json={})
        if "/logs/" in path:
            if "region_id" not in params:
                return httpx.Response(400, json={"detail": "Select a region and index for this task instance"})
            return httpx.Response(200, json={"content": RECORDED["killed_log"]})
        if path.endswith("/taskInstances"):
            wanted, task = params.get_list("state"), params.get("task_id")
            run = "~" if "/dagRuns/~/" in path else path.split("/")[4]
            found = [
                one
                for one in self.rows
                if (not wanted or one["state"] in wanted)
                and task in (None, one["task_id"])
                and run in ("~", one["dag_run_id"])
            ]
            return httpx.Response(200, json={"task_instances": found})
        if "/taskInstances/" in path:
            return httpx.Response(400, json={"detail": "Select a region and index for this task instance"})
        if path.count("/") == 4 and "/dagRuns/" in path:
            return httpx.Response(200, json={"state": "failed"})
        names = ("dag_runs", "dags", "import_errors", "event_logs", "pools", "asset_events", "assets")
        return httpx.Response(200, json={name: [] for name in names} | {"total_entries": 0})


@pytest.fixture
def ask(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_API_TOKEN", "secret-token")

    def made(airflow):
        api = AirflowApi("http://airflow")
        api._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(airflow.answer))
        return Reconciler(api, tmp_path, Thresholds, "test")

    return made


def row(task_id, iteration, map_index=-1, dag_id=None):
    return next(
        one
        for one in ROWS
        if (one["task_id"], one["loop_iteration"]["iteration"], one["map_index"]) == (task_id, iteration, map_index)
        and dag_id in (None, one["dag_id"])
    )


def in_its_process(one, **more):
    """The identity that the task's own process finds, from what Airflow gives it."""
    loop = SimpleNamespace(node_id=one["loop_iteration"]["loop_id"], index=one["loop_iteration"]["iteration"])
    ti = SimpleNamespace(
        id=one["id"], dag_id=one["dag_id"], task_id=one["task_id"], run_id=one["dag_run_id"], start_date=None,
        try_number=one["try_number"], map_index=one["map_index"], region_id=one["region_id"],
        region_index=one["region_index"], _ti_context_from_server=SimpleNamespace(loop=loop),
    )  # fmt: skip
    return replace(identify({"ti": ti, "exception": None}), **more)


def log_document(one, line, label=None, **more):
    """A line of a recorded log as the relay sends it."""
    label = label or str(one["loop_iteration"]["iteration"])
    mapped, inside = (
        (f"map_index={one['map_index']}/", f"map={one['map_index']}/") if one["map_index"] >= 0 else ("", "")
    )
    name = (
        f"dag_id={one['dag_id']}/run_id={one['dag_run_id']}/task_id={one['task_id']}/{mapped}pass={label}/{inside}"
        f"attempt={one['try_number']}.log"
    )
    prefix = log_stream(name, "host", "test").prefix
    stamp = datetime.now(timezone.utc).isoformat()
    return prefix + orjson.dumps({**line, "ti_id": one["id"], "@timestamp": stamp, **more})[1:]


def death(one, label=None):
    told = []
    document = log_document(one, RECORDED["killed_log"][-1], label)
    KilledTaskDetector(told.append).send(Batch("airflow.task", "a.log", "g", [b"i-1"], [document]))
    [event] = told
    return event


def test_path_process_and_api_arrive_at_one_fact(ask):
    for one in (KILLED, row("body.process", 1, 2), row("body.step", 2, dag_id="loop_lines")):
        failed = {**one, "state": "failed"}
        [by_api] = [fact for fact in ask(Airflow([failed])).look(Scene(), NOW) if fact.kind == "task"]
        by_process = from_document(TaskFailed(identity=in_its_process(one), cause="app", reason="x").document())
        by_path = from_document(death(one, label=f"{one['loop_iteration']['iteration']}.2").document())
        assert by_api.key == by_process.key == by_path.key
        assert by_api.member == by_process.member == by_path.member


def test_every_iteration_has_facts_and_events_of_its_own():
    events = [TaskStarted(identity=in_its_process(one)) for one in ROWS]
    assert len({event.id for event in events}) == len(ROWS)
    assert len({event.document()["airflow.run_path"] for event in events}) == len(ROWS)
    again = [one for one in ROWS if one["dag_id"] == "loop_lines"]  # iteration 2, and that of the loop run again
    assert len({one["region_id"] for one in again}) == len(again) == 2


def test_outside_a_loop_nothing_has_changed():
    about = Identity(dag_id="d", task_id="t", run_id="r", try_number=1, map_index=-1, ti_id="an id")
    assert TaskStarted(identity=about).id == TaskStarted(identity=replace(about, ti_id=None)).id


def test_a_mapped_task_outside_a_loop_is_not_in_one():
    one = row("body.process", 1, 2)
    ti = SimpleNamespace(
        id=one["id"], dag_id="d", task_id="t", run_id="r", try_number=1, map_index=2, region_id=one["region_id"],
        region_index=2, start_date=None,
    )  # fmt: skip
    found = identify({"ti": ti, "exception": None})
    assert (found.map_index, found.iteration, found.loop_id) == (2, None, None)


def test_a_callback_in_the_dag_processor_finds_the_iteration_by_the_dag():
    loop = SimpleNamespace(group_id="body", max_iterations=3, parent_group=None)
    task = SimpleNamespace(task_group=SimpleNamespace(group_id="body.inner", parent_group=loop), task_type="X")
    ti = SimpleNamespace(
        id="an id", dag_id="d", task_id="t", run_id="r", try_number=1, map_index=-1, region_id="a region",
        region_index=1, start_date=None,
    )  # fmt: skip
    found = identify({"ti": ti, "task": task})
    assert (found.iteration, found.loop_id, found.region_id) == ("1", "body", "a region")
    mapped = identify({"ti": SimpleNamespace(**{**vars(ti), "map_index": 0, "region_index": 0}), "task": task})
    assert (mapped.iteration, mapped.loop_id, mapped.loop_key) == (None, "body", "an id")


def test_the_words_of_the_supervisor_of_3_4_are_understood_and_those_of_a_task_are_not():
    event = death(KILLED)
    assert (event.signal, event.identity.iteration, event.identity.ti_id) == ("SIGKILL", "1", KILLED["id"])
    told = []
    for line in RECORDED["killed_log"][:-1]:
        forged = {**line, "event": "Process terminated by signal", "level": "critical", "signal": -9}
        batch = Batch("airflow.task", "a.log", "g", [b"i-1"], [log_document(KILLED, forged)])
        KilledTaskDetector(told.append).send(batch)
    assert told == []


def test_the_note_of_an_attempt_is_found_by_its_log(monkeypatch, tmp_path):
    home = tmp_path / "attempts"
    monkeypatch.setattr("observability.attempt_notes.memory_events_file", lambda: tmp_path / "memory.events")
    monkeypatch.setattr("observability.attempt_notes.oom_kills", lambda _path: 1)
    monkeypatch.setattr("observability.attempt_notes.get_settings", lambda: SimpleNamespace(home=tmp_path))
    attempt_notes.note_start(in_its_process(KILLED))
    assert len(list(home.iterdir())) == 1
    other = row("body.step", 0, dag_id="loop_killed")
    death(other)
    assert len(list(home.iterdir())) == 1
    death(KILLED)
    assert list(home.iterdir()) == []


def test_a_killed_iteration_is_asked_about_by_its_region_and_confirmed(ask):
    airflow = Airflow()
    suspect = from_document(death(KILLED).document())
    facts = list(ask(airflow).confirm([suspect]))
    assert [(fact.status, fact.cause, fact.key == suspect.key) for fact in facts] == [("firing", "killed", True)]
    [(_, params)] = [(path, params) for path, params in airflow.asked if "/logs/" in path]
    assert (params["region_id"], params["region_index"]) == (KILLED["region_id"], "1")


@pytest.mark.parametrize("run_has_ended", [False, True])
def test_the_message_of_a_killed_iteration_leads_to_its_page_in_airflow(ask, office, run_has_ended):
    suspect = from_document(death(KILLED).document())
    office.see(suspect)
    if run_has_ended:
        office.see(run_ended("firing", dag="loop_killed", run=KILLED["dag_run_id"], time=time.time()))
    office.see(*ask(Airflow()).confirm([suspect]))
    office.pass_time(60)
    [message] = [one for one in office.messages() if one.kind == "opened"]
    assert any(f"region_id={KILLED['region_id']}&region_index=1" in link for _, link in message.links)


def test_a_killed_iteration_that_is_tried_again_has_not_failed(ask):
    suspect = from_document(death(KILLED).document())
    rest = [one for one in ROWS if one is not KILLED]
    again = {**KILLED, "id": "a new one", "try_number": 2, "state": "up_for_retry"}
    for rows in ([*rest, again], rest):
        assert [fact.status for fact in ask(Airflow(rows)).confirm([suspect])] == ["dismissed"]


def fact_of(kind, one, **more):
    given = {"cause": "app", "reason": "no"} if kind is TaskFailed else {}
    return from_document(kind(identity=in_its_process(one), **given, **more).document())


@pytest.fixture
def office(ledger):
    return Office(ledger)


def test_the_success_of_one_iteration_repairs_no_other(office):
    first, second = row("body.step", 0, dag_id="loop_killed"), KILLED
    office.see(fact_of(TaskFailed, first))
    office.pass_time(60)
    office.see(fact_of(TaskSucceeded, second))
    office.pass_time(60)
    assert [kind for kind, *_ in office.said()] == ["opened"]
    assert office.incidents()[0].failed_tasks == ("body.step[iteration 0]",)
    assert office.messages()[0].title.startswith("loop_killed: body.step[iteration 0] failed")
    assert any(link.endswith("?iteration=0") for _, link in office.messages()[0].links if "/contrail/" in link)
    assert any(f"region_id={first['region_id']}&region_index=0" in link for _, link in office.messages()[0].links)


def test_both_failures_of_two_iterations_are_known_and_the_run_does_not_repair_them(office):
    first, second = row("body.step", 0, dag_id="loop_killed"), KILLED
    office.see(fact_of(TaskFailed, first), fact_of(TaskFailed, second))
    office.see(run_ended("resolved", dag="loop_killed", run=first["dag_run_id"], time=time.time()))
    [incident] = office.incidents()
    assert incident.live
    assert incident.failed_tasks == ("body.step[iteration 0]", "body.step[iteration 1]")
    office.see(fact_of(TaskSucceeded, {**first, "try_number": 2, "id": "a second try"}))
    [incident] = office.incidents()
    assert incident.failed_tasks == ("body.step[iteration 1]",)


def test_an_iteration_that_a_person_set_to_success_is_found_by_its_name(ask):
    rows = [{**one, "state": "success"} if one is KILLED else one for one in ROWS]
    run = OpenRun("loop_killed", KILLED["dag_run_id"], ("body.step[iteration 1]",), 1)
    reconciler = ask(Airflow(rows))
    people = UserActions(reconciler._api, reconciler._questions)
    looks = (NOW, NOW + 60.0)  # nobody signed it: the event log is waited for first
    facts = [fact for now in looks for fact in people.did([run], after="", now=now, in_turn=True)]
    assert [(fact.status, fact.member) for fact in facts] == [("withdrawn", "body.step[iteration 1]")]


@pytest.mark.parametrize("label", ["1", "1.2"])
@pytest.mark.parametrize("index", [-1, 2])
def test_the_log_of_an_iteration_is_found(tmp_path, label, index):
    mapped, inside = ("map_index=2/", "map=2/") if index >= 0 else ("", "")
    path = tmp_path / f"dag_id=d/run_id=r/task_id=t/{mapped}pass={label}/{inside}attempt=1.log"
    path.parent.mkdir(parents=True)
    path.touch()
    assert log_path(tmp_path, "d", "r", "t", index, 1, "1") == path


def test_the_log_id_is_that_by_which_airflows_own_reader_asks():
    """It asks by the index in the region: the iteration, or for a mapped task the map index."""
    for one, index in ((KILLED, 1), (row("body.process", 1, 2), 2), (row("body.step", 2, dag_id="loop_lines"), 2)):
        document = orjson.loads(log_document(one, {}, label=f"{one['loop_iteration']['iteration']}.2"))
        assert document["log_id"] == f"{one['dag_id']}-{one['task_id']}-{one['dag_run_id']}-{index}-1"


def test_the_page_in_airflow_is_that_of_the_region():
    assert ui_path("d", "r", "t", -1, ("a", 1)) == "dags/d/runs/r/tasks/t?region_id=a&region_index=1"
