"""A title says what happened to what, and how bad it is."""

from __future__ import annotations

from datetime import datetime

import pytest

from observability import catalog
from observability.emit import emit
from observability.events import Identity, SchemaDrifted
from observability.watch.facts import from_document
from observability.watch.incidents import Incident
from observability.watch.notify.titles import _BY_KIND, title_of, title_says

NOW = 1_767_247_920.0  # 2026-01-01 06:12:00 UTC


def incident(kind="task", **more):
    given = {
        "id": "i", "key": "k", "state": "open", "kind": kind, "severity": "error", "cause": "app", "reason": "",
        "certainty": 3, "first_seen": NOW, "last_seen": NOW, "dag_id": "flights_daily", "count": 1, **more,
    }  # fmt: skip
    return Incident(**given)


PARTS = tuple(f"load[{number}]" for number in range(30))
MISMATCH = (
    "Executor LocalExecutor(parallelism=3) reported that the task instance <TaskInstance: flights_daily.load r "
    "[queued] ti_id=01a21f76> finished with state failed, but the task instance's state attribute is queued. "
    "Learn more: https://airflow.apache.org/docs/apache-airflow/stable/troubleshooting.html"
)
SAID = [
    (incident(task_id="load", cause="platform", reason=MISMATCH),
     "flights_daily: load failed: LocalExecutor reports failed, Airflow had it queued"),
    (incident(task_id="load", cause="platform", reason=f"{MISMATCH} Extra info: ImagePullBackOff"),
     "flights_daily: load failed: LocalExecutor reports failed, Airflow had it queued: ImagePullBackOff"),
    (incident("component", subject="scheduler", dag_id=None, reason="its last heartbeat was 32 s ago"),
     "Scheduler is down: no heartbeat for 32 s"),
    (incident("component", subject="triggerer", reason="its last heartbeat was 2 min 40 s ago; 3 tasks wait for it"),
     "Triggerer is down: no heartbeat for 2 min 40 s, 3 tasks wait for it"),
    (incident(task_id="load", map_index=0, failed_tasks=PARTS, reason="ValueError: part 0 fails"),
     "flights_daily: load[0] failed: ValueError: part 0 fails (30 mapped tasks)"),
    (incident(task_id="load", failed_tasks=("load", "check"), reason="ValueError: no"),
     "flights_daily: load failed: ValueError: no (and 1 other task)"),
    (incident(task_id="load", cause="killed", reason="its process was ended by SIGKILL",
              evidence={"airflow.signal": "SIGKILL"}), "flights_daily: load was killed by SIGKILL"),
    (incident(task_id="load", cause="oom", evidence={"airflow.peak_rss": 2**30, "airflow.memory_limit": 2**30}),
     "flights_daily: load ran out of memory (1024 MiB of 1024 MiB)"),
    (incident(task_id="load", cause="lost_heartbeat"), "flights_daily: load was lost: its worker stopped reporting"),
    (incident(task_id="load", cause="cancelled", reason="marked failed by ann"),
     "flights_daily: load was marked failed by ann"),
    (incident(task_id="load", cause="cancelled", reason="HITLRejectException: no"),
     "flights_daily: load was ended by a person: HITLRejectException: no"),
    (incident(task_id="load", cause="cancelled", reason="Airflow ended the task: its state had become failed"),
     "flights_daily: load was ended: its state had become failed"),
    (incident(task_id="load", cause="import", evidence={"airflow.state": "removed"}, failed_tasks=("load", "check"),
              reason="the DAG no longer has it, so Airflow took it out of the run, which goes on without it"),
     "flights_daily: load was taken out of its run, and did not fail: the DAG no longer has it (and 1 other task)"),
    (incident("run", cause="cancelled"), "flights_daily: run was ended by a person"),
    (incident("run", cause="timeout", reason="it ran 1 min 32 s, its dagrun_timeout is 1 min"),
     "flights_daily: run took too long: it ran 1 min 32 s, its dagrun_timeout is 1 min"),
    (incident("paused", evidence={"failed_runs": 3}), "flights_daily was paused by Airflow after 3 failed runs"),
    (incident("deadline", evidence={"deadline.due": "2026-01-01T06:00:00Z"}),
     "flights_daily missed its deadline: due 06:00, now 06:12 UTC"),
    (incident("deadline", last_seen=NOW + 2, evidence={"deadline.due": "2026-01-01T06:12:00.4Z"}),
     "flights_daily missed its deadline: due 06:12:00, now 06:12:02 UTC"),
    (incident("deadline", subject="daily", early=True, evidence={"deadline.due": "2026-01-01T06:30:00Z"}),
     "flights_daily may miss its deadline daily: due 06:30, now 06:12 UTC"),
    (incident("deadline", reason="step load of load wrote 12 rows: at least 500 are expected"),
     "flights_daily: load wrote 12 rows, at least 500 are expected"),
    (incident("stuck", task_id="load", reason="it has been queued for 3 min 4 s in pool default_pool"),
     "flights_daily: load is stuck: queued for 3 min 4 s in pool default_pool"),
    (incident("import", subject="dags/flights.py", reason="SyntaxError: invalid syntax"),
     "flights.py cannot be loaded: SyntaxError: invalid syntax"),
    (incident("telemetry", subject="relay", reason="3 observations lost at relay: DiskFull"),
     "3 observations were lost at relay: DiskFull"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "said"), SAID, ids=[said for _, said in SAID])
