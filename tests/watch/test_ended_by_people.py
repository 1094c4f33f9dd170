"""A failure that a person sets to another state, clears or deletes is over, and its message says who ended it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timezone

import httpx
import pytest
from sqlalchemy import select
from watch_office import RULES, Office, failed, run_ended

from observability.events import ComponentSilent, DeadlineMissed, Identity, TaskFailed, TaskRetried
from observability.watch.acting import Asked, perform
from observability.watch.deadlines import Deadlines
from observability.watch.engine import IncidentEngine
from observability.watch.facts import Fact, from_document, observed
from observability.watch.ledger import records, schema
from observability.watch.ledger.database import Ledger, write_cursor
from observability.watch.rules.config import Deadline, Thresholds
from observability.watch.sources.airflow_api.scene import Scene
from observability.watch.sources.api import AirflowApi, ApiUnavailable
from observability.watch.sources.reconcile import Reconciler
from observability.watch.withdrawals import open_runs

HOUR = 3600.0
CHANGED = "2026-01-09T12:00:00Z"
CALM = RULES.replace("escalate: [{after: 30m, receiver: chief}]", "escalate: []")
DAG = {"dag_id": "load", "is_paused": False, "owners": [], "tags": [], "relative_fileloc": "load.py"}


class Airflow:
    """An Airflow with runs, tasks and an event log, in which people may do things; asked by a real reconciler."""

    def __init__(self, tmp_path, monkeypatch):
        monkeypatch.setenv("CONTRAIL_API_TOKEN", "a-token-of-the-test")
        self.runs, self.tasks, self.deeds, self.dags = {"r1": "failed"}, {"t": ("failed", 1)}, [], ["load"]
        self.asked = []
        api = AirflowApi("http://airflow")
        api._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(self.answer))
        self.reconciler = Reconciler(api, tmp_path, Thresholds, "test")
        self.scene = Scene(since=1.0, dags={"load": {"file": "load.py"}})

    def answer(self, request):
        path, params = request.url.path.removeprefix("/api/v2"), request.url.params
        self.asked.append(path)
        found = self.found(path, params)
        return httpx.Response(404 if found is None else 200, json=found)

    def found(self, path, params):  # noqa: PLR0911 - one for each kind of question
        if path == "/monitor/health":
            return {"scheduler": {}}
        if path == "/eventLogs":
            wanted = params.get_list("included_events") or [params.get("event")]
            return {"event_logs": [deed for deed in reversed(self.deeds) if deed["event"] in wanted]}
        if path == "/dags":
            return {"dags": [DAG for name in self.dags if name == "load"]}
        if one := re.fullmatch(r"/dags/load/dagRuns/([^/]+)(/taskInstances(?:/([^/]+))?)?(?:/(\d+))?", path):
            return self.run(*one.groups(), params)
        if path in {"/dags/load", "/dags/load/details"}:
            return DAG if self.dags else None
        if path == "/dags/load/dagRuns" and "updated_at_gte" in params:
            return {"dag_runs": self.changed([self.run(one, None, None, None, params) for one in self.runs], params)}
        listed = path.rpartition("/")[2]
        name = {"taskInstances": "task_instances", "dagRuns": "dag_runs", "importErrors": "import_errors"}.get(listed)
        return {name or listed: [], "asset_events": []}

    def run(self, run_id, tasks, task_id, index, params):
        if run_id not in self.runs:
            return None
        if tasks is None:
            queued = "2026-01-09T09:00:00Z"
            return {"dag_id": "load", "dag_run_id": run_id, "state": self.runs[run_id], "queued_at": queued}
        known = {name: self.task(name) for name in self.tasks}
        if task_id is not None:
            return known.get(f"{task_id}[{index}]" if index else task_id)
        if "updated_at_gte" in params:
            return {"task_instances": self.changed(list(known.values()), params)}
        return {"task_instances": [one for one in known.values() if one["state"] in params.get_list("state")]}

    def changed(self, rows, params):
        """The rows, if the moment at which a person changed them is asked for."""
        return rows if params["updated_at_gte"] <= CHANGED <= params.get("updated_at_lte", "9") else []

    def task(self, name):
        task_id, _, index = name.partition("[")
        state, attempt = self.tasks[name]
        number = int(index.rstrip("]")) if index else -1
        return {"task_id": task_id, "state": state, "try_number": attempt, "map_index": number}

    def deed(self, event, run_id="r1", extra="", owner="ann", when=CHANGED, **more):
        one = {"dag_id": "load", "run_id": run_id, "event": event, "owner": owner, "extra": extra, **more}
        self.deeds.append({**one, "event_log_id": len(self.deeds) + 1, "when": when})


class Bureau(Office):
    """An office whose reconciler looks at such an Airflow."""

    def __init__(self, ledger, airflow):
        super().__init__(ledger, CALM)
        self.airflow = airflow

    def look(self, *, slow=True):
        with self.ledger.transaction(lock=True) as connection:
            known = open_runs(connection, self.now)
        self.airflow.scene.slow_at = self.airflow.reconciler._slow_tried = 0.0 if slow else self.now
        self.see(*self.airflow.reconciler.look(self.airflow.scene, self.now, open_runs=known))

    def look_until_known(self):
        """Look, and look again when it need not be waited for any longer who did it."""
        self.look()
        self.pass_time(16)
        self.look()

    def told(self):
        return [(one.kind, dict(one.details).get("Resolved by", "")) for one in self.messages()]


@pytest.fixture
def airflow(tmp_path, monkeypatch):
    return Airflow(tmp_path, monkeypatch)


@pytest.fixture
def bureau(tmp_path, airflow):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield Bureau(ledger, airflow)
    ledger.close()


def fail(bureau, run="r1", *tasks):
    for task in tasks or ("t",):
        task_id, _, index = task.partition("[")
        number = int(index.rstrip("]")) if index else -1
        bureau.see(failed(run=run, task=task_id, map_index=number, time=bureau.now))
    bureau.see(run_ended("firing", run=run, time=bureau.now))
    bureau.pass_time(5)


_OUT = "t was taken out of the run by Airflow: the DAG no longer has it"
DEEDS = {
    "set to success": (("patch_task_instance",), {"t": ("success", 1)}, "failed", "t was set to success by ann"),
    "set to skipped": (("patch_task_instance",), {"t": ("skipped", 1)}, "failed", "t was set to skipped by ann"),
    "set in bulk": (("bulk_task_instances", None), {"t": ("skipped", 1)}, "failed", "t was set to skipped by ann"),
    "taken out": ((), {"t": ("removed", 1)}, "failed", _OUT),
    "instance deleted": (("delete_task_instance",), {}, "failed", "t was deleted by ann"),
    "run set to success": (
        ("patch_dag_run", "r1", '{"state": "success"}'), {"t": ("failed", 1)}, "success",
        "run r1 was set to success by ann",
    ),
    "run deleted": (("delete_dag_run",), {}, None, "run r1 was deleted by ann"),
    "run deleted in the database": ((), {}, None, "run r1 was deleted"),
    "DAG deleted": (("delete_dag", None), {}, None, "the DAG was deleted by ann"),
}  # fmt: skip


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_a_failure_that_a_person_ends_is_resolved_with_words_that_say_so(bureau, airflow, deed):
    done, tasks, run, words = deed
    fail(bureau)
    bureau.look()
    assert bureau.told() == [("opened", "")]
    if done:
        airflow.deed(*done)
    airflow.tasks, airflow.runs = tasks, {"r1": run} if run else {}
    bureau.look(slow=not done)
    if " by " not in words:  # the event log may still tell who it was
        assert bureau.told() == [("opened", "")]
        bureau.pass_time(16)
    bureau.look(slow=False)
    assert bureau.told() == [("opened", ""), ("resolved", words)]
    bureau.see(failed(time=bureau.now - 5))  # another host's word of it comes late
    bureau.pass_time(9 * HOUR, step=60)
    assert len(bureau.told()) == 2


def test_an_instance_that_airflow_took_out_of_its_run_may_be_one_too_many(bureau, airflow):
    """Its task is mapped to fewer when it is run again, or is gone as a whole: Airflow's state is the same."""
    fail(bureau, "r1", "t[3]")
    airflow.tasks = {"t[3]": ("removed", 1)}
    bureau.look()
    bureau.pass_time(16)
    bureau.look(slow=False)
    why = "the DAG no longer has it, or maps it to fewer"
    assert bureau.told() == [("opened", ""), ("resolved", f"t[3] was taken out of the run by Airflow: {why}")]


