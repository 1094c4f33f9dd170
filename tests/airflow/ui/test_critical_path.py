"""The critical path is the chain of attempts, with their waits, that decided when a run ended."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from observability.airflow.ui.pages.attempts import Attempt
from observability.airflow.ui.pages.critical_path import critical_path, waits_of

ZERO = datetime(2026, 1, 1, tzinfo=timezone.utc)
NOW = ZERO.timestamp() + 100
GRAPH = {"extract": frozenset({"load"}), "aside": frozenset(), "load": frozenset({"report"}), "report": frozenset()}


def attempt(task, begins, ends, number=1, state="success", index=-1):  # noqa: PLR0913, PLR0917 - a row of a table
    def iso(second):
        return (ZERO + timedelta(seconds=second)).isoformat()

    return Attempt(task, number, index, None, state, iso(ends), iso(begins), duration_ms=(ends - begins) * 1000)


def chain(attempts, graph=GRAPH):
    found = critical_path(attempts, graph, NOW)
    return [(leg.attempt.task_id, leg.attempt.try_number, round(leg.waited_ms), round(leg.took_ms)) for leg in found]


def test_a_task_waits_for_the_last_of_those_above_it_and_not_for_one_aside():
    run = [attempt("extract", 0, 10), attempt("aside", 0, 11), attempt("load", 12, 20), attempt("report", 20, 21)]
    assert chain(run) == [("extract", 1, 0, 10_000), ("load", 1, 2000, 8000), ("report", 1, 0, 1000)]


def test_a_later_try_waits_for_the_one_before_it():
    run = [
        attempt("extract", 0, 5),
        attempt("load", 5, 9, 1, "up_for_retry"),
        attempt("aside", 0, 60),
        attempt("load", 69, 70, 2),
    ]
    assert chain(run) == [("extract", 1, 0, 5000), ("load", 1, 0, 4000), ("load", 2, 60_000, 1000)]


def test_without_a_graph_it_is_the_one_that_ended_last_before():
    run = [attempt("extract", 0, 10), attempt("aside", 0, 11), attempt("load", 12, 20)]
    assert chain(run, {}) == [("aside", 1, 0, 11_000), ("load", 1, 1000, 8000)]


def test_of_a_mapped_task_it_is_the_slowest_part():
    parts = [attempt("extract", 0, 3 + index, index=index) for index in range(4)]
    (first, last) = critical_path([*parts, attempt("load", 7, 8)], GRAPH, NOW)
    assert (first.attempt.map_index, last.attempt.task_id) == (3, "load")


def test_the_path_of_a_run_that_runs_again_ends_at_what_runs_now():
    run = [
        attempt("extract", 0, 5),
        attempt("load", 5, 9, 1, "failed"),
        attempt("aside", 0, 60),
        attempt("load", 69, 69, 2, "running"),
    ]
    assert chain(run) == [("extract", 1, 0, 5000), ("load", 1, 0, 4000), ("load", 2, 60_000, 31_000)]


def test_where_nothing_has_begun_there_is_none():
    assert critical_path([], GRAPH, NOW) == []


def test_each_attempt_shows_what_it_waited_for_and_since_when():
    run = [
        attempt("extract", 3, 5),
        attempt("load", 7, 9, 1, "up_for_retry"),
        attempt("load", 69, 70, 2),
        attempt("report", 70, 72, state="running"),
    ]
    found = waits_of(run, GRAPH, ZERO.isoformat())
    assert [one and (one.since - ZERO.timestamp(), one.why) for one in found] == [
        (0, "the scheduler and a slot"), (5, "the scheduler and a slot"), (9, "its retry"), None
    ]  # fmt: skip


def test_what_the_graph_does_not_know_has_waited_for_its_retry_only():
    run = [attempt("extract", 3, 5), attempt("load", 7, 9, 1, "up_for_retry"), attempt("load", 69, 70, 2)]
    assert [one and one.why for one in waits_of(run, {}, ZERO.isoformat())] == [None, None, "its retry"]


def test_the_waits_of_very_many_attempts_are_left_out():
    run = [attempt("extract", 3, 5, index=number) for number in range(101)]
    assert waits_of(run, GRAPH, ZERO.isoformat()) == [None] * 101


def test_times_that_stand_still_or_go_back_end_the_chain():
    run = [attempt("extract", 5, 5), attempt("load", 5, 5), attempt("report", 5, 4)]
    assert len(critical_path(run, GRAPH, NOW)) <= len(run)
