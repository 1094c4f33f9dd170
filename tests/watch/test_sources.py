"""The facts that each source makes of what it sees."""

from __future__ import annotations

import json
import os
import socket
import subprocess

import orjson
import pytest

from observability.causes import cause_of
from observability.events import DagRunSucceeded, Identity, IncidentOpened, TaskFailed, TaskKilled
from observability.journal import Journal
from observability.watch.facts import from_document, seconds
from observability.watch.sources.diagnose import diagnose_run, diagnose_task, duration_s
from observability.watch.sources.journal import JournalSource
from observability.watch.sources.logs import LastWords, last_words, log_path, words_in

ABOUT = Identity(dag_id="load", run_id="r1", task_id="t", try_number=1, map_index=-1)


def failure(**more):
    return TaskFailed(identity=ABOUT, cause="app", reason="no", error_type="ValueError", **more).document()


class TestJournal:
    def test_it_begins_with_what_is_recent_and_reads_on_from_its_cursor(self, tmp_path):
        journal, source = Journal(tmp_path), JournalSource(tmp_path)
        journal.append("etl.event", orjson.dumps(failure()))
        os.utime(next(tmp_path.glob("*.journal")), (1, 1))
        facts, cursor, more = source.read(None)
        assert (facts, more) == ([], False)
        assert not source.has_grown(cursor)
        journal.append("etl.event", orjson.dumps(failure()))
        assert source.has_grown(cursor)
        facts, cursor, _ = source.read(cursor)
        assert [(fact.kind, fact.status, fact.dag_id, fact.cause) for fact in facts] == [
            ("task", "firing", "load", "app")
        ]
        assert source.read(cursor)[0] == []
        assert len(source.read(None)[0]) == 2

    def test_it_reads_the_same_again_when_its_cursor_was_not_kept(self, tmp_path):
        journal, source = Journal(tmp_path), JournalSource(tmp_path)
        cursor = source.read(None)[1]
        journal.append("etl.event", orjson.dumps(failure()))
        assert source.read(cursor)[0] == source.read(cursor)[0] != []

    def test_a_half_written_record_waits_and_a_damaged_one_is_passed_over(self, tmp_path):
        journal, source = Journal(tmp_path), JournalSource(tmp_path)
        cursor = source.read({})[1]
        journal.append("etl.event", orjson.dumps(failure()))
        path = next(tmp_path.glob("*.journal"))
        whole = path.read_bytes()
        path.write_bytes(b"00000000 {damaged}\n" + whole + whole[:30])
        facts, cursor, _ = source.read(cursor)
        assert len(facts) == 1
        path.write_bytes(b"00000000 {damaged}\n" + whole + whole)
        assert len(source.read(cursor)[0]) == 1

    def test_it_does_not_hear_itself(self, tmp_path):
        journal, source = Journal(tmp_path), JournalSource(tmp_path)
        said = IncidentOpened(
            identity=ABOUT,
            incident_id="i",
            incident_key="k",
            incident_state="open",
            severity="error",
            count=1,
            reason="r",
        )
        journal.append("contrail.alert", orjson.dumps(said.document()))
        assert source.read({})[0] == []

    def test_a_new_file_of_a_new_day_is_read_from_its_start(self, tmp_path):
        source = JournalSource(tmp_path)
        cursor = source.read(None)[1]
        Journal(tmp_path).append("etl.event", orjson.dumps(failure()))
        assert len(source.read(cursor)[0]) == 1


def test_a_lost_heartbeat_told_by_a_callback_is_only_a_suspicion():
    event = TaskFailed(identity=ABOUT, cause="lost_heartbeat", reason="gone")
    assert from_document(event.document()).status == "suspected"


def test_the_same_attempt_has_the_same_key_whoever_saw_it():
    killed, told = TaskKilled(identity=ABOUT, cause="killed", reason="x"), failure()
    assert from_document(killed.document()).key == from_document(told).key
    assert from_document(DagRunSucceeded(identity=ABOUT).document()).key != from_document(told).key


def words(*records):
    return words_in([{"timestamp": "t", "level": "info", **one} for one in records])