@pytest.mark.parametrize("refused_at", ["2026-01-09T11:59:00Z", "2026-01-09T12:00:05Z"], ids=["before", "after"])
@pytest.mark.parametrize(
    ("event", "extra", "run", "words"),
    [
        ("patch_task_instance", '{"new_state": "success"}', "failed", "t was set to success"),
        ("patch_dag_run", '{"state": "success"}', "success", "run r1 was set to success"),
    ],
)
def test_a_request_that_airflow_refused_names_nobody(bureau, airflow, event, extra, run, words, refused_at):  # noqa: PLR0913, PLR0917
    asked = {"event": event, "extra": extra, "task_id": "t" if event == "patch_task_instance" else None}
    fail(bureau)
    airflow.deed(**asked)
    airflow.deed(**asked, owner="ned", when=refused_at)
    airflow.tasks, airflow.runs = {"t": ("success" if run == "failed" else "failed", 1)}, {"r1": run}
    bureau.look()
    assert bureau.told() == [("opened", ""), ("resolved", f"{words} by ann")]


def test_a_run_that_succeeds_by_itself_after_a_refused_request_was_set_by_nobody(bureau, airflow):
    fail(bureau)
    airflow.deed("patch_dag_run", extra='{"state": "success"}', owner="ned", when="2026-01-09T11:59:00Z")
    airflow.runs = {"r1": "success"}
    bureau.look_until_known()
    assert bureau.told() == [("opened", "")]


