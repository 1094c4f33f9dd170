import os
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observability import identity, metrics, redact
from observability.contain import take_losses
from observability.events import Identity
from observability.metrics import MetricError
from observability.settings import get_settings


@pytest.fixture
def wire(monkeypatch):
    """A function that flushes and returns the lines of all datagrams that a real receiver got."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
    receiver.bind(("127.0.0.1", 0))
    monkeypatch.setenv("CONTRAIL_STATSD__ENABLED", "true")
    monkeypatch.setenv("CONTRAIL_STATSD__PORT", str(receiver.getsockname()[1]))
    monkeypatch.setenv("CONTRAIL_STATSD__FLUSH_MS", "600000")
    monkeypatch.setenv("CONTRAIL_CORE__ENVIRONMENT", "test")
    _forget()
    datagrams = []

    def lines():
        metrics.flush()
        receiver.settimeout(0.05)
        try:
            while True:
                datagrams.append(receiver.recv(65535))
        except TimeoutError:
            pass
        return [line for datagram in datagrams for line in datagram.decode("ascii").splitlines()]

    lines.datagrams = datagrams
    lines.receiver = receiver
    yield lines
    receiver.close()
    _forget()


def _forget():
    get_settings.cache_clear()
    metrics._disconnect()
    take_losses()


@pytest.fixture
def task():
    with identity.bound(Identity(dag_id="flights", task_id="load", operator="PythonOperator", run_id="r")) as about:
        yield about


def test_counters_travel_summed_and_gauges_as_their_last_value(wire):
    for value in (1, 2.5):
        metrics.increment("my.rows", value)
        metrics.gauge("my.level", value)
    assert wire() == ["my.rows,env=test:3.5|c", "my.level,env=test:2.5|g"]


def test_a_negative_gauge_is_no_difference(wire):
    metrics.gauge("my.level", -3)
    assert wire() == ["my.level,env=test:0|g", "my.level,env=test:-3|g"]


def test_timers_keep_every_sample(wire):
    for value in (1, 1, 3.25):
        metrics.timing("my.time", value)
    assert wire() == [f"my.time,env=test:{value}|ms" for value in ("1.000000", "1.000000", "3.250000")]


def test_a_set_tells_each_member_once(wire):
    for value in ("a", "b", "a"):
        metrics.set("my.set", value)
    assert wire() == ["my.set,env=test:a|s", "my.set,env=test:b|s"]


def test_what_was_sent_is_not_sent_again(wire):
    metrics.increment("my.rows")
    assert (len(wire()), len(wire())) == (1, 1)


def test_a_metric_of_the_catalogue_gets_the_identity_it_declares(wire, task):
    metrics.increment("contrail.step.rows_out", 5, step="load")
    assert wire() == ["contrail.step.rows_out,dag_id=flights,task_id=load,env=test,step=load:5|c"]


def test_series_of_two_identities_stay_apart(wire):
    for name in ("a", "b"):
        with identity.bound(Identity(dag_id=name)):
            metrics.increment("my.rows")
    assert wire() == ["my.rows,dag_id=a,env=test:1|c", "my.rows,dag_id=b,env=test:1|c"]


def test_an_undeclared_tag_is_refused_under_pytest(wire, task):
    with pytest.raises(MetricError, match="rows_out has no tag 'rule'; it has dag_id, task_id, step, env"):
        metrics.increment("contrail.step.rows_out", 5, step="load", rule="x")


@pytest.mark.parametrize("tag", ["run_id", "ti_id", "map_index", "try_number"])
def test_an_unbounded_tag_is_refused_on_any_metric(wire, tag):
    with pytest.raises(MetricError, match=f"no tag '{tag}'"):
        metrics.increment("my.rows", **{tag: "1"})


def test_in_production_an_undeclared_tag_is_dropped_and_counted(wire, task, monkeypatch):
    monkeypatch.delitem(metrics.contained.__globals__["sys"].modules, "pytest")
    metrics.increment("contrail.step.rows_out", 5, step="load", rule="x")
    assert wire() == ["contrail.step.rows_out,dag_id=flights,task_id=load,env=test,step=load:5|c"]
    assert take_losses() == {("metrics", "MetricError"): 1}


def test_a_metric_in_our_name_that_the_catalogue_does_not_have_is_refused(wire):
    with pytest.raises(MetricError, match="such is no counter of the catalogue"):
        metrics.increment("contrail.no.such")


def test_a_kind_that_the_catalogue_does_not_say_is_refused(wire):
    with pytest.raises(MetricError, match="rows_out is no gauge"):
        metrics.gauge("contrail.step.rows_out", 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "x", None])
def test_what_is_no_number_is_dropped_and_counted(wire, value):
    metrics.gauge("my.level", value)
    assert wire() == []
    assert take_losses() == {("metrics", "not a number"): 1}


def test_a_datagram_stays_within_the_payload_of_ethernet(wire):
    for number in range(300):
        metrics.increment(f"my.rows.{number}", step="x" * 50)
    assert len(wire()) == 300
    assert max(map(len, wire.datagrams)) <= 1432


@pytest.mark.parametrize(
    "hostile", ["a\nb:1|c", "a|c|#x:1", "a,b=c", "a:1", "zürich", "a#b", "a b", "", "\u2028", "x" * 999]
)
def test_no_name_tag_or_member_becomes_another_metric(wire, hostile):
    metrics.increment(f"my.{hostile}", step=hostile)
    metrics.set("my.set", hostile)
    found = wire()
    assert len(found) == 2
    assert [line.count(":") for line in found] == [1, 1]
    assert all(len(line.split(":")[0].split(",")) <= 3 for line in found)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=()), max_size=30))
def test_any_text_stays_within_its_place(text):
    safe = metrics._safe(text)
    assert safe.isascii()
    assert not set(safe) & set("\r\n|:,=#@ \\\"'\x00")


def test_a_secret_in_a_tag_is_masked(wire, monkeypatch):
    monkeypatch.setattr(redact, "_secrets", {})
    redact.add_secret("s3cr3tvalue")
    metrics.increment("my.rows", path="x-s3cr3tvalue")
    assert wire() == ["my.rows,env=test,path=x-_:1|c"]
    redact._forget_rules()


def test_threads_lose_nothing(wire):
    def work():
        for _ in range(5000):
            metrics.increment("my.rows")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(float(line.split(":")[1].split("|")[0]) for line in wire()) == 40_000


def test_a_fork_does_not_send_what_its_parent_measured(wire):
    metrics.increment("my.parent")
    child = os.fork()
    if child == 0:
        metrics.increment("my.child")
        metrics.flush()
        os._exit(0)
    os.waitpid(child, 0)
    assert sorted(wire()) == ["my.child,env=test:1|c", "my.parent,env=test:1|c"]


def test_a_process_that_ends_sends_the_rest_and_leaves_no_socket_open(wire):
    program = "from observability import metrics; metrics.increment('my.rows')"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, check=True, text=True)
    assert (done.stderr, wire()) == ("", ["my.rows,env=test:1|c"])


def test_the_background_thread_sends_without_a_flush_and_ends_when_idle(wire, monkeypatch):
    monkeypatch.setenv("CONTRAIL_STATSD__FLUSH_MS", "10")
    get_settings.cache_clear()
    metrics.increment("my.rows")
    thread = metrics._thread
    wire.receiver.settimeout(5)
    assert wire.receiver.recv(2000) == b"my.rows,env=test:1|c"
    thread.join(5)
    assert not thread.is_alive()
    assert metrics._thread is None


def test_a_receiver_that_is_not_there_costs_nothing(wire):
    wire.receiver.close()
    metrics.increment("my.rows")
    began = time.monotonic()
    metrics.flush()
    assert time.monotonic() - began < 1


def test_nothing_is_sent_when_metrics_are_switched_off(wire, monkeypatch):
    monkeypatch.setenv("CONTRAIL_STATSD__ENABLED", "false")
    get_settings.cache_clear()
    metrics.increment("my.rows")
    assert wire() == []


@pytest.fixture
def at_rest(monkeypatch):
    """Metrics without their thread, whose work is done by hand."""
    metrics._take()
    monkeypatch.setattr(metrics, "_start", lambda: None)
    monkeypatch.setattr(metrics, "_wake", threading.Event())
    yield
    metrics._take()


@pytest.mark.parametrize("is_free", [True, False])
def test_who_flushes_waits_a_second_for_the_thread_and_sends_in_any_case(wire, at_rest, monkeypatch, is_free):
    waited, released = [], []
    sending = SimpleNamespace(acquire=lambda **how: waited.append(how) or is_free, release=lambda: released.append(1))
    monkeypatch.setattr(metrics, "_sending", sending)
    metrics.increment("mine.count", 2)
    assert wire() == ["mine.count,env=test:2|c"]
    assert (waited, len(released)) == ([{"timeout": 1.0}], int(is_free))


@pytest.mark.parametrize("add", [metrics.timing, metrics.set])
def test_the_sender_is_woken_when_a_series_is_full_and_not_before(wire, at_rest, monkeypatch, add):
    monkeypatch.setattr(metrics, "_MOST_SAMPLES", 3)
    woken = []
    for number in range(4):
        add("mine.full", number)
        woken.append(metrics._wake.is_set())
        metrics._wake.clear()
    assert woken == [False, False, True, False]


def test_sending_pauses_after_each_burst_of_lines(wire, at_rest, monkeypatch):
    monkeypatch.setattr(metrics, "_BURST", 2)
    pauses = []
    monkeypatch.setattr(metrics, "time", SimpleNamespace(sleep=pauses.append))  # other threads sleep as they did
    for number in range(5):
        metrics.gauge(f"mine.burst{number}", number)
    assert [line.partition(",")[0] for line in wire()] == [f"mine.burst{number}" for number in range(5)]
    assert pauses == [0.005] * 2
    assert [len(one.splitlines()) for one in wire.datagrams] == [2, 2, 1]


def test_one_connection_serves_an_address_and_is_closed_for_another(wire):
    first = metrics._client("127.0.0.1", 9)
    assert metrics._client("127.0.0.1", 9) is first
    other = metrics._client("127.0.0.1", 10)
    assert (other is first, first._sock, metrics._client("127.0.0.1", 10) is other) == (False, None, True)


def test_who_flushes_waits_for_what_the_thread_has_taken(monkeypatch):
    order, taken, go = [], threading.Event(), threading.Event()

    def listener(*_sent):
        taken.set()
        go.wait(30)
        order.append("sent")

    monkeypatch.setattr(metrics, "_listeners", [listener])
    monkeypatch.setattr(metrics, "_WAIT_S", 30)
    metrics.increment("mine", 1)
    metrics._wake.set()
    assert taken.wait(30)
    flushing = threading.Thread(target=lambda: (metrics.flush(), order.append("flushed")))
    flushing.start()
    flushing.join(0.2)
    go.set()
    flushing.join(30)
    assert order == ["sent", "flushed"]


def test_a_process_that_leaves_closes_its_connection_unless_the_thread_is_sending(wire, monkeypatch):
    client = metrics._client("127.0.0.1", 9)
    monkeypatch.setattr(metrics, "_WAIT_S", 0.01)
    with metrics._sending:
        leaving = threading.Thread(target=metrics._leave, daemon=True)
        leaving.start()
        leaving.join(10)
        assert not leaving.is_alive()
        assert client._sock is not None
    metrics._leave()
    assert (client._sock, metrics._connected) == (None, None)


def test_a_thread_that_ended_is_followed_by_another_that_holds_no_process(wire, monkeypatch):
    ended = threading.Thread()
    ended.start()
    ended.join()
    monkeypatch.setattr(metrics, "_thread", ended)
    metrics.increment("mine.one")
    begun = metrics._thread
    metrics.increment("mine.other")
    assert (begun is ended, begun.is_alive(), begun.daemon, metrics._thread is begun) == (False, True, True, True)
    metrics._take()
    metrics._wake.set()
    begun.join(10)


def test_whoever_listens_is_told_all_that_is_sent(wire, at_rest, monkeypatch):
    monkeypatch.setattr(metrics, "_listeners", [])
    told = []
    metrics.listen(lambda method, name, value: told.append((method, name.partition(",")[0], value)))
    metrics.increment("mine.count", 2)
    metrics.gauge("mine.level", 3)
    metrics.timing("mine.took", 4)
    metrics.set("mine.who", "ann")
    wire()
    assert told == [("incr", "mine.count", 2), ("gauge", "mine.level", 3), ("timing", "mine.took", 4),
                    ("set", "mine.who", "ann")]  # fmt: skip
