"""One round of a worker, step by step: what it reads, counts, notes and says, without its thread."""

import sqlite3
import threading
from collections import Counter
from types import SimpleNamespace

import pytest
from relay_lines import TASK, line

from observability import contain
from observability.contain import take_losses
from observability.journal import frame
from observability.relay import sink_worker as workers
from observability.relay.checkpoint import open_checkpoint
from observability.relay.dead_letters import DeadLetters
from observability.relay.sink_worker import SinkWorker
from observability.relay.sinks import sink as sinks
from observability.relay.sinks.sink import Batch, Rejected, SendResult, SinkUnavailable
from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.journal import journal_stream
from observability.relay.sources.files.tail import Chunk, Cursor, Failed
from observability.relay.sources.files.tailed_file import TailedFile

SIZE = len(line("x"))
NAMES = [f"dag_id=d/run_id=r{one}/task_id=t/attempt=1.log" for one in range(9)]


class Sink(sinks.Sink):
    """Gives the answers that it was told to give, then takes everything."""

    def __init__(self, *answers):
        self.answers, self.batches, self.pruned, self.closed = list(answers), [], 0, 0

    def send(self, batch):
        self.batches.append(batch)
        answer = self.answers.pop(0) if self.answers else SendResult(len(batch.ids))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def prune(self):
        self.pruned += 1

    def close(self):
        self.closed += 1


class Gathering(Sink):
    gathers = True


@pytest.fixture
def survived(monkeypatch):
    """Faults of ours are survived, as they are outside of tests."""
    monkeypatch.setattr(contain, "raises_again", lambda: False)
    take_losses()
    yield
    take_losses()


@pytest.fixture
def kept(tmp_path):
    checkpoint = open_checkpoint(tmp_path / "checkpoint.db", "s")
    yield checkpoint
    checkpoint.close()


@pytest.fixture
def make(logs, tmp_path, kept):
    """A worker over these logs, whose files are those that are named; ``make.said`` is what it says."""

    def of(*names, **options):
        registry = SimpleNamespace(
            files=tuple(logs.tailed(name) for name in names), round=4, suspects=[], is_gone=lambda *_: False
        )
        registry.suspect = registry.suspects.append
        worker = SinkWorker(
            "s",
            lambda: (of.sink, kept, False),
            lambda: registry,
            DeadLetters(tmp_path / "dead", "s", 1_000_000),
            **{"batch_bytes": 4096, "poll_s": 0.01, "say": of.said.append, **options},
        )
        worker._pause = of.pauses.append
        return worker, registry

    of.said, of.pauses, of.sink = [], [], Sink()
    take_losses()
    yield of
    take_losses()


def totals(worker, dataset="airflow.task"):
    return {result: number for (stream, result), number in worker.stats.totals.items() if stream == dataset and number}


def offsets(kept, registry):
    return [kept.cursor(file.identity).offset for file in registry.files]


def test_a_round_sends_what_there_is_notes_it_and_then_has_nothing_to_do(logs, make, kept):
    logs.write(line("x") * 2)
    worker, registry = make(TASK)
    sink = Sink()
    [file] = registry.files
    assert (worker.idle_since, worker.position(file), worker.taken(file)) == (-1, -1, -1)
    assert [(worker._round(sink, kept, atomic=False), sink.pruned) for _ in range(2)] == [(True, 0), (False, 1)]
    assert (offsets(kept, registry), worker.position(file), worker.taken(file)) == ([2 * SIZE], 2 * SIZE, -1)
    assert totals(worker) == {"emitted": 2, "stored": 2}
    assert (worker._delivered, worker._under_way, worker._checked) == (1, {}, {file.identity: file.seen[1]})
    assert kept.counts() == {("airflow.task", "emitted"): 2, ("airflow.task", "stored"): 2}
    assert make.said == []


