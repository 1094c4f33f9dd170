"""The incident after each fact, exactly: states, times, counts and notices."""

from __future__ import annotations

from dataclasses import replace

import pytest
from watch_office import failed, run_ended

from observability.watch.facts import Fact
from observability.watch.incidents import (
    Incident,
    Policy,
    acknowledge,
    dismiss,
    elapse,
    ended,
    escalates,
    key_of,
    observe,
    postpone,
    recover,
    refine,
    reopen,
    resolve,
)

POLICY = Policy(
    group_wait_s=1, evidence_wait_s=2, fold_wait_s=4, suspect_wait_s=64, remind_every_s=1000,
    remind_acknowledged_s=5000, settle_s=32, escalate_after=(100.0, 300.0),
)  # fmt: skip
NOW = 2_000_000.0


def opened(fact=None, now=NOW):
    return observe(None, fact or failed(), now, POLICY)[0]


def told(fact=None, now=NOW):
    """An incident that people were told of at ``now``."""
    return elapse(opened(fact, now - 10), now, POLICY)[0]


STUCK = Fact(
    kind="stuck", status="firing", time=1.0, cause="stuck_queued", dag_id="load", run_id="r1", task_id="t", try_number=1
)


def values(incident, *names):
    return tuple(getattr(incident, name) for name in names)


def test_a_failure_opens_an_incident_with_all_that_the_fact_says():
    fact = failed(
        map_index=0, iteration="a:1", region_id="g", subject="n", severity="critical",
        evidence={"error.type": "E"}, about={"owner": "ann"},
    )  # fmt: skip
    got = opened(fact)
    kept = ("kind", "severity", "cause", "reason", "certainty", "dag_id", "run_id", "task_id", "map_index")
    kept += ("try_number", "iteration", "region_id", "subject", "evidence", "about")
    assert values(got, *kept) == values(fact, *kept)
    assert values(got, "state", "key", "count", "first_seen", "last_seen", "unconfirmed", "failed_tasks", "early") == (
        "open", "run:load:r1", 1, fact.time, fact.time, (), (fact.member,), False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fact", "wait"),
    [
        (failed(certainty=1), 1),
        (failed(certainty=0), 2),
        (failed(status="suspected"), 64),
        (run_ended("firing", cause="upstream"), 64),
        (run_ended("firing", cause="timeout"), 4),
        (Fact(kind="component", status="firing", time=1.0, certainty=0, subject="scheduler"), 1),
    ],
)
def test_how_long_a_first_notice_waits(fact, wait):
    assert opened(fact).notify_at == NOW + wait


@pytest.mark.parametrize(
    ("fact", "key"),
    [
        (failed(), "run:load:r1"),
        (run_ended("firing"), "run:load:r1"),
        (
            Fact(kind="deadline", status="firing", time=1.0, subject="by six", dag_id="d", run_id="r"),
            "deadline:by six:d:r",
        ),
        (Fact(kind="deadline", status="firing", time=1.0, subject="by six"), "deadline:by six::"),
        (Fact(kind="component", status="firing", time=1.0, subject="scheduler", dag_id="d"), "component:scheduler"),
        (Fact(kind="import", status="firing", time=1.0, subject="f.py", dag_id="d"), "import:f.py"),
        (Fact(kind="dag", status="firing", time=1.0, dag_id="d"), "dag:d"),
    ],
)
def test_facts_of_one_key_are_one_incident(fact, key):
    assert key_of(fact) == key


def test_a_second_task_counts_and_the_worst_severity_and_latest_time_stay():
    first = opened(failed(severity="error"))
    second, notices = observe(first, failed(task="u", severity="warning", time=1_000_005.0), NOW, POLICY)
    assert notices == []
    assert values(second, "count", "severity", "last_seen") == (2, "error", 1_000_005.0)
    third, _ = observe(second, failed(task="v", severity="critical", time=1.0), NOW, POLICY)
    assert values(third, "count", "severity", "last_seen") == (3, "critical", 1_000_005.0)
    assert len(third.failed_tasks) == 3


