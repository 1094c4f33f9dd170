"""A killed relay, from log files and journal on to a receiver that fails at random."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace

import pytest
from otlp_receiver import OtlpReceiver, attributes
from relay_lines import expected, line

from observability.emit import emit
from observability.events import (
    DagRunSucceeded,
    Identity,
    RowsRejected,
    StepMeasured,
    TaskKilled,
    TaskStarted,
    TaskSucceeded,
)
from observability.relay.otlp import ids

_RELAY = """
import sys
from observability.relay.relay import Relay
from observability.settings import load_settings
sys.exit(not Relay(load_settings(), statsd=False).run(once=sys.argv[1] == "once", patience_s=120))
"""
_TRACE = "0af7651916cd43dd8448eb211c80319c"
_TAKEN_AND_NOT_SAID = (
    (502, {}, b"gone"),
    (503, {"retry-after": "0"}, b""),
    (200, {"content-type": "text/html"}, b"<p>"),
)
"""Answers after which the receiver has the request all the same."""
_NOT_TAKEN = ((429, {"retry-after": "0"}, b""), (500, {}, b"oops"))


class _Failing(OtlpReceiver):
    """Fails one request in five, and has kept half of those."""

    def __init__(self, chance):
        super().__init__(self._judge)
        self._chance = chance

    def _judge(self, _path, message):
        if self._chance.random() > 0.2:
            return None
        if self._chance.random() < 0.5:
            self.keep(message)
            return self._chance.choice(_TAKEN_AND_NOT_SAID)
        return self._chance.choice(_NOT_TAKEN)


def _write(logs, number):
    """Write as one attempt does: lines, a step, a quarantine and its end, which every third time is a kill."""
    about = Identity(
        dag_id="flights",
        task_id="load",
        run_id="r",
        try_number=number,
        map_index=-1,
        trace_id=_TRACE,
        ti_id=str(number),
    )
    emit(TaskStarted(identity=about))
    logs.write(
        b"".join(line(f"{number} {one}", one) for one in range(300)),
        f"dag_id=flights/run_id=r/task_id=load/attempt={number}.log",
    )
    emit(StepMeasured(identity=about, step="read", rows_in=number, duration_ns=1000, discriminator=str(number)))
    emit(RowsRejected(identity=about, step="check", rule="x", rows_rejected=1, discriminator=str(number)))
    if number % 3:
        emit(TaskSucceeded(identity=about))
    else:
        emit(TaskKilled(identity=replace(about, trace_id=None), cause="killed", reason="SIGKILL"))


@pytest.mark.parametrize(("seed", "kills"), [(1, 2), pytest.param(2, 20, marks=pytest.mark.slow)])
def test_a_killed_relay_loses_nothing_and_sends_again_under_the_same_ids(seed, kills, settings, logs):
    chance = random.Random(seed)
    with _Failing(chance) as receiver:
        env = {
            **os.environ,
            "CONTRAIL_RELAY__SINKS": "otlp",
            "CONTRAIL_RELAY__BATCH_BYTES": "8192",
            "CONTRAIL_OTLP__URL": receiver.url,
        }
        for number in range(1, kills + 1):
            _write(logs, number)
            before = receiver.seen.total()
            relay = subprocess.Popen([sys.executable, "-c", _RELAY, "on"], env=env)
            deadline = time.monotonic() + 60
            while receiver.seen.total() == before and relay.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            time.sleep(chance.random() * 0.2)
            os.kill(relay.pid, signal.SIGKILL)
            relay.wait()
        emit(DagRunSucceeded(identity=Identity(dag_id="flights", run_id="r", trace_id=_TRACE), duration_ns=1000))
        subprocess.run([sys.executable, "-c", _RELAY, "once"], env=env, check=True)

    lines = {(attributes(one)["log.file.path"], attributes(one)["log.record.uid"].rpartition("-")[2])
             for one in receiver.logs if not one.event_name}  # fmt: skip
    assert lines == {(path, str(offset)) for path, offset in expected(logs.root)}
    spans = defaultdict(set)
    for span in receiver.spans:
        spans[span.span_id].add(span.SerializeToString(deterministic=True))
    assert {len(versions) for versions in spans.values()} == {1}
    attempts = {ids.attempt_span(attributes(span)) for span in receiver.spans if span.name == "load"}
    assert len(attempts) == kills
    assert len(spans) == 2 * kills + 1
    (root,) = {span.span_id for span in receiver.spans if span.name == "flights"}
    assert {span.parent_span_id for span in receiver.spans if span.name == "load"} == {root}
    of_records = defaultdict(set)
    for record in receiver.logs:
        of_records[attributes(record)["log.record.uid"]].add((record.trace_id, record.span_id, record.time_unix_nano))
    told = {key: {one for one in found if one[0]} for key, found in of_records.items()}
    assert max(map(len, told.values())) == 1
    assert len(receiver.logs) + len(receiver.spans) > len(of_records) + len(
        spans
    )  # something was sent twice, or this proves nothing
