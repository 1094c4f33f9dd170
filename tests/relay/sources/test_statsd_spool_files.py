"""The files of the StatsD spool: their records, their order, and what a full disk or damage leaves of them."""

import errno
import os
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from observability.contain import take_losses
from observability.relay.sources.statsd import spool as module
from observability.relay.sources.statsd.spool import End, Interval, StatsdSpool

GAUGES, DATAGRAMS, END = range(3)


@pytest.fixture(autouse=True)
def _no_losses():
    take_losses()
    yield
    take_losses()


def record(kind, content):
    return struct.pack("<4sBII", b"\x00\xf1CR", kind, len(content), zlib.crc32(content, kind)) + content


def write(folder, name, *records):
    path = folder / f"{name}.datagrams"
    path.write_bytes(b"".join(records))
    return path


def test_an_interval_is_one_file_of_records_for_its_owner_only(tmp_path):
    spool = StatsdSpool(tmp_path / "statsd", "here")
    name = spool.begin([[["g", "gauge", []], 1.5]])
    [path] = (tmp_path / "statsd").iterdir()
    began, process, number = name.split("-")
    assert (path.name, int(process), began.isdigit(), number.isdigit()) == (
        f"{name}.datagrams", os.getpid(), True, True,
    )  # fmt: skip
    spool.keep(b"x:1|c")
    spool.end(12.5, [["own", "gauge", 1.0, {}]])
    whole = [
        record(GAUGES, orjson.dumps(["here", [[["g", "gauge", []], 1.5]]])),
        record(DATAGRAMS, b"x:1|c"),
        record(END, orjson.dumps([12.5, [["own", "gauge", 1.0, {}]]])),
    ]
    assert path.read_bytes() == b"".join(whole)
    assert (spool.size, spool.why) == (len(b"".join(whole)), "")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    after = spool.begin([])
    assert [one.name for one in path.parent.iterdir()] == [f"{after}.datagrams"]
    assert int(after.rpartition("-")[2]) > int(number)
    assert spool.size == len(record(GAUGES, b'["here",[]]'))
    spool.close()
    assert (spool.size, len([*path.parent.iterdir()])) == (0, 1)
    spool.close()


def test_without_a_folder_nothing_is_kept_and_nothing_is_wrong(tmp_path):
    spool = StatsdSpool(None)
    spool.begin([])
    spool.keep(b"x")
    spool.end(1.0, [])
    spool.close()
    assert (spool.size, spool.why, [*spool.orphans()]) == (0, "", [])
    assert StatsdSpool(tmp_path / "none").host == ""


def test_killed_intervals_are_read_oldest_first_whatever_their_number_of_digits(tmp_path):
    for name in ("10-5-0", "9-5-1", "9-5-0", "torn-5-0"):
        write(tmp_path, name, record(DATAGRAMS, name.encode()))
    found = list(StatsdSpool(tmp_path).orphans())
    assert [bytes(one.rounds[0]) for one in found] == [b"torn-5-0", b"9-5-0", b"9-5-1", b"10-5-0"]
    assert [one.name for one in found] == ["torn-5-0", "9-5-0", "9-5-1", "10-5-0"]


@pytest.mark.parametrize(("name", "process"), [("9-77-0", 77), ("9-x-0", 0), ("9-77", 0), ("9-77-0-1", 0), ("9", 0)])
def test_the_process_of_an_interval_is_in_its_name(tmp_path, name, process):
    path = write(tmp_path, name)
    os.utime(path, (50, 50))
    assert list(StatsdSpool(tmp_path).orphans()) == [Interval(path, name, process, 50.0)]


def test_what_a_file_holds_is_taken_as_it_was_meant(tmp_path):
    gauges = [[["g", "gauge", [["t", 1]]], 2]]
    write(
        tmp_path,
        "9-1-0",
        record(GAUGES, orjson.dumps(["there", gauges])),
        record(DATAGRAMS, b"a"),
        record(DATAGRAMS, b"b"),
        record(7, b"of a later version"),
        record(END, orjson.dumps([3, [["own", "gauge", 4, {"t": 5}]]])),
    )
    [found] = StatsdSpool(tmp_path).orphans()
    assert (found.host, found.gauges) == ("there", [[["g", "gauge", [("t", "1")]], 2.0]])
    assert [bytes(one) for one in found.rounds] == [b"a", b"b"]
    assert found.end == End(3.0, [["own", "gauge", 4.0, {"t": "5"}]])