@pytest.mark.parametrize(
    ("sink", "batch_bytes", "groups"),
    [
        (Sink(), 4096, [1, 1, 1]),
        (Gathering(), SIZE, [1, 1, 1]),
        (Gathering(), SIZE + 1, [2, 1]),
        (Gathering(), 2 * SIZE, [2, 1]),
        (Gathering(), 4096, [3]),
    ],
    ids=["each by itself", "one is enough", "one byte short", "two are enough", "all"],
)
def test_small_files_go_together_up_to_the_size_of_a_batch(logs, make, kept, monkeypatch, sink, batch_bytes, groups):  # noqa: PLR0913, PLR0917 - its table
    for name in NAMES[:3]:
        logs.write(line("x"), name)
    worker, _ = make(*NAMES[:3], batch_bytes=batch_bytes)
    sent = []
    monkeypatch.setattr(
        workers,
        "send_together",
        lambda _sink, some: sent.append(len(some)) or SendResult(sum(len(one.ids) for one in some)),
    )
    worker._round(sink, kept, atomic=False)
    assert sent == groups


def test_a_file_of_another_dataset_is_not_carried_and_counts_as_read(logs, make, kept):
    logs.write(line("x"))
    worker, registry = make(TASK, datasets=frozenset({"etl.event"}))
    [file] = registry.files
    assert (worker.position(file), worker._round(Sink(), kept, atomic=False)) == (file.size, False)
    worker.dropped(file, 3, "lines")
    assert make.said == []


def test_what_changed_last_goes_first_and_a_round_that_is_stopped_ends_at_once(logs, make, kept):
    for name in NAMES[:3]:
        logs.write(line("x"), name)
    worker, registry = make(*NAMES[:3])
    for file, changed in zip(registry.files, (10.0, 30.0, 20.0), strict=True):
        file.changed = changed
    sink = Sink()
    worker._round(sink, kept, atomic=False)
    assert [batch.source for batch in sink.batches] == [NAMES[1], NAMES[2], NAMES[0]]
    stopped, _ = make(*NAMES[:3])
    stopped.stop()
    assert (stopped._round(Sink(), kept, atomic=False), stopped.wake.is_set()) == (False, True)


def test_a_round_pauses_in_the_past_for_what_is_new(logs, make, kept, monkeypatch):
    for name in NAMES[:3]:
        logs.write(line("x"), name)
    worker, _ = make(*NAMES[:3])
    monkeypatch.setattr(workers._Past, "has_had_its_turn", lambda *_: True)
    sink = Sink()
    worker._round(sink, kept, atomic=False)
    assert len(sink.batches) == 1


@pytest.mark.parametrize(("age", "over", "turns"), [(60.0, True, 0), (60.5, True, 2), (60.5, False, 0)])
def test_only_old_files_have_a_turn_and_only_when_their_second_is_over(logs, monkeypatch, age, over, turns):
    logs.write(line("x"))
    file = logs.tailed()
    file.changed = 1000.0
    clock = SimpleNamespace(time=lambda: 1000.0 + age, monotonic=lambda: 5.0)
    monkeypatch.setattr(workers, "time", clock)
    past = workers._Past()
    clock.monotonic = lambda: 6.001 if over else 6.0
    assert [past.has_had_its_turn(file) for _ in range(52)].count(True) == turns


@pytest.mark.parametrize(("number", "said"), [(0, []), (3, ["s: 3 debug lines of " + TASK + " are given up"])])
def test_records_that_are_given_up_are_counted_and_said(logs, make, number, said):
    logs.write(line("x"))
    worker, registry = make(TASK)
    worker.dropped(registry.files[0], number, "debug lines")
    assert (totals(worker), make.said) == ({"dropped": number} if number else {}, said)


def test_bytes_that_are_lost_are_one_record_and_named(logs, make):
    logs.write(line("x"))
    worker, registry = make(TASK)
    worker.lost(registry.files[0], 77, "deleted before it was sent")
    assert totals(worker) == {"dropped": 1}
    assert make.said == [f"s: 77 bytes of {TASK} are lost: deleted before it was sent"]
    assert take_losses() == {("relay.s", "bytes deleted before it was sent"): 77}


