import os
import shutil
import time
from array import array

import pytest
from file_world import World
from relay_lines import TASK, line

from observability import contain
from observability.contain import take_losses
from observability.relay.sources.files import registry as registry_module
from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.fingerprint import identify
from observability.relay.sources.files.registry import FileRegistry, Source
from observability.relay.sources.files.spool import Spool
from observability.relay.sources.files.tail import Cursor, Replaced, read
from observability.relay.sources.files.tailed_file import stamp_of

BANNER = b"  ____ Airflow ____\n"
SCHEDULER = "components/scheduler.log"


@pytest.fixture
def world(logs, tmp_path):
    return World(logs, tmp_path)


def test_new_files_folders_and_lines_are_found(world):
    world.logs.write(line("a"))
    world.catch_up()
    world.logs.write(line("b"))
    world.logs.write(line("c"), TASK.replace("attempt=1", "attempt=2"))
    world.logs.write(line("d"), "dag_id=new/run_id=r/task_id=t/map_index=3/attempt=1.log.trigger.7.log")
    world.logs.write(line("e"), "dag_processor/2026-01-31/dags/x.py.log")
    world.catch_up()
    assert world.comes_to(5)


def test_what_is_no_log_and_what_is_a_link_is_left_alone(world):
    world.logs.write(line("a"), "notes.txt")
    path = world.logs.write(line("a"), "dag_processor/2026-01-31/x.py.log")
    (world.logs.root / "dag_processor" / "latest").symlink_to(path.parent)
    world.catch_up()
    assert world.comes_to(1)


def test_of_many_logs_that_fit_no_place_twenty_are_named_and_all_are_counted(world):
    for number in range(25):
        world.logs.write(line("a"), f"elsewhere/{number:02}.log")
    world.registry.refresh()
    assert (len(world.registry.unknown), world.registry.unknown_files) == (20, 25)


@pytest.mark.parametrize("first", [line("first"), BANNER])
def test_rotation_by_renaming_loses_and_doubles_nothing(world, first):
    for rotation in range(20):
        path = world.logs.write(first if first == BANNER else line("first", rotation), SCHEDULER)
        world.logs.write(line("read in time", rotation), SCHEDULER)
        world.catch_up()
        world.logs.write(line("read after the rename", rotation), SCHEDULER)
        path.rename(path.with_name(f"scheduler.log.{rotation + 1}"))
    world.catch_up()
    assert world.comes_to(60)


def test_rotation_by_copy_and_truncate_loses_and_doubles_nothing(world):
    for rotation in range(20):
        path = world.logs.write(line("read in time", rotation), SCHEDULER)
        world.catch_up()
        world.logs.write(line("only in the copy", rotation), SCHEDULER)
        shutil.copy2(path, path.with_name(f"scheduler.log.{rotation + 1}"))
        os.truncate(path, 0)
    world.catch_up()
    assert (world.comes_to(40), world.reader.lost_bytes) == (True, 0)


def test_a_log_that_was_copied_emptied_and_filled_to_the_same_size_is_another(world):
    path = world.logs.write(line("first", 1), SCHEDULER)
    world.catch_up()
    shutil.copy2(path, path.with_name("scheduler.log.1"))
    os.truncate(path, 0)
    world.logs.write(line("other", 2), SCHEDULER)
    path.rename(path.with_name("scheduler.log.2"))
    world.catch_up()
    world.sweep()
    world.catch_up()
    assert (world.comes_to(2), world.reader.lost_bytes) == (True, 0)


def test_a_log_that_is_filled_anew_between_its_discovery_and_its_first_reading_is_another(world):
    path = world.logs.write(line("first", 1), SCHEDULER)
    world.registry.refresh()
    shutil.copy2(path, path.with_name("scheduler.log.1"))
    path.write_bytes(line("second", 2) * 2)
    [file] = world.registry.files
    with pytest.raises(Replaced, match="filled anew"):
        read(file, Cursor(file.identity), 65_536)
    world.catch_up()
    world.catch_up()
    assert world.comes_to(3)