def test_a_title_is_a_sentence(one, said):
    assert title_of(one, now=one.last_seen) == said


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ("01T06:12:00", "due 06:00 UTC"),
        ("01T06:00:02", "due 06:00:00 UTC"),
        ("02T06:12:00", "due 2026-01-01 06:00 UTC"),
    ],
)
def test_a_title_that_is_kept_says_when_a_deadline_was_due_and_no_now(seen, said):
    seen = datetime.fromisoformat(f"2026-01-{seen}+00:00").timestamp()
    kept = incident("deadline", last_seen=seen, evidence={"deadline.due": "2026-01-01T06:00:00Z"})
    assert title_of(kept) == f"flights_daily missed its deadline: {said}"


def test_a_deadline_that_is_over_says_when_it_was():
    due = {"deadline.due": "2026-01-01T06:00:00Z"}
    missed = incident("deadline", resolved_at=NOW + 720, evidence=due)
    assert title_of(missed, "resolved") == "Resolved: flights_daily missed its deadline: due 06:00, over 06:24 UTC"
    warned = incident("deadline", early=True, resolved_at=NOW - 1200, evidence=due)
    assert title_of(warned, "resolved") == (
        "Resolved: flights_daily was at risk of missing its deadline: due 06:00, over 05:52 UTC"
    )


@pytest.mark.parametrize(
    ("kind", "reason", "says"),
    [
        ("component", "its last heartbeat was 32 s ago", True),
        ("component", "its last heartbeat was 2 min 40 s ago; 3 tasks wait for it", True),
        ("stuck", "it has been queued for 3 min 4 s in pool default_pool", True),
        ("telemetry", "3 observations lost at relay: DiskFull", True),
        ("task", "ValueError: no such table: orders", True),
        ("task", f"ValueError: {'long ' * 60}and its end", False),
        ("task", MISMATCH, False),
        ("task", "", True),
        ("run", "it ran 1 min 32 s, its dagrun_timeout is 1 min", True),
    ],
)
def test_what_a_title_has_all_of_need_not_be_said_below_it(kind, reason, says):
    assert title_says(title_of(incident(kind, subject="relay", task_id="load", reason=reason)), reason) is says


def test_every_kind_of_incident_has_a_title_of_its_own():
    remembered_only = {"rows", "asset"}
    assert set(catalog.INCIDENT_KINDS) - remembered_only - set(_BY_KIND) == set()


@pytest.mark.parametrize("kind", [*catalog.INCIDENT_KINDS, "something new"])
@pytest.mark.parametrize("cause", catalog.CAUSES)
def test_a_title_needs_no_evidence_and_shows_no_tag(kind, cause):
    said = title_of(incident(kind, cause=cause, subject="subject", task_id="load"))
    assert "None" not in said
    assert not said.endswith((f": {cause}", ": "))


@pytest.mark.parametrize(
    ("kind", "start"), [("reminder", "Still open: "), ("resolved", "Resolved: "), ("escalated", "Not acknowledged: ")]
)
def test_a_later_message_says_what_became_of_it(kind, start):
    assert (
        title_of(incident(task_id="load", reason="ValueError: no"), kind)
        == f"{start}flights_daily: load failed: ValueError: no"
    )


def test_a_reason_that_is_long_ends_between_two_words():
    words = "dag_run.started, " * 20
    title = title_of(incident(kind="canary", reason=words))
    assert title.endswith("dag_run.started,…")
    assert len(title) < 180


def test_changed_columns_are_bad_data_and_are_named(contrail):
    emit(SchemaDrifted(identity=Identity(dag_id="load", run_id="r"), table="flights", columns_added=("gate",)))
    fact = from_document(contrail.events("schema.drifted")[0])
    said = incident("data", dag_id="load", cause=fact.cause, subject=fact.subject, reason=fact.reason)
    assert (fact.cause, title_of(said, "opened", NOW)) == (
        "data",
        "load: columns of flights changed (new: gate; gone: none)",
    )


@pytest.mark.parametrize("kind", catalog.INCIDENT_KINDS)
def test_the_cause_of_a_kind_is_one_of_the_catalogue(kind):
    assert catalog.INCIDENT_KINDS[kind].cause in catalog.CAUSES
