import orjson
import pytest
from relay_lines import line

from observability.journal import frame
from observability.relay.sources.files import tail
from observability.relay.sources.files.journal import journal_stream
from observability.relay.sources.files.tail import Cursor, Replaced, _split, read
from observability.relay.sources.files.tailed_file import TailedFile
from observability.relay.steps.splice import MOST_LINE_BYTES, PIECE_BYTES

MOST = 65_536


def events(stretch):
    return [orjson.loads(document)["event"] for document in stretch.spliced.documents]


def everything(file, most, *, final=False):
    cursor, ids, documents = Cursor(file.identity), [], []
    while stretch := read(file, cursor, most, final=final):
        if stretch.cursor.offset == cursor.offset:
            break
        cursor = stretch.cursor
        ids += stretch.spliced.ids
        documents += stretch.spliced.documents
    return cursor, ids, documents


def test_reading_goes_on_where_the_cursor_stands(logs):
    logs.write(line("one"))
    first = read(logs.tailed(), Cursor("x"), MOST)
    logs.write(line("two"))
    second = read(logs.tailed(), first.cursor, MOST)
    assert events(first) == ["one"]
    assert events(second) == ["two"]
    assert read(logs.tailed(), second.cursor, MOST) is None


def test_a_half_written_last_line_waits_for_its_end(logs):
    whole = line("second")
    logs.write(line("first") + whole[:20])
    first = read(logs.tailed(), Cursor("x"), MOST)
    assert events(first) == ["first"]
    assert read(logs.tailed(), first.cursor, MOST) is None
    logs.write(whole[20:])
    assert events(read(logs.tailed(), first.cursor, MOST)) == ["second"]


def test_a_last_line_that_will_get_no_end_is_taken_as_it_is(logs):
    logs.write(line("first") + b"cut he")
    assert events(read(logs.tailed(), Cursor("x"), MOST, final=True)) == ["first", "cut he"]


@pytest.mark.parametrize(
    ("chunk", "lines"),
    [(b"one\ntwo\n", [b"one\n", b"two\n"]), (b"one\ncut he", [b"one\n", b"cut he"]), (b"\n", [b"\n"]), (b"", [])],
)
def test_what_is_read_line_by_line_keeps_every_byte(chunk, lines):
    assert _split(chunk) == lines


@pytest.mark.parametrize("most", [200, 1000, 4096, MOST])
def test_a_file_that_will_not_grow_is_torn_at_its_end_only(logs, most):
    for number in range(300):
        logs.write(line(f"line {number}", number))
    logs.write(b"cut he")
    _, _, documents = everything(logs.tailed(), most, final=True)
    assert [orjson.loads(document)["event"] for document in documents] == [
        *(f"line {number}" for number in range(300)),
        "cut he",
    ]


@pytest.mark.parametrize("most", [200, 1000, 4096, MOST, 2_000_000])
def test_ids_and_documents_do_not_depend_on_how_much_is_read_at_once(logs, most):
    long = line("y" * 2_500_000)
    for number in range(30):
        logs.write(line(f"line {number}", number))
    logs.write(long + line("after") + b"plain\n")
    file = logs.tailed()
    assert everything(file, most)[1:] == everything(file, 50_000_000)[1:]


def test_a_line_without_end_is_handed_on_in_pieces_of_flat_size(logs):
    logs.write(line("x") + b"z" * (3 * MOST_LINE_BYTES + 5))
    _, ids, documents = everything(logs.tailed(), MOST)
    whole = 3 * MOST_LINE_BYTES // PIECE_BYTES
    assert len(ids) == 1 + whole
    assert [orjson.loads(document).get("log.part") for document in documents] == [None, *range(whole)]


@pytest.mark.parametrize("before", [b"", line("x")])
def test_each_piece_of_a_long_line_has_the_time_and_level_of_its_beginning(logs, before):
    logs.write(before + line("z" * 2 * MOST_LINE_BYTES, 7, level="error"))
    _, _, documents = everything(logs.tailed(), MOST)
    pieces = [one for one in map(orjson.loads, documents) if "log.part" in one]
    assert [one["log.part"] for one in pieces] == list(range(len(pieces)))
    assert {(one["@timestamp"], one["level"]) for one in pieces} == {("2026-01-31T12:00:07.000000Z", "error")}
    assert "".join(one["event"] for one in pieces).count("z") == 2 * MOST_LINE_BYTES


