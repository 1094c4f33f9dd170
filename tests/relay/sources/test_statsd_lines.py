"""The limits of what one StatsD line may say, and where a copy and the numbers of an interval go."""

import os
import socket
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from observability import contain
from observability.contain import take_losses
from observability.journal import Journal, frames
from observability.relay.sources.statsd import listener
from observability.relay.sources.statsd.listener import Statsd, StatsdUnavailable


@pytest.fixture
def listen(tmp_path):
    """Makes a :class:`Statsd` whose journal lies in ``tmp_path``."""
    made = []

    def make(**options):
        made.append(Statsd(Journal(tmp_path), "127.0.0.1", 0, **{"interval_s": 60, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()
    take_losses()


@pytest.fixture
def statsd(listen):
    return listen()


def series(statsd, *lines):
    """The series of these lines: by name and tags (count, total, last)."""
    statsd.take(b"\n".join(lines))
    found = {(name, *tags): (one.count, one.total, one.last) for (name, _, tags), one in statsd.aggregate.take()}
    return found, statsd.garbage


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        (b"x:1e24|c", (1.0, 1e24, 0.0)),
        (b"x:-1e24|c", (1.0, -1e24, 0.0)),
        (b"x:1.1e24|c", None),
        (b"x:-1.1e24|c", None),
        (b"x:2|c|@1", (1.0, 2.0, 0.0)),
        (b"x:2|c|@1.0000001", None),
        (b"x:2|c|@0.000001", (1e6, 2e6, 0.0)),
        (b"x:2|c|@0.0000009", None),
        (b"x:1:2:4|c|@0.5", (6.0, 14.0, 0.0)),
        (b"x:2:-1|g", (2, 0.0, 1.0)),
        (b"x: 2 |c", (1.0, 2.0, 0.0)),
        (b"x:2| c ", (1.0, 2.0, 0.0)),
        (b"x:2:|c", None),
        (b"x:|g", None),
        (b"x:2|", None),
        (b"x:2|C", None),
    ],
)
def test_a_value_and_its_weight_have_bounds(statsd, line, taken):
    found, garbage = series(statsd, line)
    assert (found, garbage) == (({("x",): pytest.approx(taken)}, 0) if taken else ({}, 1))


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        ([b"x:9e23|g", b"x:+9e23|g"], 1e24),
        ([b"x:-9e23|g", b"x:-9e23|g"], -1e24),
        ([b"x:5|g", b"x:-7|g"], -2.0),
        ([b"x:5|g", b"x:+7|g"], 12.0),
        ([b"x:5|g", b"x:7|g"], 7.0),
        ([b"x:5|g", b"x:-7|g|#"], -7.0),
        ([b"x:5|g", b"x:-7|g|@0.5|@1"], -2.0),
        ([b"x:5|g", b"x:-7|g|@0.5|c:1"], -7.0),
        ([b"x:5|g", b"x:-7|g|c:1|@0.5"], -7.0),
    ],
)
def test_a_gauge_with_a_sign_is_a_step_in_statsd_and_a_value_in_dogstatsd_and_stays_in_bounds(statsd, lines, last):
    found, garbage = series(statsd, *lines)
    assert (found, garbage) == ({("x",): (len(lines), 0.0, last)}, 0)


@pytest.mark.parametrize(
    ("head", "kind", "key"),
    [
        (b"n" * 250, b"c", ("n" * 250,)),
        (b"n" * 251, b"c", None),
        (b"airflow." + b"n" * 250, b"c", ("n" * 250,)),
        (b"x", b"c|#" + b"t" * 4092, ("x", ("t" * 200, ""))),
        (b"x", b"c|#" + b"t" * 4093, None),
        (b"x", b"c|#t:" + b"v" * 201, ("x", ("t", "v" * 200))),
        (b"x", b"c|#t:a:b,u", ("x", ("t", "a:b"), ("u", ""))),
        (b"x", b"c|#a:1|#b:2", ("x", ("a", "1"), ("b", "2"))),
        (b"x,a=1", b"c|#b:2", ("x", ("a", "1"), ("b", "2"))),
        (b"x,a=b=c,d", b"c", ("x", ("a", "b=c"), ("d", ""))),
        (b"x,", b"c", ("x",)),
        (rb"x,a\ b=1", b"c", ("x", ("a b", "1"))),
        (b"x", "c|#t:a\x07b\u2028c".encode(), ("x", ("t", "a_b_c"))),
        (b"x y/z-%~", b"c", ("x y/z-%~",)),
        ("größe".encode(), b"c", None),
        (b"x", b"c|#\xff", None),
        (b"airflow.airflow.x", b"c", ("airflow.x",)),
        (b"airflowx", b"c", ("airflowx",)),
        (b"airflow.", b"c", None),
    ],
)
def test_names_and_tags_are_read_up_to_their_lengths(statsd, head, kind, key):
    found, garbage = series(statsd, head + b":1|" + kind)
    assert (found, garbage) == (({key: (1.0, 1.0, 0.0)}, 0) if key else ({}, 1))


