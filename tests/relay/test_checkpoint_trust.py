"""The trust in a checkpoint: what of it is believed, what it refuses, and what it keeps of each batch."""

import sqlite3
import threading
from types import SimpleNamespace

import pytest

from observability.relay import checkpoint as module
from observability.relay.checkpoint import VERSION, Checkpoint, adopt_checkpoint, open_checkpoint
from observability.relay.sinks.sink import SinkUnavailable
from observability.relay.sources.files.tail import Cursor

HERE = Cursor("0123456789abcdef", 700, b"tail", 3, 0, 12)
ALL = 1 << 62


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints" / "sink.db"


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now.s))
    return now


@pytest.fixture
def opened(path):
    """Opens a checkpoint of ``sink`` as often as it is called; what is open is closed at the end."""
    made = []

    def make(sink="sink", at=path):
        made.append(open_checkpoint(at, sink))
        return made[-1]

    yield make
    for one in made:
        one.close()


def booted(monkeypatch, name):
    monkeypatch.setattr(module, "_boot_id", lambda: name)


@pytest.mark.parametrize(
    ("saved", "born", "expected"),
    [
        (1999.0, 0.0, ALL),
        (2000.0, 0.0, ALL),
        (2000.5, 0.0, 0),
        (None, 1999.0, ALL),
        (None, 2000.0, ALL),
        (None, 2000.5, 0),
    ],
)
def test_what_was_saved_up_to_a_power_loss_counts_as_resent_and_what_came_later_does_not(  # noqa: PLR0913, PLR0917 - its table
    opened, clock, monkeypatch, saved, born, expected
):
    booted(monkeypatch, "first")
    first = opened()
    if saved is not None and saved <= 2000.0:
        clock.s = saved
        first.save([("a.log", HERE)], finished=[(HERE.identity, 7)])
    first.close()
    clock.s = 2000.0
    booted(monkeypatch, "second")
    second = opened()
    assert second.distrusted_before == 2000.0
    if saved is not None and saved > 2000.0:
        clock.s = saved
        second.save([("a.log", HERE)], finished=[(HERE.identity, 7)])
    found = second.cursor(HERE.identity, born)
    assert (found.offset, found.part, found.latest, found.sending) == (
        *((0, 0, 0) if saved is None else (700, 3, 12)),
        expected,
    )
    assert list(second.finished()) == ([7] if saved is not None and expected == 0 else [])


def test_a_host_that_was_not_started_anew_is_trusted(opened, monkeypatch):
    booted(monkeypatch, "first")
    opened().save([("a.log", HERE)])
    again = opened()
    assert (again.distrusted_before, again.cursor(HERE.identity)) == (-1.0, HERE)
    assert again.cursor("another") == Cursor("another")


@pytest.mark.parametrize(
    ("began", "cursors", "expected"), [(None, 0, 1000.0), (None, 1, 0.0), ("12.5", 1, 12.5), ("garbage", 0, 1000.0)]
)
def test_the_first_start_is_noted_once_and_unknown_where_there_is_a_cursor_already(  # noqa: PLR0913, PLR0917 - its table
    opened, path, clock, began, cursors, expected
):
    first = opened()
    first.save([("a.log", HERE)] * cursors)
    first._connection.execute("delete from contrail_facts where name = 'began:sink'")
    first._connection.commit()
    if began is not None:
        first._note("began", began)
    first.close()
    assert opened().began == expected


def test_sinks_in_one_file_know_nothing_of_each_other(opened):
    one, other = opened("one"), opened("other")
    one.save([("a.log", HERE)], [("airflow.task", "stored", 3)], [(HERE.identity, 7)])
    assert (other.cursor(HERE.identity), other.counts(), [*other.finished()]) == (Cursor(HERE.identity), {}, [])
    assert other._has_cursors() is False


@pytest.mark.parametrize(("end", "before", "noted"), [(900, 0, 900), (900, 1200, 1200), (0, 5, 5)])
def test_what_is_about_to_be_sent_is_noted_up_to_the_furthest_end(opened, end, before, noted):
    checkpoint = opened()
    checkpoint.sending([("a.log", Cursor("a", 700, b"", 0, before), end)])
    found = opened().cursor("a")
    assert (found.offset, found.sending) == (700, noted)


