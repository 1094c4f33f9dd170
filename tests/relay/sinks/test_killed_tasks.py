import subprocess
import sys
import time
from dataclasses import replace

import orjson
import pytest

from observability import attempt_notes
from observability.events import Identity
from observability.relay.sinks.killed_tasks import EXIT_MESSAGES, KilledTaskDetector, death_of
from observability.relay.sinks.sink import Batch
from observability.relay.steps.memory import MemoryKills
from observability.settings import get_settings


def document(event, **extra):
    about = {
        "airflow.dag_id": "d",
        "airflow.task_id": "t",
        "airflow.run_id": "r",
        "airflow.try_number": 2,
        "airflow.map_index": 4,
    }
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    levels = {"Process exited": "warning", "Server indicat": "error"}
    said = {"level": levels.get(event[:14], "critical"), "event": event, "logger": "task"}
    return orjson.dumps({**about, "@timestamp": stamp, **said, **extra})


def batch(*documents):
    return Batch("airflow.task", "a.log", "g", [b"i-%d" % number for number in range(len(documents))], list(documents))


SEGFAULT = "\n************************* Received SIGSEGV *************************\nSIGSEGV …"
OOM = "Process terminated by signal. Likely out of memory error (OOM). For more information, see https://…"
NOT_RUNNING = "Server indicated the task shouldn't be running anymore. Terminating process"


@pytest.mark.parametrize(
    ("said", "extra", "cause", "signal", "exit_code"),
    [
        (OOM, {"signal": -9, "signal_name": "SIGKILL"}, "killed", "SIGKILL", -9),
        ("Process terminated by signal. For more", {"signal": -15, "signal_name": "SIGTERM"}, "killed", "SIGTERM", -15),
        ("Process exited abnormally", {"exit_code": 3}, "killed", None, 3),
        (SEGFAULT, {}, "killed", "SIGSEGV", -11),
        (NOT_RUNNING, {"detail": {"current_state": "failed"}}, "cancelled", None, None),
        (NOT_RUNNING, {"detail": {"current_state": "queued"}}, "lost_heartbeat", None, None),
        (NOT_RUNNING, {"detail": "gone"}, "cancelled", None, None),
    ],
)
def test_the_supervisors_last_words_are_understood(said, extra, cause, signal, exit_code):
    told = []
    words = document(said, **extra)
    assert EXIT_MESSAGES.search(words)
    KilledTaskDetector(told.append).send(batch(document("working"), words, document("after")))
    [death] = told
    assert (death.cause, death.signal, death.exit_code) == (cause, signal, exit_code)
    about = death.identity
    assert (about.dag_id, about.task_id, about.run_id, about.try_number, about.map_index) == ("d", "t", "r", 2, 4)


