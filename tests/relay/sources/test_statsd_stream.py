"""The Unix socket for StatsD, as Airflow 3.4 uses it."""

import socket
import time

import pytest
from statsd import UnixSocketStatsClient

from observability.contain import take_losses
from observability.journal import Journal
from observability.relay.sources.statsd.listener import Statsd, StatsdUnavailable
from observability.relay.sources.statsd.stream import StatsdStream


@pytest.fixture
def made(tmp_path):
    all_made = []

    def make(name="statsd.sock"):
        one = Statsd(Journal(tmp_path / "journal"), "127.0.0.1", 0, interval_s=60, socket_path=str(tmp_path / name))
        all_made.append(one)
        return one

    yield make
    for one in all_made:
        one.stop()
        one.close()
    take_losses()


def totals(statsd):
    return {key[0]: series.total for key, series in statsd.aggregate._series.items()}


def until(question):
    end = time.monotonic() + 30
    while not question():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_statsds_own_client_is_read(made, tmp_path):
    statsd = made()
    statsd.start()
    clients = [UnixSocketStatsClient(str(tmp_path / "statsd.sock"), prefix="airflow") for _ in range(3)]
    for client in clients:
        for _ in range(1000):
            client.incr("ti.start")
    until(lambda: totals(statsd).get("ti.start") == 3000)
    with clients[0].pipeline() as pipeline:
        pipeline.incr("ti.start")
        pipeline.timing("dagrun.duration.success", 5)
    until(lambda: totals(statsd) == {"ti.start": 3001, "dagrun.duration.success": 5})
    assert statsd.garbage == 0
    for client in clients:
        client.close()


def test_a_line_that_comes_in_pieces_is_one_and_the_last_needs_no_end(tmp_path):
    stream = StatsdStream(tmp_path / "s")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(tmp_path / "s"))
            client.sendall(b"a:1|c\nb:")
            assert stream.read(1000) == [b"a:1|c"]
            client.sendall(b"2|c")
            assert stream.read(1000) == []
        assert stream.read(1000) == [b"b:2|c"]
        assert len(stream.sockets()) == 1
    finally:
        stream.close()


def test_a_line_without_an_end_takes_no_memory(tmp_path):
    stream = StatsdStream(tmp_path / "s")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(tmp_path / "s"))
            client.setblocking(False)
            read = 0
            for _ in range(40):
                client.send(b"x" * 10_000)
                read += sum(map(len, stream.read(1_000_000)))
            assert read > 300_000
            assert max(map(len, stream._clients.values())) <= 65_535
    finally:
        stream.close()


def test_what_a_killed_relay_left_is_taken_over_and_what_another_listens_on_is_not(made, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(tmp_path / "statsd.sock"))
    made().start()
    with pytest.raises(StatsdUnavailable, match=r"statsd\.sock .*statsd_socket_path"):
        made()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StatsdUnavailable):
        made("file")
    assert (tmp_path / "file").read_text() == "mine"


def test_the_socket_goes_with_the_relay(made, tmp_path):
    statsd = made()
    statsd.start()
    statsd.stop()
    assert not (tmp_path / "statsd.sock").exists()