def test_a_task_that_is_set_after_its_run_was_is_what_a_person_ended(bureau, airflow):
    airflow.runs = {"r1": "success"}
    airflow.deed("patch_dag_run", extra='{"state": "success"}')
    bureau.see(failed(time=bureau.now, cause="cancelled"))
    bureau.pass_time(5)
    airflow.tasks = {"t": ("success", 1)}
    airflow.deed("patch_task_instance")
    bureau.look()
    assert bureau.told() == [("opened", ""), ("resolved", "t was set to success by ann")]


def test_a_note_on_a_run_that_goes_on_past_a_failure_repairs_nothing(bureau, airflow):
    fail(bureau)
    airflow.runs = {"r1": "success"}
    airflow.deed("patch_dag_run", extra='{"note": "known"}')
    bureau.look()
    assert bureau.told() == [("opened", "")]


def test_one_of_several_failed_tasks_that_is_set_leaves_the_others_open(bureau, airflow):
    fail(bureau, "r1", "t[0]", "t[1]", "u")
    airflow.tasks = {"t[0]": ("skipped", 1), "t[1]": ("failed", 1), "u": ("failed", 1)}
    airflow.deed("patch_task_instance")
    bureau.look()
    assert [one.live for one in bureau.incidents()] == [True]
    airflow.tasks = dict.fromkeys(airflow.tasks, ("success", 1))
    bureau.look()
    assert bureau.told()[-1] == ("resolved", "u was set to success by ann")


def test_one_of_several_broken_runs_that_is_deleted_leaves_the_others_open(bureau, airflow):
    airflow.runs = {"r1": "failed", "r2": "failed"}
    fail(bureau, "r1")
    fail(bureau, "r2")
    airflow.deed("delete_dag_run", "r1")
    del airflow.runs["r1"]
    bureau.look()
    assert [sorted(one.runs) for one in bureau.incidents() if one.live] == [["r2"]]
    airflow.deed("delete_dag_run", "r2")
    airflow.runs = {}
    bureau.look()
    assert bureau.told() == [("opened", ""), ("resolved", "run r2 was deleted by ann")]


def test_what_was_cleared_waits_for_its_outcome_and_says_who_cleared_it(bureau, airflow):
    fail(bureau)
    bureau.pass_time(3.9 * HOUR, step=60)
    airflow.deed("post_clear_task_instances")
    airflow.tasks, airflow.runs = {"t": ("running", 2)}, {"r1": "running"}
    bureau.look()
    bureau.look()
    bureau.pass_time(3 * HOUR, step=60)
    assert bureau.told() == [("opened", "")]
    (one,) = bureau.incidents()
    assert one.inhibited_by == "t was cleared by ann, and is not done"
    bureau.see(failed(status="resolved", try_number=2, time=bureau.now))
    bureau.see(run_ended("resolved", time=bureau.now))
    assert bureau.told()[1:] == [("resolved", "run r1 succeeded after t was cleared by ann")]


