import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from urllib.parse import urlencode

import psutil
import pytest
from certificates import make_certificate
from redis_server import PROGRAM, running_redis

from observability.airflow_options import airflow_home
from observability.catalog import METRICS
from observability.contain import take_losses
from observability.credentials import Credentials, CredentialsError
from observability.errors import ServerUnavailable
from observability.relay.relay import Relay, read_status
from observability.relay.sources.components import address as addresses
from observability.relay.sources.components import servers
from observability.relay.sources.components.address import Address
from observability.relay.sources.components.broker import BrokerReader
from observability.relay.sources.components.cgroups import Cgroups
from observability.relay.sources.components.ownership import is_of_ours
from observability.relay.sources.components.postgresql import PostgresqlReader
from observability.relay.sources.components.processes import ProcessReader, component_of
from observability.relay.sources.components.readings import Growth, Reading, Sample


def values(samples):
    """Metric and its tag's value → value; each is declared, with its type and its tags."""
    for one in samples:
        assert one.kind == METRICS[one.metric].type
        assert set(one.tags) <= set(METRICS[one.metric].tags)
    return {(one.metric.removeprefix("contrail."), *one.tags.values()): one.value for one in samples}


def database_at(connection):
    names = {"host": "host", "port": "port", "login": "user", "password": "password", "schema": "dbname"}
    return Address(lambda: Credentials(extra={names[name]: one for name, one in connection.items()}))


@contextmanager
def silent_server():
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield listener.getsockname()[1]


# PostgreSQL


def test_a_database_says_its_sessions_its_locks_and_what_it_did(postgresql_server):
    import psycopg2

    connection = postgresql_server.database()
    about = {"host": connection["host"], "port": connection["port"], "user": connection["login"]}
    about |= {"password": connection["password"], "dbname": connection["schema"]}
    reader = PostgresqlReader(database_at(connection))
    reader.read()
    holder, waiter = psycopg2.connect(**about), psycopg2.connect(**about)
    try:
        with holder.cursor() as held:
            held.execute("create table jobs (id int primary key); insert into jobs values (1)")
            holder.commit()
            held.execute("update jobs set id = 2")
            blocked = threading.Thread(target=lambda: waiter.cursor().execute("update jobs set id = 3"))
            blocked.start()
            over = time.monotonic() + 30
            while (found := values(reader.read()))["database.blocked",] != 1:
                assert time.monotonic() < over
            holder.rollback()
            blocked.join()
    finally:
        holder.close()
        waiter.close()
    assert found["database.connections", "idle_in_transaction"] == 1
    assert found["database.connections", "active"] >= 1
    assert found["database.oldest_transaction_ms",] > 0
    assert found["database.connections_limit",] == 100
    assert found["database.size_bytes",] > 1_000_000
    assert found["database.latency_ms",] > 0
    assert found["database.transactions", "committed"] > 0


def test_a_database_that_refuses_says_so_without_the_password(postgresql_server):
    connection = postgresql_server.database() | {"password": "a-wrong-word"}
    with pytest.raises(ServerUnavailable, match="password authentication failed") as refused:
        PostgresqlReader(database_at(connection)).read()
    assert "a-wrong-word" not in str(refused.value)


# Redis, as Celery uses it


@pytest.mark.skipif(PROGRAM is None, reason="not installed: redis-server; apt-get install redis-server")
def test_a_broker_says_how_many_messages_wait_in_each_queue_that_celery_has(tmp_path):
    kombu = pytest.importorskip("kombu")

    with running_redis(tmp_path) as url, kombu.Connection(url) as connection:
        for name, number in (("default", 3), ("heavy", 2)):
            queue = kombu.Queue(name, kombu.Exchange(name), routing_key=name)
            with connection.Producer() as producer:
                for priority in range(number):
                    producer.publish(
                        {"task": 1}, exchange=queue.exchange, routing_key=name, declare=[queue],
                        priority=3 * priority,
                    )  # fmt: skip
        with connection.SimpleQueue("heavy") as taken:
            taken.get(timeout=10)
            reader = BrokerReader(Address(lambda: Credentials(url=url)))
            found = values(reader.read())
    assert {name[1]: one for name, one in found.items() if name[0] == "queue.length"} == {"default": 3, "heavy": 1}
    assert found["queue.unacknowledged",] == 1
    assert found["broker.memory_limit_bytes",] == 64 << 20
    assert found["broker.clients",] >= 1
    assert found["broker.evicted_keys",] == 0