@pytest.mark.parametrize(("atomic", "sending"), [(False, SIZE), (True, 0)])
def test_what_is_sent_is_noted_before_unless_the_sink_commits_with_it(logs, make, kept, atomic, sending):
    logs.write(line("x"))
    worker, registry = make(TASK)
    seen = []

    class Looking(Sink):
        def send(self, batch):
            seen.append(kept.cursor(registry.files[0].identity).sending)
            return super().send(batch)

    worker._round(Looking(), kept, atomic=atomic)
    assert seen == [sending]


def test_an_answer_is_counted_part_by_part(logs, make, kept, monkeypatch):
    logs.write(b"".join(line(str(number), number) for number in range(10)))
    worker, _ = make(TASK)
    judged = []
    monkeypatch.setattr(workers.DeliveryStats, "judged", lambda _self, *args: judged.append(args) or "news")
    worker._round(Sink(SendResult(4, 3, [Rejected(2, "bad"), Rejected(5, "worse")], 1)), kept, atomic=False)
    assert totals(worker) == {"emitted": 10, "stored": 4, "duplicate": 3, "rejected": 2, "dropped": 1}
    assert [letter["reason"] for letter in worker._dead_letters.read()] == ["bad", "worse"]
    assert (judged, make.said) == ([("airflow.task", 7, 2, "worse")], ["s: news"])
    worker.count_dead_letters()
    assert worker.stats.dead_letters == 2


def test_a_letter_of_a_batch_that_was_not_resent_is_a_letter_of_its_own(logs, make, kept):
    logs.write(line("x"))
    worker, registry = make(TASK)
    for _ in range(2):
        worker._cursors[registry.files[0].identity] = Cursor(registry.files[0].identity)
        worker._round(Sink(SendResult(0, 0, [Rejected(0, "bad")])), kept, atomic=False)
    assert totals(worker) == {"emitted": 2, "rejected": 2}


@pytest.mark.parametrize(("begun_s", "sending"), [(1999, 77), (2000, 77), (2001, 0)])
def test_a_file_that_began_after_what_is_not_trusted_was_never_sent(logs, make, kept, begun_s, sending):
    logs.write(line("x"))
    worker, registry = make(TASK)
    [file] = registry.files
    kept.distrusted_before = 2000.0
    file.origin_ns, file.size = begun_s * 10**9, 77
    assert worker._cursor(kept, file).sending == sending


def test_a_letter_that_a_resent_batch_meets_again_is_a_duplicate(logs, make, kept):
    logs.write(line("x") + line("y", 1))
    worker, registry = make(TASK)
    worker._round(Sink(SendResult(1, 0, [Rejected(0, "bad")])), kept, atomic=False)
    worker._cursors[registry.files[0].identity] = Cursor(registry.files[0].identity, sending=2 * SIZE)
    worker._round(Sink(SendResult(0, 0, [Rejected(0, "bad"), Rejected(1, "bad")])), kept, atomic=False)
    assert totals(worker) == {"emitted": 4, "stored": 1, "duplicate": 1, "rejected": 2}
    assert len(list(worker._dead_letters.read())) == 2


@pytest.mark.parametrize(
    ("before", "history"), [(0.5, 1), (0.0, 0), (-0.5, 0)], ids=["before the start", "at it", "after it"]
)
def test_what_is_too_old_for_the_sink_is_history_if_it_was_written_before_the_first_start(
    logs, make, kept, before, history
):
    logs.write(line("x") + line("y", 1))
    worker, registry = make(TASK)
    kept.began = 1000.0
    old = SendResult(1, 0, [Rejected(1, "too old", 1000.0 - before)])
    worker._round(Sink(old), kept, atomic=False)
    said = (
        "s: leaves out records of airflow.task from before the relay's first start, because it takes none so old;"
        " they are counted as history"
    )
    if history:
        assert (totals(worker), make.said) == ({"emitted": 1, "stored": 1, "history": 1}, [said])
    else:
        assert totals(worker) == {"emitted": 2, "stored": 1, "rejected": 1}
    worker._cursors[registry.files[0].identity] = Cursor(registry.files[0].identity)
    worker._round(Sink(old), kept, atomic=False)
    assert make.said == [said] * history  # once


