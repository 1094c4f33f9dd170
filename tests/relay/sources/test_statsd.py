import socket
import time

import orjson
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability import contain
from observability.contain import take_losses
from observability.journal import Journal, frames
from observability.relay.sources.statsd import listener, series
from observability.relay.sources.statsd.listener import Statsd, StatsdUnavailable
from observability.settings import load_settings


@pytest.fixture
def statsd(tmp_path):
    made = Statsd(Journal(tmp_path), "127.0.0.1", 0, interval_s=60, budget=3)
    yield made
    made.stop()
    made.close()
    take_losses()


def samples(statsd, tmp_path):
    """The documents of one flush, by name and tags."""
    for file in tmp_path.glob("*.journal"):
        file.unlink()
    statsd._journal.close()
    statsd.flush()
    documents = [
        orjson.loads(frame.document) for file in tmp_path.glob("*.journal") for frame in frames(file.read_bytes())
    ]
    return {(document["metric.name"], document.get("airflow.dag_id", "")): document for document in documents}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"x:1|c\nx:2|c", {"metric.type": "counter", "metric.value": 3.0, "metric.count": 2}),
        (b"x:3|c|@0.1", {"metric.type": "counter", "metric.value": 30.0, "metric.count": 10}),
        (b"x:1:2:3|c", {"metric.value": 6.0, "metric.count": 3}),
        (b"x:-4|c", {"metric.value": -4.0}),
        (b"x:5|g\nx:7|g", {"metric.type": "gauge", "metric.value": 7.0}),
        (b"x:5|g\nx:+3|g\nx:-1|g", {"metric.value": 7.0}),
        (b"x:a|s\nx:b|s\nx:a|s", {"metric.type": "set", "metric.value": 2, "metric.count": 3}),
        (
            b"x:10|ms\nx:20|ms\nx:30|h",
            {"metric.type": "timer", "metric.value": 20.0, "metric.min": 10.0, "metric.max": 30.0, "metric.p50": 20.0},
        ),
        (b"airflow.x:1|c", {"metric.name": "x", "metric.value": 1.0}),
        (b"x:1|c|#dag_id:d,team:t", {"airflow.dag_id": "d", "airflow.team": "t"}),
        (b"x,dag_id=d,other=o:1|c", {"airflow.dag_id": "d", "metric.tags": {"other": "o"}}),
        (b"x:1|c|#run_id:r1,try_number:2,ti_id:u,map_index:3", {"metric.value": 1.0}),
        (b"x:1|c|#dag_id:d|T1656581400|c:abc", {"metric.value": 1.0, "airflow.dag_id": "d"}),
        (b"\n\nx:1|c\n", {"metric.value": 1.0}),
        (b"x:1|c\r\n", {"metric.value": 1.0}),
        (b"x:1|c|e:it-false,cn-c,pu-u|card:low", {"metric.value": 1.0}),
        (b"x:4:6|d|@0.5|#dag_id:d", {"metric.type": "timer", "metric.value": 5.0, "metric.count": 4}),
        (b"x:a:b|s", {"metric.value": 1, "metric.count": 1}),
        (b"x,t=12:30:1|c", {"metric.value": 1.0, "metric.tags": {"t": "12:30"}}),
        (b"x,file=s3://b/d.py,dag_id=d:1.5|ms|@0.5", {"metric.count": 2, "metric.tags": {"file": "s3://b/d.py"}}),
        (rb"x,t=a\,b\ c\=d,dag_id=d:2|c", {"airflow.dag_id": "d", "metric.tags": {"t": "a,b c=d"}}),
        ("x:1|c|#team:größe".encode(), {"airflow.team": "größe"}),
        (b"x:5|g\nx:-3|g", {"metric.value": 2.0}),
        (b"x:5|g\nx:-3|g|@1", {"metric.value": 2.0}),
        (b"x:5|g|#dag_id:d\nx:-3|g|#dag_id:d", {"metric.value": -3.0}),
        (b"x:-3|g|c:ci-abc", {"metric.value": -3.0}),
        (b"x,dag_id=d:5|g\nx,dag_id=d:-3|g", {"metric.value": 2.0}),
        (
            b"dagrun.duration.failed,dag_id=d,env=prod,team=t,pool=p,severity=high,run_type=manual:1|ms",
            {
                "airflow.dag_id": "d",
                "airflow.run_type": "manual",
                "service.environment": "dev",
                "metric.tags": {"env": "prod", "team": "t", "pool": "p", "severity": "high"},
            },
        ),
        (b"dagrun.duration.failed,dag_id=d,team_name=t:1|ms", {"airflow.team": "t"}),
        (b"pool.open_slots,pool_name=p,env=prod:1|g", {"airflow.pool": "p", "service.environment": "dev"}),
    ],
)
def test_every_dialect_is_read(statsd, tmp_path, lines, expected):
    statsd.take(lines)
    [document] = samples(statsd, tmp_path).values()
    assert {key: document.get(key) for key in expected} == expected
    assert not {"airflow.run_id", "airflow.try_number"} & document.keys()
    assert statsd.garbage == 0