def test_a_copy_is_read_where_the_truncated_original_is_deleted_before_it_was_looked_at(world):
    path = world.logs.write(line("only in the copy"), SCHEDULER)
    world.registry.refresh()
    shutil.copy2(path, path.with_name("scheduler.log.1"))
    os.truncate(path, 0)
    path.unlink()
    world.sweep()
    world.catch_up()
    assert (world.comes_to(1), world.reader.lost_bytes) == (True, 0)


def test_a_daemon_that_starts_anew_over_its_old_log_is_a_new_file(world):
    path = world.logs.write(BANNER + line("first life"), SCHEDULER)
    world.catch_up()
    path.write_bytes(BANNER + line("second life, of which more is said"))
    world.catch_up()
    world.catch_up()
    world.restart()
    world.catch_up()
    assert world.comes_to(4)


def test_a_file_deleted_before_it_was_read_is_read_from_the_spool(world):
    path = world.logs.write(line("a"))
    world.registry.refresh()
    world.logs.write(line("b"))
    path.unlink()
    world.catch_up()
    assert (world.comes_to(2), world.reader.lost_bytes) == (True, 0)


def test_a_file_deleted_while_no_relay_ran_is_read_from_the_spool(world):
    path = world.logs.write(line("a"))
    world.registry.refresh()
    world.logs.write(line("b"))
    path.unlink()
    world.restart()
    world.catch_up()
    assert world.comes_to(2)


def test_what_can_be_saved_nowhere_is_counted(world, monkeypatch):
    monkeypatch.setattr("os.link", _refuse)
    monkeypatch.setattr("observability.relay.sources.files.registry._COPY_GRACE_S", 0.0)
    path = world.logs.write(line("a"))
    world.catch_up()
    world.logs.write(line("b"))
    world.registry.refresh()
    path.unlink()
    world.sweep()
    world.sweep()
    assert (world.comes_to(1), world.reader.lost_bytes) == (True, len(line("b")))
    assert world.spool.refused > 0


def test_a_file_that_is_done_leaves_memory_and_spool_and_comes_back_when_it_grows(world):
    path = world.logs.write(line("a"))
    world.registry.refresh()
    assert len(list(world.spool.held())) == 1
    old = time.time() - 3600
    os.utime(path, (old, old))
    world.catch_up()
    world.registry.refresh()
    assert (world.registry.files, list(world.spool.held())) == ((), [])
    world.logs.write(line("b"))
    world.catch_up()
    assert world.comes_to(2)


def test_an_inode_used_again_is_another_file(world):
    path = world.logs.write(line("a"))
    old = time.time() - 3600
    os.utime(path, (old, old))
    world.catch_up()
    world.registry.refresh()
    inode = path.stat().st_ino
    path.unlink()
    again = world.logs.write(line("b"), TASK.replace("attempt=1", "attempt=2"))
    if again.stat().st_ino != inode:
        pytest.skip("this file system did not use the inode again")
    world.catch_up()
    assert world.comes_to(2)


def test_a_first_line_without_end_waits_and_is_not_given_another_identity(world):
    world.logs.write(line("a")[:10])
    world.catch_up()
    world.logs.write(line("a")[10:])
    world.catch_up()
    assert world.comes_to(1)


def test_a_file_that_cannot_be_read_is_named_and_stops_no_other(world, monkeypatch):
    world.logs.write(line("a"))
    world.logs.write(line("b"), SCHEDULER)
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest: _refuse() if str(path).endswith("attempt=1.log") else real(path, *rest)
    )
    world.catch_up()
    assert world.comes_to(1)
    assert list(world.registry.unreadable.values()) == ["Permission denied"]


def test_files_without_end_are_taken_in_by_and_by(world, monkeypatch):
    monkeypatch.setattr("observability.relay.sources.files.registry._MOST_ACTIVE", 10)
    old = time.time() - 3600
    for number in range(35):
        path = world.logs.write(line("a", number), f"dag_id=d/run_id={number}/task_id=t/attempt=1.log")
        os.utime(path, (old, old))
    rounds = 0
    while not world.registry.refresh() and rounds < 20:
        assert len(world.registry.files) <= 10
        world.catch_up()
        rounds += 1
    assert world.comes_to(35)