def test_a_run_and_its_task_are_one_and_the_task_is_the_root():
    run = opened(run_ended("firing"))
    task, _ = observe(run, failed(cause="data"), NOW + 5, POLICY)
    assert values(task, "kind", "task_id", "cause", "count", "notify_at") == ("task", "t", "data", 1, NOW + 6)


def test_a_task_does_not_put_off_the_notice_of_its_run():
    run = replace(opened(run_ended("firing")), notify_at=NOW + 5.5)
    task, _ = observe(run, failed(), NOW + 5, POLICY)
    assert task.notify_at == NOW + 5.5


def test_a_suspicion_that_is_confirmed_is_told_soon():
    doubt = opened(failed(status="suspected"))
    assert values(doubt, "state", "unconfirmed", "failed_tasks") == ("suspected", (failed().key,), ())
    sure, _ = observe(doubt, failed(certainty=3), NOW + 10, POLICY)
    assert values(sure, "state", "unconfirmed", "notify_at", "count") == ("open", (), NOW + 11, 1)


def test_a_confirmation_does_not_put_off_a_notice_that_comes_sooner():
    doubt = replace(opened(failed(status="suspected")), notify_at=NOW + 10.5)
    assert observe(doubt, failed(), NOW + 10, POLICY)[0].notify_at == NOW + 10.5


def test_a_suspicion_beside_an_open_incident_waits_among_the_suspects():
    both, _ = observe(opened(), failed(task="u", status="suspected"), NOW, POLICY)
    assert values(both, "state", "unconfirmed") == ("open", (failed(task="u").key,))
    sure, _ = observe(replace(both, notify_at=NOW + 50), failed(task="u"), NOW + 10, POLICY)
    assert values(sure, "unconfirmed", "notify_at", "count") == ((), NOW + 11, 2)


def test_what_was_stuck_and_then_fails_is_told_anew_from_the_first_step():
    waiting = replace(told(STUCK), level=2, inhibited_by="x")
    fell, _ = observe(waiting, failed(cause="app"), NOW + 5, POLICY)
    assert values(fell, "kind", "cause", "state", "notified", "notify_at", "inhibited_by", "remind_at", "level") == (
        "task", "app", "open", "", NOW + 6, "", None, 0,
    )  # fmt: skip


def test_what_fails_for_waiting_has_been_told():
    waiting = told(STUCK)
    fell, _ = observe(waiting, failed(cause="stuck_queued"), NOW + 5, POLICY)
    assert values(fell, "kind", "notified", "notify_at") == ("task", "opened", None)


@pytest.mark.parametrize(("attempt", "notify_at"), [(2, NOW + 6), (1, None)])
def test_only_a_higher_attempt_that_fails_again_is_told_again(attempt, notify_at):
    again, _ = observe(told(), failed(try_number=attempt, time=1_000_050.0), NOW + 5, POLICY)
    assert again.notify_at == notify_at


def test_another_task_is_not_the_first_one_tried_again():
    assert observe(told(), failed(task="u", try_number=9), NOW + 5, POLICY)[0].notify_at is None
    assert observe(told(), failed(map_index=1, try_number=9), NOW + 5, POLICY)[0].notify_at is None


def test_an_attempt_of_another_run_is_compared_with_that_runs_own():
    known = replace(told(), runs={"r2": {"try": 2}})
    assert observe(known, failed(run="r2", try_number=2), NOW, POLICY)[0].notify_at is None
    assert observe(known, failed(run="r2", try_number=3), NOW, POLICY)[0].notify_at == NOW + 1
    assert observe(known, failed(run="r3", try_number=3), NOW, POLICY)[0].notify_at is None


def test_an_acknowledged_incident_that_gets_worse_is_told_again():
    taken = acknowledge(told(), "ann", NOW, POLICY)
    worse, _ = observe(taken, failed(task="u", severity="critical"), NOW + 5, POLICY)
    same, _ = observe(taken, failed(task="u", severity="error"), NOW + 5, POLICY)
    assert (worse.notify_at, same.notify_at) == (NOW + 6, None)


