"""Each question that the watcher asks Airflow may be answered badly: no other object's failure is hidden by it."""

from __future__ import annotations

import ast
import itertools
import re
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import httpx
import pytest
from airflow_answers import dag, run, task
from tenacity import Retrying, stop_after_attempt

from observability.watch.facts import Fact
from observability.watch.notify.messages import Message
from observability.watch.notify.task_context import TaskContext
from observability.watch.rules.config import Thresholds
from observability.watch.sources.airflow_api.scene import Scene
from observability.watch.sources.api import AirflowApi, ApiUnavailable
from observability.watch.sources.reconcile import Reconciler
from observability.watch.sources.user_actions import OpenRun

NOW = 1_767_960_000.0
WATCH = Path(__file__).parents[2] / "observability" / "watch"
DAGS = ("bad", "good")
LOOP = {"region_id": "a-region", "region_index": 1, "loop_iteration": {"loop_id": "body", "iteration": 1}}


def ago(seconds):
    return datetime.fromtimestamp(NOW - seconds, timezone.utc).isoformat()


def rows(**more):
    """A row about each DAG, the bad one first."""
    return [{"dag_id": name, **{key: value(name) if callable(value) else value for key, value in more.items()}}
            for name in DAGS]  # fmt: skip


def instances(run_id, state, **more):
    return [{**task(name, NOW, state), "dag_run_id": run_id, "id": f"{name}-{run_id}", **more} for name in DAGS]


class Airflow:
    """An Airflow of two DAGs, of which each has everything that can be wrong; it notes what it is asked."""

    def __init__(self):
        self.questions = {}
        self.spoil = lambda _question, answer: httpx.Response(404 if answer is None else 200, json=answer)

    def answer(self, request):
        path, params = request.url.path.removeprefix("/api/v2"), request.url.params
        if path == "/auth/token":
            return httpx.Response(201, json={"access_token": "secret-token"})
        if path == "/version":
            return httpx.Response(200, json={"version": "3.4.0"})
        told = tuple((name, tuple(params.get_list(name))) for name in ("state", "event", "task_id") if name in params)
        found = self.found(path, params)
        self.questions[path, told] = found
        return self.spoil((path, told), found)

    def found(self, path, params):  # noqa: C901, PLR0911, PLR0912 - one for each path
        states = params.get_list("state")
        if path == "/monitor/health":
            return {
                name: {f"latest_{name}_heartbeat": ago(600), "status": "unhealthy"}
                for name in ("scheduler", "triggerer", "dag_processor")
            }
        if "/logs/" in path:
            detail = [{"exc_type": "MemoryError", "exc_value": ""}]
            return {"content": [{"event": "Task failed with exception", "logger": "task", "error_detail": detail}]}
        if path == "/dags/~/dagRuns/~/taskInstances":
            found = [
                *instances("r1", "failed"), *instances("loop", "failed", **LOOP), *instances("removed", "removed"),
                *instances("waits", "scheduled"), *instances("waits2", "queued"), *instances("defers", "deferred"),
            ]  # fmt: skip
            return {"task_instances": [one for one in found if not states or one["state"] in states]}
        if path == "/dags/~/dagRuns":
            found = [run(name, NOW) for name in DAGS]
            if "running" in states:
                idle = [{**one, "state": "running", "dag_run_id": "idle", "end_date": None} for one in found]
                found = [*found, *idle] if "failed" in states else idle
            if "queued" in states:
                beside = {"state": "queued", "triggered_by": "operator", "dag_run_id": "held", "queued_at": ago(900)}
                found = [{**one, **beside, "dag_id": f"{one['dag_id']}_paused"} for one in found]
            return {"dag_runs": found}
        if path.endswith("/hitlDetails"):
            asked = {"subject": "yes?", "options": ["yes"], "created_at": ago(5000)}
            found = instances("asks", "awaiting_input")
            return {"hitl_details": [{**asked, "task_instance": one} for one in found], "total_entries": 2}
        if path.endswith("/details"):
            return {**dag(path.split("/")[2]), "params": {}, "dag_run_timeout": None}
        if path.endswith("/taskInstances"):
            name, run_id = path.split("/")[2], path.split("/")[4]
            if run_id == "idle":
                mine = [{**one, "state": None} for one in instances("idle", "failed")]
            else:
                mine = instances(run_id, "failed", **(LOOP if run_id == "loop" else {}))
            return {"task_instances": [one for one in mine if one["dag_id"] == name], "total_entries": 1}
        if "/taskInstances/" in path:
            return {**task(path.split("/")[2], NOW), "dag_run_id": path.split("/")[4]}
        if path.endswith("/dagRuns"):
            return {"dag_runs": [], "total_entries": 0}
        if "/dagRuns/" in path:
            return {"state": "failed"}
        if re.fullmatch(r"/dags/[^/]*/tasks/.*", path):
            return None
        if re.fullmatch(r"/dags/gone_[^/]*", path):
            return {**dag(path.split("/")[2]), "is_stale": True}  # its file is gone; a deleted one is not known
        if path == "/dags":
            listed = [{**dag(name), "next_dagrun_run_after": ago(900)} for name in DAGS]
            return {"dags": [*listed, *({**dag(f"{name}_paused"), "is_paused": True} for name in DAGS)]}
        if path == "/importErrors":
            error = {"timestamp": ago(10), "stack_trace": "SyntaxError: x"}
            return {"import_errors": [{**error, "filename": f"{name}.py", "import_error_id": 1} for name in DAGS]}
        if path == "/assets":
            return {"assets": [{"uri": name, "last_asset_event": {"timestamp": ago(5)}} for name in DAGS]}
        if path == "/assets/events":
            return {"asset_events": rows(uri=lambda name: name, timestamp=ago(5), source_dag_id=lambda name: name)}
        if path == "/jobs":
            job = {"job_type": "TriggererJob", "state": "running"}
            silent = [{**job, "hostname": name, "latest_heartbeat": ago(600)} for name in DAGS]
            return {"jobs": [{**job, "hostname": "well", "latest_heartbeat": ago(0)}, *silent]}
        if path == "/pools":
            pool = {"slots": 1, "open_slots": 1}
            return {"pools": [{**pool, "name": "bad_pool"}, {**pool, "name": "default_pool"}]}
        if path == "/eventLogs" and params.get("event") == "paused":
            return {"event_logs": rows(event_log_id=lambda name: DAGS.index(name) + 1, when=ago(20), event="paused")}
        if path == "/eventLogs" and "delete_task_instance" in params.get_list("included_events"):
            number = {"event_log_id": lambda name: DAGS.index(name) + 1, "run_id": "set", "owner": "ann"}
            return {"event_logs": rows(**number, when=ago(20), event="delete_task_instance")}
        return {"event_logs": []} if path == "/eventLogs" else None