def test_counts_add_up_and_nothing_is_kept_of_none(opened):
    checkpoint = opened()
    checkpoint.save([], [("s", "stored", 3), ("s", "rejected", 0)], [("a", 1)])
    checkpoint.save(
        [("a.log", HERE)], [("s", "stored", 4), ("t", "stored", 1)], [(HERE.identity, 8), (HERE.identity, 9)]
    )
    assert opened().counts() == {("s", "stored"): 7, ("t", "stored"): 1}
    assert list(checkpoint.finished()) == [9]


def test_an_order_that_is_not_known_takes_none_away(opened):
    checkpoint = opened()
    checkpoint.save([("a.log", HERE)])
    checkpoint.save([("a.log", Cursor(HERE.identity, 800))])
    assert checkpoint.cursor(HERE.identity) == Cursor(HERE.identity, 800, latest=12)


def test_an_undo_takes_back_what_was_not_committed_and_says_so(path):
    path.parent.mkdir()
    undone = []
    checkpoint = Checkpoint(sqlite3.connect(path), "sink", undone=lambda: undone.append(1))
    checkpoint._write([("a.log", HERE)])
    checkpoint.undo()
    assert (checkpoint.cursor(HERE.identity), undone) == (Cursor(HERE.identity), [1])
    checkpoint.close()
    with pytest.raises(sqlite3.ProgrammingError):
        checkpoint.counts()


@pytest.mark.parametrize(("age", "forgotten"), [(99.0, False), (100.0, False), (100.5, True)])
def test_a_cursor_is_forgotten_when_it_is_older_than_asked(opened, clock, age, forgotten):
    checkpoint = opened()
    checkpoint.save([("a.log", HERE)])
    clock.s += age
    assert checkpoint.forget(lambda *_: True, 100.0) is False
    assert (checkpoint.cursor(HERE.identity).offset == 0) is forgotten


@pytest.mark.parametrize(("most", "goes_on"), [(2, True), (3, True), (4, False)])
def test_cursors_are_looked_at_in_parts_and_then_from_the_first_again(opened, most, goes_on):
    checkpoint = opened()
    checkpoint.save([(name, Cursor(name)) for name in "abc"])
    asked = []
    assert checkpoint.forget(lambda identity, _: asked.append(identity) or False, -1, most) is goes_on
    assert asked == list("abc")[:most]
    checkpoint.forget(lambda identity, _: asked.append(identity) or False, -1, most)
    assert asked == {2: ["a", "b", "c"], 3: ["a", "b", "c"], 4: ["a", "b", "c"] * 2}[most]


@pytest.mark.parametrize("adopts", [False, True])
@pytest.mark.parametrize(("version", "refused"), [(0, False), (VERSION, False), (VERSION + 1, True)])
def test_only_a_file_of_a_newer_contrail_is_refused(opened, path, version, refused, adopts):
    opened().close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"pragma user_version = {version}")
    connection.close()
    there = path.with_name("new.db") if adopts else path

    def take():
        if adopts:
            adopt_checkpoint(there, "sink", path, "sink")
        opened(at=there)

    if refused:
        with pytest.raises(SinkUnavailable) as newer:
            take()
        assert str(newer.value) == (
            f"{path} was written by a newer Contrail (version {VERSION + 1}, this one knows {VERSION});"
            " upgrade Contrail"
        )
        assert path.exists()
    else:
        take()
        with sqlite3.connect(there) as connection:
            assert connection.execute("pragma user_version").fetchone() == (VERSION,)
        connection.close()
    assert list(path.parent.glob("*.damaged-*")) == []


def header(page_size, pages):
    return b"\0" * 16 + page_size.to_bytes(2, "big") + b"\0" * 10 + pages.to_bytes(4, "big") + b"\0" * 68


