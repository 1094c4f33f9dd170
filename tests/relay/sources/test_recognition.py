"""A file is told from those that begin alike, and from what was filled anew under its name."""

import os

import pytest

from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.fingerprint import identify
from observability.relay.sources.files.recognition import generation_of, is_rewritten, is_that
from observability.relay.sources.files.scanner import Entry
from observability.relay.sources.files.tail import Cursor
from observability.relay.sources.files.tailed_file import TailedFile

NAME = "components/scheduler.log"
STREAM = log_stream(NAME, "h", "test")
FITS, ELSEWHERE, BEHIND = Cursor("x", 4, b"one\n"), Cursor("x", 4, b"two\n"), Cursor("x", 100, b"one\n")


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "scheduler.log"
    found.write_bytes(b"one\ntwo\n")
    return found


@pytest.mark.parametrize(
    ("known", "cursors", "generation"),
    [
        ({}, [FITS], 0), ({}, [ELSEWHERE], 1), ({}, [BEHIND], 1), ({}, [FITS, ELSEWHERE], 1), ({}, [None], None),
        (None, [FITS], 0), (None, [ELSEWHERE], 1), (None, [BEHIND], 0), (None, [None], 0), (None, [FITS, None], 0),
    ],
)  # fmt: skip
def test_a_file_is_the_first_among_those_that_begin_alike_in_which_every_cursor_stands(
    path, known, cursors, generation
):
    first = identify(STREAM.name, b"one")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = generation_of(
            STREAM, b"one", descriptor, known, lambda identity: cursors if identity == first else [Cursor(identity)]
        )
    finally:
        os.close(descriptor)
    assert found == generation


def entry(path):
    return Entry(str(path), path.stat())


def tailed(path):
    found = path.stat()
    file = TailedFile(STREAM, path, found.st_dev, found.st_ino, identify(STREAM.name, b"one"))
    file.look(found)
    return file


@pytest.mark.parametrize(
    ("content", "rewritten"),
    [(b"six\ntwo\n", True), (b"one\nsix\n", False), (b"six\ntwo\n more", False), (b"six two ", False)],
)
def test_a_log_of_the_same_size_that_begins_otherwise_was_filled_anew(path, content, rewritten):
    file = tailed(path)
    path.write_bytes(content)
    os.utime(path, (1, 1))
    assert is_rewritten(file, entry(path)) is rewritten


def test_a_log_that_did_not_change_or_is_gone_was_not_filled_anew(path):
    file, same = tailed(path), entry(path)
    path.write_bytes(b"six\ntwo\n")
    assert not is_rewritten(file, same)
    os.utime(path, (1, 1))
    changed = entry(path)
    path.unlink()
    assert not is_rewritten(file, changed)


def test_only_the_regular_file_that_was_looked_at_is_that(path, tmp_path):
    other = tmp_path / "other.log"
    other.write_bytes(b"one\n")
    descriptor, folder = os.open(path, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    try:
        found = [
            is_that(descriptor, path.stat()),
            is_that(descriptor, other.stat()),
            is_that(folder, tmp_path.stat()),
        ]
    finally:
        os.close(descriptor)
        os.close(folder)
    assert found == [True, False, False]