def scene():
    """A watcher that has looked before: of each DAG one is gone, one host fell silent, one run stands still."""
    known = {f"{name}{more}": {"paused": more == "_paused"} for name in DAGS for more in ("", "_paused")}
    gone = {f"gone_{name}": {"file": "x.py", "paused": False} for name in DAGS}
    return Scene(
        since=NOW - 60, slow_at=NOW - 60, health_at=NOW - 5,
        dags={name: {"next": [ago(900), NOW - 900], **about} for name, about in (known | gone).items()},
        idle={f"{name}\x1fidle": [NOW - 900, False] for name in DAGS},
        peers={"with_it": {f"triggerer|{name}": 9 for name in DAGS}, "silent": []},
    )  # fmt: skip


MESSAGE = Message(
    kind="opened", severity="error", title="d: t[0] failed", summary="", dedup_key="k", dag_id="d", run_id="r",
    task_id="t", map_index=0, details=(("Cause", "x"), ("Since", "y"), ("Run", "r")),
)  # fmt: skip
OPEN = [OpenRun(name, "set", ("t", "step[iteration 1]"), 1) for name in DAGS]


def reconciler(airflow, folder):
    api = AirflowApi("http://airflow")
    api._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(airflow.answer))
    api._retrying = Retrying(stop=stop_after_attempt(1), reraise=True)
    return Reconciler(api, folder, Thresholds, "test")


SUSPECTS = [
    Fact(kind="task", status="suspected", time=NOW, dag_id=name, run_id=run_id, task_id="t", map_index=-1,
         try_number=1, iteration=iteration)
    for name in DAGS for run_id, iteration in (("r1", None), ("loop", "1"))
]  # fmt: skip
STAGES = ("look", "first", "confirm")
"""A look of a watcher that has looked before, the first one ever, and the deaths that were reported."""


def facts_of(stage, airflow, folder, looks=1):
    asks, before, found = reconciler(airflow, folder), Scene() if stage == "first" else scene(), []
    for number in range(looks):
        if stage == "confirm":
            found += asks.confirm(SUSPECTS)
        else:
            found += asks.look(before, NOW + 900 * number, open_runs=OPEN if stage == "look" else ())
    return {(stage, *said(fact)) for fact in found}


def said(fact):
    """The fact without its words; a file and a component have a name of their own, whatever DAGs they are about."""
    if fact.kind in {"import", "component"}:
        return fact.kind, fact.status, fact.subject, None
    return fact.kind, fact.status, fact.dag_id or fact.subject, fact.run_id