@pytest.mark.parametrize(
    ("page_size", "pages", "length", "whole"),
    [
        (4096, 3, 3 * 4096, True), (4096, 3, 3 * 4096 - 1, False), (4096, 3, 4 * 4096, True), (4096, 0, 4096, False),
        (1, 2, 2 * 65_536, True), (1, 2, 2 * 65_536 - 1, False), (512, 1, 512, True), (258, 257, 258 * 257, True),
    ],
)  # fmt: skip
def test_a_database_is_whole_if_it_is_as_long_as_it_says(path, page_size, pages, length, whole):
    path.parent.mkdir()
    path.write_bytes(header(page_size, pages).ljust(length, b"\0"))
    assert module._is_whole(path) is whole
    log = path.with_name("sink.db-wal")
    log.write_bytes(b"")
    assert module._is_whole(path) is whole
    log.write_bytes(b"x")
    assert module._is_whole(path) is True


@pytest.mark.parametrize(
    ("error", "damage"),
    [
        (sqlite3.DatabaseError("file is not a database"), True),
        (sqlite3.DatabaseError("disk is full"), True),
        (sqlite3.OperationalError("no such table: x"), True),
        *((sqlite3.OperationalError(f"database is {word}"), False) for word in ("full", "locked", "busy", "readonly")),
        (sqlite3.OperationalError("unable to open database file"), False),
        (sqlite3.OperationalError("disk I/O error"), False),
    ],
    ids=str,
)
def test_only_an_error_that_says_what_the_file_is_tells_of_damage(error, damage):
    assert module._is_damage(error) is damage


def test_a_file_that_cannot_be_opened_now_stays_and_the_remedy_is_named(opened, path, monkeypatch):
    opened().close()
    before = path.read_bytes()

    def refuse(_path):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(module, "_connect", refuse)
    with pytest.raises(SinkUnavailable) as locked:
        open_checkpoint(path, "sink")
    words = f"{path} cannot be used: database is locked; free space on its disk, or make it writable for the relay"
    assert str(locked.value) == words
    with pytest.raises(SinkUnavailable) as there:
        adopt_checkpoint(path.with_name("new.db"), "sink", path, "sink")
    assert str(there.value) == words
    assert (path.read_bytes(), len(list(path.parent.glob("*.damaged-*")))) == (before, 0)


def test_what_an_old_name_kept_is_renamed_with_its_facts_and_a_new_file_is_left_alone(opened, path, clock):
    old = path.with_name("old.db")
    first = opened("old", old)
    first.save([("a.log", HERE)], [("s", "stored", 3)], [(HERE.identity, 7)])
    first.close()
    clock.s = 5000.0
    adopt_checkpoint(path, "sink", old, "old")
    again = opened()
    assert (again.cursor(HERE.identity), again.counts(), [*again.finished()]) == (HERE, {("s", "stored"): 3}, [7])
    assert (again.began, again.distrusted_before, old.exists()) == (1000.0, -1.0, False)
    opened("old", old).close()
    adopt_checkpoint(path, "sink", old, "old")
    assert old.exists()
    adopt_checkpoint(path.with_name("x.db"), "sink", path.with_name("none.db"), "old")
    assert not path.with_name("x.db").exists()


@pytest.mark.parametrize(("text", "seconds"), [(None, -1.0), ("", -1.0), ("12.5", 12.5), ("x", 1000.0)])
def test_a_moment_that_cannot_be_read_is_now(clock, text, seconds):
    assert module._seconds(text) == seconds


def test_a_damaged_file_is_put_aside_under_the_second_in_which_it_was_found(opened, path, clock):
    path.parent.mkdir()
    path.write_bytes(b"x" * 9000)
    clock.s = 1234.9
    opened()
    assert path.with_name("sink.db.damaged-1234").read_bytes() == b"x" * 9000


def test_another_thread_may_use_it_and_the_host_has_one_boot(opened):
    checkpoint, found = opened(), []
    thread = threading.Thread(target=lambda: found.append(checkpoint.counts()))
    thread.start()
    thread.join()
    assert found == [{}]
    assert checkpoint._connection.execute("pragma synchronous").fetchone() == (1,)
    assert len(module._boot_id()) == 36


def test_the_files_of_this_contrail_are_of_the_first_version():
    assert VERSION == 1
