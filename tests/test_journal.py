import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import pytest
import time_machine
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from observability.journal import Frame, Journal, JournalError, frame, frames


def read(directory):
    """Every document in the folder, in order."""
    files = sorted(directory.glob("*.journal"))
    return [found.document for file in files for found in frames(file.read_bytes()) if found.document is not None]


def test_a_record_is_a_checksum_and_the_document_on_one_line():
    assert frame(b"{}") == b"%08x {}\n" % zlib.crc32(b"{}")


def test_what_was_appended_is_read_back_in_order(tmp_path):
    journal = Journal(tmp_path)
    for number in range(3):
        journal.append("etl.event", b'{"n":%d}' % number)
    journal.close()
    assert read(tmp_path) == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


def test_a_full_file_is_followed_by_the_next(tmp_path):
    journal = Journal(tmp_path, max_file_bytes=50)
    for number in range(6):
        journal.append("etl.event", b'{"n":"%030d"}' % number)
    journal.close()
    assert [int(path.stem[-3:]) for path in sorted(tmp_path.iterdir())] == [0, 1, 2]
    assert len(read(tmp_path)) == 6


def test_a_new_day_begins_a_new_file(tmp_path):
    journal = Journal(tmp_path)
    with time_machine.travel("2013-01-01 23:59:59Z", tick=False):
        journal.append("etl.event", b'{"n":1}')
    with time_machine.travel("2013-01-02 00:00:00Z", tick=False):
        journal.append("etl.event", b'{"n":2}')
    journal.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "etl.event-20130101-000.journal",
        "etl.event-20130102-000.journal",
    ]