SUPERVISOR = {"logger": "task", "level": "warning"}
RAISED = {
    "event": "Task failed with exception",
    "error_detail": [
        {
            "exc_type": "ValueError", "exc_value": "bad 17", "frames": [
                {"filename": "/x/site-packages/airflow/run.py", "lineno": 1, "name": "run"},
                {"filename": "/dags/load.py", "lineno": 9, "name": "read"},
                {"filename": "/x/site-packages/pandas/io.py", "lineno": 3, "name": "parse"},
            ],
        }
    ],
}  # fmt: skip


class TestLastWords:
    def test_an_exception_with_its_own_frame_and_a_fingerprint_that_ignores_numbers(self):
        found = words({"event": "hello"}, RAISED)
        assert (found.cause, found.reason) == ("app", "ValueError: bad 17")
        assert found.evidence["error.frame"] == "load.py:9 in read"
        other = {**RAISED, "error_detail": [{**RAISED["error_detail"][0], "exc_value": "bad 18"}]}
        assert found.evidence["error.fingerprint"] == words(other).evidence["error.fingerprint"]

    @pytest.mark.parametrize(
        ("kind", "cause"),
        [
            ("AirflowTaskTimeout", "timeout"),
            ("MemoryError", "oom"),
            ("ConnectionRefusedError", "dependency"),
            ("SchemaErrors", "data"),
            ("JSONDecodeError", "data"),
            ("gaierror", "dependency"),
            ("HTTPStatusError", "dependency"),
            ("TimeoutExpired", "timeout"),
        ],
    )
    def test_a_type_that_says_why(self, kind, cause):
        raised = {**RAISED, "error_detail": [{**RAISED["error_detail"][0], "exc_type": kind}]}
        assert words(raised).cause == cause

    def test_a_signal(self):
        found = words(
            {"event": "working"},
            {
                "event": "Process terminated by signal. Likely out of memory",
                "signal": -9,
                "signal_name": "SIGKILL",
                **SUPERVISOR,
                "level": "critical",
            },
        )
        assert (found.cause, found.evidence["airflow.signal"], found.evidence["process.exit_code"]) == (
            "killed",
            "SIGKILL",
            -9,
        )

    def test_an_exit_code(self):
        assert (
            words({"event": "Process exited abnormally", "exit_code": 7, **SUPERVISOR}).evidence["process.exit_code"]
            == 7
        )

    def test_an_exit_code_after_an_exception_is_its_consequence(self):
        assert words(RAISED, {"event": "Process exited abnormally", "exit_code": 1, **SUPERVISOR}).cause == "app"

    @pytest.mark.parametrize(
        "forged",
        [
            {"event": "done", "event.action": "task.failed", "airflow.cause": "oom", "logger": "my.module"},
            {"event": "done", "event.action": "task.failed", "airflow.cause": "oom", "filename": "load.py"},
            {**RAISED, "filename": "load.py", "logger": "task"},
            {**RAISED, "logger": "task.stdout"},
            {"event": "Process exited abnormally", "exit_code": 7, "logger": "task", "level": "warning", "ti_id": "x"},
        ],
    )
    def test_a_task_cannot_say_how_it_ended_in_the_words_of_others(self, forged):
        assert words(forged).cause is None

    def test_nothing_where_the_log_says_nothing(self):
        assert words({"event": "hello"}).cause is None

    def test_the_end_of_a_file_is_read_and_a_missing_file_is_no_error(self, tmp_path):
        path = log_path(tmp_path, "load", "r1", "t", 3, 2)
        assert path.relative_to(tmp_path).as_posix() == "dag_id=load/run_id=r1/task_id=t/map_index=3/attempt=2.log"
        assert last_words(path) == LastWords()
        path.parent.mkdir(parents=True)
        lines = [json.dumps({"event": f"line {number}", "level": "info"}) for number in range(10_000)]
        path.write_text("\n".join([*lines, "no json", json.dumps(RAISED)]))
        found = last_words(path)
        assert found.cause == "app"
        assert len(found.evidence["log_tail"]) == 12


def task(**more):
    return {
        "task_id": "t", "map_index": -1, "try_number": 1, "state": "failed", "hostname": "h", "duration": 3.0,
        "start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-01T00:01:00Z", **more,
    }  # fmt: skip


