"""Datagrams that the StatsD socket received survive the death of its process, and are written once."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import orjson
import pytest
from strict_cloudwatch import StrictCloudWatch

from observability.contain import take_losses
from observability.journal import Journal, frames
from observability.relay.relay import read_status
from observability.relay.sources.statsd.listener import Statsd
from observability.relay.sources.statsd.spool import StatsdSpool


def wait_until(true, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def documents(folder):
    """The documents of the metric journals in ``folder``, in order."""
    return [
        orjson.loads(frame.document)
        for file in sorted(folder.glob("airflow.statsd-*.journal"))
        for frame in frames(file.read_bytes())
    ]


def values(folder):
    return {document["metric.name"]: document["metric.value"] for document in documents(folder)}


class Killed(BaseException):
    """Stands for SIGKILL where it is to happen between two lines of one process."""


@pytest.fixture
def listen(tmp_path):
    """Makes a :class:`Statsd` on the journal and the spool of this test, as often as it is called."""
    made = []

    def make(**options):
        statsd = Statsd(
            Journal(tmp_path / "journal"), "127.0.0.1", 0, spool=tmp_path / "statsd", **{"interval_s": 60, **options}
        )
        made.append(statsd)
        return statsd

    yield make
    for statsd in made:
        statsd.close()
    take_losses()


def receive(statsd, *datagrams):
    """Let it receive as its thread would: on disk, then added up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for datagram in datagrams:
            client.sendto(datagram, ("127.0.0.1", statsd.port))
    taken = 0
    while taken < len(datagrams):
        taken += statsd._receive()


def next_life(listen, **options):
    """A relay that starts where another was killed, and ends at once."""
    statsd = listen(**options)
    statsd.start()
    statsd.stop()
    return statsd


def test_an_interval_that_was_killed_is_written_by_the_next_relay(listen, tmp_path):
    first = listen()
    first._begin()
    receive(first, b"x:1|c|#dag_id:d", b"x:2|c|#dag_id:d\ny:5|ms", b"g:7|g")
    second = next_life(listen)
    assert values(tmp_path / "journal") == {"x": 3.0, "y": 5.0, "g": 7.0}
    assert {document["process.pid"] for document in documents(tmp_path / "journal")} == {os.getpid()}
    assert (second.recovered, second.received) == (4, 0)


@pytest.mark.parametrize("written", range(4))
def test_a_kill_while_the_series_are_written_doubles_none(listen, tmp_path, monkeypatch, written):
    first = listen(own=lambda: [("own", "gauge", 1.0, {"env": "e"})])
    first._begin()
    receive(first, b"x:1|c\ny:2|c\nz:3|c")
    real = first._journal.append
    left = iter(range(written))

    def append(dataset, document):
        if next(left, None) is None:
            raise Killed
        real(dataset, document)

    first._journal.append = append
    with pytest.raises(Killed):
        first.flush()
    assert len(documents(tmp_path / "journal")) == written
    next_life(listen)
    found = documents(tmp_path / "journal")
    assert values(tmp_path / "journal") == {"x": 1.0, "y": 2.0, "z": 3.0, "own": 1.0}
    assert len(found) == 4
    assert len({document["@timestamp"] for document in found}) == 1


def test_a_kill_between_the_last_series_and_the_end_of_the_spool_doubles_none(listen, tmp_path):
    first = listen()
    first._begin()
    receive(first, b"x:1|c\ny:2|c")
    first._begin = lambda: None
    first.flush()
    assert len(documents(tmp_path / "journal")) == 2
    next_life(listen)
    assert len(documents(tmp_path / "journal")) == 2


def test_a_kill_while_a_killed_interval_is_written_doubles_none(listen, tmp_path):
    first = listen()
    first._begin()
    receive(first, b"x:1|c\ny:2|c\nz:3|c")
    second = listen()
    real, left = second._journal.append, iter(range(2))

    def append(dataset, document):
        if next(left, None) is None:
            raise Killed
        real(dataset, document)

    second._journal.append = append
    with pytest.raises(Killed):
        second._recover()
    assert len(documents(tmp_path / "journal")) == 2
    next_life(listen)
    assert values(tmp_path / "journal") == {"x": 1.0, "y": 2.0, "z": 3.0}
    assert len(documents(tmp_path / "journal")) == 3