@pytest.fixture(autouse=True)
def account(monkeypatch):
    monkeypatch.setenv("CONTRAIL_API_TOKEN", "secret-token")
    monkeypatch.delenv("AIRFLOW__CORE__PARALLELISM", raising=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The questions of each stage with their answers, and the facts that they tell."""
    questions, facts = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTRAIL_API_TOKEN", "secret-token")
        for stage in STAGES:
            airflow = Airflow()
            facts[stage] = facts_of(stage, airflow, tmp_path_factory.mktemp("logs"))
            questions |= {(stage, *question): answer for question, answer in airflow.questions.items()}
    return questions, facts


def spoilt(question, by, folder, looks=1):
    """The facts of the stage of a question that is answered by ``by`` of the good answer."""
    stage, *asked = question
    airflow = Airflow()
    plain = airflow.spoil
    airflow.spoil = lambda now, answer: by(answer) if now == tuple(asked) else plain(now, answer)
    return facts_of(stage, airflow, folder, looks)


def test_the_trial_asks_every_question_that_the_watcher_has(tmp_path, whole):
    """A question that is new in the code has to be answered here, so that it can be spoilt below."""
    airflow = Airflow()
    TaskContext(tmp_path, reconciler(airflow, tmp_path)._api)(MESSAGE)
    asked, missing = {path for _, path, _ in whole[0]} | {path for path, _ in airflow.questions}, []
    for file in WATCH.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Constant) and isinstance(call.value, str) and re.fullmatch(r"/[\w/~]+", call.value):
                known = any(call.value in path for path in asked) or call.value in {"/auth/token", "/version"}
                missing += [] if known or file.name not in ASKERS else [f"{file.name}:{call.lineno} {call.value}"]
    assert missing == []
    parts = {part for path in asked for part in path.split("/")}
    assert parts >= {"dags", "dagRuns", "taskInstances", "tasks", "details", "logs"}
    assert BESIDE_A_LOOK | WHO_DID_IT | set(ASKERS) >= {
        file.name for file in WATCH.rglob("*.py") if re.search(r"api\.(get|once|pages)\(", file.read_text())
    }


ASKERS = (
    "reconcile.py",
    "look.py",
    "tasks.py",
    "runs.py",
    "components.py",
    "dags.py",
    "stuck.py",
    "peers.py",
    "assets.py",
    "waiting.py",
    "user_actions.py",
    "task_context.py",
)
BESIDE_A_LOOK = {"history_import.py", "dag_graphs.py", "audit.py"}
"""They ask in threads of their own, which a look does not wait for."""
WHO_DID_IT = {"carried_out.py"}
"""It asks about requests of people; ``test_audit.py`` spoils its answers."""


def test_the_trial_has_a_failure_of_each_kind(whole):
    facts = set.union(*whole[1].values())
    kinds = {(when, kind, status) for when, kind, status, *_ in facts}
    assert {(kind, status) for when, kind, status in kinds if when == "look"} >= {
        ("component", "firing"), ("task", "firing"), ("run", "firing"), ("import", "firing"), ("dag", "firing"),
        ("stuck", "firing"), ("overdue", "firing"), ("task", "withdrawn"), ("paused", "firing"), ("asset", "noted"),
    }  # fmt: skip
    assert len([one for one in facts if "good" in str(one)]) > 15


def of(status, text="no"):
    return lambda _answer: httpx.Response(status, text=text)


def slow(_answer):
    raise httpx.ReadTimeout("too slow")


BAD = {
    "bad request": of(400), "forbidden": of(403), "gone": of(410), "error": of(500), "away": of(503),
    "empty": of(200, ""), "cut": of(200, '{"content": ['), "list": of(200, "[]"), "number": of(200, "7"),
    "wrong types": lambda answer: httpx.Response(200, json=dict.fromkeys(answer or {"x": 1}, 5)), "slow": slow,
}  # fmt: skip
OF_A_LISTING = {
    "/monitor/health": {"component"}, "/jobs": {"component"}, "/importErrors": {"import"}, "/dags": {"dag", "overdue"},
    "/assets": {"asset"}, "/assets/events": {"asset"}, "/dags/~/dagRuns/~/hitlDetails": {"stuck"},
}  # fmt: skip
"""The facts that a listing alone tells; without it they are known later."""


def is_told_by(question, fact):
    """True where the answer to a question is what the fact is known by."""
    (path, params), (when, kind, status, name, run_id) = question, fact
    states = dict(params).get("state", ())
    if path == "/dags/~/dagRuns/~/taskInstances":
        return (kind == "task" and status == "firing" and "failed" in states) or (
            kind == "stuck" and "queued" in states
        )
    if path == "/dags/~/dagRuns":
        return (kind == "run" and "queued" not in states) or (kind == "stuck" and run_id in {"idle", "held"})
    if path == "/eventLogs":
        return kind == "paused" if "event" in dict(params) else status in {"withdrawn", "cleared"}
    if path == "/dags" and when == "first" and kind == "stuck":
        return True  # which DAGs are paused it has not heard yet
    return kind in OF_A_LISTING.get(path, set()) or f"/{name}/" in f"{path}/" or (when == "confirm" and run_id in path)


def about_bad(whole):
    """The questions but those about the good DAG alone, which are asked in the same way."""
    return [question for question in whole[0] if "good" not in question[1]]


def hidden_by(question, kind, whole, folder):
    """The facts that are missing; what hangs on several answers, or on a doubt, may be left to a later look."""
    for looks in (1, 2):
        missing = whole[1][question[0]] - spoilt(question, BAD[kind], folder, looks)
        missing = sorted(map(str, (one for one in missing if not is_told_by(question[1:], one))))
        if not missing:
            break
    return missing


def test_a_bad_answer_to_any_question_hides_nothing_that_it_is_not_about(tmp_path, whole):
    """Each question is answered badly in one of the ways, in turn; the slow form takes every way for each."""
    ways = itertools.cycle(BAD)
    found = {
        (question, kind): hidden_by(question, kind, whole, tmp_path)
        for question, kind in zip(about_bad(whole), ways, strict=False)
    }
    assert {about: hidden for about, hidden in found.items() if hidden} == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BAD)
def test_every_bad_answer_to_every_question_hides_nothing_that_it_is_not_about(tmp_path, whole, kind):
    found = {question: hidden_by(question, kind, whole, tmp_path) for question in about_bad(whole)}
    assert {question: hidden for question, hidden in found.items() if hidden} == {}


ODD = (None, True, 7, "x", [], ["x"], {}, {"x": 1})


def spoilt_rows(row):
    """A row with each of its fields missing or of a wrong type, and what is no row at all."""
    yield from (None, 7, "x", [], {})
    for name in row:
        yield {key: value for key, value in row.items() if key != name}
        yield from ({**row, name: odd} for odd in ODD)


def test_no_row_of_any_listing_hides_another_row(tmp_path, whole, monkeypatch):
    """A row about the bad DAG is spoilt in every way at once, ahead of the row about the good one."""
    monkeypatch.setattr("observability.watch.sources.api._PAGE", 10_000)  # all of them on one page
    questions, facts = whole
    hidden = {}
    for question, answer in questions.items():
        key, listed = next(((k, v) for k, v in (answer or {}).items() if isinstance(v, list)), (None, []))
        about_bad = [one for one in listed if isinstance(one, dict) and "bad" in str(one)]
        if not about_bad or "/logs/" in question[1]:
            continue
        odd = list({str(one): one for row in about_bad[:1] for one in spoilt_rows(row)}.values())
        by = partial(with_rows, key, [*odd, *listed])
        missing = [one for one in facts[question[0]] - spoilt(question, by, tmp_path) if is_beside(question, one)]
        if missing:
            hidden[question] = missing
    assert hidden == {}


def is_beside(question, fact):
    """True for what odd rows do not concern; while DAGs are listed without a name, none is said to have vanished."""
    return "bad" not in str(fact) and (question[1] != "/dags" or "gone_good" not in fact)


def with_rows(key, rows, answer):
    return httpx.Response(200, json={**answer, key: rows})


def test_one_that_answers_nothing_but_errors_is_said_to_be_away(tmp_path):
    airflow = Airflow()
    airflow.spoil = lambda _question, _answer: httpx.Response(503)
    api = reconciler(airflow, tmp_path)
    api._api._http = httpx.Client(
        base_url="http://airflow", transport=httpx.MockTransport(lambda _: httpx.Response(503))
    )
    with pytest.raises(ApiUnavailable):
        api.look(Scene(), NOW)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("question", ["/logs/", "state=failed", "state=upstream_failed", "limit=1&task_id=t"])
def test_a_message_goes_out_whatever_is_answered_about_it_and_the_next_is_complete(tmp_path, kind, question):
    def answer(request, *, spoilt=True):
        url = str(request.url)
        if "/logs/" in url:
            found = {"content": [{"event": "read 3 files", "logger": "mine"}]}
        elif "upstream_failed" in url:
            found = {"task_instances": [{"task_id": "publish"}], "total_entries": 1}
        else:
            found = {"total_entries": 100 if "state=failed" in url else 300}
        return BAD[kind](found) if spoilt and question in url and "/dags/d/" in url else httpx.Response(200, json=found)

    api = AirflowApi("http://airflow")
    api._retrying = Retrying(stop=stop_after_attempt(1), reraise=True)
    api._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    context = TaskContext(tmp_path, api)
    assert context(MESSAGE).title.startswith("d: t[0] failed")
    if kind not in {"slow", "away", "error", "empty", "cut"}:  # then it is not asked again for a while
        other = context(
            Message(**{**{name: getattr(MESSAGE, name) for name in MESSAGE.__dataclass_fields__}, "dag_id": "e"})
        )
        assert other.log == ("read 3 files",)