def succeed(bureau, run="r1"):
    bureau.see(failed(run=run, status="resolved", try_number=2, time=bureau.now))
    bureau.see(run_ended("resolved", run=run, time=bureau.now))


def set_run(bureau, airflow, state, skew=0.0):
    """A person sets the run to a state: Airflow's own words of it come by an event, the deed by its event log."""
    airflow.deed("patch_dag_run", extra=f'{{"state": "{state}"}}')
    airflow.runs = {"r1": state}
    how = "firing" if state == "failed" else "resolved"
    word = run_ended(how, time=bureau.now + skew, cause="cancelled", reason="set to failed", provider="listener")
    bureau.see(word)
    bureau.pass_time(1)
    bureau.look(slow=False)
    bureau.pass_time(9)
    bureau.see(word)  # the same event once more, from the store
    bureau.look(slow=False)
    bureau.pass_time(5)


SET = ("resolved", "run r1 was set to success by ann")
SKEWS = {"clocks agree": 0.0, "its clock is behind": -2.0, "its clock is ahead": 2.0}


@pytest.mark.parametrize("skew", SKEWS.values(), ids=SKEWS)
@pytest.mark.parametrize("watcher", ["the same", "another each time"])
def test_each_time_that_a_person_sets_a_run_to_failed_is_told(bureau, airflow, skew, watcher):
    bureau.engine = IncidentEngine(bureau.engine.notifier, deeds_s=6)
    fail(bureau)
    succeed(bureau)
    bureau.pass_time(7)
    assert bureau.told() == [("opened", ""), ("resolved", "run r1 succeeded")]
    airflow.tasks = {"t": ("success", 2)}
    for _ in range(3):
        bureau.pass_time(20)
        before = len(bureau.told())
        for state, told in (("failed", ("opened", "")), ("success", SET)):
            if watcher != "the same":
                bureau.engine = IncidentEngine(bureau.engine.notifier, deeds_s=6)
            set_run(bureau, airflow, state, skew)
            assert bureau.told()[before:] == ([told] if state == "failed" else [("opened", ""), told])


def test_a_person_who_sets_a_run_that_has_failed_to_failed_says_nothing_new(bureau, airflow):
    fail(bureau)
    set_run(bureau, airflow, "failed")
    bureau.pass_time(60)
    assert bureau.told() == [("opened", "")]


@pytest.mark.parametrize("again", ["by itself", "by a person", "by a person who did not clear it"])
def test_a_run_that_failed_without_a_task_and_was_run_again_speaks_again(bureau, airflow, again):
    airflow.tasks = {}
    bureau.see(run_ended("firing", time=bureau.now, cause="timeout"))
    bureau.pass_time(5)
    if again != "by a person who did not clear it":
        airflow.runs = {"r1": "running"}
        airflow.deed("clear_dag_run")
        bureau.look(slow=False)
        assert [one.inhibited_by for one in bureau.incidents()] == ["it was cleared by ann, and is not done"]
    bureau.pass_time(60)
    airflow.runs, airflow.deeds = {"r1": "failed"}, []
    bureau.see(run_ended("firing", time=bureau.now, cause="timeout" if again == "by itself" else "cancelled"))
    bureau.pass_time(60)
    wanted = ["opened"] if again == "by a person who did not clear it" else ["opened", "reminder"]
    assert [kind for kind, _ in bureau.told()] == wanted


def test_a_task_that_a_person_sets_to_failed_again_is_told_again(bureau, airflow):
    fail(bureau)
    for number in range(3):
        airflow.deed("patch_task_instance")
        airflow.tasks = {"t": ("success", 1)}
        bureau.look(slow=False)
        assert bureau.told()[2 * number :] == [("opened", ""), ("resolved", "t was set to success by ann")]
        bureau.pass_time(20)
        airflow.deeds, airflow.tasks = [], {"t": ("failed", 1)}
        bureau.see(failed(cause="cancelled", reason="set to failed by a person", certainty=2, time=bureau.now))
        bureau.pass_time(5)
        bureau.see(failed(time=1_000_000.0, certainty=0, provider="reconciler"))  # Airflow's row has its old end
        bureau.pass_time(60)
    assert [kind for kind, _ in bureau.told()] == ["opened", "resolved"] * 3 + ["opened"]


