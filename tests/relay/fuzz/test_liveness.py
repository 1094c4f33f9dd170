"""The liveness law: whatever is put before Contrail, what is good arrives, and a failure is told.

One body holds it for every input of every fuzzer: in the log folder, the journal, the spool and on the socket, in
Airflow's answers and in a store's, at the relay's own servers, in the answers of Airflow's database and broker, and in
the file of rules. Settings are left out: they are read at the start alone.
A good line, a real failure of another DAG and a metric that come after the inputs are in the store, and the failure
in the channel, within their usual time; no thread of relay or watcher repeats a failure for ever.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import socket
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
import stores
from airflow_answers import airflow_answer

sys.path.insert(0, str(Path(__file__).parent))
from answer_targets import ANSWERS
from corpus import CORPUS
from harmful_server import HarmfulServer, forwarded, harmed
from otlp_receiver import OtlpReceiver
from received_targets import SENT, good
from test_fuzz import changed
from written_targets import WRITTEN

from benchmarks.watched import failure
from observability import contain
from observability.cli.watch import AirflowContacts
from observability.contain import take_losses
from observability.credentials import Credentials
from observability.errors import RulesError
from observability.journal import Journal
from observability.relay.relay import Relay
from observability.relay.sources.components import servers
from observability.settings import get_settings
from observability.store import Query, StoreError, open_store
from observability.watch.ledger.database import Ledger
from observability.watch.rules.config import read_rules
from observability.watch.rules.loader import RulesFile
from observability.watch.sources.api import AirflowApi
from observability.watch.watcher import Watcher

GOOD = "dag_id=good/run_id=r/task_id=t/attempt=1.log"
USUAL_S = 60.0
"""It is a second or two when the machine has nothing else to do."""
RULES = """
channels: {file: {type: file}, log: {type: log}}
receivers: {everybody: {channels: [file], fallback: log}}
routes: [{receiver: everybody}]
"""
BATCH = 40
FEW = 4
RULES_READ_S = 0.3
"""A watcher looks whether its rules have changed about three times a second."""
BACKENDS, ENDS = ("cloudwatch", "elasticsearch"), ("sink", "store")
HARMED = 12
"""So many answers of a store are harmed before one is right."""


def inputs(seed):
    """Some hundred inputs by fuzzer: all seeds, or that many changes of them."""
    chance = random.Random(seed)
    if not seed:
        return {target: list(seeds) for target, seeds in (CORPUS | WRITTEN).items()}
    return {
        target: [changed(chance.choice(seeds), seeds, chance) for _ in range(BATCH)]
        for target, seeds in (CORPUS | WRITTEN).items()
    }


def put(folder, settings, found):
    """Lay the inputs where the relay will come by them."""
    for number, data in enumerate(found["log_lines"] + found["tailed_log"] + found["masking"]):
        for name in (f"dag_id=d/run_id=r/task_id=t{number}/attempt=1.log", f"dag_processor/2026-01-31/{number}.log"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    for data in found["names_of_files"] + found["log_template"]:
        _file_called(folder, data)
    settings.journal_directory.mkdir(parents=True, exist_ok=True)
    for number, document in enumerate(written(found)):
        Journal(settings.journal_directory).append("etl.event", orjson.dumps(document))
        line = {"timestamp": document["@timestamp"], "event": document["event.reason"]}
        path = folder / f"dag_id=d/run_id=written/task_id=t{number}/attempt=1.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(line) + b"\n")
    for number, data in enumerate(found["journal_frames"] + found["tailed_journal"]):
        (settings.journal_directory / f"etl.event-20260131-{number:03d}.journal").write_bytes(data + b"\n")
    for number, data in enumerate(found["statsd_spool"]):
        (settings.home / "statsd").mkdir(parents=True, exist_ok=True)
        (settings.home / "statsd" / f"{number}-1-1.datagrams").write_bytes(data)
    os.mkfifo(folder / "dag_id=d/run_id=r/task_id=t0/attempt=2.log")
    (folder / "dag_id=d/run_id=r/task_id=t0/attempt=3.log").symlink_to("/dev/zero")


def written(found):
    """Failures of which names, times, texts and addresses are what people wrote; few, for many would be one message."""
    texts, moments, addresses = (
        [data.decode("utf-8", "replace") for data in found[target]] for target in ("terminal", "moments", "addresses")
    )
    for number, (text, moment, address) in enumerate(zip(texts, moments, addresses, strict=False)):
        if number < FEW:
            said = {"event.reason": text, "error.type": text, "incident.runbook": address}
            yield failure(text, f"written{number}") | said | {"@timestamp": moment}


def refused(rules):
    """Those of the rules files that are none: the rules in force stay, whichever comes."""
    for data in rules:
        try:
            read_rules(data, "alerts.yaml")
        except RulesError:
            yield data


def _file_called(folder, data):
    parts = [part for part in data.replace(b"\0", b"").split(b"/") if part not in {b"", b".", b".."}]
    path = folder.joinpath(*(os.fsdecode(part[:200]) for part in parts))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x\n")
    except OSError:
        return  # no file can be called so


def send(port, found):
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        for data in [*found["datagrams"], b"liveness.good:1|c"]:
            client.sendto(data[:60_000], ("127.0.0.1", port))


def write_what_is_good(folder, settings):
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
    path = folder / GOOD
    path.parent.mkdir(parents=True)
    path.write_bytes(orjson.dumps({"timestamp": now, "level": "info", "event": "good"}) + b"\n")
    Journal(settings.journal_directory).append("etl.event", orjson.dumps(failure("another", "r1")))


ARRIVED = (["good"], ["task.failed"], True)


def arrived(settings):
    with closing(open_store(settings)) as store:
        return (
            [one["event"] for one in store.documents(Query("airflow.task", where={"airflow.dag_id": "good"}))],
            [one["event.action"] for one in store.documents(Query("etl.event", where={"airflow.dag_id": "another"}))],
            bool(store.count(Query("airflow.statsd", where={"metric.name": "liveness.good"})).get("")),
        )


def told(settings):
    """The DAGs whose failure stands in the channel."""
    path = settings.home / "alerts.jsonl"
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    said = [orjson.loads(line) for line in lines if line.endswith(b"}")]
    return {one["dag_id"] for one in said if one["kind"] == "opened"}


def airflow(method, path, body, headers):
    """Airflow as it is: two DAGs of which both failed; rows about the bad one stand in no right shape beside them."""
    where = urlsplit(path)
    if where.path == "/auth/token":
        return 201, b'{"access_token":"t"}'
    found = airflow_answer(where.path.removeprefix("/api/v2"), parse_qs(where.query).get("state", []), time.time())
    for rows in (found or {}).values():
        if isinstance(rows, list):
            rows[:0] = [row | {key: [] for key in list(row)[1::2]} for row in rows if row.get("dag_id") == "bad"]
    return (200, orjson.dumps(found)) if found is not None else (404, b"{}")


def about_the_bad_one():
    """A question about the bad DAG is always harmed, and the first answer to each other question."""
    asked = set()

    def harms(path):
        where = urlsplit(path).path
        is_first = where not in asked and where != "/auth/token"
        asked.add(where)
        return is_first or re.search(r"/dags/bad/", where) is not None

    return harms


@contextmanager
def watching(settings, url):
    (settings.home / "alerts.yaml").write_text(RULES)
    ledger = Ledger(f"sqlite:///{settings.home / 'ledger.db'}")
    api = AirflowApi(url, timeout_s=1.0) if url else None
    watcher = Watcher(settings, ledger, RulesFile(settings.home / "alerts.yaml"), AirflowContacts(), api=api)
    runs = threading.Thread(target=watcher.run, daemon=True)
    runs.start()
    try:
        yield [runs, watcher._store, *watcher._sources()]
    finally:
        watcher.stop()
        runs.join(30)
        ledger.close()
        if api is not None:
            api.close()


@contextmanager
def relaying(settings):
    relay = Relay(settings, say=print)
    relay.statsd._interval_s = 0.5
    runs = threading.Thread(target=relay.run, daemon=True)
    runs.start()
    try:
        while not settings.store_path.exists():
            time.sleep(0.01)
        yield relay
    finally:
        relay.stop()
        runs.join(30)
        take_losses()


def until(found, wanted):
    deadline = time.monotonic() + USUAL_S
    while True:
        try:
            got = found()
        except StoreError as error:  # a stream of which no shard has started yet
            got = error
        if got == wanted:
            return
        assert time.monotonic() < deadline, got
        time.sleep(0.1)


def the_law_holds(  # noqa: PLR0913 - what is put before it
    settings, folder, seed, *, url="", dags=frozenset({"another"}), harmed_store=None, stored=None, also=None
):
    """The one body. ``harmed_store`` answers badly until what is good has arrived everywhere else; then well.

    ``also`` does more to the running relay before what is good is written.
    """
    take_losses()
    found = inputs(seed)
    if harmed_store is not None:  # each file is several requests to it, and the tests above lay down all of them
        found = {target: some[:FEW] for target, some in found.items()}
    put(folder, settings, found)
    with relaying(settings) as relay, watching(settings, url) as threads:
        send(relay.statsd.port, found)
        if also is not None:
            also(relay)
        for data in list(refused(found["rules_file"]))[:FEW]:
            (settings.home / "alerts.yaml").write_bytes(data)
            time.sleep(2 * RULES_READ_S)
        write_what_is_good(folder, settings)
        until(lambda: arrived(stored or settings), ARRIVED)
        until(lambda: told(settings) & dags, set(dags))
        if harmed_store is not None:
            until(lambda: harmed_store.asked >= HARMED, True)
            harmed_store.harms = lambda _path: False
            until(lambda: arrived(settings), ARRIVED)
        until(lambda: [worker.stats.trouble for worker in relay.workers], [""] * len(relay.workers))
        assert all(thread.is_alive() for thread in (*relay.workers, relay.statsd, *threads))
        settled = losses(stored or settings)
        time.sleep(3 * 1.5)  # three times the longest pause between two tries
        again = {key: number - settled.get(key, 0) for key, number in losses(stored or settings).items()}
        assert not any(again.values()), "a thread goes on failing"
        assert not list((settings.home / "set-aside").glob("*")), "we fail at an input ourselves"


def test_the_inputs_of_every_fuzzer_are_put_before_it(quick, logs):
    settings = quick()
    settings.home.mkdir(parents=True, exist_ok=True)
    found = _Asked(inputs(0))
    put(logs.root, settings, found)
    send(9, found)
    list(refused(found["rules_file"]))
    assert (CORPUS | WRITTEN).keys() - found.asked == {"settings_file", "headers"}, "headers are in harmed()"
    of_stores = {f"{one}_{end}" for one in BACKENDS for end in ENDS}
    assert ANSWERS.keys() == {"airflow_api", "airflow_health", "otlp_sink", *of_stores}


class _Asked(dict):
    """Inputs that know which of them were asked for."""

    def __init__(self, *given):
        super().__init__(*given)
        self.asked = set()

    def __getitem__(self, target):
        self.asked.add(target)
        return super().__getitem__(target)


@pytest.fixture
def quick(settings, monkeypatch):
    """The settings once more, in haste; ``quick(**variables)`` adds to them."""
    monkeypatch.setattr(contain, "raises_again", lambda: False)

    def made(**more):
        base = {
            "RELAY__STATSD_INTERVAL_S": "0.5", "WATCH__RECONCILE_S": "0.2", "ELASTICSEARCH__REQUEST_TIMEOUT_S": "2",
        }  # fmt: skip
        for name, value in (base | more).items():
            monkeypatch.setenv(name if name.startswith("CONTRAIL_") else f"CONTRAIL_{name}", value)
        get_settings.cache_clear()
        return get_settings()

    return made


@pytest.mark.parametrize("seed", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_is_good_arrives_whatever_is_on_the_disk_and_the_socket(quick, logs, seed):
    the_law_holds(quick(), logs.root, seed)


def test_what_is_good_arrives_whatever_airflow_answers(quick, logs, monkeypatch):
    monkeypatch.setenv("CONTRAIL_API_TOKEN", "t")
    with HarmfulServer(airflow, harmed(1, "airflow_api", "airflow_health"), about_the_bad_one()) as server:
        the_law_holds(quick(), logs.root, 1, url=server.url, dags=frozenset({"another", "good"}))
        assert server.asked > 5


@contextmanager
def answering(answers):
    """The port of a server that answers each session with the next of ``answers`` and hangs up; and how many it had."""
    had, rounds = [], itertools.cycle(answers)
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:

        def serve():
            with suppress(OSError):
                while True:
                    session, _ = listening.accept()
                    with session, suppress(OSError):
                        session.settimeout(2.0)
                        session.recv(65_536)
                        had.append(next(rounds))
                        session.sendall(had[-1])

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1], had
        listening.shutdown(socket.SHUT_RDWR)


def hand_over(port, data):
    """Send raw bytes as a client of a server, wait for what it says, and go away."""
    with socket.create_connection(("127.0.0.1", port), 20) as client, suppress(OSError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65_536):
            pass


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_what_is_good_arrives_whatever_its_servers_are_sent_and_its_readers_are_told(quick, logs, monkeypatch):
    chance = random.Random(1)
    sent = {
        name: [*seeds, *(changed(chance.choice(seeds), seeds, chance) for _ in range(BATCH))]
        for name, seeds in SENT.items()
    }
    ports = {"OTLP__RECEIVE_PORT": free_port(), "RELAY__METRICS_PORT": free_port()}

    def attack(_relay):
        for body in sent["otlp_bodies"]:
            head = b"POST /v1/logs HTTP/1.1\r\ncontent-type: application/x-protobuf\r\ncontent-length: %d\r\n\r\n"
            hand_over(ports["OTLP__RECEIVE_PORT"], head % len(body) + body)
        for data in sent["otlp_requests"]:
            hand_over(ports["OTLP__RECEIVE_PORT"], b"POST /v1/logs HTTP/1.1\r\n" + data)
        for data in sent["metrics_requests"]:
            hand_over(ports["RELAY__METRICS_PORT"], b"GET /metrics HTTP/1.1\r\n" + data)
        body = good("logs")
        found = httpx.post(
            f"http://127.0.0.1:{ports['OTLP__RECEIVE_PORT']}/v1/logs",
            content=body,
            headers={"content-type": "application/x-protobuf"},
            timeout=USUAL_S,
        )
        assert found.status_code == 200
        until(lambda: "good" in {one.severity_text for one in receiver.logs}, True)
        page = httpx.get(f"http://127.0.0.1:{ports['RELAY__METRICS_PORT']}/metrics", timeout=USUAL_S)
        assert (page.status_code, page.text.endswith("# EOF\n") or "# TYPE" in page.text) == (200, True)
        until(lambda: min(len(asked_of_broker), len(asked_of_database)) >= FEW, True)

    with (
        OtlpReceiver() as receiver,
        answering(sent["redis_answers"]) as (broker, asked_of_broker),
        answering(sent["postgresql_answers"]) as (database, asked_of_database),
    ):
        of = {
            "broker": Credentials(url=f"redis://127.0.0.1:{broker}/0"),
            "database": Credentials(
                extra={"host": "127.0.0.1", "port": database, "user": "u", "dbname": "d", "sslmode": "disable"}
            ),
        }
        monkeypatch.setattr(servers, "airflow_server", lambda which, _connection: of[which])
        settings = quick(
            RELAY__SINKS="embedded,otlp",
            OTLP__URL=receiver.url,
            RELAY__COMPONENT_METRICS="processes,database,broker",
            **{name: str(port) for name, port in ports.items()},
        )
        the_law_holds(settings, logs.root, 0, also=attack)


@pytest.fixture
def whatever_it_answers(quick, logs):
    """The law for a sink and store behind a server of ours; ``address`` names the variable with its address."""

    def holds(backend, environ, address, upstream):
        answers = harmed(1, f"{backend}_sink", f"{backend}_store")
        with HarmfulServer(forwarded(upstream), answers, lambda _path: True) as server:
            beside = quick()
            more = {address: server.url, "RELAY__SINKS": f"embedded,{backend}", "STORE__BACKEND": backend}
            the_law_holds(quick(**environ | more), logs.root, 1, harmed_store=server, stored=beside)

    return holds


def test_what_is_good_arrives_whatever_cloudwatch_answers(whatever_it_answers, aws_environ, moto_url):
    whatever_it_answers("cloudwatch", aws_environ, "CONTRAIL_CLOUDWATCH__ENDPOINT_URL", moto_url)


def test_what_is_good_arrives_whatever_elasticsearch_answers(whatever_it_answers, elasticsearch_url):
    environ = stores.elasticsearch(elasticsearch_url)
    whatever_it_answers("elasticsearch", environ, "CONTRAIL_ELASTICSEARCH__URL", elasticsearch_url)


ANSWERED_BADLY = {
    ("relay.components", f"metrics of the {server} that could not be read") for server in ("broker", "database")
}


def losses(settings):
    """The losses that the relay has reported until now, by stage and reason."""
    since = datetime.now(timezone.utc) - timedelta(hours=1)
    with closing(open_store(settings)) as store:
        told = store.documents(Query("etl.event", where={"event.action": "telemetry.lost"}, since=since))
        counts = {}
        for one in told:
            key = one["telemetry.stage"], one["telemetry.reason"]
            if key[0] == "watch.reconcile" or key in ANSWERED_BADLY:
                continue  # what Airflow, its database or its broker does not answer is asked again
            counts[key] = counts.get(key, 0) + one["telemetry.count"]
    return counts
