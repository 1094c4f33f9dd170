"""The moments and sizes at which the registry lets files go, holds them, takes them for others and gives them up."""

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from file_world import World
from relay_lines import TASK, line

from observability.relay.sources.files import registry as module
from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.fingerprint import identify
from observability.relay.sources.files.registry import FileRegistry, Source
from observability.relay.sources.files.spool import Spool
from observability.relay.sources.files.tail import Cursor

SCHEDULER = "components/scheduler.log"
EPOCH = 1_700_000_000
"""A moment in whole seconds, so that ages are exact."""


@pytest.fixture
def clock(monkeypatch):
    """The registry's two clocks; both stand still."""
    now = SimpleNamespace(wall=float(EPOCH), mono=1000.0)
    stopped = SimpleNamespace(time=lambda: now.wall, monotonic=lambda: now.mono)
    monkeypatch.setattr(module, "time", stopped)
    return now


@pytest.fixture
def world(logs, tmp_path, clock):
    return World(logs, tmp_path)


def write(world, content, name=TASK):
    path = world.logs.write(content, name)
    os.utime(path, (EPOCH, EPOCH))
    return path


def names(number):
    return [f"dag_id=d/run_id={one}/task_id=t/attempt=1.log" for one in range(number)]


@pytest.mark.parametrize(("ages", "kept"), [((60.0,), 1), ((60.5,), 0), ((2.0, 2.0), 2), ((2.5, 2.5), 0), ((2.5,), 1)])
def test_a_file_that_was_read_is_let_go_after_a_minute_and_after_two_seconds_where_there_are_many(
    world, clock, monkeypatch, ages, kept
):
    monkeypatch.setattr(module, "_MOST_ACTIVE", 4)
    for name in names(len(ages)):
        write(world, line("a"), name)
    world.catch_up()
    clock.wall += ages[0]
    world.registry.refresh()
    assert len(world.registry.files) == kept


@pytest.mark.parametrize(
    ("case", "held"),
    [
        ((59.5, 0.0, False), True), ((60.0, 0.0, False), False), ((60.0, 2.0, False), False),
        ((60.0, 2.5, False), True), ((60.0, 2.5, True), False), ((59.5, 2.5, True), True),
    ],
)  # fmt: skip
def test_a_file_gets_a_second_name_while_it_is_written_and_when_it_is_not_sent_at_once(
    world, clock, monkeypatch, case, held
):
    age, known, is_read = case
    write(world, line("a"))
    monkeypatch.setattr(world.spool, "hold", lambda _file: None)
    world.registry.refresh()
    [file] = world.registry.files
    file.known_since = clock.mono - known
    if is_read:
        world.reader.cursors[file.identity] = Cursor(file.identity, file.size)
    clock.wall += age
    linked = []
    monkeypatch.setattr(world.spool, "hold", linked.append)
    world.registry.refresh()
    assert linked == [file] * held
    file.unspoolable = True
    world.registry.refresh()
    assert linked == [file] * held


@pytest.mark.parametrize(("case", "wait"), [((5.0, 1), True), ((5.5, 1), False), ((5.5, 2), True)])
def test_the_past_goes_on_without_room_once_nothing_has_left_for_five_seconds(world, clock, monkeypatch, case, wait):
    passed, most = case
    monkeypatch.setattr(module, "_MOST_ACTIVE", 1)
    write(world, line("a"))
    world.registry.refresh()
    monkeypatch.setattr(module, "_MOST_ACTIVE", most)
    clock.mono += passed
    asked = []
    [source] = world.registry._sources
    real = source.folder.look
    monkeypatch.setattr(source.folder, "look", lambda *args, **how: asked.append(how) or real(*args, **how))
    world.registry.refresh()
    assert asked == [{"whole": False, "wait": wait}]


def test_what_is_let_go_makes_room_for_five_seconds_more(world, clock, monkeypatch):
    monkeypatch.setattr(module, "_MOST_ACTIVE", 1)
    write(world, line("a"))
    world.catch_up()
    clock.mono += 7.0
    clock.wall += 100.0
    world.registry.refresh()
    assert (world.registry.files, world.registry._moved) == ((), clock.mono)


def test_to_look_for_files_that_no_folder_shows_takes_a_twentieth_of_the_time(world, clock, monkeypatch):
    write(world, line("a"))
    assert world.registry.refresh()
    looked = []

    def look_for(_key, file):
        looked.append(file.stream.name)
        clock.mono += 0.5

    monkeypatch.setattr(world.registry, "_look_for", look_for)
    world.registry._watch()
    for passed in (9.5, 0.5):
        clock.mono += passed
        world.registry._watch()
    assert looked == [TASK, TASK]
    [file] = world.registry.files
    file.sighted = world.registry.round
    clock.mono += 100
    world.registry._watch()
    assert looked == [TASK, TASK]


