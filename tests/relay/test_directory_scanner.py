import os
import time
from pathlib import Path

import pytest

from observability.relay.sources.files import scanner as folders
from observability.relay.sources.files.scanner import DirectoryScanner

DAY = 86_400


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when ``clock.pass_s(n)`` says so, for the folder; files are made by the real one."""
    return Clock(monkeypatch)


class Clock:
    def __init__(self, monkeypatch):
        self.now = self.mono = 0.0
        monkeypatch.setattr(folders.time, "monotonic", lambda: self.mono)
        monkeypatch.setattr(folders.time, "thread_time", lambda: self.mono)

    def pass_s(self, seconds):
        self.mono += seconds


def write(root, name, age=0.0):
    """A file and the folders above it, all of that age."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    when = time.time() - age
    for touched in (path, *path.parents):
        if touched == root.parent:
            break
        os.utime(touched, (when, when))
    return str(path)


def seen(folder, **options):
    return sorted(entry.path for entry in folder.look(**options))


def test_the_first_look_sees_every_file(tmp_path):
    paths = [write(tmp_path, f"dag_id=a/run_id={run}/task_id=t/attempt=1.log", DAY * run) for run in range(5)]
    assert seen(DirectoryScanner(tmp_path)) == paths


def test_a_task_that_begins_hours_after_the_run_is_seen_without_a_sweep(tmp_path, clock):
    write(tmp_path, "dag_id=a/run_id=r/task_id=t1/attempt=1.log", 5 * 3600)
    folder = DirectoryScanner(tmp_path)
    seen(folder)
    sweeps = folder.sweeps
    later = write(tmp_path, "dag_id=a/run_id=r/task_id=t2/attempt=1.log")
    clock.pass_s(2.0)
    assert later in seen(folder, has_room=lambda: False)
    assert folder.sweeps == sweeps


@pytest.mark.parametrize(
    "name", ["dag_id=a/run_id=new/task_id=t/attempt=1.log", "dag_id=new/run_id=r/task_id=t/attempt=1.log"]
)
def test_a_new_run_is_seen_within_a_second_without_a_sweep(tmp_path, clock, name):
    write(tmp_path, "dag_id=a/run_id=r/task_id=t1/attempt=1.log", 40 * DAY)
    folder = DirectoryScanner(tmp_path)
    seen(folder)
    new = write(tmp_path, name)
    clock.pass_s(1.0)
    assert seen(folder, has_room=lambda: False) == [new]


def test_the_past_costs_nothing_between_sweeps(tmp_path, clock, monkeypatch):
    for run in range(50):
        write(tmp_path, f"dag_id=a/run_id={run}/task_id=t/attempt=1.log", 40 * DAY)
    folder = DirectoryScanner(tmp_path)
    assert len(seen(folder)) == 50
    asked = []
    real = os.stat
    monkeypatch.setattr(folders.os, "stat", lambda path, **options: asked.append(path) or real(path, **options))
    clock.pass_s(10.0)
    assert seen(folder, has_room=lambda: False) == []
    assert len(asked) == 2
    assert sum(len(hot.files) for hot in folder._hot.values()) == 0


def test_a_sweep_goes_on_in_slices_and_begins_again(tmp_path, clock, monkeypatch):
    paths = {write(tmp_path, f"dag_id=a/run_id={run}/task_id=t/attempt=1.log", 40 * DAY) for run in range(50)}
    folder = DirectoryScanner(tmp_path)
    seen(folder)
    real = folders._listing
    monkeypatch.setattr(folders, "_listing", lambda path: clock.pass_s(0.001) or real(path))
    found, looks = [], 0
    while folder.sweeps < 2:
        clock.pass_s(0.2)
        found += seen(folder)
        looks += 1
    assert set(found) == paths
    assert 10 <= looks <= 40  # 102 folders at 1 ms each, 6 ms in each look


def test_a_sweep_waits_while_there_is_no_room(tmp_path):
    for run in range(50):
        write(tmp_path, f"dag_id=a/run_id={run}/task_id=t/attempt=1.log", 40 * DAY)
    folder = DirectoryScanner(tmp_path)
    taken = []
    taken.extend(entry.path for entry in folder.look(lambda: len(taken) < 20))
    assert len(taken) == 20
    taken.extend(entry.path for entry in folder.look())
    assert len(set(taken)) == len(taken) == 50


def test_an_old_try_that_begins_again_is_seen_by_the_next_sweep(tmp_path, clock):
    write(tmp_path, "dag_id=a/run_id=r/task_id=t/attempt=1.log", 40 * DAY)
    folder = DirectoryScanner(tmp_path)
    seen(folder)
    again = write(tmp_path, "dag_id=a/run_id=r/task_id=t/attempt=2.log")
    os.utime(tmp_path / "dag_id=a/run_id=r", (1, 1))
    clock.pass_s(1.0)
    assert again in seen(folder)


def test_folders_that_go_and_cannot_be_read_stop_nothing(tmp_path, clock):
    gone = Path(write(tmp_path, "dag_id=a/run_id=r/task_id=t/attempt=1.log"))
    folder = DirectoryScanner(tmp_path)
    seen(folder)
    gone.unlink()
    gone.parent.rmdir()
    new = write(tmp_path, "dag_id=a/run_id=s/task_id=t/attempt=1.log")
    clock.pass_s(2.0)
    assert seen(folder, whole=True).count(new) >= 1