@pytest.mark.parametrize(
    "garbage",
    [b"x", b"x:1", b":1|c", b"x:|c", b"x:abc|ms", b"x:nan|c", b"x:inf|g", b"x:1|zz", b"x:1|c|@0", b"x:1|c|@7",
     b"\xff\xfe:1|c", b"x\x00y:1|c", b"x:1:b|ms", b"x:1_0|c", b"x:1:1_0|c"],
)  # fmt: skip
def test_garbage_is_counted_and_gives_no_metric(statsd, tmp_path, garbage):
    statsd.take(garbage)
    assert statsd.garbage == 1
    assert samples(statsd, tmp_path) == {}
    assert take_losses() == {("relay.statsd", "unreadable metric"): 1}


@pytest.mark.parametrize("torn", [b"y", b"y:", b"y:2", b"y:2|", b"y,dag_id=d:2", b"y:2:|c", b":2|c", b"|c"])
@pytest.mark.parametrize("order", ["first", "between", "last"])
def test_a_torn_line_costs_itself_only_and_is_counted_wherever_it_stands(statsd, tmp_path, torn, order):
    lines = [b"x:1|c", b"z:3|c"]
    lines.insert(["first", "between", "last"].index(order), torn)
    statsd.take(b"\n".join(lines))

    assert (statsd.garbage, statsd.received) == (1, 3)
    assert take_losses() == {("relay.statsd", "unreadable metric"): 1}
    assert {name: one["metric.value"] for (name, _), one in samples(statsd, tmp_path).items()} == {"x": 1.0, "z": 3.0}


@pytest.mark.parametrize(
    "line", [b"_e{5,4}:title|text", b"_e{2,3}:a:|b|c|#t:v", b"_sc|name|0", b"_sc|a|1|#t:v|m:no:1|c"]
)
def test_events_and_service_checks_are_no_metrics_and_no_garbage(statsd, tmp_path, line):
    statsd.take(line + b"\nx:1|c")
    assert (statsd.garbage, statsd.ignored, statsd.received) == (0, 1, 2)
    assert [name for name, _ in samples(statsd, tmp_path)] == ["x"]
    assert take_losses() == {}


def test_datadogs_own_client_is_read_as_it_means_it(statsd, tmp_path):
    from datadog.dogstatsd import DogStatsd

    dog = DogStatsd("127.0.0.1", statsd.port, disable_telemetry=True, disable_buffering=True)
    dog.increment("count", 3, tags=["dag_id:d"])
    dog.increment("count", tags=["dag_id:d"])
    dog.gauge("level", 9, tags=["dag_id:d"])
    dog.gauge("level", -4, tags=["dag_id:d"])
    dog.histogram("size", 10, tags=["dag_id:d"])
    dog.distribution("size", 30, tags=["dag_id:d"])
    dog.timing("took", 12.5, tags=["dag_id:d"])
    dog.set("who", "ann", tags=["dag_id:d"])
    dog.set("who", "bob", tags=["dag_id:d"])
    dog.gauge_with_timestamp("then", 5, 1656581400, tags=["dag_id:d"])
    dog.event("title", "a text\nof two lines", tags=["dag_id:d"])
    dog.service_check("check", DogStatsd.OK, tags=["dag_id:d"])
    dog.close_socket()
    while statsd._receive():
        pass
    found = {name: document["metric.value"] for (name, _), document in samples(statsd, tmp_path).items()}
    assert found == {"count": 4.0, "level": -4.0, "size": 20.0, "took": 12.5, "who": 2, "then": 5.0}
    assert (statsd.garbage, statsd.ignored) == (0, 2)