def test_a_registry_that_begins_with_the_clock_looks_for_files_at_once(world, clock, monkeypatch):
    clock.mono = 0.0
    world.restart()
    write(world, line("a"))
    world.registry.refresh()
    looked = []
    monkeypatch.setattr(world.registry, "_look_for", lambda _key, file: looked.append(file))
    world.registry._watch_due = FileRegistry([], [])._watch_due
    world.registry._watch()
    assert len(looked) == 1


@pytest.mark.parametrize(
    ("still", "gone", "final"),
    [(600.0, False, False), (600.5, False, True), (10.0, True, False), (10.5, True, True), (10.5, False, False)],
)
def test_a_last_line_without_end_is_final_after_ten_minutes_or_ten_seconds_after_its_file_went(
    world, clock, still, gone, final
):
    write(world, line("a"))
    world.registry.refresh()
    [file] = world.registry.files
    file.gone = gone
    clock.wall += still
    assert module.is_final(file) is final


@pytest.mark.parametrize(("content", "age", "head"), [
    (b"cut he", 599.5, None), (b"cut he", 600.0, b"cut he"), (b"\n", 0.0, b""), (b"", 600.0, None), (b"x", 599.0, None),
])  # fmt: skip
def test_a_first_line_without_end_is_waited_for_ten_minutes_and_an_empty_file_for_ever(
    world, clock, content, age, head
):
    write(world, content)
    clock.wall += age
    world.registry.refresh()
    assert [file.identity for file in world.registry.files] == ([] if head is None else [identify(TASK, head)])


def old_registry(world, tmp_path, **options):
    stream = lambda name: log_stream(name, "h", "test")  # noqa: E731 - as a source takes it
    return FileRegistry([Source(world.logs.root, stream, Spool(tmp_path / "spool"))], [world.reader], **options)


@pytest.mark.parametrize(("history_s", "left_out"), [(None, 0), (0.0, 0), (0.75, 1), (1000.0, 0), (999.5, 1)])
def test_what_is_older_than_the_history_that_is_asked_for_is_left_out(world, clock, tmp_path, history_s, left_out):
    write(world, line("a"))
    clock.wall += 1000.0
    registry = old_registry(world, tmp_path, **({} if history_s is None else {"history_s": history_s}))
    assert registry.refresh()
    assert len(registry.files) == 1 - left_out


def test_an_old_log_without_a_whole_line_that_was_begun_is_no_history(world, clock, tmp_path):
    write(world, b"cut he")
    clock.wall += 100_000.0
    identity = identify(TASK, b"cut he")
    world.reader.cursors[identity] = Cursor(identity, 3, b"cut")
    registry = old_registry(world, tmp_path, history_s=86_400.0)
    registry.refresh()
    assert [file.identity for file in registry.files] == [identity]


@pytest.mark.parametrize(("age", "taken"), [(60.0, 2), (60.5, 1)])
def test_a_full_registry_takes_in_what_changed_within_a_minute_and_says_that_it_left_something_out(
    world, clock, monkeypatch, age, taken
):
    write(world, line("a"), names(1)[0])
    world.registry.refresh()
    monkeypatch.setattr(module, "_MOST_ACTIVE", 1)
    write(world, line("a"), names(2)[1])
    clock.wall += age
    [source] = world.registry._sources
    source.folder.sweep_soon()
    monkeypatch.setattr(world.registry, "_has_room", lambda: True)
    assert world.registry.refresh() is (taken == 2)
    assert len(world.registry.files) == taken


@pytest.mark.parametrize(
    ("left_out", "crowded", "active", "sweeps"),
    [
        (False, False, 0, 0), (True, False, 3, 1), (False, True, 1, 1), (False, True, 2, 0), (True, True, 3, 1),
        (False, False, 1, 0),
    ],
)  # fmt: skip
def test_what_was_left_out_is_swept_for_once_it_may_be_taken_in(  # noqa: PLR0913, PLR0917 - its table
    world, monkeypatch, left_out, crowded, active, sweeps
):
    monkeypatch.setattr(module, "_MOST_ACTIVE", 4)
    for name in names(active):
        write(world, line("a"), name)
    registry = world.registry
    registry.refresh()
    registry._left_out, registry._crowded = left_out, crowded
    begun = []
    [source] = registry._sources
    monkeypatch.setattr(source.folder, "sweep_soon", lambda: begun.append(1))
    registry._make_up_for()
    assert (len(begun), registry._left_out, registry._crowded) == (sweeps, False, crowded and not sweeps)