def _refuse(*_args, **_options):
    raise PermissionError(13, "Permission denied")


def test_a_name_too_long_for_one_file_name_is_held_in_folders(world):
    name = f"dag_id={'d' * 120}/run_id={'r' * 120}/task_id=t/attempt=1.log"
    path = world.logs.write(line("a"), name)
    world.registry.refresh()
    path.unlink()
    world.restart()
    world.catch_up()
    assert world.comes_to(1)
    assert [held[0] for held in world.spool.held()] == [name]


def test_an_old_log_that_is_sent_at_once_needs_no_second_name(world, monkeypatch):
    path = world.logs.write(line("a"))
    old = time.time() - 3600
    os.utime(path, (old, old))
    monkeypatch.setattr(world.spool, "hold", lambda file: pytest.fail(f"{file.path} was linked"))
    world.catch_up()
    world.registry.refresh()
    assert world.comes_to(1)


def test_what_was_read_by_an_earlier_process_is_not_opened_again(world, monkeypatch):
    old = time.time() - 3600
    for number in range(5):
        path = world.logs.write(line("a"), f"dag_id=d/run_id={number}/task_id=t/attempt=1.log")
        os.utime(path, (old, old))
    world.catch_up()
    stamps = array("q", sorted(stamp_of(path.stat()) for path in world.logs.root.rglob("*.log")))
    world.restart()
    world.registry.remember(stamps)
    world.logs.write(line("b"), "dag_id=d/run_id=3/task_id=t/attempt=1.log")
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: opened.append(str(path)) or real(path, *rest))
    world.registry.refresh()
    assert [path for path in opened if "run_id=3" not in path] == []
    world.catch_up()
    assert world.comes_to(6)


def test_what_is_fresh_is_held_though_there_is_no_room(world, monkeypatch):
    monkeypatch.setattr("observability.relay.sources.files.registry._MOST_ACTIVE", 10)
    monkeypatch.setattr("observability.relay.sources.files.registry._STUCK_S", 0.0)
    old = time.time() - 3600
    for number in range(15):
        path = world.logs.write(line("a"), f"dag_id=d/run_id={number}/task_id=t/attempt=1.log")
        os.utime(path, (old, old))
    for _ in range(3):
        world.registry.refresh()
    fresh = world.logs.write(line("b"), "dag_id=d/run_id=new/task_id=t/attempt=1.log")
    world.sweep()
    assert len(world.registry.files) == 11
    fresh.unlink()
    world.catch_up()
    world.sweep()
    world.catch_up()
    assert (world.comes_to(16), world.reader.lost_bytes) == (True, 0)


def test_a_file_is_gone_when_neither_its_name_nor_its_content_is_here(world):
    path = world.logs.write(line("a"))
    world.catch_up()
    [file] = world.registry.files
    assert not world.registry.is_gone(file.identity, TASK)
    path.unlink()
    assert not world.registry.is_gone(file.identity, TASK)  # it is still held
    world.registry.discard(file)
    assert world.registry.is_gone(file.identity, TASK)


def write_old(world, name, seconds):
    path = world.logs.write(line(name), f"dag_id=d/run_id={name}/task_id=t/attempt=1.log")
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_each_file_that_is_being_written_gets_a_second_name(world):
    for name in ("a", "b", "c"):
        write_old(world, name, 0)
        world.registry.wake()
        world.registry.refresh()
    assert len(list(world.spool.held())) == 3


def test_a_file_is_gone_while_only_its_second_name_is_there_also_for_the_next_process(world):
    def gone():
        world.registry.wake()
        world.registry.refresh()
        return [(file.gone, file.spooled is not None) for file in world.registry.files]

    path = world.logs.write(line("a"))
    assert gone() == [(False, True)]
    world.restart()
    assert gone() == [(False, True)]
    kept = path.with_name("kept")
    path.rename(kept)
    kept.unlink()
    assert gone() == [(True, True)]
    world.restart()
    assert gone() == [(True, True)]
    [file] = world.registry.files
    os.link(file.spooled, path)
    assert gone() == [(False, True)]