@pytest.mark.skipif(PROGRAM is None, reason="not installed: redis-server; apt-get install redis-server")
def test_a_broker_that_refuses_says_so_without_the_password(tmp_path):
    with running_redis(tmp_path) as url:
        wrong = url.replace(url.split(":")[2].split("@")[0], "a-wrong-word")
        with pytest.raises(ServerUnavailable, match="WRONGPASS") as refused:
            BrokerReader(Address(lambda: Credentials(url=wrong))).read()
    assert "a-wrong-word" not in str(refused.value)


@pytest.fixture
def pem(tmp_path):
    """A file with a key and its certificate for ``localhost``, which is its own authority."""
    path = tmp_path / "redis.pem"
    path.write_bytes(b"".join(make_certificate("localhost")))
    return path


@pytest.mark.skipif(PROGRAM is None, reason="not installed: redis-server; apt-get install redis-server")
@pytest.mark.parametrize("in_the_address", [True, False], ids=["as Celery's address", "as a Connection's extra"])
def test_a_broker_that_speaks_tls_and_asks_for_a_certificate_is_read(tmp_path, pem, in_the_address):
    files = {"ssl_ca_certs": str(pem), "ssl_certfile": str(pem)}
    with running_redis(tmp_path, pem) as url:
        where = Credentials(url=f"{url}?{urlencode(files)}") if in_the_address else Credentials(url=url, extra=files)
        found = values(BrokerReader(Address(lambda: where)).read())
    assert (found["broker.memory_limit_bytes",], found["queue.length", "default"]) == (64 << 20, 0)


@pytest.mark.skipif(PROGRAM is None, reason="not installed: redis-server; apt-get install redis-server")
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "certificate verify failed.*name its authority as ssl_ca_certs"),
        (("ssl_ca_certs",), "our certificate as ssl_certfile"),
    ],
    ids=["an authority that nobody knows", "no certificate of ours"],
)
def test_a_broker_whose_tls_is_not_agreed_on_is_not_read(tmp_path, pem, files, said):
    with running_redis(tmp_path, pem) as url:
        where = Credentials(url=url, extra=dict.fromkeys(files, str(pem)))
        with pytest.raises(ServerUnavailable, match=said) as refused:
            BrokerReader(Address(lambda: where)).read()
    assert url.split(":")[2].split("@")[0] not in str(refused.value)