@pytest.mark.parametrize("is_suspect", [True, False])
def test_a_suspect_is_looked_into_anew_though_it_only_grew(world, is_suspect):
    path = write(world, line("first"), SCHEDULER)
    world.registry.refresh()
    [file] = world.registry.files
    path.write_bytes(line("other", 7) * 2)
    if is_suspect:
        world.registry.suspect(file)
    world.registry.wake()
    world.registry.refresh()
    [found] = world.registry.files
    begins = line("other", 7) if is_suspect else line("first")
    assert (found.identity, found.size) == (identify(SCHEDULER, begins.rstrip(b"\n")), 2 * len(line("other", 7)))


def test_a_suspect_that_no_folder_shows_is_looked_into_anew_all_the_same(world, monkeypatch):
    path = write(world, line("first"), SCHEDULER)
    world.registry.refresh()
    [file] = world.registry.files
    path.write_bytes(line("other", 7) * 2)
    world.registry.suspect(file)
    [source] = world.registry._sources
    monkeypatch.setattr(source.folder, "look", lambda *_, **__: iter(()))
    world.registry.refresh()
    assert [one.identity for one in world.registry.files] == [identify(SCHEDULER, line("other", 7).rstrip(b"\n"))]


def test_a_file_is_followed_to_its_new_name_in_the_round_that_meets_it(world):
    path = write(world, line("a"), SCHEDULER)
    assert world.registry.round == 0
    assert world.registry.swept is False
    world.registry.refresh()
    [file] = world.registry.files
    assert (world.registry.round, world.registry.swept, file.sighted) == (1, True, 0)
    renamed = path.rename(path.with_name("scheduler.log.1"))
    world.registry.wake()
    world.registry.refresh()
    assert (file.path, file.sighted, world.registry.round) == (renamed, 1, 2)


@pytest.mark.parametrize(
    ("size_by", "mtime_by", "looked"), [(+5, 3, True), (0, 3, True), (-5, 3, False)], ids=["grown", "touched", "cut"]
)
def test_a_held_file_that_no_folder_shows_is_looked_at_unless_it_shrank(world, tmp_path, size_by, mtime_by, looked):
    path = write(world, line("a"))
    world.registry.refresh()
    [file] = world.registry.files
    elsewhere = path.rename(tmp_path / "elsewhere")
    before = file.size
    os.truncate(elsewhere, before + size_by)
    os.utime(elsewhere, (EPOCH + mtime_by,) * 2)
    world.registry.wake()
    world.registry.refresh()
    assert world.registry.files == (file,)
    assert (file.size, file.changed) == ((before + size_by, EPOCH + mtime_by) if looked else (before, EPOCH))
    assert file.gone is False  # it has a name elsewhere
    elsewhere.unlink()
    world.registry.refresh()
    assert file.gone is True


@pytest.mark.parametrize(
    ("begun", "passed", "swept", "is_lost"),
    [
        (True, 9.5, 1, False), (True, 10.0, 0, False), (True, 10.0, 1, True), (False, 10.0, 1, False),
        (False, 10.0, 2, True),
    ],
)  # fmt: skip
def test_what_went_missing_is_lost_after_ten_seconds_and_a_sweep_that_began_later(  # noqa: PLR0913, PLR0917 - its table
    world, clock, monkeypatch, begun, passed, swept, is_lost
):
    write(world, line("a"))
    world.registry.refresh()
    [file] = world.registry.files
    [source] = world.registry._sources
    folder = SimpleNamespace(sweeps=3, sweep_soon=lambda: begun)
    monkeypatch.setattr(source, "folder", folder)
    world.registry._note_missing((file.device, file.inode), file)
    clock.mono += passed
    folder.sweeps += swept
    world.registry._give_up()
    assert world.reader.lost_bytes == (file.size if is_lost else 0)


@pytest.mark.parametrize(
    ("position", "taken", "recalled", "read_to"),
    [(0, -1, 9, 0), (-1, 0, 9, 0), (3, 5, 9, 5), (5, 3, 9, 5), (-1, -1, 9, 9), (-1, -1, None, None)],
)
def test_a_reader_has_a_file_up_to_what_it_took_or_what_it_recalls(position, taken, recalled, read_to):
    reader = SimpleNamespace(
        position=lambda _file: position,
        taken=lambda _file: taken,
        recall=lambda one: None if recalled is None else Cursor(one, recalled),
    )
    assert FileRegistry._read_to(reader, SimpleNamespace(identity="i")) == read_to


