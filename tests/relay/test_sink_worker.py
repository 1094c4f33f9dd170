import os
import threading
import time

import pytest
from relay_lines import TASK, line

from observability.relay import sink_worker as workers
from observability.relay.backlog import Backlog
from observability.relay.checkpoint import open_checkpoint
from observability.relay.dead_letters import DeadLetters
from observability.relay.retry import error_wait, waits
from observability.relay.sink_worker import SinkWorker
from observability.relay.sinks import sink as sinks
from observability.relay.sinks.sink import Rejected, SendResult, SinkUnavailable, joined
from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.registry import FileRegistry, Source
from observability.relay.sources.files.tail import Cursor


class Sink(sinks.Sink):
    """Takes what it is given, while ``up``."""

    def __init__(self):
        self.up = threading.Event()
        self.up.set()
        self.tries, self.ids, self.resent, self.rejects = 0, [], [], ""
        self.written = {}
        """The moment at which a document was written, by the word that has it refused for its age."""

    def send(self, batch):
        self.tries += 1
        if not self.up.is_set():
            raise SinkUnavailable("down", self.wished)
        self.ids += batch.ids
        self.resent.append(batch.resent)
        places = [
            place for place, found in enumerate(batch.documents) if self.rejects and self.rejects.encode() in found
        ]
        refused = [Rejected(place, "will never do") for place in places]
        refused += [
            Rejected(place, "too old", moment)
            for place, found in enumerate(batch.documents)
            for word, moment in self.written.items()
            if word.encode() in found
        ]
        return SendResult(len(batch.ids) - len(refused), 0, refused)

    wished = None

    def close(self):
        pass


@pytest.fixture
def carry(logs, tmp_path):
    """Lanes over ``logs``, one for each sink given, running until the test ends."""
    running = []

    def start(*sinks):
        def make(number, sink):
            def ends():
                return sink, open_checkpoint(tmp_path / f"{number}.db", str(number)), False

            letters = DeadLetters(tmp_path / "dead", str(number), 1_000_000)
            options = {"batch_bytes": 4096, "poll_s": 0.01, "say": start.said.append}
            return SinkWorker(str(number), ends, lambda: registry, letters, **options)

        made = [make(number, sink) for number, sink in enumerate(sinks)]
        registry = FileRegistry([Source(logs.root, lambda name: log_stream(name, "h", "test"))], made)
        for one in made:
            one.start()
            running.append(one)
        return registry, made

    start.said = []
    yield start
    for one in running:
        one.stop()
        one.join(10)


