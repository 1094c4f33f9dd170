"""A relay that is killed while people's own code sends OTLP to it: what it has acknowledged arrives."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from itertools import count

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_receiver import OtlpReceiver

_RELAY = """
import sys
from observability.relay.relay import Relay
from observability.settings import load_settings
sys.exit(not Relay(load_settings(), statsd=sys.argv[1] == "on").run(once=sys.argv[1] == "once", patience_s=120))
"""
_SENDERS = 3


class _Sender(threading.Thread):
    """Sends spans one request after the other, each with an id of its own, until it is stopped."""

    numbers = count(1)

    def __init__(self, port):
        super().__init__()
        self.port, self.sent, self.taken = port, set(), set()
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.is_set():
            keys = [next(self.numbers).to_bytes(8, "big") for _ in range(3)]
            self.sent |= {*keys}
            if self._is_taken(keys):
                self.taken |= {*keys}
            else:
                self.stopped.wait(0.02)

    def _is_taken(self, keys):
        request = ExportTraceServiceRequest()
        spans = request.resource_spans.add().scope_spans.add().spans
        for key in keys:
            spans.add(name="mine", trace_id=bytes(8) + key, span_id=key)
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            asked.request("POST", "/v1/traces", request.SerializeToString(), {"content-type": "application/x-protobuf"})
            return asked.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asked.close()


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.mark.parametrize(("seed", "kills"), [(1, 2), pytest.param(2, 20, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("settings")
def test_what_a_killed_relay_has_acknowledged_arrives_under_its_own_ids(seed, kills):
    chance, port = random.Random(seed), _free_port()
    senders = [_Sender(port) for _ in range(_SENDERS)]
    with OtlpReceiver() as receiver:
        env = {**os.environ, "CONTRAIL_RELAY__SINKS": "otlp", "CONTRAIL_OTLP__URL": receiver.url}
        for sender in senders:
            sender.start()
        try:
            for _ in range(kills):
                before = sum(len(one.taken) for one in senders)
                listening = {**env, "CONTRAIL_OTLP__RECEIVE_PORT": str(port)}
                relay = subprocess.Popen([sys.executable, "-c", _RELAY, "on"], env=listening)
                deadline = time.monotonic() + 60
                while sum(len(one.taken) for one in senders) == before:
                    assert relay.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
                time.sleep(chance.random() * 0.3)
                os.kill(relay.pid, signal.SIGKILL)
                relay.wait()
        finally:
            for sender in senders:
                sender.stopped.set()
                sender.join()
        subprocess.run([sys.executable, "-c", _RELAY, "once"], env=env, check=True)

    sent, taken = (set().union(*(getattr(one, what) for one in senders)) for what in ("sent", "taken"))
    arrived = defaultdict(set)
    for span in receiver.spans:
        arrived[span.span_id].add(span.SerializeToString(deterministic=True))
    assert taken <= arrived.keys() <= sent
    assert {len(versions) for versions in arrived.values()} == {1}
    assert taken < sent  # some were on their way at a kill, or this proves nothing
