"""One of several schedulers that falls silent is found, though Airflow's health says that its scheduler is well."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from observability.watch.sources.peers import silent_peers


class Jobs:
    """An Airflow with jobs: component type, host, state and age of the heartbeat."""

    def __init__(self):
        self.now, self.rows, self.known = 1_000_000.0, {}, {}

    def get(self, path, **_params):
        assert path == "/jobs"
        jobs = [
            {"job_type": kind, "hostname": host, "state": state, "latest_heartbeat": self._at(beat)}
            for (kind, host), (state, beat) in self.rows.items()
        ]
        return {"jobs": sorted(jobs, key=lambda one: one["latest_heartbeat"], reverse=True)}

    def beat(self, *hosts, kind="SchedulerJob"):
        self.rows |= {(kind, host): ("running", self.now) for host in hosts}

    def end(self, host, state, kind="SchedulerJob"):
        self.rows[kind, host] = state, self.rows[kind, host][1]

    def look(self, after=0.0, *, looked_away=False):
        self.now += after
        found = silent_peers(self, self.known, self.now, 60.0, looked_away=looked_away)
        return [(fact.status, fact.subject, fact.reason) for fact in found]

    @staticmethod
    def _at(moment):
        return datetime.fromtimestamp(moment, timezone.utc).isoformat()


@pytest.fixture
def airflow():
    airflow = Jobs()
    airflow.beat("a", "b")
    assert airflow.look() == []
    return airflow


def go_on(airflow, seconds, *hosts):
    airflow.now += seconds
    airflow.beat(*hosts)
    return airflow.look()


GONE = ("firing", "scheduler of b", "its last heartbeat was 1 min 1 s ago; 1 other is at work")


@pytest.mark.parametrize("state", ["running", "failed"])
def test_one_of_two_schedulers_that_is_killed_is_reported_once_and_when_it_is_back(airflow, state):
    airflow.end("b", state)
    assert go_on(airflow, 61, "a") == [GONE]
    assert go_on(airflow, 15, "a") == []
    assert go_on(airflow, 15, "a", "b") == [("resolved", "scheduler of b", "it has a heartbeat again")]
    assert go_on(airflow, 15, "a", "b") == []


def test_the_alarm_on_the_age_of_heartbeats_sees_the_silent_one(airflow, contrail):
    """Airflow's health has the newest heartbeat of all schedulers only, from which no alarm would learn of this one."""
    go_on(airflow, 61, "a")
    go_on(airflow, 30, "a")
    assert contrail.metric("contrail.component.heartbeat_age_ms", component="scheduler") == [91_000]


def test_one_that_was_told_to_end_is_no_fault(airflow):
    airflow.end("b", "success")
    assert go_on(airflow, 61, "a") == []


def test_one_whose_place_another_takes_is_no_fault(airflow):
    assert go_on(airflow, 61, "a", "c") == []


def test_the_one_that_takes_its_place_later_ends_the_finding(airflow):
    assert go_on(airflow, 61, "a") == [GONE]
    assert go_on(airflow, 15, "a", "c") == [("resolved", "scheduler of b", "another has taken its place")]


def test_fewer_after_a_scale_down_are_enough_to_take_a_place(airflow):
    airflow.beat("c")
    airflow.look()
    airflow.end("c", "success")
    assert go_on(airflow, 15, "a", "b") == []
    assert go_on(airflow, 61, "a") == [GONE]
    assert go_on(airflow, 15, "a", "d") == [("resolved", "scheduler of b", "another has taken its place")]


def test_when_all_are_silent_the_health_says_so_and_one_that_stays_silent_is_reported_after(airflow):
    assert airflow.look(after=61) == []
    assert go_on(airflow, 0, "a") == [GONE]


def test_peers_that_start_one_after_another_after_a_stop_of_all_are_not_silent_until_one_takes_too_long(airflow):
    airflow.now += 3600
    airflow.beat("a")
    assert airflow.look(looked_away=True) == []
    for _ in range(11):
        assert go_on(airflow, 15, "a") == []
    why = "its last heartbeat was 1 h 3 min ago; 1 other is at work"
    assert go_on(airflow, 15, "a") == [("firing", "scheduler of b", why)]
    assert go_on(airflow, 15, "a", "b") == [("resolved", "scheduler of b", "it has a heartbeat again")]
    assert go_on(airflow, 61, "a") == [GONE]


def test_one_that_is_known_to_be_silent_stays_so_while_nobody_looks(airflow):
    assert go_on(airflow, 61, "a") == [GONE]
    airflow.now += 3600
    airflow.beat("a")
    assert airflow.look(looked_away=True) == []
    assert go_on(airflow, 15, "a", "b") == [("resolved", "scheduler of b", "it has a heartbeat again")]


def test_each_kind_is_judged_by_its_own_peers(airflow):
    airflow.beat("a", kind="TriggererJob")
    assert airflow.look() == []
    airflow.now += 61
    airflow.beat("a", "b")
    assert airflow.look() == []
