"""The note of an attempt, and what it says of one that was found dead."""

import os
import time
from pathlib import Path

import orjson
import pytest

from observability import attempt_notes
from observability.attempt_notes import MemoryVerdict, died, note_end, note_start
from observability.events import Identity, fact_id
from observability.settings import get_settings

ABOUT = Identity(dag_id="d", task_id="t", run_id="r", try_number=1, map_index=-1)
OTHER = Identity(dag_id="d", task_id="t", run_id="r", try_number=2, map_index=-1)


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """A cgroup whose counter of processes killed for memory is what was last written to it; in a home of its own."""
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    events = tmp_path / "memory.events"

    def count(number):
        events.write_text(f"low 0\noom 7\noom_kill {number}\n")
        return events

    count(3)
    monkeypatch.setattr(attempt_notes, "memory_events_file", lambda: events)
    monkeypatch.setattr(attempt_notes, "memory_limit", lambda: 1 << 30)
    yield count
    get_settings.cache_clear()


def notes():
    folder = get_settings().home / "attempts"
    return {path.name: orjson.loads(path.read_bytes()) for path in folder.iterdir()} if folder.exists() else {}


def test_a_note_says_with_what_the_attempt_began(cgroup):
    note_start(ABOUT)
    assert notes() == {
        fact_id("attempt", ABOUT): {
            "events": str(cgroup(3)),
            "oom_kill": 3,
            "limit": 1 << 30,
            "namespace": str(Path("/proc/self/ns/cgroup").readlink()),
            "pid": os.getpid(),
        }
    }
    folder = get_settings().home / "attempts"
    assert folder.stat().st_mode & 0o777 == 0o700
    note_start(OTHER)
    assert len(notes()) == 2


def test_an_attempt_that_ended_leaves_no_note_and_needs_none(cgroup):
    note_start(ABOUT)
    note_end(ABOUT)
    note_end(ABOUT)
    assert notes() == {}
    assert died(ABOUT) == MemoryVerdict("unknown", tasks=1, limit=None)


@pytest.mark.parametrize("file", [None, "/no/such/memory.events"])
def test_where_the_kernel_counts_nothing_there_is_no_note(cgroup, monkeypatch, file):
    monkeypatch.setattr(attempt_notes, "memory_events_file", lambda: file and Path(file))
    note_start(ABOUT)
    assert notes() == {}


@pytest.mark.parametrize(
    ("count", "verdict"),
    [
        (2, MemoryVerdict("not killed")),
        (3, MemoryVerdict("not killed")),
        (4, MemoryVerdict("killed", 1, 1 << 30)),
        (9, MemoryVerdict("killed", 1, 1 << 30)),
    ],
)
def test_an_attempt_was_killed_for_memory_if_its_cgroup_counted_one_more(cgroup, count, verdict):
    note_start(ABOUT)
    cgroup(count)
    assert died(ABOUT) == verdict
    assert notes() == {}


def test_a_counter_that_is_gone_says_nothing(cgroup):
    note_start(ABOUT)
    cgroup(4).unlink()
    assert died(ABOUT) == MemoryVerdict("unknown")
    assert notes() == {}


@pytest.mark.parametrize(
    ("changed", "others"),
    [
        ({}, 1),
        ({"events": "/another/memory.events"}, 0),
        ({"pid": 0}, 0),  # a process that is no more
        ({"events": 5}, 0),
        ({"oom_kill": "3"}, 0),
    ],
)
def test_another_attempt_in_the_same_cgroup_may_have_been_the_one(cgroup, changed, others):
    note_start(ABOUT)
    note_start(OTHER)
    path = get_settings().home / "attempts" / fact_id("attempt", OTHER)
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | changed))
    cgroup(4)
    assert died(ABOUT) == MemoryVerdict("shared" if others else "killed", 1 + others, 1 << 30)
    assert len(notes()) == 1


def test_two_others_are_counted_and_each_is_told_of_those_that_are_left(cgroup):
    third = Identity(dag_id="d", task_id="u", run_id="r", try_number=1, map_index=-1)
    for about in (ABOUT, OTHER, third):
        note_start(about)
    cgroup(4)
    assert [died(about).tasks for about in (ABOUT, OTHER, third)] == [3, 2, 1]


@pytest.mark.parametrize(("age", "kept"), [(172_700, True), (172_900, False)])
def test_a_note_of_two_days_ago_is_removed_and_counts_for_nothing(cgroup, age, kept):
    note_start(ABOUT)
    note_start(OTHER)
    when = time.time() - age
    os.utime(get_settings().home / "attempts" / fact_id("attempt", OTHER), (when, when))
    cgroup(4)
    assert died(ABOUT).answer == ("shared" if kept else "killed")
    assert len(notes()) == int(kept)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"events":"x"}', b'{"events":1,"oom_kill":1}'])
def test_a_note_that_cannot_be_read_says_nothing(cgroup, content):
    note_start(ABOUT)
    (get_settings().home / "attempts" / fact_id("attempt", ABOUT)).write_bytes(content)
    cgroup(4)
    assert died(ABOUT) == MemoryVerdict("unknown")


def test_a_note_of_another_container_says_nothing_and_stays(cgroup, monkeypatch):
    note_start(ABOUT)
    cgroup(4)
    monkeypatch.setattr(attempt_notes, "_namespace", lambda: "cgroup:[of another]")
    assert died(ABOUT) == MemoryVerdict("unknown")
    assert len(notes()) == 1


def test_a_host_without_namespaces_has_none(monkeypatch):
    monkeypatch.setattr(attempt_notes, "_NAMESPACE", "/no/such/file")
    assert attempt_notes._namespace() == ""