@pytest.mark.parametrize(
    ("prefix", "known"),
    [("airflow", ["x"]), (".acme.", ["acme.x", "x"]), ("", ["x"]), (".", ["x"])],
)
def test_the_prefix_goes_once_with_its_dot(listen, prefix, known):
    statsd = listen(prefix=prefix)
    names = {name for name, *_ in series(statsd, *(b"airflow.%b:1|c" % name.encode() for name in known))[0]}
    assert names == set(known)
    own = prefix.strip(".") or "airflow"
    assert series(statsd, f"{own}.y:1|c".encode())[0] == {("y",): (1.0, 1.0, 0.0)}


def test_a_shape_that_is_known_is_not_parsed_again(statsd, monkeypatch):
    statsd.take(b"x:1|c|#t:1")
    monkeypatch.setattr(listener, "_parsed", lambda *_: pytest.fail("parsed again"))
    assert series(statsd, b"x:2|c|#t:1") == ({("x", ("t", "1")): (2.0, 3.0, 0.0)}, 0)
    assert statsd.received == 2


def written(tmp_path):
    return [orjson.loads(frame.document) for file in tmp_path.glob("*.journal") for frame in frames(file.read_bytes())]


@pytest.mark.parametrize(("seconds", "interval_ms"), [(None, 60_000), (2.5, 2_500)])
def test_a_document_says_who_listened_and_how_long(listen, tmp_path, monkeypatch, seconds, interval_ms):
    monkeypatch.setattr(socket, "gethostname", lambda: "this-host")
    monkeypatch.setattr(listener.time, "time", lambda: 1_359_633_600.25)
    heard = []
    statsd = listen(environment="prod", also=lambda key, one: heard.append((key, one.total)))
    statsd.take(b"x:2|c")
    statsd.flush(seconds)
    [document] = written(tmp_path)
    assert {name: value for name, value in document.items() if not name.startswith(("event", "metric"))} == {
        "@timestamp": "2013-01-31T12:00:00.250000Z",
        "service.name": "airflow",
        "service.environment": "prod",
        "host.name": "this-host",
        "process.pid": os.getpid(),
    }
    assert document["metric.interval"] == interval_ms
    assert heard == [(("x", "counter", ()), 2.0)]


def test_the_relays_own_numbers_have_room_in_a_full_interval_and_what_nobody_can_read_is_left_out(listen, tmp_path):
    own = [
        ("own", "counter", 3.0, {"run_id": "r", "t": "1"}),
        ("odd", "gauge", "no number", {}),
        ("two", "gauge", 4, {}),
    ]
    statsd = listen(own=lambda: own, budget=1)
    statsd.take(b"x:1|c|#t:1\nx:1|c|#t:2")
    statsd.aggregate._room.left = 0
    statsd.flush()
    found = {one["metric.name"]: (one["metric.value"], one.get("metric.tags")) for one in written(tmp_path)}
    assert {name: found[name] for name in ("own", "two", "contrail.telemetry.folded_series")} == {
        "own": (3.0, {"t": "1"}),
        "two": (4.0, None),
        "contrail.telemetry.folded_series": (1.0, None),
    }
    assert "odd" not in found


def test_nothing_is_said_of_folded_series_where_none_was_folded(statsd, tmp_path):
    statsd.take(b"x:1|c")
    statsd.flush()
    assert [one["metric.name"] for one in written(tmp_path)] == ["x"]


def test_a_line_at_which_we_fail_ourselves_costs_itself_only(statsd, monkeypatch):
    monkeypatch.setattr(contain, "raises_again", lambda: False)
    real = Statsd._line
    monkeypatch.setattr(
        Statsd, "_line", lambda self, line: real(self, line) if line != b"bad:1|c" else (_ for _ in ()).throw(KeyError)
    )
    assert series(statsd, b"x:1|c", b"bad:1|c", b"y:1|c")[0].keys() == {("x",), ("y",)}
    assert take_losses()["relay.statsd", "passed over at KeyError"] == 1


def test_a_line_at_which_we_fail_in_a_test_is_seen(statsd, monkeypatch):
    monkeypatch.setattr(Statsd, "_line", lambda *_: (_ for _ in ()).throw(KeyError("ours")))
    with pytest.raises(KeyError, match="ours"):
        statsd.take(b"x:1|c")