def test_a_file_is_for_its_owner_only(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.append("etl.event", b"{}")
    journal.close()
    (file,) = (tmp_path / "journal").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_half_written_last_line_is_left_for_the_next_read():
    buffer = frame(b'{"n":1}') + frame(b'{"n":2}')[:-3]
    assert list(frames(buffer)) == [Frame(0, 17, b'{"n":1}')]


def test_a_record_after_a_torn_one_is_salvaged():
    torn, whole = frame(b'{"torn":1}')[:12], frame(b'{"n":2}')
    assert [found.document for found in frames(torn + whole)] == [None, b'{"n":2}']


def test_a_full_device_is_an_error_that_names_file_and_remedy(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.append("etl.event", b"{}")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._open["etl.event"].descriptor)
    monkeypatch.setattr(type(journal._open["etl.event"]), "status", lambda _: tmp_path.stat())
    with pytest.raises(JournalError, match=r"cannot write event to .*etl\.event-.*No space left on device; free disk"):
        journal.append("etl.event", b"{}")
    os.close(full)
    monkeypatch.undo()
    os.close(journal._open.pop("etl.event").descriptor)


def test_a_file_limit_costs_the_record_that_did_not_fit_and_no_other(tmp_path):
    program = (
        "import resource\n"
        "from pathlib import Path\n"
        "from observability.journal import Journal, JournalError\n"
        f"journal = Journal(Path({str(tmp_path)!r}))\n"
        "journal.append('etl.event', b'{\"n\":1}')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30, resource.RLIM_INFINITY))\n"
        "for n in (2, 3):\n"
        "    try: journal.append('etl.event', b'{\"n\":%d}' % n)\n"
        "    except JournalError as error: print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "journal.append('etl.event', b'{\"n\":4}')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert "only 13 of 17 bytes fitted into" in first
    assert "File too large" in second
    assert read(tmp_path) == [b'{"n":1}', b'{"n":4}']


def test_a_folder_that_is_gone_is_made_again(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.append("etl.event", b'{"n":1}')
    for path in (tmp_path / "journal").iterdir():
        path.unlink()
    (tmp_path / "journal").rmdir()
    journal.append("etl.event", b'{"n":2}')
    journal.close()
    assert read(tmp_path / "journal") == [b'{"n":2}']


def test_a_folder_that_cannot_be_made_is_an_error():
    with pytest.raises(JournalError, match=r"cannot write event to /proc/none/etl\.event"):
        Journal(Path("/proc/none")).append("etl.event", b"{}")


def test_a_file_system_that_breaks_and_comes_back_as_another_is_written_to(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal")
    journal.append("etl.event", b'{"n":1}')
    (tmp_path / "journal").rename(tmp_path / "broken")
    with monkeypatch.context() as patched:
        patched.setattr(
            os, "write", lambda *_args: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only file system"))
        )
        with pytest.raises(JournalError, match="Read-only file system; free disk space or make it writable"):
            journal.append("etl.event", b'{"n":2}')
    journal.append("etl.event", b'{"n":3}')
    journal.close()
    assert (read(tmp_path / "broken"), read(tmp_path / "journal")) == ([b'{"n":1}'], [b'{"n":3}'])


def test_a_descriptor_that_was_closed_and_reused_is_never_written_to(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.append("etl.event", b'{"n":1}')
    stolen = journal._open["etl.event"].descriptor
    os.close(stolen)
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    assert other == stolen
    journal.append("etl.event", b'{"n":2}')
    journal.close()
    os.close(other)
    assert ((tmp_path / "other").read_bytes(), len(read(tmp_path / "journal"))) == (b"", 2)


def test_a_fork_and_its_parent_append_whole_records(tmp_path):
    journal = Journal(tmp_path)
    journal.append("etl.event", b'{"n":0}')
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_append, args=(journal, number)) for number in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    journal.close()
    assert len(set(read(tmp_path))) == 1 + 4 * 200


def _append(journal, number):
    for turn in range(200):
        journal.append("etl.event", b'{"n":"%d-%d","filler":"%0500d"}' % (number, turn, 0))


TORN = b'{"n":"torn","deadbeef {":1}'


class Writing(RuleBasedStateMachine):
    """Writers append, crash at any byte, bits flip, files are cut: what is read is exactly what stayed whole."""

    folder: Path

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir=self.folder))
        self.appended: set[bytes] = {TORN}
        self.writers = [Journal(self.directory, max_file_bytes=400) for _ in range(2)]
        self.expected: dict[Path, list[tuple[int, int, bytes]]] = {}
        self.number = 0

    def _last(self):
        files = sorted(self.directory.glob("*.journal"))
        return files[-1] if files else None

    @rule(writer=st.integers(0, 1), text=st.text(max_size=40))
    def append(self, writer, text):
        self.number += 1
        document = b'{"n":%d,"t":"%s"}' % (self.number, text.encode("utf-8", "replace").replace(b"\n", b" "))
        self.writers[writer].append("etl.event", document)
        end = self._last().stat().st_size
        self.appended.add(document)
        self.expected.setdefault(self._last(), []).append((end - len(frame(document)), end, document))

    @precondition(lambda self: self._last() is not None)
    @rule(data=st.data())
    def crash_while_writing(self, data):
        torn = frame(TORN)
        with self._last().open("ab") as file:
            file.write(torn[: data.draw(st.integers(0, len(torn) - 1))])

    @precondition(lambda self: self._last() is not None)
    @rule(data=st.data())
    def flip_a_bit(self, data):
        path = data.draw(st.sampled_from(sorted(self.expected)))
        found = bytearray(path.read_bytes())
        if not found:
            return
        at = data.draw(st.integers(0, len(found) - 1))
        found[at] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(found)
        self.expected[path] = [record for record in self.expected[path] if not record[0] <= at < record[1]]

    @precondition(lambda self: self._last() is not None)
    @rule(data=st.data())
    def cut_the_last_file(self, data):
        path = self._last()
        size = data.draw(st.integers(0, path.stat().st_size))
        os.truncate(path, size)
        self.expected[path] = [record for record in self.expected.get(path, []) if record[1] <= size]

    @rule(writer=st.integers(0, 1))
    def reopen(self, writer):
        self.writers[writer].close()
        self.writers[writer] = Journal(self.directory, max_file_bytes=400)

    @invariant()
    def what_is_whole_is_read_once_and_in_order(self):
        found = read(self.directory)
        whole = [document for path in sorted(self.expected) for *_, document in self.expected[path]]
        assert [document for document in found if document in set(whole)] == whole
        assert set(found) <= self.appended, "a record was read that nobody wrote"

    def teardown(self):
        for writer in self.writers:
            writer.close()
        shutil.rmtree(self.directory)


def _hold(folder, sequences):
    machine = type("WritingHere", (Writing,), {"folder": folder})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=sequences, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_whatever_happens_to_the_files_what_stayed_whole_is_read(tmp_path):
    _hold(tmp_path, 150)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_sequences_of_crashes_and_damage_deliver_no_corrupt_record(tmp_path):
    _hold(tmp_path, 10_000)
