import orjson
import pytest

from observability.relay import dead_letters
from observability.relay import replay as replaying
from observability.relay.dead_letters import DeadLetters
from observability.relay.sinks.sink import Rejected, SendResult, SinkUnavailable


def letter(number, level="info", size=10):
    document = orjson.dumps({"level": level, "event": "x" * size, "n": number}).decode()
    return {
        "reason": "no",
        "dataset": "airflow.task",
        "id": f"i-{number}",
        "source": "a.log",
        "group": "g",
        "document": document,
    }


@pytest.fixture
def letters(tmp_path):
    return DeadLetters(tmp_path / "home" / "dead-letters", "elasticsearch", 5_000)


def kept(letters):
    return [found["id"] for found in letters.read()]


def test_letters_are_kept_with_their_reason_in_order(letters):
    assert letters.write([letter(1), letter(2)]) == 0
    assert letters.write([letter(3)]) == 0
    assert list(letters.read()) == [letter(1), letter(2), letter(3)]


def test_a_letter_cut_short_by_a_crash_costs_itself_only(letters):
    letters.write([letter(1), letter(2)])
    [path] = letters.files()
    path.write_bytes(path.read_bytes()[:-20])
    assert kept(letters) == ["i-1"]
    letters.write([letter(3)])
    assert kept(letters) == ["i-1", "i-3"]


def test_a_file_that_became_shorter_is_counted_anew(letters):
    letters.write([letter(1), letter(2), letter(3)])
    assert letters.letters == 3
    [path] = letters.files()
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert letters.letters == 1
    letters.write([letter(4)])
    assert letters.letters == 2


def test_a_file_that_a_replay_has_just_done_with_hides_no_other(letters, monkeypatch):
    letters.write([letter(1), letter(2)])
    there = letters.files()
    monkeypatch.setattr(letters, "files", lambda: [there[0].with_name("elasticsearch-gone.jsonl"), *there])
    assert letters.letters == 2


def test_at_the_limit_debug_lines_go_first_and_are_counted(letters):
    letters.write([letter(number, "debug" if number % 2 else "info", 100) for number in range(20)])
    dropped = letters.write([letter(99, size=400)])
    assert dropped == 10
    assert kept(letters) == [f"i-{number}" for number in range(0, 20, 2)] + ["i-99"]
    assert letters.letters == 11


def test_where_no_debug_line_is_left_the_oldest_file_goes(letters):
    letters.write([letter(number, "error", 100) for number in range(20)])
    assert letters.write([letter(99, "error", 400)]) == 20
    assert kept(letters) == ["i-99"]


class Sink:
    def __init__(self, *refused, down=False):
        self.refused, self.down, self.batches = set(refused), down, []

    def send(self, batch):
        if self.down:
            raise SinkUnavailable("down")
        self.batches.append(batch)
        rejected = [
            Rejected(place, "still no") for place, found in enumerate(batch.ids) if found.decode() in self.refused
        ]
        return SendResult(len(batch.ids) - len(rejected), 0, rejected)

    def close(self):
        pass


@pytest.fixture
def replay(settings, monkeypatch):
    def run(sink):
        monkeypatch.setattr(replaying, "open_sink", lambda *_: sink)
        return replaying.replay(settings, "elasticsearch")

    run.letters = DeadLetters(settings.home / "dead-letters", "elasticsearch", 1_000_000)
    return run


def test_replaying_sends_what_is_there_and_keeps_what_is_refused_again(replay):
    replay.letters.write([letter(number) for number in range(5)])
    sink = Sink("i-3")
    outcome = replay(sink)
    assert (outcome.stored, outcome.left) == (4, 1)
    assert [batch.resent for batch in sink.batches] == [True]
    [left] = replay.letters.read()
    assert (left["id"], left["reason"]) == ("i-3", "still no")


def test_replaying_into_a_sink_that_is_down_loses_nothing(replay):
    replay.letters.write([letter(number) for number in range(5)])
    with pytest.raises(SinkUnavailable):
        replay(Sink(down=True))
    assert kept(replay.letters) == [f"i-{number}" for number in range(5)]
    assert replay(Sink()).stored == 5
    assert kept(replay.letters) == []


def test_letters_of_a_replay_that_was_killed_are_found_again(replay):
    replay.letters.write([letter(1)])
    next(replay.letters.take())
    assert replay(Sink()).stored == 1


def size(*letters_):
    return sum(len(orjson.dumps(one)) + 1 for one in letters_)