@pytest.mark.parametrize("late", [0.0, 5.0, 50.0])
def test_a_failure_that_is_heard_of_after_the_success_that_followed_it_is_old(bureau, airflow, late):
    fail(bureau)
    first = bureau.now
    bureau.pass_time(20)
    succeed(bureau)
    bureau.pass_time(late)
    bureau.see(run_ended("firing", time=first + 10, provider="journal"))
    bureau.pass_time(60)
    assert [kind for kind, _ in bureau.told()] == ["opened", "resolved"]


@pytest.mark.parametrize("said", ["resolved", "withdrawn"])
def test_a_look_that_is_older_than_a_failure_does_not_end_it(bureau, airflow, said):
    fail(bureau)
    succeed(bureau)
    ended = bureau.now
    bureau.pass_time(3)
    began = bureau.now
    bureau.pass_time(1)
    bureau.see(run_ended("firing", time=bureau.now, cause="cancelled", provider="listener"))
    bureau.see(run_ended(said, time=ended if said == "resolved" else began, provider="reconciler"))
    bureau.pass_time(30)
    assert [kind for kind, _ in bureau.told()] == ["opened", "resolved", "opened"]


@pytest.mark.parametrize("row", ["names the run", "has it in its body", "is about another run", "there is none"])
@pytest.mark.parametrize("seen", ["before it is read", "after it is read"])
def test_a_cleared_run_that_succeeds_at_once_says_who_cleared_it(bureau, airflow, row, seen):
    """``seen``: the watcher hears of the end before, or after, its next reading of Airflow's event log."""
    bureau.engine = IncidentEngine(bureau.engine.notifier, deeds_s=6)
    fail(bureau)
    bureau.look()
    body = '{"dag_run_id": "r1", "only_failed": true}' if row == "has it in its body" else '{"dag_run_id": "r2"}'
    run = {"names the run": "r1", "is about another run": "r2"}.get(row)
    if row != "there is none":
        airflow.deed("post_clear_task_instances", run, body)
    airflow.tasks, airflow.runs = {"t": ("success", 2)}, {"r1": "success"}
    if seen == "after it is read":
        bureau.look(slow=False)
        succeed(bureau)
    else:
        succeed(bureau)
        assert bureau.told() == [("opened", "")]
        bureau.pass_time(2)
        bureau.look(slow=False)
    is_known = row in {"names the run", "has it in its body"}
    assert len(bureau.told()) == 1 + is_known, "what is known is said at once"
    bureau.pass_time(6)
    did = "t was" if seen == "after it is read" else "it was"
    words = f"run r1 succeeded after {did} cleared by ann" if is_known else "run r1 succeeded"
    assert bureau.told() == [("opened", ""), ("resolved", words)]
    bureau.pass_time(9 * HOUR, step=60)
    assert len(bureau.told()) == 2


def test_an_end_waits_for_a_reading_that_began_after_it_and_no_longer(bureau):
    """A look at a slow Airflow takes long: one that began before says nothing of who had the run succeed."""
    bureau.engine = IncidentEngine(bureau.engine.notifier, deeds_s=30)
    fail(bureau)
    succeed(bureau)
    for began, is_over in ((bureau.now - 1, False), (bureau.now + 1, True)):
        bureau.pass_time(5)
        with bureau.ledger.transaction(lock=True) as connection:
            bureau.engine.read_deeds(connection, began, bureau.now)
        bureau.pass_time(1)
        assert [kind for kind, _ in bureau.told()] == ["opened", *["resolved"] * is_over]


def test_a_run_that_was_cleared_from_its_incident_is_over_with_its_success(bureau, airflow):
    bureau.engine = IncidentEngine(bureau.engine.notifier, deeds_s=6)
    fail(bureau)
    with bureau.ledger.transaction(lock=True) as connection:
        (one,) = records.incidents(connection)
        perform(bureau.engine, connection, one, Asked(act="rerun", who="bob", source="page", value="t"), bureau.now)
    bureau.pass_time(3 * HOUR, step=60)
    assert [one.inhibited_by for one in bureau.incidents()] == ["it was cleared by bob, and is not done"]
    airflow.deed("post_clear_task_instances")
    bureau.look(slow=False)
    succeed(bureau)
    assert bureau.told() == [("opened", ""), ("resolved", "run r1 succeeded after it was cleared by bob")]


