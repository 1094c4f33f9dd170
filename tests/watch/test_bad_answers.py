"""One bad answer of Airflow, whatever it is, hides nothing else."""

from __future__ import annotations

import re

import httpx
import pytest
from airflow_answers import airflow_answer, task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tenacity import Retrying, stop_after_attempt

from observability.contain import take_losses
from observability.watch.rules.config import Thresholds
from observability.watch.sources.airflow_api.scene import Scene
from observability.watch.sources.api import AirflowApi
from observability.watch.sources.reconcile import Reconciler

NOW = 1_767_960_000.0


class Airflow:
    """An API server that tells of two DAGs; what is asked by ``bad`` is answered by ``answers``."""

    def __init__(self, bad=None, answer=None):
        self.bad, self.bad_answer = bad, answer
        self.asked = []

    def answer(self, request):
        path = request.url.path.removeprefix("/api/v2")
        if path == "/auth/token":
            return httpx.Response(201, json={"access_token": "secret-token"})
        self.asked.append(path)
        if self.bad is not None and re.search(self.bad, path):
            return self.bad_answer()
        found = self.found(path, request.url.params)
        return httpx.Response(404 if found is None else 200, json=found)

    def found(self, path, params):
        return airflow_answer(path, params.get_list("state"), NOW)


def look(airflow, folder, monkeypatch=None):
    api = AirflowApi("http://airflow")
    api._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(airflow.answer))
    api._retrying = Retrying(stop=stop_after_attempt(1), reraise=True)
    reconciler = Reconciler(api, folder, Thresholds, "test")
    return reconciler.look(Scene(health_at=NOW - 5), NOW), reconciler


def told(facts):
    return {(fact.kind, fact.status, fact.dag_id or fact.subject) for fact in facts}


ALL = {
    ("component", "firing", "scheduler"), ("task", "firing", "bad"), ("task", "firing", "good"),
    ("run", "firing", "bad"), ("run", "firing", "good"), ("import", "firing", "broken.py"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def account(monkeypatch):
    monkeypatch.setenv("CONTRAIL_API_USERNAME", "watcher")
    monkeypatch.setenv("CONTRAIL_API_PASSWORD", "hunter2")


def of(status, text="no"):
    return lambda: httpx.Response(status, text=text)


def slow():
    raise httpx.ReadTimeout("too slow")


BAD = {
    "bad request": of(400, "Select a region and index for this task instance"), "forbidden": of(403), "gone": of(410),
    "unprocessable": of(422), "error": of(500), "away": of(503), "empty": of(200, ""), "cut": of(200, '{"content": ['),
    "null": of(200, "null"), "list": of(200, "[]"), "number": of(200, "7"), "wrong types": of(200, '{"content": 5}'),
    "slow": slow,
}  # fmt: skip
OF_ONE_OBJECT = ("/dags/bad/dagRuns/r1/taskInstances/t/logs", "/dags/bad/details", "/dags/bad/dagRuns/r2/taskInstances",
                 "/dags/bad/")  # fmt: skip


@pytest.mark.parametrize("answer", BAD)
@pytest.mark.parametrize("path", OF_ONE_OBJECT)
def test_a_bad_answer_about_one_object_hides_no_failure_at_all(tmp_path, path, answer):
    facts, _ = look(Airflow(path, BAD[answer]), tmp_path)
    assert told(facts) >= ALL
    [good] = [fact for fact in facts if (fact.kind, fact.dag_id) == ("task", "good")]
    assert good.cause == "oom"


LISTINGS = {
    r"^/dags/~/dagRuns/~/taskInstances$": "task", r"^/dags/~/dagRuns$": "run", r"^/dags$": "dag",
    r"^/importErrors$": "import", r"^/eventLogs$": "paused",
}  # fmt: skip


@pytest.mark.parametrize("answer", [name for name in BAD if name != "null"])
@pytest.mark.parametrize("path", LISTINGS)
def test_a_listing_that_fails_stops_no_other(tmp_path, path, answer):
    facts, reconciler = look(Airflow(path, BAD[answer]), tmp_path)
    assert told(facts) >= {one for one in ALL if one[0] != LISTINGS[path]}
    assert reconciler.problem
    assert bool(take_losses()) == (answer != "slow")  # what comes too late is asked again


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.PoolTimeout])
def test_a_server_that_goes_away_or_is_slow_during_a_look_loses_nothing(tmp_path, error):
    def gone():
        raise error("no answer")

    _, reconciler = look(Airflow("^/dags/~/dagRuns$", gone), tmp_path)
    assert reconciler.problem
    assert take_losses() == {}