def test_damaged_records_are_emitted_and_dropped(make, kept, tmp_path):
    path = tmp_path / "etl.event-20260131-000.journal"
    path.write_bytes(frame(b'{"event.id":"0123456789abcdef"}') + b"torn\n" * 2)
    found = path.stat()
    worker, registry = make()
    file = TailedFile(journal_stream(path.name), path, found.st_dev, found.st_ino, "i" * 16)
    file.look(found)
    registry.files = (file,)
    assert worker._round(Sink(), kept, atomic=False)
    assert totals(worker, "etl.event") == {"emitted": 3, "stored": 1, "dropped": 2}
    assert take_losses() == {("relay.s", "damaged journal record"): 2}
    assert worker._met[file.identity] == (found.st_dev, found.st_ino)
    assert not worker._round(Sink(), kept, atomic=False)
    file.inode += 1  # another file of this name
    assert worker._is_the_one(file, worker._cursors[file.identity]) is False


@pytest.mark.parametrize(
    ("offset", "checked", "is_the_one"),
    [(0, "same", True), (-1, "same", True), (1, "same", False), (0, "other", False)],
)
def test_a_cursor_stands_in_its_file_while_that_is_as_it_was_read(logs, make, offset, checked, is_the_one):
    logs.write(line("x"))
    worker, registry = make(TASK)
    [file] = registry.files
    file.seen = (file.size, 7)
    worker._checked[file.identity] = 7 if checked == "same" else 8
    assert worker._is_the_one(file, Cursor(file.identity, file.size + offset)) is is_the_one


@pytest.mark.parametrize(
    ("offset", "origin", "size", "begins_anew"),
    [(9, 5, 8, True), (9, 5, 9, False), (9, 0, 8, False), (0, 5, 0, False)],
)
def test_a_log_that_became_another_is_looked_into_and_one_with_a_time_that_shrank_begins_anew(  # noqa: PLR0913, PLR0917 - its table
    logs, make, kept, offset, origin, size, begins_anew
):
    logs.write(line("x"))
    worker, registry = make(TASK)
    [file] = registry.files
    file.origin_ns, file.size = origin, size
    worker._start_again(kept, file, Cursor(file.identity, offset))
    fresh = Cursor(file.identity, sending=9) if begins_anew else Cursor(file.identity)
    assert (kept.cursor(file.identity), registry.suspects) == (fresh, [file])
    assert worker._cursors == ({file.identity: fresh} if begins_anew else {})


@pytest.mark.parametrize(("offset", "size", "sending"), [(9, 20, 20), (30, 20, 30)])
def test_a_journal_that_is_another_file_is_read_anew_as_what_may_have_been_sent(make, kept, offset, size, sending):
    worker, registry = make()
    file = TailedFile(journal_stream("etl.event-20260131-000.journal"), None, 1, 2, "i" * 16, size=size)
    worker._start_again(kept, file, Cursor(file.identity, offset))
    assert (kept.cursor(file.identity), registry.suspects) == (Cursor(file.identity, sending=sending), [file])


@pytest.mark.parametrize(
    ("sending", "ids", "offset", "expected"),
    [
        ((1 << 61) - 1, "", 5, (1 << 61) - 1), (1 << 61, "", 5, 1 << 61), ((1 << 61) + 1, "", 5, 77),
        (0, "log", 0, 77), (0, "log", 5, 0), (0, "", 0, 0),
    ],
)  # fmt: skip
def test_where_all_may_have_been_sent_it_is_up_to_the_end_of_the_file(  # noqa: PLR0913, PLR0917 - its table
    logs, make, kept, sending, ids, offset, expected
):
    logs.write(line("x"))
    worker, registry = make(TASK)
    [file] = registry.files
    file.size, file.ids = 77, ids
    kept.save([("log", Cursor("log", 5, latest=12)), ("own", Cursor(file.identity, offset, sending=sending, latest=3))])
    found = worker._cursor(kept, file)
    assert (found.sending, found.offset) == (expected, offset)
    assert found.latest == (12 if ids and not offset else 3)
    assert worker._cursors == {file.identity: found}


