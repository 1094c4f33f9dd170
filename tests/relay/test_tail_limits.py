"""The limits of one read: where it ends, what it leaves for the next, and what it takes where a line fails."""

import os
import re

import orjson
import pytest
from relay_lines import TASK, line

from observability import contain
from observability.journal import frame
from observability.relay.sources.files import tail
from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.journal import journal_stream
from observability.relay.sources.files.tail import Chunk, Cursor, Failed, Replaced, read
from observability.relay.sources.files.tailed_file import TailedFile
from observability.relay.steps.splice import MOST_LINE_BYTES, PIECE_BYTES

MOST = 65_536
ONE = line("one")


def events(chunk):
    return None if chunk is None else [orjson.loads(document)["event"] for document in chunk.spliced.documents]


def journal(tmp_path, content):
    path = tmp_path / "etl.event-20260131-000.journal"
    path.write_bytes(content)
    found = path.stat()
    return TailedFile(journal_stream(path.name), path, found.st_dev, found.st_ino, "i" * 16, size=found.st_size)


def test_a_new_cursor_stands_at_the_start_of_what_was_never_sent():
    assert Cursor("x") == Cursor("x", offset=0, tail=b"", part=0, sending=0, latest=0)
    assert (Chunk(Cursor("x"), b"").damaged, Chunk(Cursor("x"), b"").failed) == (0, [])


@pytest.mark.parametrize(("text", "tail_"), [(b"x" * 40 + b"\n", b"x" * 31 + b"\n"), (b"short\n", b"short\n")])
def test_a_cursor_keeps_the_thirty_two_bytes_before_it_across_reads(logs, text, tail_):
    logs.write(text)
    first = read(logs.tailed(), Cursor("x"), MOST).cursor
    assert (first.offset, first.tail, first.part) == (len(text), tail_, 0)
    logs.write(b"ab\n")
    second = read(logs.tailed(), first, MOST).cursor
    assert (second.offset, second.tail) == (len(text) + 3, (tail_ + b"ab\n")[-32:])
    assert second.latest > first.latest > 0


@pytest.mark.parametrize("offset_by", [-1, 1])
def test_a_cursor_that_is_one_byte_off_is_not_believed(logs, offset_by):
    logs.write(ONE + line("two"))
    file = logs.tailed()
    cursor = read(file, Cursor("x"), MOST).cursor
    with pytest.raises(Replaced, match=f"does not hold what stood before byte {cursor.offset + offset_by}"):
        read(file, Cursor("x", cursor.offset + offset_by, cursor.tail), MOST)


@pytest.mark.parametrize("field", ["device", "inode"])
def test_a_file_of_another_device_or_inode_is_another(logs, field):
    logs.write(ONE)
    file = logs.tailed()
    setattr(file, field, getattr(file, field) + 1)
    with pytest.raises(Replaced, match="is another file now"):
        read(file, Cursor("x"), MOST)


def test_no_read_leaves_a_file_open(logs):
    path = logs.write(ONE)
    file = logs.tailed()
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - their names are enough
    read(file, Cursor("x"), MOST)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read(file, Cursor("x"), MOST)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - as above


@pytest.mark.parametrize(
    ("most", "final", "found"),
    [
        (len(ONE) * 3, False, (2, 2 * len(ONE))),
        (len(ONE) * 3, True, (3, 2 * len(ONE) + 7)),
        (len(ONE) * 2 + 7, True, (2, 2 * len(ONE))),  # more may stand behind what was read
        (len(ONE) * 2 + 8, True, (3, 2 * len(ONE) + 7)),
        (len(ONE) + 5, False, (1, len(ONE))),
    ],
)
def test_a_read_takes_whole_lines_and_the_rest_only_if_it_is_final_and_all_there_is(logs, most, final, found):
    logs.write(b"-" * 1100 + b"\n")
    start = read(logs.tailed(), Cursor("x"), 2000).cursor
    logs.write(ONE + ONE + b"cut her")
    chunk = read(logs.tailed(), start, most, final=final)
    assert (len(chunk.spliced.ids), chunk.cursor.offset - start.offset) == found
    assert chunk.raw == (ONE + ONE + b"cut her")[: found[1]]


