"""A fact that several processes see is told by one."""

from __future__ import annotations

import os
import time

import pytest

from observability.first_report import claim
from observability.settings import get_settings

pytestmark = pytest.mark.usefixtures("told")


def test_the_first_that_asks_gets_the_fact_and_no_other():
    assert [claim("fact"), claim("fact"), claim("another")] == [True, False, True]


def test_of_many_processes_one_gets_it():
    claim("makes the folder")
    reader, writer = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            os.write(writer, b"1" if claim("contested") else b"0")
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert sorted(os.read(reader, 8)) == sorted(b"00000001")
    os.close(reader)
    os.close(writer)


def test_claims_older_than_a_day_are_forgotten():
    assert claim("old")
    folder = get_settings().home / "claims"
    os.utime(folder / "old", (time.time() - 90_000,) * 2)
    assert claim("00 sweeps")
    assert sorted(path.name for path in folder.iterdir()) == ["00 sweeps"]