def test_what_is_no_more_there_is_forgotten(make):
    worker, _ = make()
    for known in (worker._cursors, worker._noted, worker._met, worker._checked):
        known.update(a=1, b=2)
    worker._forget({"a"})
    assert [worker._cursors, worker._noted, worker._met, worker._checked] == [{"a": 1}] * 4


def test_a_file_that_cannot_be_read_rests_and_one_that_is_gone_is_looked_for(logs, make, kept, monkeypatch):
    for name in NAMES[:2]:
        logs.write(line("x"), name)
    worker, registry = make(*NAMES[:2])
    errors = {NAMES[0]: PermissionError(13, "Permission denied"), NAMES[1]: FileNotFoundError(2, "gone")}

    def refuse(file, *_, **__):
        raise errors[file.stream.name]

    monkeypatch.setattr(workers, "read", refuse)
    assert not worker._round(Sink(), kept, atomic=False)
    where = registry.files[0].path
    assert make.said == [f"cannot read {where}: Permission denied; correct its permissions; it is tried again"]
    assert registry.suspects == [registry.files[1]]
    assert [file in worker._left_alone for file in registry.files] == [True, False]


def test_a_file_at_which_we_fail_is_counted_once_left_alone_and_given_up_at_the_fifth_time(
    logs, make, kept, monkeypatch, survived
):
    logs.write(line("x") * 3)
    worker, registry = make(TASK)
    [file] = registry.files
    worker._cursors[file.identity] = Cursor(file.identity, SIZE)
    for number in range(1, 6):
        worker._strike([file], ValueError("ours"))
        assert len(make.said) == (1 if number < 5 else 2)
    assert make.said == [
        f"s: fails at {TASK} (ValueError); please report it",
        f"s: {2 * SIZE} bytes of {TASK} are lost: left alone after ValueError",
    ]
    assert take_losses() == {
        ("relay.s", "held up by ValueError"): 1,
        ("relay.s", "bytes left alone after ValueError"): 2 * SIZE,
    }
    other, _ = make(TASK)
    for _ in range(5):
        other._strike([file], ValueError("ours"))
    assert take_losses()["relay.s", "bytes left alone after ValueError"] == 3 * SIZE  # without a cursor all of it


def test_what_we_fail_at_is_counted_kept_aside_and_said(make):
    aside = []
    worker, _ = make(aside=SimpleNamespace(write=aside.append))
    counts = Counter()
    worker._pass_over("airflow.task", [], counts)
    assert (counts, make.said) == ({}, [])
    failed = [Failed("a", 0, b"x", ValueError()), Failed("a", 5, b"y", ValueError()), Failed("b", 0, b"z", KeyError())]
    worker._pass_over("airflow.task", failed, counts)
    assert (counts, aside) == ({"emitted": 3, "dropped": 3}, [failed])
    assert make.said == ["s: passed over 3 records of airflow.task at which it fails; see set-aside/"]
    assert take_losses() == {("relay.s", "passed over at ValueError"): 2, ("relay.s", "passed over at KeyError"): 1}


def test_lines_that_were_passed_over_as_they_were_read_are_counted_with_the_rest(logs, make, kept, monkeypatch):
    logs.write(line("x"))
    worker, registry = make(TASK)
    whole = workers.read

    def read(file, *rest, **options):
        chunk = whole(file, *rest, **options)
        return Chunk(chunk.cursor, chunk.raw, chunk.spliced, failed=[Failed("a", 0, b"x", ValueError())])

    monkeypatch.setattr(workers, "read", read)
    worker._round(Sink(), kept, atomic=False)
    assert (totals(worker), offsets(kept, registry)) == ({"emitted": 2, "stored": 1, "dropped": 1}, [SIZE])