@pytest.mark.parametrize("influx", [True, False])
def test_statsds_own_client_and_airflows_tags_are_read_as_they_mean_it(statsd, tmp_path, influx):
    from airflow._shared.observability.metrics.statsd_logger import SafeStatsdLogger
    from statsd import StatsClient

    client = StatsClient("127.0.0.1", statsd.port, prefix="airflow")
    logger = SafeStatsdLogger(client, influxdb_tags_enabled=influx, statsd_influxdb_enabled=influx)
    logger.incr("count", 2, tags={"file": "dags/d.py"})
    logger.gauge("level", 9, tags={"file": "dags/d.py"})
    logger.gauge("level", -4, tags={"file": "dags/d.py"})
    logger.gauge("level", 1, delta=True, tags={"file": "dags/d.py"})
    logger.timing("took", 20, tags={"file": "dags/d.py"})
    client.close()
    while statsd._receive():
        pass
    found = samples(statsd, tmp_path)
    assert {name: document["metric.value"] for (name, _), document in found.items()} == {
        "count": 2.0,
        "level": -3.0,
        "took": 20.0,
    }
    assert {str(document.get("metric.tags")) for document in found.values()} == {
        "{'file': 'dags/d.py'}" if influx else "None"
    }
    assert statsd.garbage == 0


def test_a_datagram_of_sixty_four_kilobytes_is_read_whole(statsd, tmp_path):
    lines = b"\n".join(b"count:1|c|#dag_id:d,padding:%04d" % (number % 3) for number in range(1900))
    assert 60_000 < len(lines) <= 65_507
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(lines, ("127.0.0.1", statsd.port))
    statsd._receive()
    statsd.flush()
    assert statsd.received == 1900


def test_it_listens_on_ipv6(tmp_path):
    statsd = Statsd(Journal(tmp_path), "::1", 0, interval_s=60)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.sendto(b"x:1|c", ("::1", statsd.port))
    assert statsd._receive() == 1
    assert samples(statsd, tmp_path)["x", ""]["metric.value"] == 1.0
    statsd.close()


def test_of_two_processes_that_say_the_same_gauge_the_last_one_counts(statsd, tmp_path):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for client, value in ((one, 5), (other, 8), (one, 6)):
            client.sendto(b"level:%d|g|#dag_id:d" % value, ("127.0.0.1", statsd.port))
    while statsd._receive():
        pass
    document = samples(statsd, tmp_path)["level", "d"]
    assert (document["metric.value"], document["metric.count"]) == (6.0, 3)


@given(st.binary(max_size=200))
def test_no_datagram_does_harm(datagram):
    class Sink:
        def append(self, dataset, document):
            assert dataset == "airflow.statsd"
            assert b"\n" not in document

    statsd = Statsd(Sink(), "127.0.0.1", 0, interval_s=60)
    try:
        statsd.take(datagram)
        statsd.flush()
    finally:
        statsd.close()
        take_losses()


def test_series_above_the_budget_are_folded_into_one_and_counted(statsd, tmp_path):
    for number in range(10):
        statsd.take(b"x:1|c|#dag_id:d%d" % number)
    found = samples(statsd, tmp_path)
    folded = found["x", ""]
    assert (folded["metric.value"], folded["metric.tags"]) == (7.0, {"folded": "true"})
    assert found["contrail.telemetry.folded_series", ""]["metric.value"] == 7.0
    assert sum(document["metric.value"] for (name, _), document in found.items() if name == "x") == 10.0


def test_a_gauge_remembers_its_value_from_interval_to_interval(statsd, tmp_path):
    statsd.take(b"x:5|g")
    samples(statsd, tmp_path)
    statsd.take(b"x:+2|g")
    assert samples(statsd, tmp_path)["x", ""]["metric.value"] == 7.0


def test_percentiles_of_very_many_samples_stay_near_the_truth(statsd, tmp_path):
    for number in range(20_000):
        statsd.take(b"x:%d|ms" % (number % 1000))
    document = samples(statsd, tmp_path)["x", ""]
    assert document["metric.count"] == 20_000
    assert document["metric.p50"] == pytest.approx(500, abs=60)
    assert document["metric.p99"] == pytest.approx(990, abs=10)