ABOUT = Identity(dag_id="d", task_id="t", run_id="r", try_number=2, map_index=4)


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """A folder of the shape of /sys/fs/cgroup in which an attempt began; how many kills it counts can be set."""
    monkeypatch.setenv("CONTRAIL_CORE__HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    events = tmp_path / "memory.events"

    def count(kills):
        events.write_text(f"low 0\nhigh 0\nmax 12\noom 3\noom_kill {kills}\noom_group_kill 0\n")

    count(2)
    monkeypatch.setattr(attempt_notes, "memory_events_file", lambda: events)
    monkeypatch.setattr(attempt_notes, "memory_limit", lambda: 64 << 20)
    yield count
    get_settings.cache_clear()


def killed(tmp_path, *, host_grew):
    counter, told = tmp_path / "vmstat", []
    counter.write_text("oom_kill 3\n")
    source = KilledTaskDetector(told.append, MemoryKills(counter))
    counter.write_text(f"oom_kill {3 + host_grew}\n")
    source.send(batch(document(OOM, signal=-9, signal_name="SIGKILL")))
    source.close()
    [death] = told
    return death


@pytest.mark.parametrize("host_grew", [0, 1])
def test_a_task_whose_own_cgroup_counts_a_kill_was_killed_for_memory(cgroup, tmp_path, host_grew):
    attempt_notes.note_start(ABOUT)
    cgroup(3)
    death = killed(tmp_path, host_grew=host_grew)
    assert (death.cause, death.memory_limit) == ("oom", 64 << 20)
    assert "64 MiB" in death.reason


def test_a_kill_elsewhere_on_the_host_is_not_this_tasks_cause(cgroup, tmp_path):
    attempt_notes.note_start(ABOUT)
    death = killed(tmp_path, host_grew=1)
    assert (death.cause, death.reason) == ("killed", "the process was ended by SIGKILL")


def test_a_kill_on_the_host_is_a_remark_where_nothing_is_known_of_the_task(cgroup, tmp_path):
    death = killed(tmp_path, host_grew=1)
    assert death.cause == "killed"
    assert death.reason.endswith("; the host killed something for memory at that time")


def test_in_a_cgroup_that_several_tasks_share_it_is_said_what_can_be_known(cgroup, tmp_path):
    attempt_notes.note_start(ABOUT)
    attempt_notes.note_start(replace(ABOUT, task_id="other"))
    cgroup(3)
    death = killed(tmp_path, host_grew=1)
    assert death.cause == "killed"
    assert "which 2 tasks share, was killed for memory" in death.reason


def test_a_task_that_has_ended_shares_nothing_any_more(cgroup, tmp_path):
    attempt_notes.note_start(ABOUT)
    attempt_notes.note_start(replace(ABOUT, task_id="other"))
    attempt_notes.note_end(replace(ABOUT, task_id="other"))
    cgroup(3)
    assert killed(tmp_path, host_grew=0).cause == "oom"


@pytest.mark.parametrize("text", ["", "oom_kill", "oom_kill many\n", "low 0\n"])
def test_a_counter_that_says_nothing_is_no_evidence(cgroup, tmp_path, text):
    attempt_notes.note_start(ABOUT)
    (tmp_path / "memory.events").write_text(text)
    assert killed(tmp_path, host_grew=0).cause == "killed"


def test_a_note_of_another_container_is_no_evidence(cgroup, tmp_path, monkeypatch):
    attempt_notes.note_start(ABOUT)
    cgroup(3)
    monkeypatch.setattr(attempt_notes, "_namespace", lambda: "cgroup:[1]")
    assert killed(tmp_path, host_grew=0).cause == "killed"


def test_a_process_that_is_really_killed_while_the_host_kills_another_is_killed(cgroup, tmp_path):
    attempt_notes.note_start(ABOUT)
    child = subprocess.Popen([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
    assert child.wait() == -9
    assert killed(tmp_path, host_grew=1).cause == "killed"


def test_equal_deaths_have_equal_ids():
    first, second = death_of(document(OOM, signal=-9)), death_of(document(OOM, signal=-9))
    assert first.id == second.id


def test_a_task_that_only_quotes_the_words_has_not_died():
    told = []
    KilledTaskDetector(told.append).send(
        batch(document('it said "event":"Process terminated by signal'), document(OOM))
    )
    assert told == []


def test_deaths_of_long_ago_are_history():
    told = []
    old = orjson.dumps({**orjson.loads(document(OOM, signal=-9)), "@timestamp": "2020-01-01T00:00:00.000000Z"})
    KilledTaskDetector(told.append).send(batch(old))
    assert told == []


@pytest.mark.parametrize(
    "more",
    [
        {"logger": "task.stdout"},
        {"logger": "my.module"},
        {"logger": None},
        {"filename": "load.py"},
        {"filename": "supervisor.py", "ti_id": "01a21b5b"},
        {"ti_id": None},
        {"try_number": 1},
        {"task_id": "t"},
        {"level": "info"},
        {"signal": "SIGTERM"},
        {"signal": None},
        {"signal": True},
        {"signal": 1e300},
        {"signal": 10**30},
        {"event": ["Process terminated by signal"]},
    ],
)
def test_what_a_task_says_itself_is_no_death_and_no_error(more):
    told = []
    forged = orjson.loads(document(OOM)) | {"signal": -9}
    forged |= more
    line = orjson.dumps({name: value if value != 10**30 else "9" * 30 for name, value in forged.items()})
    KilledTaskDetector(told.append).send(batch(line, document("Process exited abnormally", exit_code=3)))
    assert [death.exit_code for death in told] == [3]


@pytest.mark.parametrize("code", [None, "3", 3.5, [], {}, True])
def test_an_exit_code_that_is_no_whole_number_is_no_death(code):
    told = []
    KilledTaskDetector(told.append).send(batch(document("Process exited abnormally", exit_code=code)))
    assert told == []
