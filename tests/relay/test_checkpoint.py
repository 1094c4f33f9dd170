import sqlite3
import time

import pytest

from observability.relay import checkpoint as checkpoints
from observability.relay.checkpoint import adopt_checkpoint, open_checkpoint
from observability.relay.sinks.sink import SinkUnavailable
from observability.relay.sources.files.tail import Cursor

HERE = Cursor("0123456789abcdef", 700, b"tail", 0, 0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints" / "sink.db"


def test_a_cursor_is_found_again_after_reopening(path):
    checkpoint = open_checkpoint(path, "sink")
    checkpoint.save([("a.log", HERE)], [("airflow.task", "stored", 3)])
    checkpoint.close()
    again = open_checkpoint(path, "sink")
    assert again.cursor(HERE.identity) == HERE
    assert again.counts() == {("airflow.task", "stored"): 3}
    again.close()


def test_a_first_start_that_cannot_be_read_is_now(path):
    checkpoint = open_checkpoint(path, "sink")
    checkpoint._note("began", "once upon a time")
    checkpoint.close()
    before = time.time()
    again = open_checkpoint(path, "sink")
    assert before <= again.began <= time.time()
    again.close()


def test_what_was_about_to_be_sent_is_known_after_a_crash(path):
    checkpoint = open_checkpoint(path, "sink")
    checkpoint.save([("a.log", HERE)])
    checkpoint.sending([("a.log", HERE, 900)])
    again = open_checkpoint(path, "sink")
    assert again.cursor(HERE.identity).offset == 700
    assert again.cursor(HERE.identity).sending == 900
    checkpoint.close()
    again.close()


def test_a_checkpoint_that_cannot_be_made_leaves_no_half_of_itself(path, monkeypatch):
    class Full(checkpoints.Checkpoint):
        def __init__(self, connection, sink, **more):
            super().__init__(connection, sink, **more)
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(checkpoints, "Checkpoint", Full)
    with pytest.raises(SinkUnavailable, match="disk is full; free space"):
        open_checkpoint(path, "sink")
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 1, 100, 4096, 5000])
def test_a_truncated_checkpoint_is_put_aside_and_all_is_sent_as_resent(path, keep):
    checkpoint = open_checkpoint(path, "sink")
    checkpoint.save([("a.log", HERE)])
    checkpoint.close()
    path.write_bytes(path.read_bytes()[:keep])
    again = open_checkpoint(path, "sink")
    found = again.cursor(HERE.identity)
    assert again.cursor("file begun later", born=time.time() + 1).sending == 0
    assert (found.offset, found.sending > 10**12) == (0, True)
    assert len(list(path.parent.glob("*.damaged-*"))) == 1
    again.close()


def test_what_a_damaged_checkpoint_leaves_beside_it_goes_as_it_is_put_aside(path):
    path.parent.mkdir()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"{path.name}{suffix}").write_bytes(b"x" * 9000)
    open_checkpoint(path, "sink").close()
    aside = [one for one in path.parent.iterdir() if ".damaged-" in one.name]
    assert [one.read_bytes() for one in aside] == [b"x" * 9000]
    assert all(b"x" * 9 not in one.read_bytes() for one in path.parent.iterdir() if one not in aside)


@pytest.mark.parametrize("keep", [None, 0, "no database", 100, 4096, 5000])
def test_a_checkpoint_under_an_old_name_is_taken_over_or_where_it_is_damaged_put_aside(path, keep):
    old = path.with_name("old.db")
    checkpoint = open_checkpoint(old, "old")
    checkpoint.save([("a.log", HERE)], [("airflow.task", "stored", 3)])
    checkpoint.close()
    old.write_bytes(b"x" * 9000 if keep == "no database" else old.read_bytes()[:keep])
    adopt_checkpoint(path, "sink", old, "old")
    again = open_checkpoint(path, "sink")
    expected = (700, {("airflow.task", "stored"): 3}, 0) if keep is None else (0, {}, 1)
    assert (again.cursor(HERE.identity).offset, again.counts(), len(list(path.parent.glob("*.damaged-*")))) == expected
    assert [one.name for one in path.parent.glob("old*")] == []
    again.close()


def test_a_cursor_with_a_flipped_bit_is_not_believed(path):
    checkpoint = open_checkpoint(path, "sink")
    checkpoint.save([("a.log", HERE)])
    checkpoint.close()
    with sqlite3.connect(path) as connection:
        connection.execute("update contrail_cursors set offset = offset + 64")
    connection.close()
    again = open_checkpoint(path, "sink")
    found = again.cursor(HERE.identity)
    assert (found.offset, found.sending > 10**12) == (0, True)
    again.close()


def test_after_a_power_loss_everything_counts_as_resent(path, monkeypatch):
    checkpoint = open_checkpoint(path, "sink")
    checkpoint.save([("a.log", HERE)])
    checkpoint.close()
    monkeypatch.setattr("observability.relay.checkpoint._boot_id", lambda: "another boot")
    again = open_checkpoint(path, "sink")
    assert again.cursor(HERE.identity).offset == 700
    assert again.cursor(HERE.identity).sending > 10**12
    again.close()


def test_only_old_cursors_of_files_that_are_gone_are_forgotten_a_few_at_a_time(path):
    checkpoint = open_checkpoint(path, "sink")
    names = [f"{number}.log" for number in range(7)]
    cursors = [(name, Cursor(f"id-{name}", offset=5)) for name in names]
    checkpoint.save(cursors, finished=[(cursor.identity, number) for number, (_, cursor) in enumerate(cursors)])

    def sweep(is_gone, older_than_s):
        looks = 1
        while checkpoint.forget(is_gone, older_than_s, most=2):
            looks += 1
        return looks, [name for name, cursor in cursors if checkpoint.cursor(cursor.identity).offset]

    def is_gone(identity, name):
        assert identity == f"id-{name}"
        return name in {"1.log", "6.log"}

    assert sweep(is_gone, 3600) == (4, names)
    assert sweep(lambda *_: False, -1) == (4, names)
    assert sweep(is_gone, -1) == (4, ["0.log", "2.log", "3.log", "4.log", "5.log"])
    assert sorted(checkpoint.finished()) == [0, 2, 3, 4, 5]
    checkpoint.close()