def test_an_outage_is_waited_out_and_said_once_and_what_was_on_its_way_is_resent(logs, make, kept):
    logs.write(line("x"))
    worker, _ = make(TASK)
    sink = Sink(SinkUnavailable("down", 7.0), SinkUnavailable("still down", 3.0))
    worker._round(sink, kept, atomic=False)
    assert [batch.resent for batch in sink.batches] == [False, True, True]
    assert make.pauses == [7.0, 3.0]
    assert make.said == ["s: does not take records, will go on trying: down", "s: takes records again"]
    assert (totals(worker), worker.stats.trouble, worker.tried.is_set()) == ({"emitted": 1, "stored": 1}, "", True)


def test_a_worker_that_is_stopped_during_an_outage_leaves_the_batch(logs, make, kept):
    logs.write(line("x"))
    worker, registry = make(TASK)
    worker._pause = lambda _seconds: worker.stop()
    sink = Sink(SinkUnavailable("down"), SinkUnavailable("down"))
    with pytest.raises(SinkUnavailable):
        worker._round(sink, kept, atomic=False)
    assert (len(sink.batches), offsets(kept, registry)) == (1, [0])
    with pytest.raises(SinkUnavailable):
        worker._round(Sink(), kept, atomic=False) or worker._until_answered(sink, kept, sink.batches, Counter())


def test_a_checkpoint_that_cannot_be_written_is_said_with_its_remedy(make):
    worker, _ = make()
    worker._trouble(sqlite3.OperationalError("database or disk is full"))
    assert worker.stats.trouble == (
        "its checkpoint cannot be written: database or disk is full;"
        " free space on the disk of the home, or make it writable"
    )
    worker._trouble(OSError("other"))
    assert (len(make.said), worker.stats.trouble) == (1, "other")


def poison_free(worker, sink, kept, batches, counts):
    return worker._without_poison(sink, kept, batches, ValueError("ours"), counts)


def test_a_batch_that_is_refused_as_a_whole_is_passed_over_at_the_third_time_if_another_was_taken(
    make, kept, monkeypatch
):
    worker, _ = make()
    batches = [Batch("airflow.task", "a.log", "g", [key], [b"{%b}" % key]) for key in (b"1", b"2")]
    found = {b"1": ValueError("one"), b"2": KeyError("two")}
    monkeypatch.setattr(workers, "find_poison", lambda *_: found)
    counts = Counter(emitted=2)
    for delivered in (0, 0, 1):  # twice in vain; then another batch went, but the batch was refused twice only
        worker._delivered = delivered
        if delivered:
            break
        with pytest.raises(ValueError, match="ours"):
            poison_free(worker, Sink(), kept, batches, counts)
    assert worker._refused == {b"1": (2, 0)}
    aside = []
    worker._aside = SimpleNamespace(write=aside.append)
    assert poison_free(worker, Sink(), kept, batches, counts) == []
    assert (counts, worker._refused) == ({"emitted": 2, "dropped": 2}, {})
    assert [(one.name, one.offset, one.content, one.error) for [*group] in aside for one in group] == [
        ("a.log", -1, b"{1}", found[b"1"]),
        ("a.log", -1, b"{2}", found[b"2"]),
    ]


@pytest.mark.parametrize(("delivered", "tries"), [(0, 9), (1, 2)])
def test_a_sink_that_takes_nothing_at_all_loses_no_batch(make, kept, monkeypatch, delivered, tries):
    worker, _ = make()
    batch = Batch("airflow.task", "a.log", "g", [b"1"], [b"{1}"])
    monkeypatch.setattr(workers, "find_poison", lambda *_: {b"1": ValueError("one")})
    for number in range(tries):
        worker._delivered = number * delivered
        with pytest.raises(ValueError, match="ours"):
            poison_free(worker, Sink(), kept, [batch], Counter())
    assert worker._refused[b"1"][0] == tries


def test_of_a_batch_with_poison_the_rest_is_sent(make, kept, monkeypatch):
    worker, _ = make()
    batch = Batch("airflow.task", "a.log", "g", [b"1", b"2", b"3"], [b"{1}", b"{2}", b"{3}"])
    monkeypatch.setattr(workers, "find_poison", lambda *_: {b"2": ValueError("two")})
    counts = Counter(emitted=3)
    [rest] = poison_free(worker, Sink(), kept, [batch], counts)
    assert (rest.ids, rest.documents, rest.resent) == ([b"1", b"3"], [b"{1}", b"{3}"], True)
    assert (counts, worker._refused) == ({"emitted": 3, "dropped": 1}, {})