def test_a_kill_while_the_series_are_written_doubles_none_though_the_host_is_called_otherwise_now(
    listen, tmp_path, monkeypatch
):
    monkeypatch.setattr(socket, "gethostname", lambda: "container-1")
    first = listen()
    first._begin()
    receive(first, b"x:1|c\ny:2|c")
    first._begin = lambda: None
    first.flush()
    monkeypatch.setattr(socket, "gethostname", lambda: "container-2")
    next_life(listen)
    assert [document["host.name"] for document in documents(tmp_path / "journal")] == ["container-1"] * 2


def test_on_a_disk_that_is_full_in_the_middle_of_an_interval_what_the_journal_takes_is_there_once(listen, tmp_path):
    first = listen()
    first._begin()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500, before[1]))
    try:
        for _ in range(100):
            receive(first, b"x:1|c|#padding:%b" % (b"p" * 40))
        assert first.spool.why
        first.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    next_life(listen)
    [document] = documents(tmp_path / "journal")
    assert document["metric.value"] == 100.0


def test_a_series_that_was_written_torn_is_written_again(listen, tmp_path):
    first = listen()
    first._begin()
    receive(first, b"x:1|c\ny:2|c")
    first._begin = lambda: None
    first.flush()
    [journal] = (tmp_path / "journal").glob("*.journal")
    os.truncate(journal, journal.stat().st_size - 20)
    with journal.open("ab") as file:
        file.write(b"\n")
    next_life(listen)
    whole = [
        orjson.loads(frame.document)["metric.name"]
        for frame in frames(journal.read_bytes())
        if frame.document is not None
    ]
    assert sorted(whole) == ["x", "y"]


@pytest.mark.parametrize("cut", [1, 5, 14, 20])
def test_a_torn_end_costs_that_round_only_and_is_counted(listen, tmp_path, cut):
    first = listen()
    first._begin()
    receive(first, b"x:1|c")
    receive(first, b"y:123456789|c")
    [spool] = (tmp_path / "statsd").iterdir()
    os.truncate(spool, spool.stat().st_size - cut)
    take_losses()
    next_life(listen)
    assert values(tmp_path / "journal") == {"x": 1.0}
    assert take_losses() == {("relay.statsd", "damaged spool record"): 1}


@pytest.mark.parametrize("place", range(1, 13))
def test_a_flipped_byte_costs_the_round_that_it_is_in(listen, tmp_path, place):
    first = listen()
    first._begin()
    [spool] = (tmp_path / "statsd").iterdir()
    before = spool.stat().st_size
    for number in range(3):
        receive(first, b"x%d:1|c" % number)
    content = bytearray(spool.read_bytes())
    content[before + place] ^= 0x55
    spool.write_bytes(content)
    take_losses()
    next_life(listen)
    assert values(tmp_path / "journal") == {"x1": 1.0, "x2": 1.0}
    assert take_losses() == {("relay.statsd", "damaged spool record"): 1}


def test_a_gauge_with_a_sign_goes_on_from_what_it_was_before_the_kill(listen, tmp_path):
    first = listen()
    first._begin()
    receive(first, b"g:5|g")
    first.flush()
    receive(first, b"g:+2|g")
    second = listen()
    second._recover()
    second._begin()
    receive(second, b"g:+1|g")
    second.flush()
    assert [document["metric.value"] for document in documents(tmp_path / "journal")] == [5.0, 7.0, 8.0]


def test_a_gauge_with_a_sign_goes_on_after_a_restart(listen, tmp_path):
    first = listen()
    first.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"g:5|g", ("127.0.0.1", first.port))
    wait_until(lambda: first.received == 1)
    first.stop()
    second = listen()
    second._recover()
    second._begin()
    receive(second, b"g:-1|g")
    second.flush()
    assert [document["metric.value"] for document in documents(tmp_path / "journal")] == [5.0, 4.0]


def test_an_interval_that_receives_too_much_for_its_file_ends_early(listen, tmp_path, monkeypatch):
    monkeypatch.setattr("observability.relay.sources.statsd.listener._MOST_SPOOL_BYTES", 2_000)
    statsd = listen(interval_s=3600)
    statsd.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for number in range(300):
            client.sendto(b"x:1|c|#padding:%s" % (b"p" * 100), ("127.0.0.1", statsd.port))
            if number % 50 == 0:
                wait_until(lambda number=number: statsd.received > number)
    wait_until(lambda: statsd.received == 300)
    statsd.stop()
    found = documents(tmp_path / "journal")
    assert len(found) >= 2
    assert sum(document["metric.value"] for document in found) == 300.0
    assert found[0]["metric.interval"] < 3_600_000