@pytest.mark.parametrize(("lines", "read_from"), [(1, SCHEDULER), (2, SCHEDULER), (3, f"{SCHEDULER}.1")])
def test_of_two_files_that_are_one_the_longer_is_read(world, lines, read_from):
    path = write(world, line("a") * 2, SCHEDULER)
    world.registry.refresh()
    shutil.copy2(path, path.with_name("scheduler.log.1"))
    os.truncate(path.with_name("scheduler.log.1"), 0)
    world.logs.write(line("a") * lines, f"{SCHEDULER}.1")
    world.sweep()
    [file] = world.registry.files
    assert (str(file.path.relative_to(world.logs.root)), file.size) == (read_from, len(line("a")) * max(lines, 2))


@pytest.mark.parametrize(
    ("size", "is_read", "missing"), [(9, False, True), (10, False, False), (9, True, False), (11, False, False)]
)
def test_a_file_that_became_shorter_is_missed_if_something_of_it_was_not_read_else_swept_for(
    world, monkeypatch, size, is_read, missing
):
    write(world, line("a"))
    world.registry.refresh()
    [file] = world.registry.files
    file.size = 10
    if is_read:
        world.reader.cursors[file.identity] = Cursor(file.identity, 10)
    begun, missed = [], []
    [source] = world.registry._sources
    monkeypatch.setattr(source.folder, "sweep_soon", lambda: begun.append(1) or True)
    monkeypatch.setattr(world.registry, "_note_missing", lambda key, one: missed.append((key, one)))
    key = (file.device, file.inode)
    world.registry._replace(key, file, SimpleNamespace(st_size=size))
    assert (missed, len(begun)) == (([(key, file)], 0) if missing else ([], 1))
    assert world.registry._active == {}


def test_a_file_of_a_source_without_a_spool_is_let_go_and_may_be_let_go_twice(world):
    write(world, line("a"))
    stream = lambda name: log_stream(name, "h", "test")  # noqa: E731 - as a source takes it
    registry = FileRegistry([Source(world.logs.root, stream)], [world.reader])
    registry.refresh()
    [file] = registry.files
    for _ in range(2):
        registry.discard(file)
    assert registry.files == ()


@pytest.mark.parametrize(
    ("name", "link", "is_done", "taken"),
    [
        (TASK, "i-1@x", False, (TASK, "", False)),
        (TASK, "i-1@x", True, None),
        (TASK, "i-1@x.new", False, None),
        ("notes.txt", "i-1@x", False, None),
        ("notes.txt", "i-1.kept@x", False, None),
        (TASK, "0123456789abcdef-77.kept@x", False, (TASK, "0123456789abcdef", True)),
    ],
)
def test_what_an_earlier_process_held_is_taken_over_if_it_is_a_log_and_not_done(  # noqa: PLR0913, PLR0917 - its table
    world, tmp_path, name, link, is_done, taken
):
    path = tmp_path / link
    path.write_bytes(line("a"))
    os.utime(path, (EPOCH, EPOCH))
    dropped = []
    spool = SimpleNamespace(held=lambda: [(name, path, path.stat())], drop=dropped.append)
    registry = FileRegistry([Source(world.logs.root, lambda one: log_stream(one, "h", "test"), spool)], [world.reader])
    if is_done:
        registry._finished.add(module.stamp_of(path.stat()))
    registry._adopt()
    found = [(file.stream.name, file.ids, file.gone) for file in registry._active.values()]
    if taken is None:
        assert found == []
    else:  # a link whose only name it is has lost its own
        assert found == [(taken[0], taken[1], True)]
        [file] = registry._active.values()
        assert (file.spooled, file.origin_ns != 0) == (path, True)
        assert file.origin_ns == (77 if taken[2] else file.origin_ns)
        assert file.identity == identify(TASK, b"kept 0123456789abcdef" if taken[2] else line("a").rstrip(b"\n"))
        assert registry._by_identity == {file.identity: file}
    assert (dropped, registry.unreadable) == ([path] * is_done, {})


def test_a_name_that_two_sources_have_is_gone_when_both_have_lost_it(tmp_path):
    folders = [tmp_path / one for one in "ab"]
    for folder in folders:
        folder.mkdir()
        (folder / "x.log").write_text("x")
    registry = FileRegistry([Source(Path(one), lambda _name: None) for one in folders], [])
    assert not registry.is_gone("i", "x.log")
    for folder, gone in zip(folders, (False, True), strict=True):
        (folder / "x.log").unlink()
        assert registry.is_gone("i", "x.log") is gone


def test_its_clock_is_the_real_one():
    assert module.time is time