@pytest.mark.parametrize(("family", "host", "address"), [
    (socket.AF_INET, "127.0.0.1", "127.0.0.1:{}"), (socket.AF_INET6, "::1", "[::1]:{}"),
])  # fmt: skip
def test_a_copy_of_each_datagram_goes_to_the_other_server_and_the_socket_goes_with_the_relay(
    listen, family, host, address
):
    with socket.socket(family, socket.SOCK_DGRAM) as other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        other.bind((host, 0))
        other.settimeout(5)
        statsd = listen(forward=address.format(other.getsockname()[1]))
        for datagram in (b"x:1|c", b"unreadable"):
            client.sendto(datagram, ("127.0.0.1", statsd.port))
        assert statsd._receive() == 2
        assert [other.recv(100), other.recv(100)] == [b"x:1|c", b"unreadable"]
        assert (statsd.unforwarded, statsd.received, statsd.garbage) == (0, 2, 1)
        statsd.close()
        assert [one.fileno() for one in (statsd._socket, statsd._forward)] == [-1, -1]


def test_the_receive_buffer_is_as_large_as_this_process_may_make_it(statsd):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        with suppress(PermissionError):
            plain.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE of Linux, for who may
        most = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert statsd._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == most


def test_a_port_that_is_taken_and_a_path_that_cannot_be_leave_no_socket_open(listen, statsd, tmp_path):
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(StatsdUnavailable) as taken:
        Statsd(Journal(tmp_path), "127.0.0.1", statsd.port, interval_s=60)
    assert str(taken.value).endswith(
        f"cannot listen for StatsD on 127.0.0.1:{statsd.port} (Address already in use);"
        " free it or set [relay] statsd_port"
    )
    (tmp_path / "mine").write_text("a file of somebody else")
    with pytest.raises(StatsdUnavailable) as in_the_way:
        listen(socket_path=str(tmp_path / "mine"))
    assert str(in_the_way.value).endswith(
        f"cannot listen for StatsD on {tmp_path / 'mine'} (Address already in use); free it,"
        " or set [relay] statsd_socket_path"
    )
    assert len([*Path("/proc/self/fd").iterdir()]) == before


@pytest.mark.parametrize(("sent", "waits"), [(True, True), (False, False)])
def test_it_wakes_as_soon_as_something_came(statsd, monkeypatch, sent, waits):
    monkeypatch.setattr(listener, "_WAIT_MS", 0)
    if sent:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x:1|c", ("127.0.0.1", statsd.port))
    assert statsd._await() is waits


def test_of_the_journals_the_two_newest_are_searched_for_what_was_written_and_torn_lines_do_not_count(listen, tmp_path):
    statsd = listen()
    ids = []
    for number in range(4):
        statsd.take(b"x%d:1|c" % number)
        statsd.flush()
        statsd._journal.close()
        [fresh] = tmp_path.glob("airflow.statsd-*-000.journal")
        ids.append(orjson.loads(next(frames(fresh.read_bytes())).document)["event.id"].encode())
        fresh.rename(tmp_path / f"airflow.statsd-{9 - number}.journal")  # in the order of their times, not of names
        os.utime(tmp_path / f"airflow.statsd-{9 - number}.journal", (number, number))
    (tmp_path / "airflow.statsd-0.journal").mkdir()
    assert statsd._known(ids) == {ids[2], ids[3]}
    assert statsd._known(ids[3:]) == {ids[3]}
    newest = tmp_path / "airflow.statsd-6.journal"
    newest.write_bytes(newest.read_bytes()[:-5] + b"\n")
    os.utime(newest, (3, 3))
    assert statsd._known(ids) == {ids[2]}


@pytest.mark.parametrize(("spooled", "elapsed", "flushed"), [
    (16_777_216, 7.0, []), (16_777_217, 7.0, [7.0]), (16_777_217, 60.0, [None]), (0, 59.9, []), (0, 60.0, [None]),
])  # fmt: skip
def test_an_interval_ends_by_its_clock_or_when_its_file_is_full(statsd, monkeypatch, spooled, elapsed, flushed):
    clock, done = [100.0], []

    def wait():
        clock[0] += elapsed
        statsd._stopping.set()
        return False

    monkeypatch.setattr(listener.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(statsd, "_await", wait)
    monkeypatch.setattr(statsd, "_receive", lambda: 0)
    monkeypatch.setattr(statsd, "_recover", lambda: None)
    monkeypatch.setattr(statsd, "flush", lambda seconds=None: done.append(seconds))
    monkeypatch.setattr(statsd, "spool", SimpleNamespace(size=spooled, begin=lambda _: "i", close=lambda: None))
    statsd.run()
    assert done == [*flushed, None]  # the last one as it ends


def test_a_listener_holds_no_process_and_is_waited_for_five_seconds_once_it_runs(statsd, monkeypatch):
    waited = []
    monkeypatch.setattr(statsd, "join", waited.append)
    statsd.stop()
    monkeypatch.setattr(statsd, "is_alive", lambda: True)
    statsd.stop()
    assert (statsd.daemon, statsd._stopping.is_set(), waited) == (True, True, [5.0])