def test_what_could_not_be_asked_is_asked_again_and_then_known(tmp_path, monkeypatch):
    airflow = Airflow("/logs/", of(400))
    clock = [1000.0]
    monkeypatch.setattr("observability.watch.sources.isolation.time.monotonic", lambda: clock[0])
    api = AirflowApi("http://airflow")
    api._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(airflow.answer))
    reconciler, scene, seen = Reconciler(api, tmp_path, Thresholds, "test"), Scene(), {}
    for _ in range(3):
        facts = reconciler.look(scene, NOW, seen.get)
        seen |= {fact.key: fact for fact in facts}
        clock[0] += 1
    assert len([path for path in airflow.asked if "/logs/" in path]) == 2  # once for each, then they rest
    airflow.bad = None
    clock[0] += 60
    facts = reconciler.look(scene, NOW + 300, seen.get)
    causes = {fact.dag_id: fact.cause for fact in facts if fact.kind == "task"}
    assert causes == {"bad": "oom", "good": "oom"}
    airflow.asked.clear()
    reconciler.look(scene, NOW + 305, seen.get)
    assert [path for path in airflow.asked if "/logs/" in path] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["content", "params", "task_instances", "state", "event", "total_entries"]), inner
        )
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(OF_ONE_OBJECT), value=JSON, status=st.sampled_from([200, 200, 200, 400, 404, 409, 500]))
def test_no_answer_about_one_object_hides_anothers_failure(tmp_path, path, value, status):
    facts, _ = look(Airflow(path, lambda: httpx.Response(status, json=value)), tmp_path)
    assert told(facts) >= {one for one in ALL if one[2] != "bad"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=st.dictionaries(st.sampled_from([*task("x", NOW)]), JSON, max_size=4))
def test_no_row_of_a_listing_hides_the_next(tmp_path, row):
    class Odd(Airflow):
        def found(self, path, params):
            found = super().found(path, params)
            for key in ("task_instances", "dag_runs", "dags", "import_errors", "event_logs"):
                if isinstance(found, dict) and found.get(key):
                    found[key] = [row, {**found[key][0], **row}, *found[key]]
            return found

    facts, _ = look(Odd(), tmp_path)
    assert told(facts) >= {one for one in ALL if one[0] in {"task", "run", "import"} and one[2] != "bad"}


def test_one_that_does_not_answer_at_all_is_said_so(tmp_path):
    from observability.watch.sources.api import ApiUnavailable

    with pytest.raises(ApiUnavailable):
        look(Airflow("/", of(503)), tmp_path)


class Endless(httpx.SyncByteStream):
    """A body that goes on and on."""

    def __iter__(self):
        while True:
            yield b" " * 65_536


@pytest.mark.parametrize(("most_bytes", "timeout_s"), [(1_000_000, 60.0), (1 << 60, 0.05)])
def test_an_answer_that_never_ends_is_given_up(tmp_path, monkeypatch, most_bytes, timeout_s):
    monkeypatch.setattr("observability.watch.sources.api._MOST_BYTES", most_bytes)
    monkeypatch.setattr("observability.watch.sources.api._BRIEF_S", timeout_s)
    facts, _ = look(Airflow(r"/dags/bad/.*/logs/", lambda: httpx.Response(200, stream=Endless())), tmp_path)
    assert told(facts) >= ALL