def test_an_early_warning_that_comes_true_is_told_again():
    early = told(Fact(kind="deadline", status="warned", time=1.0, subject="d", dag_id="load"))
    assert values(early, "early", "notified") == (True, "early_warning")
    late, _ = observe(
        early, Fact(kind="deadline", status="firing", time=2.0, subject="d", dag_id="load"), NOW + 5, POLICY
    )
    assert values(late, "early", "notify_at", "count") == (False, NOW + 6, 1)
    _, notices = elapse(late, NOW + 6, POLICY)
    assert [one.kind for one in notices] == ["opened"]


def test_a_surer_cause_replaces_the_guess_and_the_evidence_of_the_surer_wins():
    guess = opened(failed(certainty=1, cause="app", reason="?", evidence={"a": 1, "b": 1}))
    sure = failed(certainty=3, cause="oom", reason="OOM", evidence={"b": 2, "c": 2}, about={"owner": "ann"})
    got = refine(replace(guess, notify_at=NOW + 60), sure, NOW, POLICY)
    assert values(got, "cause", "reason", "certainty", "notify_at") == ("oom", "OOM", 3, NOW + 1)
    assert got.evidence == {"a": 1, "b": 2, "c": 2}
    assert got.about == {"owner": "ann"}


def test_a_less_sure_word_adds_evidence_and_changes_neither_cause_nor_what_is_known():
    sure = opened(failed(certainty=3, cause="oom", evidence={"b": 2}, about={"owner": "ann"}))
    got = refine(sure, failed(certainty=1, cause="app", evidence={"a": 1, "b": 1}, about={"owner": "bob"}), NOW, POLICY)
    assert values(got, "cause", "evidence", "notify_at") == ("oom", {"a": 1, "b": 2}, sure.notify_at)
    assert got.about == {"owner": "ann"}


def test_an_equally_sure_word_keeps_the_cause_and_brings_the_newer_evidence():
    sure = opened(failed(certainty=2, cause="oom", evidence={"b": 1}))
    got = refine(sure, failed(certainty=2, cause="app", evidence={"b": 2}), NOW, POLICY)
    assert values(got, "cause", "evidence") == ("oom", {"b": 2})


def test_a_surer_cause_of_an_incident_that_was_told_is_not_told_again():
    known = told(failed(certainty=1))
    got = refine(known, failed(certainty=3, cause="oom"), NOW + 5, POLICY)
    assert values(got, "cause", "notify_at") == ("oom", None)


@pytest.mark.parametrize("other", [{"task": "u"}, {"map_index": 1}, {"run": "r2"}])
def test_a_word_about_another_task_changes_nothing(other):
    known = opened(failed(certainty=1))
    assert refine(known, failed(certainty=3, cause="oom", **other), NOW, POLICY) == known


def test_a_word_that_confirms_a_suspicion_opens_it():
    doubt = opened(failed(status="suspected"))
    assert refine(doubt, failed(), NOW + 5, POLICY).state == "open"
    assert refine(doubt, failed(status="suspected"), NOW + 5, POLICY).state == "suspected"


def test_a_word_that_confirms_one_suspect_takes_it_from_the_list():
    both, _ = observe(opened(), failed(task="u", status="suspected"), NOW, POLICY)
    assert refine(both, failed(task="u"), NOW, POLICY).unconfirmed == ()
    assert refine(both, failed(task="v"), NOW, POLICY).unconfirmed == both.unconfirmed


def test_the_end_of_a_run_makes_its_suspicion_final():
    doubt = opened(failed(status="suspected", about={"owner": "ann"}))
    over = ended(doubt, run_ended("firing", about={"owner": "bob", "tags": "x"}), NOW + 5, POLICY)
    assert values(over, "state", "notify_at", "unconfirmed") == ("open", NOW + 7, doubt.unconfirmed)
    assert over.about == {"owner": "ann", "tags": "x"}


