import os

import pytest

from observability.relay.sources.files.fingerprint import document_id, first_line, identify, original_name


@pytest.mark.parametrize(
    "rotated",
    ["components/scheduler.log.1", "components/scheduler.log.2026-01-31", "components/scheduler.log-20260131"],
)
def test_a_rotated_file_keeps_its_identity(rotated):
    assert identify(rotated, b"first") == identify("components/scheduler.log", b"first")


def test_other_names_other_lines_and_other_generations_are_other_files():
    identities = {
        identify("a.log", b"first"),
        identify("b.log", b"first"),
        identify("a.log", b"second"),
        identify("a.log", b"first", 1),
    }
    assert len(identities) == 4


@pytest.mark.parametrize(
    "name", ["dag_id=x/run_id=r/task_id=t/attempt=1.log", "attempt=1.log.trigger.12.log", "t.py.log"]
)
def test_names_that_only_look_rotated_are_left_alone(name):
    assert original_name(name) == name


def test_a_first_line_is_known_once_it_is_whole(tmp_path):
    path = tmp_path / "x.log"
    path.write_bytes(b"half")
    descriptor = os.open(path, os.O_RDWR)
    assert first_line(descriptor) is None
    os.pwrite(descriptor, b"half a line\nmore", 0)
    assert first_line(descriptor) == b"half a line"
    os.pwrite(descriptor, b"y" * 5000, 0)
    assert first_line(descriptor) == b"y" * 1024
    os.close(descriptor)


def test_an_id_names_the_file_and_the_byte():
    assert document_id("00ff", 17) == b"00ff-17"