def test_another_file_under_the_name_is_noticed(logs):
    path = logs.write(line("old") * 3)
    file = logs.tailed()
    cursor = read(file, Cursor("x"), MOST).cursor
    path.write_bytes(line("new") * 6)
    with pytest.raises(Replaced):
        read(file, cursor, MOST)
    other = logs.write(line("other"), "other.log")
    other.rename(path)
    with pytest.raises(Replaced):
        read(file, Cursor("x"), MOST)


def journal(tmp_path, content):
    path = tmp_path / "etl.event-20260131-000.journal"
    path.write_bytes(content)
    found = path.stat()
    return TailedFile(journal_stream(path.name), path, found.st_dev, found.st_ino, "i" * 16, size=found.st_size)


def test_journal_records_are_checked_and_keep_their_own_ids(tmp_path):
    good = b'{"event.id":"0123456789abcdef","a":1}'
    file = journal(tmp_path, frame(good) + b"0000beef {torn\n" + frame(b'{"event.id":"fedcba9876543210"}'))
    stretch = read(file, Cursor("x"), MOST)
    assert stretch.spliced.ids == [b"0123456789abcdef", b"fedcba9876543210"]
    assert stretch.spliced.documents[0] == good
    assert stretch.damaged == 1


def test_a_journal_record_larger_than_a_batch_is_read_whole(tmp_path):
    big = b'{"event.id":"0123456789abcdef","a":"' + b"x" * 500_000 + b'"}'
    file = journal(tmp_path, frame(big))
    assert read(file, Cursor("x"), MOST).spliced.documents == [big]


RECORD = frame(b'{"event.id":"0123456789abcdef"}')


def test_a_torn_last_record_waits_and_is_damaged_once_its_file_will_not_grow(tmp_path):
    file = journal(tmp_path, RECORD + b"0000beef {cut")
    whole = read(file, Cursor("x"), MOST)
    assert (whole.cursor.offset, whole.damaged, len(whole.spliced.ids)) == (len(RECORD), 0, 1)
    assert read(file, whole.cursor, MOST) is None
    torn = read(file, whole.cursor, MOST, final=True)
    assert (torn.cursor.offset, torn.damaged, torn.spliced.ids) == (file.size, 1, [])
    assert read(file, torn.cursor, MOST, final=True) is None


def test_a_record_without_end_is_damaged_once_it_is_longer_than_any_and_what_follows_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tail, "_MOST_RECORD_BYTES", 2000)
    assert read(journal(tmp_path, b"x" * 1999), Cursor("x"), 1500) is None
    file = journal(tmp_path, b"x" * 2500 + b"\n" + RECORD)
    first = read(file, Cursor("x"), 1500)
    assert (first.cursor.offset, first.damaged, first.spliced.ids) == (2000, 1, [])
    second = read(file, first.cursor, 1500)
    assert (second.cursor.offset, second.damaged, second.spliced.ids) == (file.size, 1, [b"0123456789abcdef"])


def test_the_end_of_a_long_line_is_its_last_piece_and_the_line_behind_it_begins_anew(logs):
    text = "é" + "z" * (MOST_LINE_BYTES + PIECE_BYTES) + "end"
    logs.write(line("x") + line(text) + line("after"))
    _, ids, documents = everything(logs.tailed(), MOST)
    found = [orjson.loads(document) for document in documents]
    assert "".join(one["event"] for one in found[1:-1]) == line(text).decode().rstrip("\n")
    assert [one.get("log.part") for one in found] == [None, *range(len(found) - 2), None]
    assert [found[0]["event"], found[-1]["event"]] == ["x", "after"]
    assert len(set(ids)) == len(ids)


def test_a_long_line_that_will_get_no_end_is_handed_on_to_its_last_byte(logs):
    logs.write(line("x") + b"z" * (MOST_LINE_BYTES + 100))
    cursor, _, documents = everything(logs.tailed(), MOST)
    last = read(logs.tailed(), cursor, MOST, final=True)
    said = [orjson.loads(one)["event"] for one in [*documents[1:], *last.spliced.documents]]
    assert "".join(said) == "z" * (MOST_LINE_BYTES + 100)
    assert read(logs.tailed(), last.cursor, MOST, final=True) is None