def test_at_its_start_a_file_is_read_as_far_as_its_identity_needs(logs):
    logs.write(ONE * 20)
    file = logs.tailed()
    first = read(file, Cursor("x"), 200)
    assert first.cursor.offset == 1024 // len(ONE) * len(ONE)
    assert read(file, first.cursor, 200).cursor.offset - first.cursor.offset == 200 // len(ONE) * len(ONE)


@pytest.mark.parametrize(
    ("content", "part", "expected"),
    [
        (b"nothing of it\nat all\n", 0, (21, [])),
        (b"nothing of it\nneedle\n", 0, (21, ["nothing of it", "needle"])),
        (b"no whole line", 0, None),
        (b"end of a long line\nat all\n", 1, (26, ["end of a long line", "at all"])),
    ],
)
def test_of_a_log_in_which_what_is_looked_for_is_not_found_no_documents_are_made(logs, content, part, expected):
    logs.write(content)
    chunk = read(logs.tailed(), Cursor("x", part=part), MOST, only=re.compile(b"needle"))
    assert (chunk and (chunk.cursor.offset, events(chunk))) == expected
    if expected and not expected[1]:
        assert (chunk.raw, chunk.cursor.tail) == (content, content)


def test_what_is_looked_for_is_not_looked_for_in_a_journal(tmp_path):
    file = journal(tmp_path, frame(b'{"event.id":"0123456789abcdef"}'))
    assert len(read(file, Cursor("x"), MOST, only=re.compile(b"needle")).spliced.ids) == 1


@pytest.mark.parametrize(
    ("size", "parts"),
    [(MOST_LINE_BYTES, []), (MOST_LINE_BYTES + 1, list(range(7))), (MOST_LINE_BYTES + 8, list(range(7)))],
)
def test_a_line_that_is_too_long_for_one_document_need_not_have_come_whole(logs, size, parts):
    logs.write(b"z" * size)
    chunk = read(logs.tailed(), Cursor("x"), MOST)
    assert [orjson.loads(one)["log.part"] for one in chunk.spliced.documents if chunk] == parts if chunk else not parts
    if parts:
        assert (chunk.cursor.offset, chunk.cursor.part) == (
            (size - 1) // PIECE_BYTES * PIECE_BYTES,
            7 if size > 7 * PIECE_BYTES else 6,
        )


def test_a_read_that_is_larger_than_any_line_is_not_made_smaller(logs):
    logs.write(b"z" * (2 * MOST_LINE_BYTES))
    chunk = read(logs.tailed(), Cursor("x"), 2 * MOST_LINE_BYTES)
    assert chunk.cursor.part == (2 * MOST_LINE_BYTES - 1) // PIECE_BYTES


