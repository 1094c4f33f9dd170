import time

import orjson
import pytest

from observability.relay.sinks.sink import Batch
from observability.relay.steps.memory import MemoryKills
from observability.relay.steps.witness import LAST_WORDS, Witness, death_of


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
    assert LAST_WORDS.search(words)
    Witness(told.append).send(batch(document("working"), words, document("after")))
    [death] = told
    assert (death.cause, death.signal, death.exit_code) == (cause, signal, exit_code)
    about = death.identity
    assert (about.dag_id, about.task_id, about.run_id, about.try_number, about.map_index) == ("d", "t", "r", 2, 4)


def test_a_kill_by_the_kernel_for_memory_has_that_cause(tmp_path):
    counter, told = tmp_path / "vmstat", []
    counter.write_text("oom_kill 3\n")
    witness = Witness(told.append, MemoryKills(counter))
    counter.write_text("oom_kill 4\n")
    witness.send(
        batch(document(OOM, signal=-9, signal_name="SIGKILL"), document("Process exited abnormally", exit_code=3))
    )
    witness.close()
    assert [death.cause for death in told] == ["oom", "killed"]


def test_equal_deaths_have_equal_ids():
    first, second = death_of(document(OOM, signal=-9)), death_of(document(OOM, signal=-9))
    assert first.id == second.id


def test_a_task_that_only_quotes_the_words_has_not_died():
    told = []
    Witness(told.append).send(batch(document('it said "event":"Process terminated by signal'), document(OOM)))
    assert told == []


def test_deaths_of_long_ago_are_history():
    told = []
    old = orjson.dumps({**orjson.loads(document(OOM, signal=-9)), "@timestamp": "2020-01-01T00:00:00.000000Z"})
    Witness(told.append).send(batch(old))
    assert told == []


@pytest.mark.parametrize(
    "more",
    [
        {"logger": "task.stdout"},
        {"logger": "my.module"},
        {"logger": None},
        {"filename": "load.py"},
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
    Witness(told.append).send(batch(line, document("Process exited abnormally", exit_code=3)))
    assert [death.exit_code for death in told] == [3]


@pytest.mark.parametrize("code", [None, "3", 3.5, [], {}, True])
def test_an_exit_code_that_is_no_whole_number_is_no_death(code):
    told = []
    Witness(told.append).send(batch(document("Process exited abnormally", exit_code=code)))
    assert told == []