def test_nothing_is_left_of_an_interval_whose_series_are_written(listen, tmp_path):
    statsd = listen()
    statsd._begin()
    for _ in range(3):
        receive(statsd, b"x:1|c")
        statsd.flush()
    assert len(list((tmp_path / "statsd").iterdir())) == 1
    next_life(listen)
    assert sum(document["metric.value"] for document in documents(tmp_path / "journal")) == 3.0


def test_without_space_for_the_spool_metrics_are_taken_all_the_same_and_it_is_said(tmp_path):
    (tmp_path / "statsd").write_text("a file where the folder should be")
    statsd = Statsd(Journal(tmp_path / "journal"), "127.0.0.1", 0, spool=tmp_path / "statsd", interval_s=60)
    statsd._begin()
    receive(statsd, b"x:1|c")
    statsd.flush()
    statsd.close()
    assert values(tmp_path / "journal") == {"x": 1.0}
    assert statsd.spool.why


def test_a_spool_that_is_no_spool_is_left_and_counted(tmp_path):
    (tmp_path / "zero-0-0.datagrams").mkdir()
    assert list(StatsdSpool(tmp_path).orphans()) == []
    assert take_losses() == {("relay.statsd", "unreadable spool"): 1}


_RELAY = """
import signal
from observability.relay.relay import Relay
from observability.settings import get_settings
relay = Relay(get_settings())
signal.signal(signal.SIGTERM, lambda *_: relay.stop())
print("listens", flush=True)
relay.run()
"""


class Sender(threading.Thread):
    """Sends ``seq.0``, ``seq.1``, … each once, in order, at about a thousand a second.

    ``sent`` is counted before a number is sent: none that anybody has received is higher.
    """

    def __init__(self, port):
        super().__init__(daemon=True)
        self.sent = 0
        self.stopping = threading.Event()
        self._port = port

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            while not self.stopping.wait(0.001):
                self.sent += 1
                client.sendto(b"seq.%d:1|c" % (self.sent - 1), ("127.0.0.1", self._port))


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def received_by(process, home):
    """The number of metrics that the relay said it had received, as of its last status."""
    status = read_status(home)
    return status["statsd"]["received"] if status and status["pid"] == process else 0


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_the_relay_killed_at_random_stores_once_in_every_sink_what_it_had_received(tmp_path, kills):
    chance, port, home = random.Random(kills), free_port(), tmp_path / "home"
    sender = Sender(port)
    with StrictCloudWatch() as cloudwatch:
        environ = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "CONTRAIL_CORE__HOME": str(home),
            "CONTRAIL_RELAY__LOG_FOLDER": str(tmp_path),
            "CONTRAIL_RELAY__SINKS": "embedded,cloudwatch",
            "CONTRAIL_RELAY__STATSD_PORT": str(port),
            "CONTRAIL_RELAY__STATSD_INTERVAL_S": "1.5",
            "CONTRAIL_CLOUDWATCH__CONNECTION_ID": "",
            "CONTRAIL_CLOUDWATCH__REGION": "eu-central-1",
            "CONTRAIL_CLOUDWATCH__ENDPOINT_URL": cloudwatch.url,
        }
        lives = []
        sender.start()
        for life in range(kills + 1):
            relay = subprocess.Popen([sys.executable, "-c", _RELAY], env=environ, stdout=subprocess.PIPE, text=True)
            try:
                assert relay.stdout.readline() == "listens\n"
                until = sender.sent + chance.randint(200, 3000)
                wait_until(lambda until=until: sender.sent >= until)
                if life < kills:
                    relay.send_signal(signal.SIGKILL)
                    relay.wait(60)  # it receives until it is gone
                    lives.append((sender.sent, received_by(relay.pid, home)))
                else:
                    sender.stopping.set()
                    sender.join()
                    wait_until(lambda pid=relay.pid: received_by(pid, home) > 0)
                    relay.terminate()
                relay.wait(60)
            finally:
                relay.kill()
                relay.wait()
                relay.stdout.close()
        stored = {
            "journal": documents(home / "journal"),
            "cloudwatch": [orjson.loads(message) for message in cloudwatch.messages()],
        }
    for where, found in stored.items():
        sums = Counter()
        for document in found:
            if document["metric.name"].startswith("seq."):
                sums[int(document["metric.name"][4:])] += document["metric.value"]
        assert set(sums.values()) == {1.0}, where
        first = 0
        for last, received in lives:
            mine = [number for number in sums if first <= number < last]
            assert mine, (where, first, last)
            assert len(mine) == max(mine) - min(mine) + 1, f"a hole in {where}"
            assert len(mine) >= received, where
            first = last
        assert max(sums) == sender.sent - 1, where