def test_a_root_that_is_a_link_is_followed_and_no_other_link(tmp_path, clock):
    path = write(tmp_path / "disk", "dag_id=a/run_id=r/task_id=t/attempt=1.log", 40 * DAY)
    (tmp_path / "logs").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "latest").symlink_to(tmp_path / "disk" / "dag_id=a")
    folder = DirectoryScanner(tmp_path / "logs")
    assert seen(folder) == [path.replace("/disk/", "/logs/")]
    new = write(tmp_path / "disk", "dag_id=b/run_id=r/task_id=t/attempt=1.log").replace("/disk/", "/logs/")
    clock.pass_s(1.0)
    assert seen(folder, has_room=lambda: False) == [new]


def test_what_is_awake_is_looked_at_however_lately_it_was(tmp_path, clock):
    path = write(tmp_path, "dag_id=a/run_id=r/task_id=t/attempt=1.log", 600)
    folder = DirectoryScanner(tmp_path)
    seen(folder)
    assert seen(folder, has_room=lambda: False) == []
    folder.wake()
    assert seen(folder, has_room=lambda: False) == [path]


def test_the_first_sweep_begins_with_what_changed_last(tmp_path):
    ages = {
        write(tmp_path, f"dag_id={run % 7}/run_id={run}/task_id=t/attempt=1.log", DAY * (run + 1)): run
        for run in range(60)
    }
    for run in reversed(range(60)):  # a folder changes when something is made in it
        when = time.time() - DAY * (run + 1)
        os.utime(tmp_path / f"dag_id={run % 7}", (when, when))
    found = []
    found.extend(ages[entry.path] for entry in DirectoryScanner(tmp_path).look(lambda: len(found) < 20))
    assert found == list(range(20))


def test_what_is_written_now_is_shown_while_the_past_waits_for_room(tmp_path, clock):
    for run in range(50):
        write(tmp_path, f"dag_id=a/run_id={run}/task_id=t/attempt=1.log", 40 * DAY)
    now = Path(write(tmp_path, "dag_id=b/run_id=long/task_id=t/attempt=1.log", 90 * DAY))
    os.utime(now)  # a task that has run for months, in a folder as old
    folder = DirectoryScanner(tmp_path)
    assert seen(folder, has_room=lambda: False) == [str(now)]
    assert not folder.sweeps
    assert len(seen(folder)) == 51
    assert folder.sweeps == 1


def test_so_many_folders_that_no_order_is_kept_are_all_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_MOST_ORDERED", 5)
    paths = [
        write(tmp_path, f"dag_id={run % 3}/run_id={run:02}/task_id=t/attempt=1.log", DAY * run) for run in range(60)
    ]
    folder = DirectoryScanner(tmp_path)
    assert seen(folder) == sorted(paths)
    assert folder.sweeps == 1


def test_each_folder_is_known_by_its_depth_whether_it_was_there_or_came(tmp_path, clock):
    write(tmp_path, "dag_id=a/run_id=r/task_id=t/attempt=1.log")
    folder = DirectoryScanner(tmp_path)
    seen(folder)
    write(tmp_path, "dag_id=b/run_id=r/task_id=t/attempt=1.log")
    clock.pass_s(2.0)
    seen(folder, has_room=lambda: False)
    depths = {path: len(Path(path).relative_to(tmp_path).parts) for path in folder._hot}
    assert len(depths) == 7
    assert {path: hot.depth for path, hot in folder._hot.items()} == depths


def test_a_folder_that_goes_during_a_sweep_ends_neither_it_nor_what_it_finds(tmp_path, monkeypatch):
    paths = [write(tmp_path, f"dag_id={name}/run_id=r/task_id=t/attempt=1.log", 600) for name in "abc"]
    real = folders._listing
    monkeypatch.setattr(folders, "_listing", lambda path: None if path.endswith("dag_id=b") else real(path))
    folder = DirectoryScanner(tmp_path)
    assert seen(folder) == [paths[0], paths[2]]
    assert folder.sweeps == 1


def test_of_a_folder_that_seems_unchanged_the_files_that_are_there_are_shown(tmp_path, clock):
    paths = [Path(write(tmp_path, f"dag_id=a/run_id=r/task_id=t/attempt={number}.log", 60)) for number in (1, 2)]
    folder = DirectoryScanner(tmp_path)
    seen(folder)
    before = paths[0].parent.stat()
    paths[0].unlink()
    os.utime(paths[0].parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    folder.wake()
    assert seen(folder, has_room=lambda: False) == [str(paths[1])]


def test_a_sweep_is_begun_anew_unless_that_was_done_too_often(tmp_path, clock):
    write(tmp_path, "dag_id=a/run_id=r/task_id=t/attempt=1.log", 40 * DAY)
    folder = DirectoryScanner(tmp_path)
    assert len(seen(folder)) == 1
    assert folder.sweep_soon() is True
    assert (len(seen(folder)), folder.sweeps) == (1, 2)
    folder._credit = -folders._MOST_DEBT_S
    assert folder.sweep_soon() is False
    assert (seen(folder), folder.sweeps) == ([], 2)


def test_a_folder_that_is_not_there_has_no_change(tmp_path):
    assert folders._changed_ns(str(tmp_path / "gone")) is None
    assert folders._changed_ns(str(tmp_path)) == tmp_path.stat().st_mtime_ns
    assert folders._stat(str(tmp_path / "gone")) is None
    assert seen(DirectoryScanner(tmp_path / "gone")) == []