@contextmanager
def server_that_answers(answer):
    """The port of a server that answers each session with the same bytes, and ends it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    with listener.accept()[0] as session, suppress(OSError):
                        session.recv(65_536)
                        session.sendall(answer)
                        session.shutdown(socket.SHUT_WR)
                        session.recv(65_536)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"+PONG\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 5000, b"+PONG\r\n:1\r\n:2\r\n:3\r\n",
        b"$99999999999\r\n", b"*99999999\r\n", b"*1\r\n" * 50, b"$-1\r\n" * 99, b"*0\r\n" * 99, b"$5\r\nab\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n", b"$3\r\nx:y\r\n" * 99, b":x\r\n",
    ],
)  # fmt: skip
def test_answers_that_are_not_a_brokers_are_no_answer(answer):
    with server_that_answers(answer) as port, pytest.raises(ServerUnavailable):
        of_broker(port).read()


# A server that hangs


def of_database(port):
    return PostgresqlReader(Address(lambda: Credentials(extra={"host": "127.0.0.1", "port": port})), timeout_s=0.3)


def of_broker(port):
    return BrokerReader(Address(lambda: Credentials(url=f"redis://127.0.0.1:{port}/0")), timeout_s=0.3)


@pytest.mark.parametrize("reader", [of_database, of_broker])
def test_a_server_that_says_nothing_is_given_up(reader):
    with silent_server() as port, pytest.raises(ServerUnavailable):
        reader(port).read()


@pytest.mark.parametrize("reader", [of_database, of_broker])
def test_a_server_that_is_not_there_is_named(reader):
    with silent_server() as port:
        pass
    with pytest.raises(ServerUnavailable, match=str(port)):
        reader(port).read()


def test_a_relay_whose_servers_hang_carries_on_and_says_so_once(settings, logs, monkeypatch):
    said = []
    with silent_server() as port:
        monkeypatch.setattr(servers, "_LEAST_S", 0.1)
        monkeypatch.setattr(
            servers, "_READERS", {"database": lambda _: of_database(port), "broker": lambda _: of_broker(port)}
        )
        options = replace(
            settings.relay, component_metrics=("database", "broker"), statsd_port=0, statsd_interval_s=0.1
        )
        relay = Relay(replace(settings, relay=options), say=said.append)
        thread = threading.Thread(target=relay.run)
        thread.start()
        try:
            over = time.monotonic() + 60
            while not all(one.failed > 1 for one in relay._readings):
                logs.write(b'{"timestamp":"2026-01-01T00:00:00Z","level":"info","event":"one"}\n')
                assert time.monotonic() < over
                time.sleep(0.05)
        finally:
            relay.stop()
            thread.join()
    status = read_status(settings.home)
    assert sum("cannot read the metrics of the database" in text for text in said) == 1
    assert sum("cannot read the metrics of the broker" in text for text in said) == 1
    assert status["component_metrics"]["database"]["state"] == "failing"
    assert status["sinks"]["embedded"]["streams"]["airflow.task"]["stored"] > 0
    journal = b"".join(path.read_bytes() for path in settings.journal_directory.glob("airflow.statsd*"))
    for name in ("contrail.database.up", "contrail.broker.up"):
        assert name.encode() in journal
    assert b"metrics of the broker that could not be read" in journal


class Moody:
    """A reader that answers, or fails as told."""

    name = "database"

    def __init__(self):
        self.answers = [Sample("contrail.database.deadlocks", "counter", 2, {})]
        self.fails = False

    def presence(self, *, up):
        return [Sample("contrail.database.up", "gauge", int(up), {})]

    def read(self):
        if self.fails:
            raise ServerUnavailable("it is away; start it")
        return [*self.answers, Sample("contrail.database.blocked", "gauge", 7, {})]


def test_what_was_read_is_said_once_if_it_is_a_sum_and_again_if_it_is_a_state():
    reader, said = Moody(), []
    reading = Reading(reader, 60.0, "test", said.append)
    assert reading.take() == []
    reading._look()
    reading._look()
    up, state = ("contrail.database.up", "gauge", 1, {"env": "test"}), ("contrail.database.blocked", "gauge", 7)
    grown = ("contrail.database.deadlocks", "counter", 2, {"env": "test"})
    assert reading.take() == [grown, grown, (*state, {"env": "test"}), up]
    assert reading.take() == [(*state, {"env": "test"}), up]


def test_each_failure_is_counted_and_one_of_them_is_an_event():
    reader, said = Moody(), []
    reading = Reading(reader, 60.0, "test", said.append)
    reader.fails = True
    take_losses()
    for _ in range(3):
        reading._look()
    reason = "metrics of the database that could not be read"
    assert take_losses() == {("relay.components", reason): 1}
    lost = {"stage": "relay.components", "reason": reason, "env": "test"}
    assert ("contrail.telemetry.losses", "counter", 2, lost) in reading.take()
    assert ("contrail.database.up", "gauge", 0, {"env": "test"}) in reading.take()
    assert reading.report() == {"state": "failing", "why": "it is away; start it", "failed": 3}
    reader.fails = False
    reading._look()
    assert [text.partition(":")[2].strip() for text in said] == [
        "cannot read the metrics of the database: it is away; start it",
        "the metrics of the database can be read again",
    ]


def test_an_address_that_was_refused_is_asked_for_again_but_not_at_once(monkeypatch):
    asked = []

    def ask():
        asked.append(1)
        if len(asked) == 1:
            raise CredentialsError("there is none; add it")
        return Credentials(url="redis://here")

    found = Address(ask)
    for _ in range(2):
        with pytest.raises(ServerUnavailable, match="there is none; add it"):
            found()
    monkeypatch.setattr(addresses, "_ASK_AGAIN_S", 0.0)
    found._due = 0.0
    assert found().url == found().url == "redis://here"
    found.doubt()
    assert found().url == "redis://here"
    assert len(asked) == 3


def test_a_sum_that_began_anew_counts_from_nought():
    growth = Growth()
    assert [growth.of("x", total) for total in (5, 7, 7, 3)] == [0, 2, 0, 3]


# Processes and cgroups


@pytest.mark.parametrize(
    ("line", "component"),
    [
        (["/opt/bin/python", "/opt/bin/airflow", "scheduler", "--skip-serve-logs"], "scheduler"),
        (["/opt/bin/python", "-m", "airflow", "dag-processor"], "dag-processor"),
        (["contrail", "tee", "components/triggerer", "airflow", "triggerer"], "triggerer"),
        (["airflow api_server -- host:0.0.0.0 port:8080"], "api-server"),
        (["[ready] airflow api-server worker"], "api-server"),
        (["/opt/bin/python", "/opt/bin/airflow", "celery", "worker"], "worker"),
        (["[celeryd: celery@host:MainProcess] -active- (airflow celery worker)"], "worker"),
        (["airflow worker -- LocalExecutor: <idle>"], "worker"),
        (["airflow worker -- LocalExecutor [team-a]: <idle>"], "worker"),
        (["airflow task supervisor: {...}"], "worker"),
        (["airflow supervisor: flights.load scheduled__2026-01-01"], "worker"),
        (["airflow worker -- 0198c5a2-7f0e-7d1e-9d4a-5b1f5f0d7c11"], "task"),
        (["/opt/bin/python", "-m", "observability.cli", "relay"], "relay"),
        (["/opt/bin/python", "/opt/bin/contrail", "watch"], "watcher"),
        (["airflow", "db", "migrate"], ""),
        (["/usr/bin/tail", "-f", "/logs/airflow/scheduler.log"], ""),
        (["contrail", "status"], ""),
        (["airflow"], ""),
        ([""], ""),
        ([], ""),
    ],
)
def test_a_component_is_known_by_its_command_line_or_its_title(line, component):
    assert component_of(line) == component


TITLED = """
import os, setproctitle, sys
os.chdir(sys.argv[2])
held = open(sys.argv[3], "a") if sys.argv[3] else None
setproctitle.setproctitle(sys.argv[1])
print(flush=True)
sys.stdin.read()
"""
START = """
import subprocess, sys
child = subprocess.Popen(sys.argv[2:])
print(child.pid, flush=True)
if sys.argv[1] == "stays":
    child.wait()