def history(world, tmp_path, days=30):
    stream = lambda name: log_stream(name, "h", "test")  # noqa: E731 - as a source takes it
    world.registry = FileRegistry(
        [Source(world.logs.root, stream, Spool(tmp_path / "spool"))], [world.reader], history_s=days * 86_400
    )
    return world.registry


def test_history_is_left_out_unless_a_reader_has_begun_it(world, tmp_path):
    begun, old, fresh = (write_old(world, name, age * 86_400) for name, age in (("a", 40), ("b", 40), ("c", 20)))
    world.reader.cursors[tailed_identity(begun)] = Cursor(tailed_identity(begun), 5, line("a")[:5])
    registry = history(world, tmp_path)
    assert registry.refresh()
    assert {file.path for file in registry.files} == {begun, fresh}
    assert not registry.is_done(old.stat())
    assert {file.path for file in history(world, tmp_path, 50).files} == set()


def tailed_identity(path):
    name = f"dag_id=d/{path.parent.parent.name}/task_id=t/attempt=1.log"
    return identify(name, path.read_bytes().splitlines()[0])


def test_history_of_which_a_reader_does_not_know_its_place_yet_is_looked_at_again(world, tmp_path, monkeypatch):
    path = write_old(world, "a", 40 * 86_400)
    registry = history(world, tmp_path)
    monkeypatch.setattr(world.reader, "recall", lambda _identity: None)
    assert [registry.refresh(), registry.files] == [False, ()]
    monkeypatch.setattr(world.reader, "recall", lambda identity: Cursor(identity, 5, line("a")[:5]))
    registry.refresh()
    assert [file.path for file in registry.files] == [path]


def test_what_is_missing_is_lost_when_two_sweeps_and_ten_seconds_have_not_found_a_copy(world, monkeypatch):
    monkeypatch.setattr("os.link", _refuse)
    clock = [time.monotonic()]
    monkeypatch.setattr(registry_module.time, "monotonic", lambda: clock[0])
    gone = [write_old(world, name, 0) for name in ("a", "b")]
    world.registry.refresh()
    for path in gone:
        path.unlink()
    unknown = tailed_identity_of("a")
    recall = world.reader.recall
    monkeypatch.setattr(world.reader, "recall", lambda one: None if one == unknown else recall(one))
    lost = []
    for passed in (0, 5, 4, 2, 0):
        clock[0] += passed
        world.sweep()
        lost.append(world.reader.lost_bytes)
    assert lost == [0, 0, 0, len(line("b")), len(line("b"))]
    monkeypatch.setattr(world.reader, "recall", lambda one: Cursor(one, 3) if one == unknown else recall(one))
    world.sweep()
    assert world.reader.lost_bytes == len(line("b")) + len(line("a")) - 3


def tailed_identity_of(name):
    return identify(f"dag_id=d/run_id={name}/task_id=t/attempt=1.log", line(name).splitlines()[0])


def test_a_file_at_which_we_fail_ourselves_is_named_and_counted_once(world, tmp_path, monkeypatch):
    monkeypatch.setattr(contain, "raises_again", lambda: False)

    def stream_of(name):
        if "run_id=bad" in name:
            raise ValueError("ours")
        return log_stream(name, "h", "test")

    bad, _good = write_old(world, "bad", 0), write_old(world, "good", 0)
    take_losses()
    world.registry = FileRegistry([Source(world.logs.root, stream_of, Spool(tmp_path / "spool"))], [world.reader])
    for _ in range(2):
        world.sweep()
    assert len(world.registry.files) == 1
    assert world.registry.unreadable == {str(bad): "Contrail fails at it (ValueError); please report it"}
    assert take_losses() == {("relay.registry", "file passed over at ValueError"): 1}
