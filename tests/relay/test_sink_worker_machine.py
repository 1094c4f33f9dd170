"""Lane, checkpoint and registry against a model: writes, rotations, deletions, crashes and damage in any order."""

import os
import random
import shutil
import tempfile
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from observability.contain import take_losses
from observability.journal import frame
from observability.relay.checkpoint import open_checkpoint
from observability.relay.dead_letters import DeadLetters
from observability.relay.sink_worker import SinkWorker
from observability.relay.sinks import sink as sinks
from observability.relay.sinks.sink import Rejected, SendResult, SinkUnavailable
from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.journal import journal_stream
from observability.relay.sources.files.registry import FileRegistry, Source
from observability.relay.sources.files.spool import Spool

ATTEMPT = "dag_id=d/run_id=r/task_id=t/attempt=1.log"
SCHEDULER = "components/scheduler.log"
JOURNAL = "etl.event-20260131-000.journal"


class KilledError(BaseException):
    """The relay dies here."""


class Sink(sinks.Sink):
    """Stores by id; ``fate`` says what happens to the next batch. It never dedupes what is not said to be resent."""

    def __init__(self):
        self.stored, self.refused, self.fate = {}, set(), "take"

    def send(self, batch):
        fate, self.fate = self.fate, "take"
        if fate == "refuse connection":
            raise SinkUnavailable("down")
        if fate == "kill before":
            raise KilledError
        answer = self._apply(batch)
        if fate == "lose reply":
            raise SinkUnavailable("lost")
        if fate == "kill after":
            raise KilledError
        return answer

    def _apply(self, batch):
        rejected, duplicates = [], 0
        for place, (identity, document) in enumerate(zip(batch.ids, batch.documents, strict=True)):
            fields = orjson.loads(document)
            if fields["event"].startswith("poison"):
                rejected.append(Rejected(place, "poison"))
            elif identity in self.stored:
                assert batch.resent, f"{identity} was sent again without a warning"
                assert self.stored[identity]["event"] == fields["event"]
                duplicates += 1
            else:
                self.stored[identity] = fields
        return SendResult(len(batch.ids) - duplicates - len(rejected), duplicates, rejected)

    def close(self):
        pass


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="machine-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        (self.root / "logs").mkdir()
        (self.root / "journal").mkdir()
        self.sink = Sink()
        self.number = 0
        self.expected, self.damaged, self.half, self.records = set(), set(), {}, {}
        self.rotations = 0
        self.start()

    def start(self):
        self.checkpoint = open_checkpoint(self.root / "checkpoint.db", "sink")
        self.worker = SinkWorker(
            "sink",
            lambda: (self.sink, self.checkpoint, False),
            lambda: self.registry,
            DeadLetters(self.root / "dead", "sink", 1_000_000),
            batch_bytes=400,
            poll_s=0.0,
        )
        self.worker._checkpoint = self.checkpoint
        self.worker._pause = lambda _seconds: None
        spool = Spool(self.root / "spool")
        logs = Source(self.root / "logs", lambda name: log_stream(name, "h", "test"), spool)
        self.registry = FileRegistry([logs, Source(self.root / "journal", journal_stream)], [self.worker])

    def look(self):
        for source in self.registry._sources:
            source.folder.sweep_soon()
        self.registry.refresh()

    def next_line(self, kind):
        self.number += 1
        self.expected.add(self.number)
        event = f"{kind} {self.number}"
        stamp = f"2026-01-31T12:00:00.{self.number:06}Z"
        if kind == "plain":
            return f"{event}\n".encode()
        return orjson.dumps({"timestamp": stamp, "level": "info", "event": event}) + b"\n"

    def append(self, name, content):
        path = self.root / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(self.half.pop(name, b"") + content)

    @rule(
        name=st.sampled_from([ATTEMPT, SCHEDULER]),
        kinds=st.lists(st.sampled_from(["line", "plain", "poison"]), min_size=1, max_size=6),
    )
    def write(self, name, kinds):
        first = b"" if (self.root / "logs" / name).exists() else self.next_line("line")
        self.append(name, self.half.pop(name, b"") + first + b"".join(self.next_line(kind) for kind in kinds))

    @rule(name=st.sampled_from([ATTEMPT, SCHEDULER]), at=st.integers(1, 30))
    def write_half_a_line(self, name, at):
        whole = self.next_line("line")
        self.append(name, whole[:at])
        self.half[name] = whole[at:]

    @rule()
    def record_an_event(self):
        self.number += 1
        self.expected.add(self.number)
        document = orjson.dumps({"event.id": f"{self.number:016}", "event": f"record {self.number}"})
        with (self.root / "journal" / JOURNAL).open("ab") as file:
            self.records[self.number] = (file.tell(), file.tell() + len(frame(document)))
            file.write(frame(document))

    @rule()
    def rotate_by_renaming(self):
        path = self.root / "logs" / SCHEDULER
        if path.exists() and SCHEDULER not in self.half:
            self.rotations += 1
            path.rename(path.with_name(f"scheduler.log.{self.rotations}"))

    @rule()
    def rotate_by_copying(self):
        path = self.root / "logs" / SCHEDULER
        if path.exists() and SCHEDULER not in self.half:
            self.rotations += 1
            shutil.copy2(path, path.with_name(f"scheduler.log.{self.rotations}"))
            os.truncate(path, 0)
            path.unlink()

    @rule()
    def delete_what_the_spool_holds(self):
        path = self.root / "logs" / ATTEMPT
        if path.exists() and ATTEMPT not in self.half:
            self.look()
            if path.stat().st_nlink > 1:
                path.unlink()

    @rule(fate=st.sampled_from(["take", "refuse connection", "lose reply", "kill before", "kill after"]))
    def carry(self, fate):
        self.sink.fate = fate
        self.look()
        try:
            self.worker._round(self.sink, self.checkpoint, atomic=False)
        except KilledError:
            self.restart()

    @rule()
    def restart(self):
        self.checkpoint.close()
        self.start()

    @rule(keep=st.floats(0, 1))
    def cut_the_checkpoint(self, keep):
        self.checkpoint.close()
        path = self.root / "checkpoint.db"
        os.truncate(path, int(path.stat().st_size * keep))
        self.start()

    @rule(column=st.sampled_from(["offset", "part", "sending"]), by=st.integers(1, 500))
    def damage_a_cursor(self, column, by):
        self.checkpoint._connection.execute(f"update contrail_cursors set {column} = {column} + {by}")
        self.checkpoint._connection.commit()
        self.restart()

    @precondition(lambda self: (self.root / "journal" / JOURNAL).exists())
    @rule(where=st.floats(0, 1), bit=st.integers(0, 7))
    def flip_a_bit_of_the_journal(self, where, bit):
        path = self.root / "journal" / JOURNAL
        content = bytearray(path.read_bytes())
        place = min(int(len(content) * where), len(content) - 1)
        self.damaged |= {number for number, (begin, end) in self.records.items() if begin <= place < end}
        content[place] ^= 1 << bit
        path.write_bytes(content)

    def teardown(self):
        self.sink.fate = "take"
        for name in list(self.half):
            self.append(name, b"")
        still = 0
        while still < 4:
            self.look()
            still = 0 if self.worker._round(self.sink, self.checkpoint, atomic=False) else still + 1
        found = [int(fields["event"].split()[1]) for fields in self.sink.stored.values()]
        dead = [
            int(orjson.loads(letter["document"])["event"].split()[1])
            for letter in DeadLetters(self.root / "dead", "sink", 1).read()
        ]
        self.checkpoint.close()
        shutil.rmtree(self.root)
        take_losses()
        assert len(found) == len(set(found))
        assert len(dead) == len(set(dead))
        assert set(found) | set(dead) <= self.expected
        assert self.expected - self.damaged <= set(found) | set(dead)


SLOW = [pytest.param(number, 2_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)]) for number in range(1, 6)]


@pytest.mark.parametrize(("start", "sequences"), [(0, 150), *SLOW])
def test_no_order_of_events_loses_doubles_or_tears_a_line(start, sequences):
    random.seed(start)
    run_state_machine_as_test(
        seed(start)(Machine),
        settings=settings(
            max_examples=sequences,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
