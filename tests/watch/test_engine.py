"""Facts become incidents: the rules of what is one failure, and of what is final."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select
from watch_office import RULES, Office, failed, run_ended

from observability.events import ChannelBroken, Identity, TaskFailed
from observability.watch.facts import Fact, observed
from observability.watch.ledger import pending_events, schema
from observability.watch.ledger.database import write_cursor


def component(status, name="scheduler", **more):
    return Fact(
        kind="component",
        status=status,
        time=1_000_000.0,
        subject=name,
        reason="silent",
        severity="critical",
        certainty=3,
        **more,
    )


def test_a_failed_task_is_told_once_with_its_cause(office):
    office.see(failed())
    office.pass_time(60)
    assert office.said() == [("opened", "load", "t", "app")]


def test_one_failure_seen_by_three_sources_is_one_message(office):
    office.see(failed(provider="callback"), failed(provider="reconciler", certainty=0, cause="platform"))
    office.pass_time(5)
    office.see(failed(provider="listener", certainty=2), failed(provider="reconciler", certainty=0))
    office.pass_time(60)
    assert office.said() == [("opened", "load", "t", "app")]
    assert office.incidents()[0].count == 1


def test_a_run_that_is_seen_to_fail_before_its_task_is_one_failure(office):
    office.see(run_ended("firing"), failed())
    office.pass_time(60)
    assert [(one.count, one.kind) for one in office.incidents()] == [(1, "task")]


def test_a_death_whose_run_has_failed_waits_for_airflows_word_and_no_longer(office):
    killed = failed(status="suspected", cause="killed", certainty=2, provider="relay")
    office.see(killed, run_ended("firing", certainty=0, about={"owner": "ada"}))
    office.pass_time(1)
    assert office.said() == []
    assert office.incidents()[0].about["owner"] == "ada"
    office.see(failed(cause="killed", certainty=2, provider="reconciler"))
    office.pass_time(0.5, step=0.1)
    assert office.said() == [("opened", "load", "t", "killed")]


def test_a_death_whose_run_has_failed_is_told_though_airflow_does_not_answer(office):
    office.see(failed(status="suspected", cause="killed", certainty=2, provider="relay"), run_ended("firing"))
    office.pass_time(3)
    assert office.said() == [("opened", "load", "t", "killed")]
    office.see(failed(cause="killed", certainty=2, provider="reconciler"))
    office.pass_time(60)
    assert office.said() == [("opened", "load", "t", "killed")]


def test_an_attempt_that_is_retried_is_not_told(office):
    office.see(failed(status="attempt"))
    office.see(run_ended("resolved", time=1_000_100.0))
    office.pass_time(600)
    assert office.said() == []


def test_retries_that_end_in_failure_are_told_at_the_end(office):
    office.see(failed(status="attempt", try_number=1), failed(status="attempt", try_number=2))
    office.pass_time(60)
    office.see(failed(try_number=3))
    office.pass_time(60)
    assert office.said() == [("opened", "load", "t", "app")]


def test_a_killed_task_is_told_when_airflow_confirms_that_it_is_final(office):
    office.see(failed(status="suspected", cause="oom", certainty=2))
    office.pass_time(30)
    assert office.said() == []
    office.see(failed(cause="platform", certainty=0, provider="reconciler"))
    office.pass_time(5)
    assert office.said() == [("opened", "load", "t", "oom")]


@pytest.mark.parametrize("confirmed_first", [False, True])
def test_a_killed_task_that_is_final_has_its_outcome_told_once_by_the_watcher(office, confirmed_first):
    killed = failed(status="suspected", cause="killed", certainty=2, provider="relay")
    final = failed(cause="platform", certainty=0, provider="reconciler")
    first, second = (final, killed) if confirmed_first else (killed, final)
    office.see(first)
    office.see(second)
    office.see(final, killed)
    told = [event for event in office.engine.take_events() if isinstance(event, TaskFailed)]
    assert [(event.cause, event.provider, event.identity.task_id) for event in told] == [
        ("killed", "relay+reconciler", "t")
    ]


def test_a_failure_that_a_callback_told_of_is_not_told_again_by_the_watcher(office):
    office.see(failed(provider="callback"), failed(cause="platform", certainty=0, provider="reconciler"))
    assert [event for event in office.engine.take_events() if isinstance(event, TaskFailed)] == []


def test_a_killed_task_that_is_retried_is_not_told(office):
    office.see(failed(status="suspected", cause="killed", certainty=2))
    office.see(failed(status="dismissed", certainty=0))
    office.pass_time(600, airflow_silent_s=600, step=30)
    assert office.said() == []
    assert office.incidents() == []


def test_a_killed_task_is_told_when_airflow_is_silent_for_long(office):
    office.see(failed(status="suspected", cause="killed", certainty=2))
    office.pass_time(59, airflow_silent_s=600)
    assert office.said() == []
    office.pass_time(30, airflow_silent_s=600)
    assert office.said() == [("opened", "load", "t", "killed")]


def test_an_attempt_that_was_dismissed_and_then_marked_failed_is_told(office):
    office.see(failed(status="suspected", cause="killed", certainty=2))
    office.see(failed(status="dismissed", certainty=0))
    office.see(failed(cause="cancelled", certainty=3))
    office.pass_time(5)
    assert office.said() == [("opened", "load", "t", "cancelled")]


def test_the_supervisors_words_after_the_retry_do_not_reopen_it(office):
    office.see(failed(status="attempt", certainty=0))
    office.see(failed(status="suspected", cause="killed", certainty=2))
    office.pass_time(300, airflow_silent_s=300)
    assert office.said() == []


def test_the_supervisors_words_after_the_success_do_not_reopen_it(office):
    office.see(failed(status="suspected", cause="killed", certainty=2))
    office.see(failed(status="resolved", certainty=0))
    office.see(failed(status="suspected", cause="killed", certainty=2))
    office.pass_time(600, airflow_silent_s=600, step=30)
    assert office.said() == []


def test_a_failed_run_is_folded_into_the_task_that_explains_it(office):
    office.see(run_ended("firing"))
    office.pass_time(2)
    office.see(failed())
    office.pass_time(60)
    assert office.said() == [("opened", "load", "t", "app")]


def test_a_failed_run_without_a_failed_task_is_told_for_itself(office):
    office.see(run_ended("firing", cause="timeout", certainty=3))
    office.pass_time(60)
    assert office.said() == [("opened", "load", None, "timeout")]


def test_a_run_that_is_reported_late_does_not_reopen_what_is_resolved(office):
    office.see(failed())
    office.pass_time(5)
    office.see(run_ended("resolved", run="r2", time=office.now + 10))
    office.pass_time(5)
    office.see(run_ended("firing", run="r1", time=office.now - 9))
    office.pass_time(60)
    assert [kind for kind, *_ in office.said()] == ["opened", "resolved"]


def test_300_failed_instances_of_a_mapped_task_are_one_incident_with_a_count(office):
    for index in range(300):
        office.see(failed(map_index=index))
        office.pass_time(0.05, step=0.05)
    office.pass_time(60)
    assert office.said() == [("opened", "load", "t", "app")]
    assert office.incidents()[0].count == 300


def test_what_fails_in_one_run_is_one_incident_and_in_another_run_another(office):
    office.see(failed(task="a"), failed(task="b"), failed(run="r2"))
    office.pass_time(5)
    assert [(kind, task) for kind, _, task, _ in office.said()] == [("opened", "a"), ("opened", "t")]


def test_the_next_runs_success_is_told_and_closes_the_incident(office):
    office.see(failed())
    office.pass_time(5)
    office.see(run_ended("resolved", run="r2", time=office.now + 60, evidence={"event.duration": 10_000_000_000}))
    assert office.said() == [("opened", "load", "t", "app"), ("resolved", "load", "t", "app")]
    assert [one.state for one in office.incidents()] == ["resolved"]


def test_a_run_that_began_before_the_failure_does_not_resolve_it(office):
    office.see(failed(time=1_000_050.0))
    office.pass_time(5)
    office.see(run_ended("resolved", run="r2", time=1_000_060.0, evidence={"event.duration": 60_000_000_000}))
    assert [one.state for one in office.incidents()] == ["open"]


def test_a_run_that_goes_on_past_a_failed_task_does_not_resolve_it(office):
    office.see(failed())
    office.pass_time(5)
    office.see(run_ended("resolved", run="r1", time=office.now + 10))
    assert [one.state for one in office.incidents()] == ["open"]


def test_a_run_that_was_cleared_and_succeeds_is_resolved(office):
    office.see(failed())
    office.pass_time(5)
    office.see(failed(status="resolved", try_number=2), run_ended("resolved", time=office.now + 10))
    assert [kind for kind, *_ in office.said()] == ["opened", "resolved"]


def test_a_run_that_was_cleared_and_fails_again_is_a_reminder(office):
    office.see(failed())
    office.pass_time(5)
    office.see(failed(try_number=2))
    office.pass_time(5)
    assert [kind for kind, *_ in office.said()] == ["opened", "reminder"]


def test_nobody_is_told_of_the_end_of_what_nobody_was_told_of(office):
    office.see(component("firing"), component("resolved"))
    office.pass_time(60)
    assert office.said() == []


def test_a_component_that_falls_silent_again_is_a_new_incident(office):
    for _ in range(2):
        office.see(component("firing"))
        office.pass_time(5)
        office.see(component("firing"))
        office.see(component("resolved"))
        office.pass_time(5)
    assert [kind for kind, *_ in office.said()] == ["opened", "resolved", "opened", "resolved"]


def test_a_broken_file_of_two_dags_is_the_first_ones_with_its_owner(office):
    known = {"a": {"file": "x.py", "owner": "ada", "tags": "daily"}, "b": {"file": "x.py", "owner": "bob"}}
    with office.ledger.transaction(lock=True) as connection:
        write_cursor(connection, "reconcile", {"dags": known})
    office.see(Fact(kind="import", status="firing", time=office.now, subject="x.py", cause="import", certainty=3))
    [one] = office.incidents()
    assert (one.dag_id, one.about) == ("a", {"owner": "ada", "tags": "daily"})


@pytest.mark.parametrize(("provider", "left"), [("relay", ["task.failed"]), ("callback", [])])
def test_only_who_emits_the_failure_itself_takes_the_watchers_event_back(office, provider, left):
    about = Identity(dag_id="load", run_id="r1", task_id="t", try_number=1, map_index=-1)
    office.see(observed(TaskFailed(identity=about, cause="platform", reason="gone"), time=office.now, certainty=0))
    office.see(failed(status="suspected", cause="killed", certainty=2, provider=provider))
    with office.ledger.transaction() as connection:
        waiting = pending_events.due(connection, office.now + 3600)
    assert [event.action for event in waiting.values() if event.action.startswith("task.")] == left


def test_unacknowledged_incidents_escalate_and_are_repeated(office):
    office.see(failed())
    office.pass_time(29 * 60, step=30)
    assert [kind for kind, *_ in office.said()] == ["opened"]
    office.pass_time(120, step=30)
    assert [kind for kind, *_ in office.said()] == [
        "opened",
        "escalated",
        "escalated",
    ]  # to file and to the chief's log
    office.pass_time(5 * 3600, step=60)
    assert [kind for kind, *_ in office.said()][-1] == "reminder"


def test_an_acknowledged_incident_is_left_in_peace_until_it_is_over(office):
    office.see(failed())
    office.pass_time(5)
    with office.ledger.transaction(lock=True) as connection:
        one = office.engine.acknowledge(connection, office.incidents_in(connection)[0], "me", office.now)
    assert (one.state, one.acknowledged_by) == ("acknowledged", "me")
    office.pass_time(24 * 3600, step=600)
    assert [kind for kind, *_ in office.said()] == ["opened"]
    office.see(run_ended("resolved", run="r2", time=office.now))
    assert [kind for kind, *_ in office.said()] == ["opened", "resolved"]


def test_what_a_silence_held_back_is_told_when_it_ends(office):
    office.silence("load", until=office.now + 600)
    office.see(failed())
    office.pass_time(590, step=5)
    assert office.said() == []
    assert "silenced" in office.incidents()[0].inhibited_by
    office.pass_time(30)
    assert office.said() == [("opened", "load", "t", "app")]


def test_what_begins_and_ends_within_a_silence_is_never_told(office):
    office.silence("load", until=office.now + 600)
    office.see(failed())
    office.pass_time(60)
    office.see(run_ended("resolved", run="r2", time=office.now))
    office.pass_time(1200, step=5)
    assert office.said() == []


def test_a_silent_scheduler_explains_runs_that_do_not_start_until_it_is_back(office):
    office.see(component("firing"))
    office.pass_time(5)
    for number in range(30):
        office.see(
            Fact(
                kind="overdue", status="firing", time=office.now, dag_id=f"dag{number}", reason="not begun", certainty=2
            )
        )
        office.pass_time(1)
    office.pass_time(60)
    assert [kind for kind, *_ in office.said()] == ["opened"]
    office.see(component("resolved"))
    for number in range(29):
        office.see(Fact(kind="run", status="noted", time=office.now, dag_id=f"dag{number}", run_id="r"))
    office.pass_time(60)
    told = [(kind, dag) for kind, dag, *_ in office.said() if dag]
    assert told == [("opened", "dag29")]


def test_a_scheduler_that_is_back_has_time_to_begin_what_was_due(office):
    office.see(component("firing"))
    office.pass_time(60)
    overdue = Fact(kind="overdue", status="firing", time=office.now, dag_id="load", reason="not begun", certainty=2)
    office.see(overdue)
    office.pass_time(5)
    office.see(component("resolved"))
    office.pass_time(25)  # its first loops, on a busy machine
    office.see(Fact(kind="run", status="noted", time=office.now, dag_id="load", run_id="r"))
    office.pass_time(120)
    assert [kind for kind, dag, *_ in office.said() if dag] == []


def test_a_vanished_dag_is_explained_by_its_broken_file(office):
    office.see(
        Fact(
            kind="import",
            status="firing",
            time=office.now,
            cause="import",
            subject="a.py",
            reason="SyntaxError",
            certainty=3,
        ),
        Fact(
            kind="dag",
            status="firing",
            time=office.now,
            cause="import",
            dag_id="a",
            reason="gone",
            evidence={"file": "a.py"},
        ),
    )
    office.pass_time(60)
    assert office.said() == [("opened", None, None, "import")]


def test_a_broken_file_has_one_name_by_its_full_path_and_by_its_bundles(office):
    broken = {"kind": "import", "cause": "import", "certainty": 3, "reason": "SyntaxError"}
    office.see(Fact(status="firing", time=office.now, subject="/srv/dags/a.py", **broken))
    office.see(Fact(status="firing", time=office.now, subject="a.py", **broken))
    office.pass_time(5)
    office.see(Fact(status="resolved", time=office.now, subject="a.py", **broken))
    assert [kind for kind, *_ in office.said()] == ["opened", "resolved"]


def other(run, **more):
    """A failure by an error of its own: what fails alike in many runs is one incident."""
    return failed(run=run, evidence={"error.fingerprint": run}, **more)


@pytest.mark.parametrize(
    "failures", [300, *(pytest.param(number, marks=pytest.mark.slow) for number in (1_000, 10_000))]
)
def test_a_storm_of_failures_over_50_dags_is_at_most_60_messages(ledger, failures):
    office, each = Office(ledger), failures // 60 + 1
    for second in range(60):
        office.see(*(other(dag=f"dag{n % 50}", run=f"r{second}-{n}", time=office.now) for n in range(each)))
        office.pass_time(1, step=0.5)
    office.pass_time(120)
    assert len(office.said("pending")) <= 60
    digests = [one for one in office.messages() if one.kind == "digest"]
    named = {one.incident_id for one in office.messages() if one.kind == "opened"}
    assert len(named) == 60 * each
    told = [one for one in office.said("pending") if one[0] == "opened"]
    assert sum(len(one.incidents) for one in digests) + len(told) == len(named)


def test_what_a_storm_leaves_is_told_soon_after_its_end(office):
    for second in range(60):
        office.see(*(failed(dag=f"dag{n}", run=f"r{second}-{n}", time=office.now) for n in range(5)))
        office.pass_time(1)
    office.pass_time(10)
    assert office.said("held") == []


def test_a_storm_does_not_begin_anew_each_minute_while_it_lasts(office):
    for second in range(180):
        office.see(*(other(dag=f"dag{n}", run=f"r{second}-{n}", time=office.now) for n in range(3)))
        office.pass_time(1)
    office.pass_time(400)
    office.see(failed(dag="later", time=office.now))
    office.pass_time(5)
    told = [dag for kind, dag, *_ in office.said("pending") if kind == "opened"]
    assert (len(told), told[-1]) == (24 + 1, "later")  # eight of each DAG, until it flaps


def test_a_dag_that_flaps_is_damped(office):
    for number in range(40):
        office.see(failed(run=f"r{number}", time=office.now))
        office.pass_time(2)
        office.see(run_ended("resolved", run=f"s{number}", time=office.now))
        office.pass_time(1)
    assert len(office.said("pending")) <= 15


def test_the_same_error_as_before_is_said(office):
    office.see(failed(evidence={"error.fingerprint": "f1"}))
    office.pass_time(5)
    office.see(run_ended("resolved", run="r2", time=office.now))
    office.see(failed(run="r3", evidence={"error.fingerprint": "f1"}, time=office.now))
    office.pass_time(5)
    assert [one.kind for one in office.messages()] == ["opened", "resolved", "opened"]
    assert "last in run r1" in dict(office.messages()[2].details)["Same error"]


def test_a_run_that_failed_by_a_task_waits_for_the_source_of_that_task(office):
    office.see(run_ended("firing", cause="upstream", reason="a task of it failed"))
    office.pass_time(30)
    office.see(failed(status="suspected", cause="killed", certainty=2, evidence={"airflow.signal": "SIGKILL"}))
    office.see(failed(cause="app", certainty=0))
    office.pass_time(10)
    assert office.said() == [("opened", "load", "t", "killed")]


def test_a_suspicion_is_final_when_its_run_has_failed(office):
    office.see(failed(status="suspected", cause="killed", certainty=2))
    office.see(run_ended("firing", cause="upstream"))
    office.pass_time(10)
    assert office.said() == [("opened", "load", "t", "killed")]


def stuck(status="firing", **more):
    return Fact(kind="stuck", status=status, cause="stuck_queued", certainty=2, dag_id="load", run_id="r1", task_id="t",
                try_number=1, **{"time": 1_000_000.0, **more})  # fmt: skip


@pytest.mark.parametrize(
    "facts",
    [
        [failed(), stuck("resolved"), run_ended("firing")],
        [failed(status="suspected", cause="killed", certainty=2), failed(certainty=0), stuck("resolved")],
        [run_ended("firing"), failed(), stuck("resolved")],
        [failed(task="other"), run_ended("firing"), stuck("resolved")],
    ],
    ids=["an exception", "a kill", "its run first", "another task"],
)
def test_what_waited_too_long_and_then_fails_is_told_as_a_failure_as_well_and_once(office, facts):
    office.see(stuck())
    office.pass_time(5)
    for fact in facts:
        office.see(fact)
        office.pass_time(1)
    office.pass_time(10)
    assert [(kind, cause) for kind, _, _, cause in office.said()] == [
        ("opened", "stuck_queued"),
        ("opened", "killed" if facts[0].cause == "killed" else "app"),
    ]
    assert [one.state for one in office.incidents()] == ["open"]


def test_what_failed_because_it_waited_is_told_once(office):
    office.see(stuck())
    office.pass_time(5)
    office.see(failed(cause="stuck_queued"), stuck("resolved"), run_ended("firing"))
    office.pass_time(90)
    assert [(kind, cause) for kind, _, _, cause in office.said()] == [("opened", "stuck_queued")]


def test_a_run_that_a_person_fails_while_it_waits_is_told_though_its_waiting_was_explained(office):
    office.see(
        Fact(kind="component", status="firing", time=office.now, subject="scheduler", certainty=3, severity="critical")
    )
    office.see(*(replace(stuck(), run_id=f"s{number}") for number in range(3)))
    office.pass_time(5)
    office.see(stuck())
    office.pass_time(2)
    told = len(office.said())
    office.see(run_ended("firing", cause="cancelled", certainty=3))
    office.pass_time(10)
    assert [(kind, cause) for kind, _, _, cause in office.said()[told:]] == [("opened", "cancelled")]


def test_the_first_digest_of_a_storm_leaves_after_five_seconds(ledger):
    office = Office(ledger, f"timing: {{storm_messages: 4}}\n{RULES}")
    office.see(*(other(dag=f"dag{n}", run="r", time=office.now) for n in range(6)))
    while not office.said("held"):
        office.pass_time(0.1, step=0.1)
    office.pass_time(4.8, step=0.1)
    assert [one.kind for one in office.messages()].count("digest") == 0
    office.pass_time(0.4, step=0.1)
    (said,) = [one for one in office.messages() if one.kind == "digest"]
    assert len(said.incidents) == 2


@pytest.mark.parametrize(
    ("receivers", "broken", "hears"),
    [
        ("{channels: [mail], fallback: file}", "mail", ["file"]),
        ("{channels: [mail], fallback: file}", "file", ["mail"]),
        ("{channels: [mail, chat], fallback: file}", "mail", ["chat", "file"]),
        ("{channels: [mail]}", "mail", ["file"]),  # nobody is named: any other one
        ("{channels: [chat], fallback: file}", "mail", ["chat"]),
    ],
)
def test_a_broken_channel_is_reported_on_the_channels_around_it(ledger, receivers, broken, hears):
    channels = "{file: {type: file}, mail: {type: log}, chat: {type: log}}"
    office = Office(ledger, f"channels: {channels}\nreceivers: {{all: {receivers}}}\nroutes: [{{receiver: all}}]")
    office.see(observed(ChannelBroken(channel=broken, reason="503"), time=office.now))
    office.pass_time(60)
    with ledger.transaction() as connection:
        rows = connection.execute(select(schema.outbox.c.channel)).scalars().all()
    assert sorted(rows) == sorted(hears)


@pytest.mark.parametrize(
    ("silence", "told_after_s"),
    [
        ("{match: {dag: load}, comment: known}", None),
        ("{match: {dag: load}, ends: 1970-01-12T13:50:00Z}", 200),
        ("{match: {dag: load}, starts: 1970-01-12T13:40:00Z, ends: 1970-01-12T13:50:00Z}", 200),
        ("{match: {dag: load}, starts: 1970-01-12T13:50:00Z}", 0),
        ("{match: {dag: load}, ends: 1970-01-12T13:46:40Z}", 0),  # the very moment at which it fails
        ("{match: {dag: other}}", 0),
    ],
)
def test_a_silence_of_the_rules_holds_back_what_it_matches_from_its_start_to_its_end(ledger, silence, told_after_s):
    office = Office(ledger, f"silences: [{silence}]\n{RULES}")  # it is 1970-01-12T13:46:40Z
    office.see(failed())
    if told_after_s != 0:
        office.pass_time(told_after_s - 1 if told_after_s else 3600, step=1.0 if told_after_s else 60.0)
        assert office.said() == []
        assert "silenced by the rules" in office.incidents()[0].inhibited_by
    if told_after_s is not None:
        office.pass_time(31)
        assert office.said() == [("opened", "load", "t", "app")]