@pytest.mark.parametrize("again", ["r1", "r2"])
def test_a_failure_while_the_end_waits_for_who_cleared_it_is_not_lost(bureau, airflow, again):
    bureau.engine = IncidentEngine(bureau.engine.notifier, deeds_s=6)
    fail(bureau)
    succeed(bureau)
    bureau.pass_time(1)
    fail(bureau, again)
    bureau.pass_time(20)
    left = [run for one in bureau.incidents() if one.live for run in one.runs]
    assert left == [again]
    succeed(bureau, again)
    bureau.pass_time(10)
    assert not any(one.live for one in bureau.incidents())
    assert bureau.told()[-1] == ("resolved", f"run {again} succeeded")


@pytest.mark.parametrize("ended_by", ["a person", "another run", "a restart"])
def test_an_end_that_waits_comes_once(bureau, airflow, ended_by):
    bureau.engine = IncidentEngine(bureau.engine.notifier, deeds_s=6)
    fail(bureau)
    succeed(bureau)
    if ended_by == "a person":
        with bureau.ledger.transaction(lock=True) as connection:
            bureau.engine.resolve(connection, records.incidents(connection)[0], bureau.now, "it is well")
    elif ended_by == "another run":
        bureau.see(run_ended("resolved", run="r2", time=bureau.now + 1))
    else:
        bureau.engine = IncidentEngine(bureau.engine.notifier)
    bureau.pass_time(9 * HOUR, step=60)
    words = {"a person": "it is well", "another run": "run r2 succeeded"}.get(ended_by, "run r1 succeeded")
    assert bureau.told() == [("opened", ""), ("resolved", words)]


@pytest.mark.parametrize("later", ["it fails again", "nothing becomes of it"])
def test_what_was_cleared_in_vain_is_told_again(bureau, airflow, later):
    fail(bureau)
    airflow.deed("post_clear_task_instances")
    airflow.tasks = {"t": ("queued", 2)}
    bureau.look()
    if later == "it fails again":
        bureau.see(failed(try_number=2, time=bureau.now))
        bureau.pass_time(10)
    else:
        bureau.pass_time(4.1 * HOUR, step=60)
    assert [kind for kind, _ in bureau.told()] == ["opened", "reminder"]


def test_a_run_that_is_deleted_while_it_runs_misses_no_deadline(bureau, airflow):
    rules = [Deadline(name="due", dag="load", run_finishes_within="1h"),
             Deadline(name="task", dag="load", task="t", task_finishes_within="1h")]  # fmt: skip
    bureau.engine.notifier = type(bureau.engine.notifier)(
        bureau.engine.notifier.rules.model_copy(update={"deadlines": rules}), bureau.engine.notifier.links, "test"
    )
    airflow.runs, airflow.tasks = {"r1": "running"}, {"t": ("running", 1)}
    bureau.see(Fact(kind="run", status="noted", time=bureau.now, dag_id="load", run_id="r1"))
    bureau.see(failed(status="noted", time=bureau.now))
    bureau.look()
    airflow.runs = {}
    airflow.deed("delete_dag_run")
    bureau.look(slow=False)
    bureau.now += 2 * HOUR
    with bureau.ledger.transaction(lock=True) as connection:
        late = Deadlines(rules, {"load": {}}).check(connection, bureau.now)
    assert [one.status for one in late if one.status != "resolved"] == []


def test_a_deadline_that_was_missed_by_a_run_that_is_deleted_is_over(bureau, airflow):
    airflow.runs = {"r1": "running"}
    bureau.see(Fact(kind="deadline", status="firing", time=bureau.now, cause="deadline", reason="late", certainty=3,
                    dag_id="load", run_id="r1", subject="due"))  # fmt: skip
    bureau.pass_time(5)
    airflow.runs = {}
    bureau.look_until_known()
    assert bureau.told() == [("opened", ""), ("resolved", "run r1 was deleted")]