@pytest.mark.parametrize(
    ("left", "passed", "asked"), [(True, 0.0, 2), (False, 0.0, 1), (False, 86_399.0, 1), (False, 86_400.0, 2)]
)
def test_cursors_are_tidied_until_all_were_looked_at_and_then_once_a_day(make, monkeypatch, left, passed, asked):
    clock = SimpleNamespace(now=50.0)
    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: clock.now))
    worker, registry = make()
    calls = []
    checkpoint = SimpleNamespace(forget=lambda *args: calls.append(args) or left)
    sink = Sink()
    worker._tidy(sink, checkpoint)
    clock.now += passed
    worker._tidy(sink, checkpoint)
    assert (calls, sink.pruned) == ([(registry.is_gone, 30 * 86_400.0)] * asked, 2)


@pytest.mark.parametrize(
    ("still", "offset_by", "part", "noted_before", "noted"),
    [
        (5.0, 0, 0, False, []),
        (5.5, 0, 0, False, [7]),
        (5.5, -1, 0, False, []),
        (5.5, 0, 1, False, []),
        (5.5, 0, 0, True, []),
    ],
)
def test_the_end_of_a_file_that_is_still_is_noted_once(  # noqa: PLR0913, PLR0917 - its table
    logs, make, kept, monkeypatch, still, offset_by, part, noted_before, noted
):
    logs.write(line("x"))
    worker, registry = make(TASK)
    [file] = registry.files
    file.changed, file.seen = 1000.0, (file.size, 7)
    monkeypatch.setattr(workers, "time", SimpleNamespace(time=lambda: 1000.0 + still))
    worker._cursors[file.identity] = Cursor(file.identity, file.size + offset_by, part=part)
    if noted_before:
        worker._noted[file.identity] = 7
    worker._note_finished(kept, registry.files)
    assert [*kept.finished()] == noted
    assert worker._noted == ({file.identity: 7} if noted or noted_before else {})


@pytest.mark.parametrize(
    ("rest", "took", "pauses"), [(0.0, 2.0, []), (0.5, 2.0, [1.0]), (2.0, 9.0, [5.0]), (2.0, 2.5, [5.0])]
)
def test_work_is_followed_by_its_share_of_rest_and_no_work_by_the_poll(make, kept, monkeypatch, rest, took, pauses):  # noqa: PLR0913, PLR0917 - its table
    worker, registry = make(rest=rest)
    clock = SimpleNamespace(now=10.0)
    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: clock.now))
    outcomes = iter([True, True, False])

    def one_round(*_, **__):
        clock.now += took
        if not (outcome := next(outcomes)):
            worker._stopping.set()
        return outcome

    waited = []
    monkeypatch.setattr(worker, "_round", one_round)
    monkeypatch.setattr(worker, "wake", SimpleNamespace(wait=waited.append, clear=lambda: None))
    kept.save([("a", Cursor("a"))], [("airflow.task", "stored", 3)], [("a", 9)])
    worker._run_open()
    assert (make.pauses, waited, worker.idle_since) == (pauses * 2, [0.01], registry.round)
    assert (make.said, list(worker.finished), totals(worker)) == (["s: ready"], [9], {"stored": 3})
    assert (make.sink.closed, worker._checkpoint, worker.tried.is_set()) == (1, None, True)