def test_ids_differ_from_interval_to_interval_and_from_series_to_series(statsd, tmp_path):
    ids = set()
    for _ in range(2):
        statsd.take(b"x:1|c\ny:1|c")
        ids |= {document["event.id"] for document in samples(statsd, tmp_path).values()}
    assert len(ids) == 4


def test_a_copy_goes_to_another_server(tmp_path):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        other.bind(("127.0.0.1", 0))
        other.settimeout(5)
        statsd = Statsd(Journal(tmp_path), "127.0.0.1", 0, interval_s=60, forward=f"127.0.0.1:{other.getsockname()[1]}")
        statsd.start()
        client.sendto(b"x:1|c", ("127.0.0.1", statsd.port))
        assert other.recv(100) == b"x:1|c"
        statsd.stop()


def test_what_the_other_server_does_not_take_is_counted_and_the_rest_goes_to_it(tmp_path):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        gone.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{gone.getsockname()[1]}"
        gone.close()
        statsd = Statsd(Journal(tmp_path), "127.0.0.1", 0, interval_s=60, forward=address)
        for _ in range(4):  # the kernel says of every other one that nobody took the one before
            client.sendto(b"x:1|c", ("127.0.0.1", statsd.port))
        assert (statsd._receive(), statsd.unforwarded, statsd.received) == (4, 2, 4)
        statsd.close()


def test_what_was_received_before_a_kill_is_recovered_and_not_received(statsd, monkeypatch):
    statsd.take(b"x:1|c\nunreadable\n_sc|check|0")
    seen = []
    monkeypatch.setattr(statsd.spool, "orphans", lambda: seen.append(statsd.received) or [])
    statsd.stop()
    statsd.run()
    assert seen == [0]
    assert (statsd.recovered, statsd.received, statsd.garbage, statsd.ignored) == (3, 0, 0, 0)


def test_the_relays_own_numbers_are_one_sample_each_of_the_interval(tmp_path):
    own = [("contrail.relay.records", "counter", 5.0, {"sink": "s"}), ("contrail.relay.rss_bytes", "gauge", 7.0, {})]
    statsd = Statsd(Journal(tmp_path), "127.0.0.1", 0, interval_s=60, own=lambda: own)
    found = {name: (one["metric.value"], one["metric.count"]) for (name, _), one in samples(statsd, tmp_path).items()}
    assert found == {"contrail.relay.records": (5.0, 1), "contrail.relay.rss_bytes": (7.0, 1)}
    statsd.close()