"""
API_SERVER, SCHEDULER = "airflow api_server -- host:x port:1", "airflow scheduler -- waiting"


@contextmanager
def titled(title=API_SERVER, *, folder="/", held="", parent=""):
    """A process with a title over its environment, as Airflow's. What started it is gone, or has a home of its own."""
    bare = {name: value for name, value in os.environ.items() if name not in {"AIRFLOW_HOME", "HOME"}}
    command = [sys.executable, "-c", START, "stays" if parent else "goes", sys.executable, "-c", TITLED]
    environ = {**bare, **({"AIRFLOW_HOME": parent} if parent else {})}
    with subprocess.Popen(
        [*command, title, folder, held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
    ) as starter:
        said = sorted(starter.stdout.readline().strip() for _ in range(2))  # its number, and a line once it has a title
        if not parent:
            starter.wait()
        yield psutil.Process(int(said[-1]))
        starter.stdin.close()


def seen(reader, *processes):
    """The components as which some processes are counted, None where one is not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psutil, "process_iter", lambda: processes)  # not those of whoever else uses this machine
        members = reader._members()
    return [next((name for name, some in members.items() if one in some), None) for one in processes]


def test_a_process_whose_title_stands_over_its_environment_is_seen():
    """As Airflow's API server does, which is left with no word of its home."""
    with titled() as server:
        assert seen(ProcessReader(), server) == ["api-server"]


@pytest.mark.parametrize("kind", ["the same", "another"])
@pytest.mark.parametrize("evidence", ["journal", "database", "parent", "folder"])
def test_whose_a_process_is_shows_in_what_is_left_when_its_title_hides_it(tmp_path, settings, kind, evidence):
    mine = kind == "the same"
    home = airflow_home() if mine else tmp_path / "other"
    journals = settings.journal_directory if mine else tmp_path / "other" / "journal"
    for folder in (home, journals):
        folder.mkdir(parents=True, exist_ok=True)
    how = {
        "journal": {"held": str(journals / "etl.event-20260101-000.journal")},
        "database": {"held": str(home / "airflow.db")},
        "parent": {"parent": str(home)},
        "folder": {"folder": str(home)},
    }[evidence]
    is_told = mine or evidence in {"journal", "parent"}
    with titled(**how) as server:
        assert is_of_ours(server) is (mine if is_told else None)
        assert seen(ProcessReader(), server) == [None if is_told and not mine else "api-server"]


def test_beside_another_airflow_what_cannot_be_known_is_unknown_and_not_ours(tmp_path, settings):
    theirs = tmp_path / "other" / "journal" / "etl.event-20260101-000.journal"
    ours = settings.journal_directory / theirs.name
    for one in (ours, theirs):
        one.parent.mkdir(parents=True, exist_ok=True)
    reader = ProcessReader()
    with titled(SCHEDULER) as unsure, titled(held=str(ours)) as known, titled(held=str(theirs)) as another:
        assert seen(reader, unsure, known) == ["scheduler", "api-server"]
        assert seen(reader, unsure, known, another) == ["unknown", "api-server", None]
        assert seen(reader, unsure, known) == ["scheduler", "api-server"]


def cgroup(tmp_path, files, lines):
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for pid, line in lines.items():
        (proc / str(pid)).mkdir(parents=True, exist_ok=True)
        (proc / str(pid) / "cgroup").write_text(line)
    return Cgroups(root, proc)


def test_a_cgroup_says_its_limit_its_kills_and_its_throttling(tmp_path):
    files = {
        "airflow/scheduler/memory.max": "1000\n",
        "airflow/scheduler/memory.current": "600\n",
        "airflow/scheduler/memory.events": "oom 2\noom_kill 1\n",
        "airflow/scheduler/cpu.stat": "usage_usec 9\nthrottled_usec 5000\n",
    }
    read = cgroup(tmp_path, files, {7: "0::/airflow/scheduler\n"})
    read.read({"scheduler": [7]})
    for name, text in {"memory.events": "oom_kill 3\n", "cpu.stat": "throttled_usec 9000\n"}.items():
        (tmp_path / "cgroup/airflow/scheduler" / name).write_text(text)
    assert values(read.read({"scheduler": [7, 8]})) == {
        ("component.memory_limit_bytes", "scheduler"): 1000,
        ("component.cgroup_memory_bytes", "scheduler"): 600,
        ("component.oom_kills", "scheduler"): 2,
        ("component.throttled_ms", "scheduler"): 4,
    }


def test_a_cgroup_that_two_components_are_in_is_shared(tmp_path):
    read = cgroup(tmp_path, {"a/memory.current": "600\n"}, {7: "0::/a\n", 8: "0::/a\n"})
    assert values(read.read({"scheduler": [7], "relay": [8]})) == {("component.cgroup_memory_bytes", "shared"): 600}


def test_memory_is_counted_by_the_nearest_cgroup_that_counts_it(tmp_path):
    files = {"memory.current": "900\n", "pod/memory.current": "600\n", "pod/init/cgroup.procs": "7\n", "b/x": ""}
    read = cgroup(tmp_path, files, {7: "0::/pod/init\n", 8: "0::/b\n"})
    assert values(read.read({"scheduler": [7], "relay": [8]})) == {
        ("component.cgroup_memory_bytes", "scheduler"): 600,
        ("component.cgroup_memory_bytes", "relay"): 900,
    }


@pytest.mark.parametrize("place", ["/docker/0123", "/"])
def test_a_container_whose_cgroup_is_the_root_has_its_limit(tmp_path, place):
    read = cgroup(
        tmp_path,
        {"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "9"},
        {7: f"4:memory:{place}\n"},
    )
    assert values(read.read({"worker": [7]})) == {
        ("component.memory_limit_bytes", "worker"): 1000,
        ("component.cgroup_memory_bytes", "worker"): 9,
    }


def test_a_host_without_limits_is_no_component(tmp_path):
    files = {"memory/memory.limit_in_bytes": str(2**63 - 4096), "memory/memory.usage_in_bytes": "9"}
    assert cgroup(tmp_path, files, {7: "4:memory:/\n"}).read({"worker": [7]}) == []


@pytest.mark.parametrize("line", ["0::/../another\n", "", "garbage", "0::\xff\n", "4:memory"])
def test_a_cgroup_that_cannot_be_reached_or_understood_is_left_out(tmp_path, line):
    assert cgroup(tmp_path, {}, {7: line}).read({"worker": [7]}) == []