def wait_until(true, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_a_sink_that_is_down_delays_no_other(logs, carry):
    down, well = Sink(), Sink()
    down.up.clear()
    logs.write(line("x") * 100)
    registry, _ = carry(down, well)
    registry.refresh()
    wait_until(lambda: len(well.ids) == 100)
    assert down.ids == []


def test_after_an_outage_all_comes_in_order_and_is_marked_as_resent(logs, carry):
    sink = Sink()
    sink.up.clear()
    logs.write(line("x") * 100)
    registry, [worker] = carry(sink)
    registry.refresh()
    wait_until(lambda: worker.stats.trouble == "down")
    sink.up.set()
    wait_until(lambda: len(sink.ids) == 100)
    assert sink.ids == sorted(sink.ids, key=lambda found: int(found.rpartition(b"-")[2]))
    assert sink.resent[0]
    assert not any(sink.resent[1:])
    wait_until(lambda: worker.stats.trouble == "")


def test_the_service_says_how_long_to_wait_and_the_relay_is_patient_but_quick_to_return():
    intervals = waits()
    assert error_wait(7.0, waits) == 7.0
    assert error_wait(86_400.0, waits) == 30.0  # it may be well long before
    outage, tries = 0.0, 0
    longest = 0.0
    while outage < 60.0:
        pause = error_wait(None, intervals)
        outage, tries, longest = outage + pause, tries + 1, max(longest, pause)
    assert tries <= 90
    assert longest <= 1.5


def test_a_document_that_is_refused_for_good_is_a_dead_letter_with_its_reason(logs, carry):
    sink = Sink()
    sink.rejects = "poison"
    logs.write(line("before") + line("poison", 1) + line("after", 2))
    registry, [worker] = carry(sink)
    registry.refresh()
    wait_until(lambda: worker.stats.totals["airflow.task", "stored"] == 2)
    [letter] = worker._dead_letters.read()
    assert (letter["reason"], letter["source"], letter["dataset"]) == ("will never do", TASK, "airflow.task")
    assert worker.stats.totals["airflow.task", "rejected"] == 1
    assert worker.stats.totals["airflow.task", "emitted"] == 3


def test_what_is_refused_for_its_age_is_history_if_it_is_older_than_the_first_start_and_a_dead_letter_if_not(
    logs, carry
):
    sink = Sink()
    sink.written = {"before": time.time() - 60, "after": time.time() + 60}
    logs.write(line("before") + line("before", 1) + line("after", 2) + line("well", 3))
    registry, [worker] = carry(sink)
    registry.refresh()
    wait_until(lambda: worker.stats.totals["airflow.task", "stored"] == 1)
    totals = {name: worker.stats.totals["airflow.task", name] for name in ("emitted", "history", "rejected")}
    assert totals == {"emitted": 2, "history": 2, "rejected": 1}
    [letter] = worker._dead_letters.read()
    assert (letter["reason"], "after" in letter["document"]) == ("too old", True)


def test_a_worker_that_is_asked_to_end_says_nothing_of_a_fault(logs, carry):
    sink = Sink()
    logs.write(line("x"))
    registry, [worker] = carry(sink)
    registry.refresh()
    wait_until(lambda: sink.ids)
    worker.stop()
    worker.join(10)
    assert (carry.said, worker.stats.trouble) == (["0: ready"], "")


def test_what_waits_is_told_in_bytes_and_seconds(logs, carry):
    sink = Sink()
    sink.up.clear()
    logs.write(line("x") * 10)
    registry, [worker] = carry(sink)
    registry.refresh()
    sink.up.set()
    wait_until(lambda: worker.stats.totals["airflow.task", "stored"] == 10)
    registry.refresh()
    wait_until(lambda: worker.idle_since >= registry.round)
    backlog = Backlog(worker)
    backlog.measure(registry.files, time.time())
    assert worker.stats.report(time.time())["lag_bytes"] == 0
    [file] = registry.files
    assert (worker.position(file), worker.taken(file)) == (file.size, -1)
    logs.write(b"half a line")
    registry.refresh()
    backlog.measure(registry.files, time.time())
    assert worker.stats.report(time.time())["lag_bytes"] == 11
    assert worker.stats.report(time.time() + 60)["lag_seconds"] >= 59


def test_a_file_that_cannot_be_read_is_said_and_stops_no_other(logs, carry, monkeypatch):
    sink = Sink()
    logs.write(line("x"))
    logs.write(line("y"), "components/scheduler.log")
    real = workers.read

    def read(file, *rest, **options):
        if file.stream.name == TASK:
            raise PermissionError(13, "Permission denied")
        return real(file, *rest, **options)

    monkeypatch.setattr(workers, "read", read)
    registry, _ = carry(sink)
    registry.refresh()
    wait_until(lambda: len(sink.ids) == 1)


class Gathering(Sink):
    """Takes many files at once, and refuses what ``rejects`` says."""

    gathers = True

    def send_all(self, batches):
        self.groups.append(len(batches))
        return joined(batches, [self.send(batch) for batch in batches])

    def __init__(self):
        super().__init__()
        self.groups = []


def names(number):
    return [f"dag_id=d/run_id=r{one}/task_id=t/attempt=1.log" for one in range(number)]


def test_many_small_files_are_sent_and_noted_together(logs, carry, tmp_path):
    sink = Gathering()
    for name in names(60):
        logs.write(line("x") * 2, name)
    registry, [worker] = carry(sink)
    nothing = FileRegistry([], [worker])
    worker._registry = lambda: nothing  # until all files are known, so that one round meets all of them
    worker.tried.wait(10)

    def all_are_known():
        registry.refresh()
        return len(registry.files) == 60

    wait_until(all_are_known)
    worker._registry = lambda: registry
    wait_until(lambda: len(sink.ids) >= 120)
    size = len(line("x") * 2)
    assert sink.groups == [-(-4096 // size)] * (60 // -(-4096 // size)) + [60 % -(-4096 // size)]
    assert sink.tries == 60
    assert len(set(sink.ids)) == 120
    wait_until(lambda: worker.idle_since >= registry.round)
    kept = open_checkpoint(tmp_path / "0.db", "0")
    assert [kept.cursor(file.identity).offset for file in registry.files] == [file.size for file in registry.files]
    assert sorted(kept.finished()) == sorted(file.seen[1] for file in registry.files)
    kept.close()


def test_a_round_ends_with_the_fifty_first_old_file_once_its_second_is_over(logs, monkeypatch):
    logs.write(line("x"))
    file = logs.tailed()
    monkeypatch.setattr(workers.time, "time", lambda: file.changed + 61)
    past = workers._Past()
    assert [past.has_had_its_turn(file) for _ in range(60)] == [False] * 60  # its second is not over
    past = workers._Past()
    past._until = 0.0
    assert [past.has_had_its_turn(file) for _ in range(52)] == [False] * 50 + [True] * 2
    monkeypatch.setattr(workers.time, "time", lambda: file.changed + 59)
    past = workers._Past()
    past._until = 0.0
    assert [past.has_had_its_turn(file) for _ in range(60)] == [False] * 60


@pytest.mark.parametrize(("still_s", "noted"), [(4.5, []), (5.5, [7])])
def test_the_end_of_a_file_that_was_still_for_five_seconds_is_noted(logs, tmp_path, monkeypatch, still_s, noted):
    logs.write(line("x"))
    file, kept = logs.tailed(), open_checkpoint(tmp_path / "0.db", "0")
    file.seen = file.size, 7
    worker = SinkWorker("0", lambda: None, lambda: None, None, batch_bytes=4096, poll_s=1.0)
    worker._cursors[file.identity] = Cursor(file.identity, file.size)
    monkeypatch.setattr(workers.time, "time", lambda: file.changed + still_s)
    worker._note_finished(kept, [file])
    assert [*kept.finished()] == noted
    kept.close()


def test_a_refusal_among_many_files_is_about_the_right_document(logs, carry):
    sink = Gathering()
    sink.rejects = "poison"
    for name in names(9):
        logs.write(line("before") + line("poison " + name if "r4" in name else "well", 1) + line("after", 2), name)
    registry, [worker] = carry(sink)
    registry.refresh()
    wait_until(lambda: worker.stats.totals["airflow.task", "stored"] == 26)
    [letter] = worker._dead_letters.read()
    assert letter["source"] == names(9)[4]
    assert "poison" in letter["document"]


def test_many_files_that_met_an_outage_are_all_marked_as_resent(logs, carry):
    sink = Gathering()
    sink.up.clear()
    for name in names(12):
        logs.write(line("x"), name)
    registry, [worker] = carry(sink)
    registry.refresh()
    wait_until(lambda: worker.stats.trouble == "down")
    sink.up.set()
    wait_until(lambda: len(sink.ids) == 12)
    assert sink.resent[0]
    assert len(set(sink.ids)) == 12


def test_what_is_written_now_goes_before_the_rest_of_the_past(logs, carry, monkeypatch):
    monkeypatch.setattr(workers, "_PAST_ROUND_S", 0.0)
    monkeypatch.setattr(workers, "_PAST_FILES", 5)

    class Writing(Sink):
        """Another task writes while the tenth old file is sent."""

        def send(self, batch):
            answer = super().send(batch)
            sources.append(batch.source)
            if self.tries == 10:
                logs.write(line("new"), "dag_id=today/run_id=r/task_id=t/attempt=1.log")
                registry.refresh()
            return answer

    sources = []
    sink = Writing()
    for number, name in enumerate(names(80)):
        path = logs.write(line("x"), name)
        os.utime(path, (number * 1e6, number * 1e6))
    registry, [worker] = carry(sink)
    worker.tried.wait(10)
    registry.refresh()
    wait_until(lambda: len(sink.ids) == 81)
    assert 10 <= sources.index("dag_id=today/run_id=r/task_id=t/attempt=1.log") <= 16
