"""A task that waits for a person is notified after a while, and that it waits no longer."""

from __future__ import annotations

from datetime import datetime, timezone

import httpx
import pytest
from watch_office import Office

from observability.watch.rules.config import Thresholds
from observability.watch.sources.airflow_api.scene import Scene
from observability.watch.sources.api import AirflowApi
from observability.watch.sources.reconcile import Reconciler

NOW = 1_767_960_000.0


def ago(seconds):
    return datetime.fromtimestamp(NOW - seconds, timezone.utc).isoformat()


def question(task_id, state="awaiting_input", asked=700, **more):
    task = {
        "id": "an id", "dag_id": "hitl", "dag_run_id": "r1", "task_id": task_id, "map_index": -1, "try_number": 1,
        "state": state, "pool": "default_pool", "operator_name": "HITLOperator",
    }  # fmt: skip
    said = {"subject": "shall we?", "options": ["Approve", "Reject"], "created_at": ago(asked)}
    return {"task_instance": task, "assigned_users": [], "response_received": False, **said, **more}


def queued(dag_id, triggered_by="operator", since=700):
    return {
        "dag_id": dag_id, "dag_run_id": "r1", "state": "queued", "run_type": "operator_triggered",
        "run_after": ago(since), "queued_at": ago(since), "triggered_by": triggered_by, "start_date": None,
        "end_date": None,
    }  # fmt: skip


class Airflow:
    def __init__(self):
        self.questions, self.runs, self.paused = [], [], True

    def answer(self, request):
        path, params = request.url.path.removeprefix("/api/v2"), request.url.params
        if path == "/monitor/health":
            return httpx.Response(200, json={})
        if path.endswith("/hitlDetails"):
            assert params["response_received"] == "false"
            return httpx.Response(200, json={"hitl_details": self.questions})
        if path == "/dags/~/dagRuns" and params.get_list("state") == ["queued"]:
            return httpx.Response(200, json={"dag_runs": self.runs})
        if path == "/dags":
            listed = [
                {"dag_id": one, "is_paused": self.paused, "owners": ["ann"], "tags": []} for one in ("child", "b")
            ]
            return httpx.Response(200, json={"dags": listed})
        names = ("dag_runs", "task_instances", "import_errors", "event_logs", "pools", "asset_events", "assets")
        return httpx.Response(200, json={name: [] for name in names} | {"total_entries": 0})


@pytest.fixture
def airflow():
    return Airflow()


@pytest.fixture
def look(airflow, tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_API_TOKEN", "secret-token")
    api = AirflowApi("http://airflow")
    api._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(airflow.answer))
    reconciler, scene = Reconciler(api, tmp_path, Thresholds, "test"), Scene()
    moments = iter(range(0, 1000, 20))
    return lambda: [fact for fact in reconciler.look(scene, NOW + next(moments)) if fact.kind == "stuck"]


def test_a_question_without_an_answer_is_told_after_a_while(airflow, look):
    airflow.questions = [
        question("approves"),
        question("asked_lately", asked=60),
        question("answered_already", state="success"),
        question("asked_of_ann", assigned_users=[{"id": "1", "name": "ann"}]),
        question("on_airflow_3_1", state="deferred"),
    ]
    facts = look()
    told = [(fact.task_id, fact.status, fact.severity) for fact in facts]
    assert told == [(name, "firing", "warning") for name in ("approves", "asked_of_ann", "on_airflow_3_1")]
    assert facts[0].reason == 'nobody has answered "shall we?" (Approve, Reject) for 11 min 40 s'
    assert facts[1].reason.startswith("nobody of ann has answered")


def test_an_answer_ends_it(airflow, look):
    airflow.questions = [question("approves")]
    [asked] = look()
    airflow.questions = []
    [answered] = look()
    assert (answered.status, answered.key) == ("resolved", asked.key)
    assert look() == []


def test_people_are_reminded_and_the_next_receiver_is_told(airflow, look, ledger):
    office = Office(ledger)
    airflow.questions = [question("approves")]
    office.see(*look())
    office.pass_time(45 * 60, step=60)
    assert list(dict.fromkeys(kind for kind, *_ in office.said())) == ["opened", "escalated"]
    assert office.messages()[0].title.startswith("hitl: approves waits for an answer: nobody has answered")
    airflow.questions = []
    office.see(*look())
    assert not office.incidents()[0].live


def test_a_row_that_cannot_be_understood_hides_no_other_question(airflow, look):
    airflow.questions = [{}, {"task_instance": None}, question("x", subject=None, options=None), question("approves")]
    assert [fact.task_id for fact in look()] == ["x", "approves"]


@pytest.mark.parametrize("odd", [{"created_at": "never"}, {"options": 5}, {"assigned_users": 7}, {"task_instance": {}}])
def test_no_odd_row_hides_the_next(airflow, look, odd):
    airflow.questions = [{**question("odd"), **odd}, question("approves")]
    assert "approves" in [fact.task_id for fact in look()]


def test_a_run_that_another_dag_triggered_of_a_paused_dag_is_told(airflow, look):
    airflow.runs = [queued("child"), queued("b", triggered_by="ui"), queued("b", since=10)]
    [held] = look()
    assert (held.dag_id, held.status, held.severity) == ("child", "firing", "warning")
    assert "DAG is paused" in held.reason
    airflow.paused = False
    [over] = look()
    assert (over.status, over.key) == ("resolved", held.key)
    assert look() == []
