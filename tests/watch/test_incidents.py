"""The pure core, whatever the order of what it is given."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from watch_office import failed, run_ended

from observability.watch.facts import merged
from observability.watch.incidents import Incident, Policy, dismiss, elapse, observe, recover, refine

POLICY = Policy(escalate_after=(1800.0,))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("firing"), st.integers(0, 4), st.integers(1, 3)),
        st.tuples(st.just("suspected"), st.integers(0, 4), st.integers(1, 3)),
        st.tuples(st.just("dismissed"), st.integers(0, 4), st.integers(1, 3)),
        st.tuples(st.just("run failed"), st.just(0), st.just(0)),
        st.tuples(st.just("run succeeded"), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 120), st.just(0)),
    ),
    max_size=40,
)


def play(steps):
    """Notices of a history, as the engine would play it: (kind, final failures known by then)."""
    incident, now, told, final, known = None, 0.0, [], set(), {}
    for what, number, attempt in steps:
        fact = failed(task=f"t{number}", try_number=attempt, time=now, certainty=2)
        if what == "wait":
            now += number
        elif what == "run succeeded" and incident is not None:
            incident, notices = recover(incident, run_ended("resolved", run="r2", time=now), now)
            told += notices
        elif what == "run failed" and (incident is None or not incident.live):
            incident, _ = observe(incident, run_ended("firing", time=now), now, POLICY)
            final.add("run")
        elif what == "firing" and known.get(fact.key) != "firing":
            incident = (
                refine(incident, fact, now, POLICY)
                if fact.key in known and incident.live
                else observe(incident, fact, now, POLICY)[0]
            )
            known[fact.key] = "firing"
            final.add(fact.key)
        elif what == "suspected" and fact.key not in known:
            incident, _ = observe(incident, replace(fact, status="suspected"), now, POLICY)
            known[fact.key] = "suspected"
        elif what == "dismissed" and known.get(fact.key) == "suspected":
            incident = dismiss(incident, fact) if incident.live else incident
            known[fact.key] = "dismissed"
        if incident is not None:
            incident, notices = elapse(incident, now, POLICY)
            told += notices
    return incident, told, final, now


@given(STEPS)
@settings(max_examples=400, deadline=None)
def test_nothing_is_told_before_something_is_final(steps):
    _, told, final, _ = play(steps)
    assert not told or final


@given(STEPS)
@settings(max_examples=400, deadline=None)
def test_a_final_failure_that_stays_is_always_told(steps):
    incident, told, final, now = play([*steps, ("firing", 7, 9)])
    for _ in range(100):
        now += 1
        incident, notices = elapse(incident, now, POLICY)
        told = told + notices
    mine = [one for one in told if one.incident.id == incident.id and one.kind in {"opened", "reminder"}]
    assert final
    assert mine


@given(STEPS)
@settings(max_examples=400, deadline=None)
def test_an_incident_is_opened_at_most_once_and_resolved_only_after(steps):
    _, told, _, _ = play([*steps, ("wait", 120, 0)])
    for incident_id in {one.incident.id for one in told}:
        kinds = [one.kind for one in told if one.incident.id == incident_id]
        assert kinds.count("opened") == 1
        assert kinds[0] == "opened"
        assert kinds.count("resolved") <= 1
        assert "resolved" not in kinds[:-1]


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_an_incident_survives_being_written_down(steps):
    incident, *_ = play(steps)
    if incident is not None:
        assert Incident.from_json({**incident.as_json(), "failed_tasks": list(incident.failed_tasks)}) == incident


def test_the_surer_cause_wins_whoever_comes_first():
    sure, guess = failed(cause="oom", certainty=3), failed(cause="platform", certainty=0, provider="reconciler")
    assert merged(sure, guess).cause == merged(guess, sure).cause == "oom"


def test_a_final_failure_stays_final_when_another_source_only_suspects_it():
    assert merged(failed(), failed(status="suspected")).status == "firing"