@pytest.mark.parametrize(("number", "size", "taken"), [(3, 99, 3), (9, 10, 2), (9, 11, 3)])
def test_a_round_reads_so_many_datagrams_or_bytes_and_leaves_the_rest_for_the_next(
    statsd, monkeypatch, number, size, taken
):
    monkeypatch.setattr(listener, "_ROUND", number)
    monkeypatch.setattr(listener, "_MOST_ROUND_BYTES", size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(4):
            client.sendto(b"x:1|c", ("127.0.0.1", statsd.port))
    assert (statsd._receive(), statsd.received) == (taken, taken)


def test_names_are_remembered_with_their_bytes_and_forgotten_together(statsd, monkeypatch):
    def take(line):
        statsd.take(line)
        return len(statsd._shapes), statsd._shapes_bytes

    each = 3 * len(b"nameA" + b"c|#t:1") + 700
    assert [take(b"nameA:1|c|#t:1"), take(b"nameA:2|c|#t:1"), take(b"nameB:1|c|#t:1")] == [
        (1, each), (1, each), (2, 2 * each),
    ]  # fmt: skip
    monkeypatch.setattr(listener, "_MOST_SHAPES_BYTES", 3 * each)
    assert [take(b"nameC:1|c|#t:1"), take(b"nameD:1|c|#t:1")] == [(3, 3 * each), (1, 0)]


def test_intervals_follow_the_clock_also_after_a_halt_and_the_end_waits_a_second_at_most(statsd, monkeypatch):
    clock = [100.0]
    halts = iter([45.0, 45.0, 45.0, 130.0, 20.0, 50.0])
    flushed, last = [], []

    def wait():
        clock[0] += next(halts, 0.0)
        if len(flushed) == 4:
            statsd._stopping.set()
        return False

    def receive():
        last.append(clock[0])
        clock[0] += 0.3
        return len(last) < 50  # a sender that never ends

    monkeypatch.setattr(listener.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(statsd, "_await", wait)
    monkeypatch.setattr(statsd, "_receive", receive)
    monkeypatch.setattr(statsd, "flush", lambda: flushed.append(clock[0] - 100))
    statsd.run()
    assert [round(one) for one in flushed[:-1]] == [90, 135, 265, 335]
    assert len(last) == 4


def test_what_came_in_the_last_moment_is_written_at_the_end(tmp_path):
    statsd = Statsd(Journal(tmp_path), "127.0.0.1", 0, interval_s=600)
    statsd.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(100):
            client.sendto(b"x:1|c", ("127.0.0.1", statsd.port))
    statsd.stop()
    [file] = tmp_path.glob("airflow.statsd-*.journal")
    [frame] = frames(file.read_bytes())
    assert orjson.loads(frame.document)["metric.value"] == 100.0


def test_the_interval_ends_by_the_clock_also_under_load(tmp_path):
    statsd = Statsd(Journal(tmp_path), "127.0.0.1", 0, interval_s=0.05)
    statsd.start()
    deadline = time.monotonic() + 10
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        while not list(tmp_path.glob("*.journal")):
            assert time.monotonic() < deadline
            client.sendto(b"x:1|c", ("127.0.0.1", statsd.port))
    statsd.stop()


def test_a_taken_port_is_named_with_the_remedy(statsd, tmp_path):
    with pytest.raises(StatsdUnavailable, match=rf"127\.0\.0\.1:{statsd.port} .*set \[relay\] statsd_port"):
        Statsd(Journal(tmp_path), "127.0.0.1", statsd.port, interval_s=60)


def test_a_full_disk_costs_the_interval_and_is_counted(statsd):
    class Full:
        def append(self, *_):
            raise OSError(28, "No space left on device")

    statsd._journal = Full()
    statsd.take(b"x:1|c")
    statsd.flush()
    assert take_losses() == {("relay.statsd", "No space left on device"): 1}


@pytest.mark.parametrize("rate", [b"1e-7", b"1e-300", b"1e-320", b"0", b"nan", b"-1", b"2", b"inf"])
def test_a_rate_that_can_be_no_rate_is_refused_and_said(statsd, tmp_path, rate):
    statsd.take(b"x:1|c|@" + rate)
    statsd.take(b"good:1|c")
    assert statsd.garbage == 1
    assert take_losses()["relay.statsd", "unreadable metric"] == 1
    assert set(samples(statsd, tmp_path)) == {("good", "")}


def test_a_series_that_cannot_be_written_loses_itself_only(statsd, tmp_path, monkeypatch):
    monkeypatch.setattr(contain, "raises_again", lambda: False)
    statsd.take(b"before:1|c\nbad:1|c\nbehind:1|c")
    bad = ("bad", "counter", ())
    statsd.aggregate._series[bad].count = float("inf")
    assert set(samples(statsd, tmp_path)) == {("before", ""), ("behind", "")}
    assert take_losses()["relay.statsd", "series that cannot be written"] == 1


def test_new_names_long_tags_and_members_take_a_bounded_number_of_bytes(statsd):
    process = psutil.Process()
    for number in range(2_000):
        statsd.take(b"warm%d,t=%d:1|c" % (number, number))
    before = process.memory_info().rss
    for number in range(200_000):
        statsd.take(b"name.%d:1|c" % number)
    for number in range(20_000):
        statsd.take(b"x%d:1|g|#t:%s" % (number, b"%d" % number * 900))
        statsd.take(b"members%d:%s|s" % (number % 50, b"%d" % number * 1000))
    for number in range(300_000):
        statsd.take(b"timer%d:%d|ms" % (number % 100, number))
    assert process.memory_info().rss - before < 80_000_000
    assert statsd.aggregate.folded > 150_000
    statsd.aggregate.take()


def test_what_is_folded_for_want_of_memory_is_still_counted(statsd, tmp_path, monkeypatch):
    monkeypatch.setattr(series, "_MOST_BYTES", 5_000)
    statsd.aggregate.take()
    for number in range(100):
        statsd.take(b"name%d:1|c" % number)
    found = samples(statsd, tmp_path)
    assert sum(one["metric.value"] for (name, _), one in found.items() if "folded_series" not in name) == 100
    assert found[series.FOLDED_METRICS, ""]["metric.value"] > 90


def test_an_interval_that_cannot_be_recovered_is_set_aside_and_those_behind_it_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(contain, "raises_again", lambda: False)
    spool, journal = tmp_path / "spool", tmp_path / "journal"
    for datagram in (b"bad:1|c", b"later:1|c"):
        killed = Statsd(Journal(journal), "127.0.0.1", 0, interval_s=60, spool=spool)
        killed._begin()
        killed.spool.keep(datagram)
        killed.close()
    whole = Statsd.take

    def failing(self, datagram):
        if b"bad" in datagram:
            raise ZeroDivisionError
        whole(self, datagram)

    monkeypatch.setattr(Statsd, "take", failing)
    for _ in range(2):
        statsd = Statsd(Journal(journal), "127.0.0.1", 0, interval_s=60, spool=spool)
        statsd._recover()
        statsd.close()
    assert b'"metric.name":"later"' in b"".join(path.read_bytes() for path in journal.glob("*.journal"))
    assert [path.suffix for path in spool.iterdir()] == [".unreadable"]
    assert take_losses()["relay.statsd", "unreadable spool"] == 1


@pytest.mark.parametrize(
    ("prefix", "sent"),
    [
        ("acme", [b"acme.scheduler_heartbeat:1|c", b"airflow.scheduler_heartbeat:1|c", b"scheduler_heartbeat:1|c"]),
        (
            "acme.prod.airflow",
            [b"acme.prod.airflow.scheduler_heartbeat:1|c,", b"acme.prod.airflow.scheduler_heartbeat,env=x:1|c"],
        ),
        ("", [b"scheduler_heartbeat:1|c"]),
    ],
)
def test_airflows_prefix_is_taken_off_whatever_it_is(tmp_path, prefix, sent):
    statsd = Statsd(Journal(tmp_path), "127.0.0.1", 0, interval_s=60, prefix=prefix)
    for datagram in sent:
        statsd.take(datagram.rstrip(b","))

    assert {name for name, _ in samples(statsd, tmp_path)} - {"contrail.telemetry.folded_series"} == {
        "scheduler_heartbeat"
    }
    statsd.close()


def test_airflows_own_client_with_another_prefix_fills_the_same_series(tmp_path, monkeypatch):
    """As Airflow makes its client: the prefix of its configuration, read by the relay from the same place."""
    from statsd import StatsClient

    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PREFIX", "acme")
    settings = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)})
    statsd = Statsd(Journal(tmp_path), "127.0.0.1", 0, interval_s=60, prefix=settings.statsd_prefix)
    client = StatsClient("127.0.0.1", statsd.port, prefix="acme")
    client.incr("scheduler_heartbeat")
    client.gauge("pool.open_slots", 3)
    client.close()
    deadline = time.monotonic() + 30
    while statsd._receive() == 0 or len(statsd.aggregate._series) < 2:
        assert time.monotonic() < deadline

    assert {"scheduler_heartbeat", "pool.open_slots"} <= {name for name, _ in samples(statsd, tmp_path)}
    statsd.close()


def test_the_prefix_is_airflows_own_unless_the_relay_is_told_another(tmp_path, monkeypatch):
    monkeypatch.delenv("AIRFLOW__METRICS__STATSD_PREFIX", raising=False)
    (tmp_path / "airflow.cfg").write_text("[metrics]\nstatsd_prefix = corp\n")
    monkeypatch.setenv("AIRFLOW_CONFIG", str(tmp_path / "airflow.cfg"))

    assert load_settings(environ={}).statsd_prefix == "corp"
    assert load_settings(environ={"CONTRAIL_RELAY__STATSD_PREFIX": "own"}).statsd_prefix == "own"
    monkeypatch.setenv("AIRFLOW_CONFIG", str(tmp_path / "none.cfg"))
    assert load_settings(environ={}).statsd_prefix == "airflow"
