"""The bytes of a journal: where each record stands, when a file is full or let go, and what is forced to disk."""

import errno
import os
import re

import pytest
import time_machine

from observability.journal import Frame, Journal, JournalError, frame, frames

ONE, TWO = frame(b'{"n":1}'), frame(b'{"n":22}')
TORN = b"0000beef {torn"


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        (b"", []),
        (ONE[:-1], []),
        (ONE + TWO, [(0, 17, b'{"n":1}'), (17, 35, b'{"n":22}')]),
        (b"\n\n" + ONE, [(2, 19, b'{"n":1}')]),
        (TORN + b"\n" + ONE, [(0, 15, None), (15, 32, b'{"n":1}')]),
        (TORN + ONE + TWO, [(0, 14, None), (14, 31, b'{"n":1}'), (31, 49, b'{"n":22}')]),
        (b"x" + ONE, [(0, 1, None), (1, 18, b'{"n":1}')]),
        (TORN + TORN + ONE, [(0, 28, None), (28, 45, b'{"n":1}')]),
        (b"0000beef \n" + ONE, [(0, 10, None), (10, 27, b'{"n":1}')]),
        (b"0000beef {\n", [(0, 11, None)]),
        (ONE.replace(b" ", b"_"), [(0, 17, None)]),
        (ONE.replace(b"{", b"["), [(0, 17, None)]),
        (ONE.replace(b"1}", b"2}"), [(0, 17, None)]),
        (ONE[:8].upper() + ONE[8:], [(0, 17, None)] if ONE[:8] != ONE[:8].upper() else [(0, 17, b'{"n":1}')]),
    ],
)
def test_each_record_has_its_place_and_what_is_damaged_has_one_too(buffer, expected):
    assert list(frames(buffer)) == [Frame(*one) for one in expected]


def test_an_object_without_a_member_is_the_shortest_record():
    assert list(frames(frame(b"{}"))) == [Frame(0, 12, b"{}")]
    assert list(frames(frame(b"{"))) == [Frame(0, 11, b"{")]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("most", "files"), [(17, 2), (18, 1), (34, 1)])
def test_a_file_that_has_reached_its_size_is_followed_by_the_next(tmp_path, most, files):
    with time_machine.travel("2026-01-31 12:00:00Z", tick=False):
        journal = Journal(tmp_path, max_file_bytes=most)
        for _ in range(2):
            journal.append("etl.event", b'{"n":1}')
        other = Journal(tmp_path, max_file_bytes=17)
        other.append("etl.event", b'{"n":1}')
        for one in (journal, other):
            one.close()
    assert names(tmp_path) == [f"etl.event-20260131-{number:03}.journal" for number in range(files + 1)]


def test_streams_have_files_of_their_own_and_one_is_kept_open(tmp_path):
    journal = Journal(tmp_path)
    for dataset in ("etl.event", "contrail.alert", "etl.event"):
        journal.append(dataset, b"{}")
    assert sorted(journal._open) == ["contrail.alert", "etl.event"]
    before = journal._open["etl.event"].descriptor
    journal.ready("etl.event")
    assert journal._open["etl.event"].descriptor == before
    journal.ready("airflow.statsd")
    assert len(names(tmp_path)) == 3
    journal.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(before)
    assert journal._open == {}


def test_a_file_that_was_deleted_is_closed_and_made_anew(tmp_path):
    journal = Journal(tmp_path)
    journal.append("etl.event", b"{}")
    gone = journal._open["etl.event"]
    (tmp_path / gone.name).unlink()
    hold = os.open(tmp_path, os.O_RDONLY)  # so that the number is not used again at once
    journal.append("etl.event", b'{"n":1}')
    fresh = journal._open["etl.event"]
    assert (fresh.inode != gone.inode or fresh.descriptor != gone.descriptor, len(names(tmp_path))) == (True, 1)
    os.close(hold)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(gone.descriptor)
    journal.close()


@pytest.mark.parametrize("fsync", [True, False])
def test_each_record_is_forced_to_disk_only_where_that_is_asked_for(tmp_path, monkeypatch, fsync):
    forced = []
    monkeypatch.setattr(os, "fsync", forced.append)
    journal = Journal(tmp_path, fsync=fsync)
    journal.append("etl.event", b"{}")
    assert forced == [journal._open["etl.event"].descriptor] * fsync
    journal.close()
    default = Journal(tmp_path)
    default.append("etl.event", b"{}")
    default.close()
    assert len(forced) == int(fsync)


@pytest.mark.parametrize(
    ("error", "stays"), [("ENOSPC", True), ("EDQUOT", True), ("EFBIG", True), ("EROFS", False), ("EIO", False)]
)
def test_a_file_is_let_go_unless_it_is_only_full(tmp_path, monkeypatch, error, stays):
    journal = Journal(tmp_path)
    journal.append("etl.event", b"{}")
    file = journal._open["etl.event"]
    with monkeypatch.context() as patched:

        def refuse(*_):
            raise OSError(getattr(errno, error), "no")

        patched.setattr(os, "write", refuse)
        words = re.escape(f"cannot write event to {tmp_path / file.name}: no; free disk space or make it writable")
        with pytest.raises(JournalError, match=words) as refused:
            journal.append("etl.event", b"{}")
    assert refused.value.errno == getattr(errno, error)
    assert ("etl.event" in journal._open) is stays
    assert (file.status() is not None) is stays
    journal.close()


def test_a_record_that_was_cut_short_says_how_much_fitted(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.append("etl.event", b"{}")
    monkeypatch.setattr(os, "write", lambda _file, record: len(record) - 1)
    with pytest.raises(JournalError, match=r"^only 11 of 12 bytes fitted into .*journal: free disk space$"):
        journal.append("etl.event", b"{}")
    monkeypatch.undo()
    journal.close()


def test_a_journal_that_was_closed_is_opened_by_the_next_record(tmp_path):
    journal = Journal(tmp_path)
    journal.close()
    journal.append("etl.event", b'{"n":1}')
    journal.close()
    journal.append("etl.event", b'{"n":2}')
    journal.close()
    [path] = tmp_path.iterdir()
    assert [found.document for found in frames(path.read_bytes())] == [b'{"n":1}', b'{"n":2}']