def test_a_worker_that_cannot_open_its_ends_tries_again_and_one_that_fails_by_our_fault_says_so(
    make, monkeypatch, survived
):
    worker, _ = make()
    errors = iter([SinkUnavailable("no login"), ValueError("ours"), ValueError("ours")])
    monkeypatch.setattr(workers, "waits", lambda: iter([0.1, 0.2, 0.3]))

    def open_ends():
        raise next(errors)

    def pause(seconds):
        make.pauses.append(seconds)
        if seconds == 0.3:
            worker._stopping.set()

    worker._open_ends, worker._pause = open_ends, pause
    worker.run()
    assert make.pauses == [0.1, 0.2, 0.3]
    assert make.said == ["s: does not take records, will go on trying: no login"]
    assert worker.stats.trouble == "it fails by a fault of ours; see the log of the relay"
    assert take_losses() == {("relay.s", "ValueError"): 2}


def test_a_fault_of_ours_is_said_where_nothing_else_was(make, survived):
    worker, _ = make()

    def open_ends():
        worker._stopping.set()
        raise ValueError

    worker._open_ends = open_ends
    worker.run()
    assert make.said == ["s: fails by a fault of ours, will go on trying; please report it"]


class Failing(Sink):
    """Fails by a fault of ours at each batch with poison."""

    def send(self, batch):
        if any(b"poison" in document for document in batch.documents):
            raise ValueError("ours")
        return super().send(batch)


def test_a_document_at_which_a_sink_fails_costs_itself_and_the_rest_is_stored(logs, make, kept, survived):
    logs.write(line("x") + line("poison", 1) + line("y", 2))
    worker, registry = make(TASK)
    assert worker._round(Failing(), kept, atomic=False)
    assert totals(worker) == {"emitted": 3, "stored": 2, "dropped": 1}
    assert offsets(kept, registry) == [3 * SIZE + 5]


@pytest.mark.parametrize(("delivered", "passed"), [(1, True), (0, False)])
def test_a_batch_of_poison_is_passed_over_where_the_sink_took_others(  # noqa: PLR0913, PLR0917 - its table
    logs, make, kept, survived, delivered, passed
):
    logs.write(line("poison"))
    worker, registry = make(TASK)
    worker._refused[registry.files[0].identity.encode() + b"-0"] = (2, 0)
    worker._delivered = delivered
    assert worker._round(Failing(), kept, atomic=False)
    assert totals(worker) == ({"emitted": 1, "dropped": 1} if passed else {})
    assert offsets(kept, registry) == [len(line("poison")) if passed else 0]
    assert (registry.files[0] in worker._left_alone) is not passed


def test_what_is_recalled_is_what_its_checkpoint_has_once_that_is_open(make, kept):
    worker, _ = make()
    kept.save([("a", Cursor("a", 5))])
    assert worker.recall("a") is None
    worker._checkpoint = kept
    assert (worker.recall("a").offset, worker.recall("b")) == (5, Cursor("b"))


def test_a_worker_is_a_daemon_of_its_name_that_rests_only_if_told(make):
    worker, _ = make()
    assert (worker.name, worker.daemon, worker._rest, worker._delivered) == ("relay-s", True, 0.0, 0)
    assert isinstance(worker, threading.Thread)
    assert log_stream(TASK, "h", "test").dataset == "airflow.task"


def test_a_fault_while_a_batch_is_sent_undoes_it_and_strikes_its_files(logs, make, kept, monkeypatch, survived):
    logs.write(line("x"))
    worker, registry = make(TASK)
    undone = []
    monkeypatch.setattr(kept, "undo", lambda: undone.append(1))
    monkeypatch.setattr(worker, "_deliver", lambda *_, **__: {}["ours"])
    assert worker._round(Sink(), kept, atomic=False)
    assert (undone, worker._under_way, worker._delivered) == ([1], {}, 0)
    assert registry.files[0] in worker._left_alone
    assert not worker._round(Sink(), kept, atomic=False)


@pytest.mark.parametrize("where", ["_deliver", "_read"])
def test_a_fault_of_ours_is_seen_in_a_test_and_an_outage_is_none(logs, make, kept, monkeypatch, where):
    logs.write(line("x"))
    for error in (KeyError("ours"), OSError("away")):
        worker, registry = make(TASK)

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(worker, where, fail)
        with pytest.raises(type(error)):
            worker._round(Sink(), kept, atomic=False)
        assert registry.files[0] not in worker._left_alone