def test_the_end_of_a_run_hastens_the_count_of_what_failed_in_it():
    counting = replace(told(), settles_at=NOW + 32)
    assert ended(counting, run_ended("firing"), NOW + 5, POLICY).settles_at == NOW + 7
    assert ended(told(), run_ended("firing"), NOW + 5, POLICY) == told()


def test_a_dismissed_suspicion_was_told_to_nobody():
    over = dismiss(opened(failed(status="suspected")), failed())
    assert values(over, "state", "unconfirmed", "notify_at", "remind_at", "live") == (
        "dismissed",
        (),
        None,
        None,
        False,
    )
    assert elapse(over, NOW + 10_000, POLICY) == (over, [])


def test_one_of_two_suspicions_dismissed_leaves_the_other():
    two, _ = observe(opened(failed(status="suspected")), failed(task="u", status="suspected"), NOW, POLICY)
    left = dismiss(two, failed())
    assert values(left, "state", "unconfirmed") == ("suspected", (failed(task="u").key,))
    both, _ = observe(opened(), failed(task="u", status="suspected"), NOW, POLICY)
    assert values(dismiss(both, failed(task="u")), "state", "unconfirmed") == ("open", ())


def test_a_task_that_succeeds_leaves_the_list_and_resolves_nothing():
    got, notices = recover(told(), failed(status="resolved"), NOW)
    assert (got.failed_tasks, got.state, notices) == ((), "open", [])


def test_a_run_that_succeeds_past_a_failure_is_no_repair_and_a_later_run_is():
    known = told()
    assert recover(known, run_ended("resolved"), NOW) == (known, [])
    over, notices = recover(known, run_ended("resolved", run="r2", reason="run r2 succeeded"), NOW + 9)
    assert values(over, "state", "resolved_at", "notify_at", "remind_at") == ("resolved", NOW + 9, None, None)
    assert over.evidence["resolved_by"] == "run r2 succeeded"
    assert [(one.kind, one.incident) for one in notices] == [("resolved", over)]


def test_what_is_no_longer_stuck_repairs_nothing_that_failed():
    known = told()
    assert recover(known, Fact(kind="stuck", status="resolved", time=1.0, dag_id="load", run_id="r1"), NOW) == (
        known,
        [],
    )
    assert recover(told(STUCK), replace(STUCK, status="resolved"), NOW)[0].state == "resolved"


def test_an_incident_that_nobody_was_told_of_ends_in_silence_and_only_once():
    over, notices = resolve(opened(), NOW)
    assert (over.state, notices, "resolved_by" in over.evidence) == ("resolved", [], False)
    assert resolve(over, NOW + 9) == (over, [])


def test_an_acknowledgement_names_who_and_reminds_rarely():
    taken = acknowledge(told(), "ann", NOW + 7, POLICY)
    assert values(taken, "state", "acknowledged_by", "acknowledged_at", "remind_at") == (
        "acknowledged", "ann", NOW + 7, NOW + 5007,
    )  # fmt: skip
    assert acknowledge(taken, "bob", NOW + 8, POLICY) == taken
    gone = told(Fact(kind="dag", status="firing", time=1.0, dag_id="d"))
    assert acknowledge(gone, "ann", NOW, POLICY).remind_at is None
    assert gone.remind_at is not None  # it escalates, and is reminded of no more
    assert replace(gone, level=2).live


def test_what_is_postponed_is_told_then():
    held = postpone(opened(), NOW + 50, "silence 1")
    assert values(held, "notify_at", "inhibited_by") == (NOW + 50, "silence 1")
    assert elapse(held, NOW + 49.9, POLICY) == (held, [])
    got, (notice,) = elapse(held, NOW + 50, POLICY)
    assert (notice.kind, got.inhibited_by, got.notified, got.notified_at) == ("opened", "", "opened", NOW + 50)