@pytest.mark.parametrize(("spare", "dropped"), [(0, 0), (1, 0), (-1, 2)])
def test_letters_that_fit_to_the_last_byte_cost_no_older_one(tmp_path, spare, dropped):
    both, new = [letter(1), letter(2)], letter(3)
    letters = DeadLetters(tmp_path, "s", size(*both, new) + spare)
    letters.write(both)
    assert letters.write([new]) == dropped
    assert kept(letters) == (["i-3"] if dropped else ["i-1", "i-2", "i-3"])


def test_only_as_many_files_as_needed_lose_their_debug_lines_and_the_oldest_first(tmp_path, monkeypatch):
    monkeypatch.setattr(dead_letters, "_MOST_FILE_BYTES", 1)
    monkeypatch.setattr(dead_letters.time, "strftime", lambda *_: "20260131")
    files = [[letter(1), letter(2, "debug")], [letter(3), letter(4, "debug")]]
    letters = DeadLetters(tmp_path, "s", size(*files[0], *files[1]))
    for one in files:
        letters.write(one)
    assert [path.name for path in letters.files()] == ["s-20260131-000.jsonl", "s-20260131-001.jsonl"]
    assert letters.write([letter(5)]) == 1
    assert kept(letters) == ["i-1", "i-3", "i-4", "i-5"]
    assert letters.write([letter(6)]) == 1
    assert kept(letters) == ["i-1", "i-3", "i-5", "i-6"]
    assert letters.write([letter(7)]) == 1
    assert kept(letters) == ["i-3", "i-5", "i-6", "i-7"]
    assert [path.stem[-3:] for path in letters.files()] == ["001", "002", "003", "004"]


def test_the_thousandth_file_of_a_day_is_newer_than_the_one_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(dead_letters, "_MOST_FILE_BYTES", 1)
    monkeypatch.setattr(dead_letters.time, "strftime", lambda *_: "20260131")
    letters = DeadLetters(tmp_path, "s", 1_000_000)
    (tmp_path / "s-20260131-999.jsonl").write_bytes(orjson.dumps(letter(1)) + b"\n")
    (tmp_path / "s-20260201-000.jsonl").write_bytes(orjson.dumps(letter(3)) + b"\n")
    letters.write([letter(2)])
    assert [path.stem for path in letters.files()] == ["s-20260131-999", "s-20260131-1000", "s-20260201-000"]
    assert kept(letters) == ["i-1", "i-2", "i-3"]


@pytest.mark.parametrize(("most", "files"), [(size(letter(1)), 2), (size(letter(1)) + 1, 1)])
def test_a_file_is_followed_by_the_next_once_it_is_full(tmp_path, monkeypatch, most, files):
    monkeypatch.setattr(dead_letters, "_MOST_FILE_BYTES", most)
    letters = DeadLetters(tmp_path, "s", 1_000_000)
    for number in (1, 2):
        letters.write([letter(number)])
    assert len(letters.files()) == files


def test_a_file_without_debug_lines_is_not_written_again(letters):
    letters.write([letter(1)])
    [path] = letters.files()
    before = path.stat().st_ino
    assert dead_letters._without_debug(path) == 0
    assert path.stat().st_ino == before


def test_letters_are_counted_by_what_was_added_and_with_those_of_a_replay_that_was_cut_off(letters, monkeypatch):
    letters.write([letter(1), letter(2)])
    assert letters.letters == 2
    read = []
    real = dead_letters._lines
    monkeypatch.setattr(dead_letters, "_lines", lambda path, start: read.append(start) or real(path, start))
    assert (letters.letters, read) == (2, [])
    letters.write([letter(3)])
    assert (letters.letters, read) == (3, [size(letter(1), letter(2))])
    next(letters.take())
    assert (letters.letters, len(read)) == (3, 1)
    letters.write([letter(4)])
    assert (letters.letters, read[1:]) == (4, [0])
    taken = [[one["id"] for one in found] for _, found in letters.take()]
    assert taken == [["i-1", "i-2", "i-3"], ["i-4"]]


@pytest.mark.parametrize(
    ("content", "whole"), [(b"", True), (b"\n", True), (b"x", False), (b"x\n", True), (b"\nx", False)]
)
def test_a_file_ends_whole_if_its_last_byte_ends_a_line(tmp_path, content, whole):
    path = tmp_path / "f"
    path.write_bytes(content)
    with path.open("a+b", buffering=0) as file:
        assert dead_letters._ends_whole(file) is whole