@pytest.mark.parametrize("above", [b"", b"\n", b"ab\n", line("above", 3)])
def test_pieces_that_end_before_a_character_have_the_time_of_their_line(logs, above):
    long = line("zz" + "😀" * (MOST_LINE_BYTES // 2), 7, level="error")
    logs.write(above + long + line("after", 9))
    cursor, documents = Cursor("x"), []
    while chunk := read(logs.tailed(), cursor, MOST):
        cursor = chunk.cursor
        documents += [orjson.loads(one) for one in chunk.spliced.documents]
    pieces = [one for one in documents if "log.part" in one]
    assert [one["log.part"] for one in pieces] == list(range(len(pieces)))
    assert len(pieces) > 12
    assert {(one["@timestamp"], one["level"]) for one in pieces} == {("2026-01-31T12:00:07.000000Z", "error")}
    assert "".join(one["event"] for one in pieces).encode() == long.rstrip(b"\n")
    assert documents[-1]["event"] == "after"


@pytest.mark.parametrize(
    ("content", "final", "expected"),
    [
        (b"tail\nnext\n", False, (10, 0, ["tail", "next"])),
        (b"tail\n", False, (5, 0, ["tail"])),
        (b"tail", False, None),
        (b"tail", True, (4, 0, ["tail"])),
        (b"\nnext\n", False, (6, 0, ["next"])),
        (b"", True, None),
    ],
)
def test_in_the_middle_of_a_long_line_its_rest_is_its_last_piece(logs, content, final, expected):
    logs.write(b"z" * PIECE_BYTES + content)
    cursor = Cursor("x", PIECE_BYTES, b"z" * 32, 1)
    chunk = read(logs.tailed(), cursor, MOST, final=final)
    assert (chunk and (chunk.cursor.offset - PIECE_BYTES, chunk.cursor.part, events(chunk))) == expected
    if expected and b"tail" in content:
        assert orjson.loads(chunk.spliced.documents[0])["log.part"] == 1
        assert "log.part" not in orjson.loads(chunk.spliced.documents[-1]) or len(chunk.spliced.documents) == 1


def test_a_journal_record_without_end_is_read_on_to_the_longest_that_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr(tail, "_MOST_RECORD_BYTES", 1000)
    record = frame(b'{"event.id":"0123456789abcdef","t":"' + b"x" * 700 + b'"}')
    assert len(record) < 1000
    assert len(read(journal(tmp_path, record), Cursor("x"), 300).spliced.ids) == 1
    assert read(journal(tmp_path, b"x" * 999), Cursor("x"), 300) is None
    torn = read(journal(tmp_path, b"x" * 1000), Cursor("x"), 300)
    assert (torn.cursor.offset, torn.raw, torn.damaged) == (1000, b"", 1)


@pytest.fixture
def poisoned(monkeypatch):
    """Lines with ``poison`` are some at which we fail."""
    whole = tail.splice

    def splice(file, chunk, *rest):
        if b"poison" in chunk:
            raise RecursionError
        return whole(file, chunk, *rest)

    monkeypatch.setattr(tail, "splice", splice)
    monkeypatch.setattr(contain, "raises_again", lambda: False)


@pytest.mark.parametrize(("rest", "final"), [(b"", False), (b"half a line", False)])
def test_lines_at_which_we_fail_are_passed_over_one_by_one_with_their_places(logs, poisoned, rest, final):
    logs.write(ONE + b"poison 1\n" + b"\n" + b"poison 2\n" + line("two", 1) + rest)
    chunk = read(logs.tailed(), Cursor("x"), MOST, final=final)
    assert events(chunk) == ["one", "two"]
    assert [(one.name, one.offset, one.content, type(one.error)) for one in chunk.failed] == [
        (TASK, len(ONE), b"poison 1\n", RecursionError),
        (TASK, len(ONE) + 10, b"poison 2\n", RecursionError),
    ]
    assert chunk.failed[0] == Failed(TASK, len(ONE), b"poison 1\n", chunk.failed[0].error)
    assert (chunk.cursor.offset, chunk.damaged) == (2 * len(ONE) + 19, 0)
    assert chunk.cursor.latest == chunk.spliced.latest > 0


def test_a_fault_of_ours_is_seen_in_a_test(logs, monkeypatch):
    monkeypatch.setattr(tail, "splice", lambda *_: {}["ours"])
    logs.write(ONE)
    with pytest.raises(KeyError, match="ours"):
        read(logs.tailed(), Cursor("x"), MOST)


def test_a_file_that_cannot_be_read_on_is_no_fault_of_ours(logs, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "no")

    monkeypatch.setattr(tail, "splice", refuse)
    logs.write(ONE)
    with pytest.raises(PermissionError):
        read(logs.tailed(), Cursor("x"), MOST)


@pytest.mark.parametrize(
    ("offset", "before"), [(10, slice(0, 10)), (65_536, slice(0, 65_536)), (65_540, slice(4, 65_540))]
)
def test_around_a_stretch_stand_the_bytes_before_it_and_the_top_of_its_file(logs, offset, before):
    content = b"".join(b"%07d\n" % number for number in range(20_000))
    logs.write(content)
    around = tail._OnDisk(logs.tailed(), offset)
    assert around.before() == content[before]
    assert around.top() == content[:131_072]


def kept_file(tmp_path, content, name=TASK):
    """A file as thinning leaves it: the kept lines with their places in the log that was."""
    path = tmp_path / "kept"
    path.write_bytes(content)
    found = path.stat()
    return TailedFile(log_stream(name, "h", "test"), path, found.st_dev, found.st_ino, "own", ids="of the log")


def test_what_thinning_left_is_told_with_the_places_that_its_lines_had(tmp_path, monkeypatch):
    monkeypatch.setattr(tail, "kept_lines", lambda chunk: [(500, ONE.rstrip()), (900, b"continued")] if chunk else [])
    file = kept_file(tmp_path, b"anything\n" * 3)
    chunk = read(file, Cursor("own"), MOST, only=re.compile(b"needle"))
    assert events(chunk) == ["one", "continued"]
    assert chunk.spliced.ids == [b"of the log-500", b"of the log-900"]
    assert {orjson.loads(one)["@timestamp"] for one in chunk.spliced.documents} == {"2026-01-31T12:00:00.000000Z"}
    assert (chunk.cursor.offset, chunk.raw) == (27, b"anything\n" * 3)
    assert read(file, chunk.cursor, MOST) is None


def test_what_was_seen_of_a_kept_log_is_bounded(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(tail, "CONTINUED_BYTES", 20)
    monkeypatch.setattr(tail, "kept_lines", lambda _: [(0, b"first line"), (11, b"second line"), (23, b"third")])
    whole = tail.splice

    def splice(file, text, offset, around, latest):
        seen.append((offset, around.before()))
        return whole(file, text, offset, around, latest)

    monkeypatch.setattr(tail, "splice", splice)
    read(kept_file(tmp_path, b"x\n"), Cursor("own"), MOST)
    assert seen == [(0, b"\n"), (11, b"\nfirst line\n"), (23, b"rst line\nsecond line\n"[-20:])]


def test_a_file_of_components_has_its_echo_taken_out_and_its_texts_masked(logs, monkeypatch):
    monkeypatch.setattr(tail, "without_echo", lambda text, _prefix: text.replace(b"echo", b"----"))
    monkeypatch.setattr(tail, "masked", lambda documents, _prefix: [one.upper() for one in documents])
    logs.write(b"an echo\n", "components/scheduler.log")
    logs.write(b"an echo\n")
    component = read(logs.tailed("components/scheduler.log"), Cursor("x"), MOST)
    assert [b"AN ----" in one for one in component.spliced.documents] == [True]
    assert events(read(logs.tailed(), Cursor("x"), MOST)) == ["an echo"]


def test_a_cursor_moves_by_what_was_taken_and_never_back_in_its_order():
    cursor = tail._moved(Cursor("x", 10, b"t" * 30, 2, 5, 70), b"abcd", part=3, latest=60)
    assert cursor == Cursor("x", 14, b"t" * 28 + b"abcd", 3, 5, 70)
    assert tail._moved(cursor, b"", latest=80) == Cursor("x", 14, cursor.tail, 0, 5, 80)


def test_the_readable_path_of_a_file_is_the_one_that_is_read(logs, tmp_path):
    path = logs.write(ONE)
    file = logs.tailed()
    file.spooled = tmp_path / "held"
    os.link(path, file.spooled)
    path.unlink()
    assert events(read(file, Cursor("x"), MOST)) == ["one"]