def test_escalations_come_at_their_times_then_reminders_at_theirs():
    known = told()
    moments = []
    for _ in range(4):
        before = elapse(known, known.due - 0.5, POLICY)
        assert before == (known, [])
        moment = known.due
        known, (notice,) = elapse(known, moment, POLICY)
        moments.append((moment - NOW, notice.kind, notice.level))
    assert moments == [(100, "escalated", 1), (300, "escalated", 2), (1300, "reminder", 0), (2300, "reminder", 0)]


def test_an_acknowledged_incident_does_not_escalate():
    taken = acknowledge(told(), "ann", NOW, POLICY)
    assert (escalates(told(), POLICY), escalates(taken, POLICY)) == (True, False)
    assert escalates(replace(told(), level=1), POLICY)
    assert not escalates(replace(told(), level=2), POLICY)
    _, (notice,) = elapse(taken, NOW + 5000, POLICY)
    assert notice.kind == "reminder"


def test_a_dag_that_is_gone_is_told_once():
    gone = elapse(
        opened(Fact(kind="dag", status="firing", time=1.0, dag_id="d")), NOW + 10, replace(POLICY, escalate_after=())
    )
    assert gone[0].remind_at is None


@pytest.mark.parametrize(
    ("failures", "said", "kinds"),
    [(2, 1, []), (3, 1, ["update"]), (3, 2, []), (4, 2, ["update"]), (5, 2, ["update"])],
)
def test_a_growing_incident_is_told_when_three_and_twice_as_many_failed(failures, said, kinds):
    known = replace(told(), notified_tasks=said)
    for number in range(1, failures):
        known, _ = observe(known, failed(task=f"t{number}"), NOW + number, POLICY)
    assert known.settles_at == NOW + failures - 1 + 32
    assert elapse(known, known.settles_at - 0.1, POLICY) == (known, [])
    got, notices = elapse(known, known.settles_at, POLICY)
    assert [one.kind for one in notices] == kinds
    assert values(got, "settles_at", "notified_tasks") == (None, failures if kinds else said)


def test_a_suspicion_becomes_a_notice_only_where_airflow_is_silent():
    doubt = opened(failed(status="suspected"))
    assert elapse(doubt, NOW + 63, POLICY, airflow_silent_s=1e6) == (doubt, [])
    again, notices = elapse(doubt, NOW + 64, POLICY, airflow_silent_s=63.0)
    assert (again.notify_at, again.state, notices) == (NOW + 80, "suspected", [])
    got, (notice,) = elapse(doubt, NOW + 64, POLICY, airflow_silent_s=64.0)
    assert (got.state, got.unconfirmed, notice.kind) == ("open", (), "opened")


def test_the_next_change_of_an_incident_is_the_earliest_of_its_times():
    known = replace(opened(), notify_at=30.0, remind_at=20.0, settles_at=10.0)
    assert known.due == 10.0
    assert replace(known, state="resolved").due is None
    assert replace(known, notify_at=None, remind_at=None, settles_at=None).due is None


@pytest.mark.parametrize(
    ("state", "live"),
    [
        ("open", True),
        ("suspected", True),
        ("acknowledged", True),
        ("resolved", False),
        ("dismissed", False),
        ("merged", False),
    ],
)
def test_which_states_are_live(state, live):
    assert replace(opened(), state=state).live is live


def test_an_incident_that_comes_back_has_another_id():
    first = opened()
    over, _ = resolve(first, NOW)
    back, _ = observe(over, failed(time=1_000_100.0), NOW + 100, POLICY)
    assert back.id != first.id
    assert values(back, "state", "count", "first_seen") == ("open", 1, 1_000_100.0)
    assert len(first.id) == 16


def test_members_are_bounded():
    full = replace(opened(), failed_tasks=tuple(map(str, range(999))))
    assert len(observe(full, failed(task="u"), NOW, POLICY)[0].failed_tasks) == 1000
    assert (
        len(
            observe(replace(full, failed_tasks=(*full.failed_tasks, "x")), failed(task="u"), NOW, POLICY)[
                0
            ].failed_tasks
        )
        == 1000
    )