@pytest.mark.parametrize(
    "content", [b"[]", b'["h"]', b"{}", b"no json", b'["h",[[["g","gauge"],1]]]', b'["h",[[1,2,3]]]']
)
def test_a_whole_record_that_means_nothing_has_its_file_put_aside_and_counted(tmp_path, content):
    path = write(tmp_path, "9-1-0", record(GAUGES, content))
    assert list(StatsdSpool(tmp_path).orphans()) == []
    assert [one.name for one in tmp_path.iterdir()] == ["9-1-0.unreadable"]
    assert (take_losses(), path.exists()) == ({("relay.statsd", "unreadable spool"): 1}, False)


A, B = record(DATAGRAMS, b"a"), record(DATAGRAMS, b"bb")


@pytest.mark.parametrize(
    ("content", "rounds", "damaged"),
    [
        (A + B, [b"a", b"bb"], 0),
        (A + B[:-1], [b"a"], 1),
        (A + B[:12], [b"a"], 1),
        (b"junk" + A + B, [b"a", b"bb"], 1),
        (A + b"junk" + B + b"junk", [b"a", b"bb"], 2),
        (A[:-1] + b"X" + B, [b"bb"], 1),
        (A[:5] + A[5:10] + B, [b"bb"], 1),
        (A[:4] + bytes([END]) + A[5:] + B, [b"bb"], 1),  # its kind is a part of what is checked
        (A + b"\x00\xf1CR" * 3 + B, [b"a", b"bb"], 1),
        (record(DATAGRAMS, b""), [b""], 0),
        (b"", [], 0),
    ],
)
def test_a_stretch_that_holds_no_record_costs_itself_and_is_counted_once(tmp_path, content, rounds, damaged):
    write(tmp_path, "9-1-0", content)
    [found] = StatsdSpool(tmp_path).orphans()
    assert [bytes(one) for one in found.rounds] == rounds
    assert take_losses() == ({("relay.statsd", "damaged spool record"): damaged} if damaged else {})


@pytest.mark.parametrize(("changed", "when"), [(50.0, 50.0), (200.0, 100.0)])
def test_a_killed_interval_ends_with_its_last_change_and_not_in_the_future(tmp_path, monkeypatch, changed, when):
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: 100.0))
    path = write(tmp_path, "9-1-0", A)
    os.utime(path, (changed, changed))
    spool = StatsdSpool(tmp_path)
    [found] = spool.orphans()
    assert spool.seal(found)
    assert found.end == End(when, [])
    assert path.read_bytes() == A + record(END, orjson.dumps([when, []]))
    assert spool.seal(found)  # it has an end
    [again] = spool.orphans()
    assert again.end == found.end
    spool.forget(found)
    spool.forget(found)
    assert list(tmp_path.iterdir()) == []


def test_an_interval_on_a_full_disk_is_not_sealed(tmp_path):
    spool = StatsdSpool(tmp_path)
    for path in (tmp_path / "none" / "9-1-0.datagrams", tmp_path, Path("/dev/full")):
        assert not spool.seal(Interval(path, "9-1-0", 1, 5.0))


@pytest.mark.parametrize(("written", "why"), [(None, "No space left on device"), (3, "no space left for all of it")])
def test_what_cannot_be_kept_is_said_and_an_interval_without_its_end_is_deleted(tmp_path, monkeypatch, written, why):
    spool = StatsdSpool(tmp_path)
    spool.begin([])
    before = spool.size

    def writev(_descriptor, _parts):
        if written is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written

    monkeypatch.setattr(module.os, "writev", writev)
    spool.keep(b"x")
    assert (spool.why, spool.size - before, len([*tmp_path.iterdir()])) == (why, written or 0, 1)
    spool.end(1.0, [])
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    spool.begin([])
    assert (spool.why, len([*tmp_path.iterdir()])) == ("", 1)
    spool.end(1.0, [])
    assert len([*tmp_path.iterdir()]) == 1
    spool.close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    spool = StatsdSpool(tmp_path / "file" / "statsd")
    spool.begin([])
    spool.end(1.0, [])
    assert spool.why == "Not a directory"