def event(name, **more):
    return {
        "event": name,
        "when": "2026-01-01T00:01:02Z",
        "task_id": "t",
        "map_index": -1,
        "try_number": 1,
        "owner": "ann",
        "extra": "",
        **more,
    }


class TestDiagnosis:
    def test_a_persons_hand_is_said_as_such(self):
        by_hand = event("patch_task_instance", extra='{"new_state": "failed"}', try_number=None)
        found = diagnose_task(task(), [by_hand], LastWords("killed", "by SIGTERM"))
        assert (found.cause, found.reason) == ("cancelled", "marked failed by ann")

    def test_a_person_who_marked_it_an_hour_ago_is_not_the_cause_now(self):
        by_hand = event("patch_task_instance", extra='{"new_state": "failed"}', when="2025-12-31T23:00:00Z")
        assert diagnose_task(task(), [by_hand], LastWords()).cause == "app"

    @pytest.mark.parametrize("asked", ["patch_task_instance", "patch_dag_run"])
    @pytest.mark.parametrize("extra", ['{"new_state": "failed"}', '{"state": "failed"}', '{"note": "it failed"}'])
    def test_a_person_may_set_to_failed_what_ended_an_hour_ago(self, asked, extra):
        late = event(asked, extra=extra, when="2026-01-01T01:01:00Z", task_id=None, try_number=None)
        about_task = diagnose_task(task(), [late], LastWords())
        about_run = diagnose_run({"end_date": "2026-01-01T00:01:00Z"}, [], [late], None)
        by_hand = ("cancelled", seconds("2026-01-01T01:01:00Z"))
        for found in (about_task, about_run):
            assert ((found.cause, found.at) == by_hand) is ("note" not in extra)

    @pytest.mark.parametrize(
        ("name", "cause"),
        [
            ("heartbeat timeout", "lost_heartbeat"),
            ("state mismatch", "lost_heartbeat"),
            ("stuck in queued tries exceeded", "stuck_queued"),
            ("fail task", "upstream"),  # the DAG has fail_fast
        ],
    )
    @pytest.mark.parametrize("words", [LastWords(), LastWords("cancelled", "its state had become failed")])
    def test_airflows_own_event_log_says_why(self, name, cause, words):
        assert diagnose_task(task(), [event(name)], words).cause == cause

    def test_last_words_are_surer_than_a_lost_heartbeat(self):
        found = diagnose_task(
            task(), [event("heartbeat timeout")], LastWords("oom", "MemoryError", {"error.type": "MemoryError"})
        )
        assert (found.cause, found.certainty) == ("oom", 3)

    def test_another_attempts_event_is_not_this_ones(self):
        assert diagnose_task(task(try_number=2), [event("heartbeat timeout")], LastWords()).cause == "app"

    @pytest.mark.parametrize(
        ("run", "tasks", "timeout", "cause"),
        [
            ({"duration": 8.0}, [task(state="skipped")], "PT5S", "timeout"),
            ({"duration": 2.0}, [task(state="success"), task(state=None)], "PT5S", "app"),
            ({"duration": 2.0}, [task(state="failed")], None, "upstream"),
            ({"duration": 2.0}, [task(state="success"), task(state="upstream_failed")], None, "app"),
            ({"duration": 2.0}, [task(state="success")], None, "platform"),
        ],
    )
    def test_a_failed_run_without_a_failed_task(self, run, tasks, timeout, cause):
        assert diagnose_run({"end_date": "2026-01-01T00:01:00Z", **run}, tasks, [], timeout).cause == cause

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("PT5S", 5), ("PT1H30M", 5400), ("P1DT2H", 93600), ("P2D", 172800), (7.5, 7.5), (None, None)],
    )
    def test_durations_as_the_api_writes_them(self, text, seconds):
        assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError(), TimeoutError(), MemoryError(), KeyboardInterrupt(), subprocess.TimeoutExpired("x", 1),
     socket.gaierror(), json.JSONDecodeError("x", "", 0), UnicodeDecodeError("utf-8", b"x", 0, 1, "x"), ValueError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_log_is_read_with_the_causes_that_a_callback_tells(error):
    raised = {**RAISED, "error_detail": [{**RAISED["error_detail"][0], "exc_type": type(error).__name__}]}
    assert words(raised).cause == cause_of(error)
