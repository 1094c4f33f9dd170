import orjson
import pytest

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