@pytest.mark.parametrize("read_after", [4, 14, 30])
def test_whoever_deleted_a_dag_is_named_if_the_event_log_tells_it_soon(bureau, airflow, read_after):
    """Nobody may read in the event log about a DAG that Airflow does not know: until its file is parsed again."""
    fail(bureau)
    airflow.dags, airflow.runs, airflow.tasks = [], {}, {}
    bureau.look()
    bureau.pass_time(read_after)
    bureau.look()
    airflow.deed("delete_dag", None)
    bureau.look(slow=False)
    bureau.look()
    words = "the DAG was deleted by ann" if read_after < 15 else "run r1 was deleted"
    assert bureau.told() == [("opened", ""), ("resolved", words)]


def test_a_dag_that_is_gone_is_told_once_and_taken_as_meant_after_a_day(bureau, airflow):
    airflow.dags = [""]
    bureau.look()
    bureau.pass_time(24.5 * HOUR, step=600)
    assert [kind for kind, _ in bureau.told()] == ["opened"]
    with bureau.ledger.transaction(lock=True) as connection:
        bureau.engine.quiet(connection, bureau.now)
    assert bureau.told()[1:] == [("resolved", "nobody: it was gone for a day, and is taken as meant to be")]


@pytest.mark.parametrize("told_before", [False, True])
def test_a_dag_that_a_person_deletes_is_no_news_and_ends_what_was_told_of_it(bureau, airflow, told_before):
    if told_before:
        airflow.dags = [""]
        bureau.look()
        bureau.pass_time(5)
    airflow.deed("delete_dag", None)
    airflow.dags = []
    bureau.look()
    bureau.pass_time(60)
    wanted = [("opened", ""), ("resolved", "the DAG was deleted by ann")] if told_before else []
    assert bureau.told() == wanted


def test_a_dag_that_is_paused_reminds_as_rarely_as_what_somebody_has_taken(bureau):
    fail(bureau)
    with bureau.ledger.transaction(lock=True) as connection:
        write_cursor(connection, "reconcile", {"dags": {"load": {"paused": True}}})
    bureau.pass_time(47 * HOUR, step=600)
    assert [kind for kind, _ in bureau.told()] == ["opened"]
    bureau.pass_time(3 * HOUR, step=600)
    assert [kind for kind, _ in bureau.told()] == ["opened", "reminder"]


@pytest.mark.parametrize("change", ["time", "another attempt", "worse", "many more"])
def test_what_somebody_has_taken_speaks_again_when_it_changes_or_is_forgotten(bureau, change):
    fail(bureau)
    with bureau.ledger.transaction(lock=True) as connection:
        bureau.engine.acknowledge(connection, records.incidents(connection)[0], "ann", bureau.now)
    bureau.pass_time(47 * HOUR, step=600)
    assert [kind for kind, _ in bureau.told()] == ["opened"]
    if change == "another attempt":
        bureau.see(failed(try_number=2, time=bureau.now))
    elif change == "worse":
        bureau.see(failed(task="u", severity="critical", time=bureau.now))
    elif change == "many more":
        bureau.see(*(failed(task=f"u{number}", time=bureau.now) for number in range(5)))
    bureau.pass_time(2 * HOUR if change == "time" else 600, step=60)
    assert [kind for kind, _ in bureau.told()] == ["opened", "update" if change == "many more" else "reminder"]
    assert [one.state for one in bureau.incidents()] == ["acknowledged"]


def test_what_is_gone_is_asked_about_in_turn_and_not_all_at_once(bureau, airflow):
    airflow.runs = {f"r{number}": "failed" for number in range(40)}
    for run in airflow.runs:
        fail(bureau, run)
    airflow.asked.clear()
    bureau.look()
    assert sum(bool(re.fullmatch(r"/dags/load/dagRuns/r\d+", path)) for path in airflow.asked) == 10
    airflow.runs = {}
    for _ in range(8):
        airflow.asked.clear()
        bureau.look()
        assert len([path for path in airflow.asked if re.fullmatch(r"/dags/load/dagRuns/r\d+", path)]) <= 20
        bureau.pass_time(15)
    assert bureau.told()[-1][0] == "resolved"


def test_a_proxy_that_finds_nothing_deletes_nothing(bureau, airflow):
    fail(bureau)
    airflow.found = lambda *_: None
    with pytest.raises(ApiUnavailable, match="has no Airflow API"):
        bureau.look()
    assert [(one.kind, one.live) for one in bureau.incidents()] == [("task", True)]