def test_an_incident_as_json_is_the_same_incident():
    assert Incident.from_json(told().as_json()) == told()


def test_only_more_failures_than_people_know_of_have_to_settle():
    assert observe(opened(), failed(task="u"), NOW, POLICY)[0].settles_at is None
    assert observe(told(), failed(task="u"), NOW, POLICY)[0].settles_at == NOW + 32
    assert observe(told(), failed(), NOW, POLICY)[0].settles_at is None


def test_another_task_neither_becomes_what_the_incident_is_about_nor_hastens_its_notice():
    first = opened(failed(certainty=0))
    second, _ = observe(first, failed(task="u", certainty=1), NOW, POLICY)
    assert values(second, "task_id", "notify_at", "early") == ("t", NOW + 2, False)


@pytest.mark.parametrize(
    ("before", "now", "again"), [(None, None, False), (None, 1, True), (1, None, False), (1, 1, False), (1, 2, True)]
)
def test_people_hear_again_of_a_task_that_was_run_again_and_of_no_other(before, now, again):
    known = told(failed(try_number=before))
    assert observe(known, failed(try_number=now), NOW, POLICY)[0].notify_at == (NOW + 1 if again else None)


def test_a_final_word_on_what_was_suspected_opens_it_whichever_task_it_is():
    suspected = opened(failed(status="suspected"))
    assert refine(suspected, failed(task="u"), NOW, POLICY).state == "open"
    assert refine(suspected, failed(task="u", status="suspected"), NOW, POLICY).state == "suspected"


def test_the_error_by_which_people_know_an_incident_is_kept_where_another_takes_its_place():
    guess, sure = failed(certainty=0, cause="app"), failed(certainty=3, cause="oom")
    assert refine(opened(guess), sure, NOW, POLICY).known_as == ()
    known = told(guess)
    renamed = refine(known, sure, NOW, POLICY)
    assert (renamed.cause, renamed.known_as) == ("oom", (known.error,))
    held = postpone(opened(guess), NOW + 5, "a silence")
    assert refine(held, sure, NOW, POLICY).known_as == (held.error,)
    assert refine(known, guess, NOW, POLICY).known_as == ()


def test_what_is_not_over_after_all_is_notified_soon_or_where_people_know_of_it_reminded_of():
    unknown, _ = resolve(opened(), NOW, "by itself")
    again = reopen(replace(unknown, acknowledged_by="ann", acknowledged_at=NOW), NOW + 7, POLICY)
    assert values(again, "state", "notify_at", "remind_at", "resolved_at") == ("open", NOW + 8, None, None)
    assert (again.acknowledged_by, again.acknowledged_at, "resolved_by" in again.evidence) == (None, None, False)
    known, _ = resolve(told(), NOW, "by itself")
    assert values(reopen(known, NOW + 7, POLICY), "notify_at", "remind_at") == (None, NOW + 100)


def test_an_incident_that_says_no_more_than_it_must_is_about_nothing_else():
    bare = Incident(
        id="1", key="k", state="open", kind="task", severity="error", cause="app", reason="", certainty=0,
        first_seen=1.0, last_seen=1.0,
    )  # fmt: skip
    assert values(bare, "count", "level", "map_index", "run_count", "notified_tasks", "early") == (
        0,
        0,
        -1,
        0,
        0,
        False,
    )
    assert (bare.due, bare.live, Policy().escalate_after) == (None, True, ())


def test_the_waits_of_rules_that_name_none():
    policy = Policy()
    assert (policy.group_wait_s, policy.evidence_wait_s, policy.fold_wait_s, policy.suspect_wait_s) == (0.3, 2, 3, 60)
    assert (policy.remind_every_s, policy.remind_acknowledged_s, policy.settle_s) == (14_400, 172_800, 120)