def test_what_ended_is_written_down_as_an_event_once(bureau, airflow):
    fail(bureau)
    airflow.runs = {}
    bureau.look_until_known()
    with bureau.ledger.transaction() as connection:
        documents = connection.execute(select(schema.events.c.document)).scalars().all()
    assert [one["action"] for one in documents].count("incident.resolved") == 1


def _reported(bureau, action):
    with bureau.ledger.transaction() as connection:
        events = connection.execute(select(schema.events.c.document).order_by(schema.events.c.due)).scalars().all()
    return [one["event"]["reason"] for one in events if one["action"] == action]


def _miss(bureau, **more):
    event = DeadlineMissed(
        identity=Identity(dag_id="load", run_id="r1"), deadline="due", reason="late", provider="callback",
        due=datetime.fromtimestamp(bureau.now - 60, timezone.utc), discriminator="1",
    )  # fmt: skip
    bureau.see(replace(observed(event, time=bureau.now), event=None, **more))
    bureau.pass_time(5)


def test_a_deadline_is_reported_as_recovered_when_a_person_deletes_its_run(bureau, airflow):
    airflow.runs = {"r1": "running"}
    _miss(bureau)
    airflow.runs = {}
    bureau.look_until_known()
    assert _reported(bureau, "deadline.recovered") == ["run r1 was deleted"]


def test_a_deadline_is_reported_as_recovered_when_a_person_resolves_its_incident(bureau):
    _miss(bureau)
    one = bureau.incidents()[0]
    with bureau.ledger.transaction(lock=True) as connection:
        one = bureau.engine.resolve(connection, one, bureau.now)
        bureau.engine.resolve(connection, one, bureau.now)
    assert _reported(bureau, "deadline.recovered") == ["a person closed it"]


@pytest.mark.parametrize(
    ("state", "why"),
    [("success", ["run r1 succeeded at 13:46 UTC, 1 min 5 s after it was due"]), ("failed", [])],
    ids=["it succeeds", "it fails"],
)
def test_a_deadline_of_airflows_own_recovers_when_its_run_succeeds(bureau, state, why):
    _miss(bureau)
    bureau.see(run_ended("resolved" if state == "success" else "firing", time=bureau.now))
    for _ in range(2):
        with bureau.ledger.transaction(lock=True) as connection:
            facts = Deadlines([], {"load": {}}).check(connection, bureau.now)
        bureau.see(*facts)
    assert _reported(bureau, "deadline.recovered") == why


def test_a_deadline_of_airflows_own_whose_run_failed_recovers_with_a_later_run(bureau):
    _miss(bureau)
    bureau.see(run_ended("firing", time=bureau.now))
    bureau.now += 60
    bureau.see(run_ended("resolved", run="r2", time=bureau.now))
    with bureau.ledger.transaction(lock=True) as connection:
        facts = Deadlines([], {"load": {}}).check(connection, bureau.now)
    assert [one.reason for one in facts] == [
        "run r1 has ended, and a later run succeeded at 13:47 UTC, 2 min 5 s after it was due"
    ]


def test_a_silent_component_stays_silent_when_the_run_that_waits_for_it_is_deleted(bureau, airflow):
    airflow.runs = {"r1": "running"}
    event = ComponentSilent(identity=Identity(component="triggerer", dag_id="load", run_id="r1"), reason="no heartbeat")
    bureau.see(observed(event, time=bureau.now))
    bureau.pass_time(5)
    airflow.runs = {}
    airflow.deed("delete_dag_run")
    bureau.look()
    assert bureau.told() == [("opened", "")]


def test_a_failure_that_airflow_had_not_heard_of_is_told_when_airflow_says_that_it_is_one(bureau):
    away = TaskRetried(
        identity=Identity(dag_id="load", task_id="t", run_id="r1", try_number=1, map_index=-1),
        cause="platform", reason="no API server", error_type="AirflowRuntimeError",
    )  # fmt: skip
    bureau.see(from_document(away.document()))
    bureau.pass_time(90)
    assert bureau.told() == []
    given_up = TaskFailed(identity=away.identity, cause="lost_heartbeat", reason="no heartbeat", provider="reconciler")
    for _ in range(2):
        bureau.see(observed(given_up, time=bureau.now))
        bureau.pass_time(5)
    assert bureau.told() == [("opened", "")]
    assert _reported(bureau, "task.failed") == ["no API server"]  # who saw the exception knows the cause better
