"""The doctor, tried by breaking each link in turn: it must name the one that was broken, and how to mend it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from observability.cli import doctor
from observability.doctor import scheduling
from observability.doctor.link import walk
from observability.emit import NOT_OURS
from observability.local.ports import any_port
from observability.relay.sinks.sink import Batch, open_sink
from observability.settings import load_settings

HEALTHY = {"status": "healthy"}
NOW = 1_700_000_000
LINE = (
    b'{"@timestamp":"2013-01-01T00:00:00Z","airflow.dag_id":"d","airflow.run_id":"r","airflow.task_id":"t","event":"x"}'
)
TOLD = (
    b'{"event.id":"3","@timestamp":"2013-01-01T00:00:00Z","event.action":"task.succeeded",'
    b'"airflow.dag_id":"d","airflow.run_id":"r","airflow.task_id":"t"}'
)
DOCUMENT = b'{"event.id":"1","@timestamp":"2013-01-01T00:00:00Z","event.action":"dag_run.started"}'


def heartbeat(name):
    """A metric of Airflow's own, as the relay writes it."""
    metric = {"event.id": "2", "@timestamp": datetime.now(timezone.utc).isoformat(), "metric.name": name}
    return json.dumps({**metric, "metric.type": "counter", "metric.value": 1.0}).encode()


class FakeAirflow:
    """Answers as a healthy Airflow with our plugin; ``answers`` (a number is a status) and ``clock`` can be spoilt."""

    def __init__(self):
        beat = {f"latest_{name}_heartbeat": "now" for name in ("scheduler", "dag_processor", "triggerer")}
        health = {name: {**HEALTHY, **beat} for name in ("metadatabase", "scheduler", "dag_processor", "triggerer")}
        self.answers = {
            "/api/v2/monitor/health": health,
            "/api/v2/version": {"version": "3.3.2"},
            "/api/v2/importErrors": {"total_entries": 0, "import_errors": []},
            "/api/v2/dags": {"total_entries": 4, "dags": []},
            "/api/v2/plugins": {"plugins": [{"name": "contrail"}]},
            "/api/v2/dags/~/dagRuns/~/taskInstances": {"task_instances": []},
        }
        self.clock = time.time
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                found = fake.answers.get(self.path.partition("?")[0], fake.answers.get("*"))
                status = found if isinstance(found, int) else 200 if found is not None else 403
                self.send_response_only(status)
                self.send_header("Date", formatdate(fake.clock(), usegmt=True))
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            do_POST = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Chain:
    """A whole chain in which nothing is broken, until a test breaks it."""

    metric = "scheduler_heartbeat"

    def __init__(self, home, airflow):
        self.home = home
        self.airflow = airflow
        self.environ = {
            "CONTRAIL_HOME": str(home),
            "CONTRAIL_CORE__HOME": str(home),
            "CONTRAIL_WATCH__API_URL": airflow.url,
            "CONTRAIL_STATSD__ENABLED": "false",
            "CONTRAIL_RELAY__LOG_FOLDER": str(home / "logs"),
            "CONTRAIL_RELAY__STATSD_PORT": str(any_port(socket.SOCK_DGRAM)),
        }
        self.relay = {
            "state": "running", "pid": 1, "time": time.time(), "files": 3, "unreadable": {},
            "statsd": {"received": 0, "port": 8125},
            "sinks": {"embedded": {"trouble": "", "lag_seconds": 0.1, "lag_bytes": 0, "dead_letters": 0}},
        }  # fmt: skip
        self.beat = {"time": time.time(), "pid": 2, "active": True, "detail": ""}
        for folder in ("logs", "keys", "journal"):
            (home / folder).mkdir(mode=0o700)
        self.fill()

    def fill(self):
        """The documents of a store in which all is well."""
        self.store("airflow.statsd", heartbeat(self.metric))
        self.store("etl.event", DOCUMENT)

    def store(self, dataset, document, kind="journal"):
        """Have a document of a dataset in the store."""
        with closing(open_sink("embedded", self.settings())) as sink:
            sink.send(
                Batch(dataset, f"{dataset}-20130101-000.journal", kind, [b"%d-%d" % (id(document), 0)], [document])
            )

    def settings(self):
        return load_settings(environ=self.environ)

    def findings(self):
        (self.home / "relay.status.json").write_text(json.dumps(self.relay))
        (self.home / "watch.heartbeat").write_text(json.dumps(self.beat))
        return {one.link: one for one in walk(doctor._links(channels=False), self.settings())}

    def broken(self):
        """The links that are broken, with why and how to mend them."""
        return [(one.link, one.why, one.mend) for one in self.findings().values() if one.state == "broken"]


@pytest.fixture
def chain(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_API_TOKEN", "a-token")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with closing(FakeAirflow()) as airflow, ExitStack() as kept:
        chain = Chain(home, airflow)
        chain.kept, chain.patch = kept, monkeypatch
        yield chain


def freeze(patch, *, at, takes=0.0):
    """Stop the clock of this machine, as the doctor sees it, but for the seconds that its question takes."""
    moments = itertools.chain([at], itertools.repeat(at + takes))
    patch.setattr(scheduling, "time", SimpleNamespace(time=lambda: next(moments)))


@pytest.mark.parametrize(
    ("skew", "words"),
    [
        (-7, "clock is 7 s behind this machine's"),
        (6, "clock is 6 s ahead of this machine's"),
        (86_400, "clock is 86400 s ahead of this machine's"),
    ],
)
def test_a_clock_is_wrong_by_what_no_answer_explains(chain, skew, words):
    freeze(chain.patch, at=NOW)
    chain.airflow.clock = lambda: NOW + skew
    clock = chain.findings()["clock"]
    assert (clock.state, clock.why) == ("broken", f"the API server's {words}")


@pytest.mark.parametrize(("skew", "takes"), [(-6, 0), (0, 0), (5, 0), (1, 30), (29, 30)])
def test_a_clock_is_right_as_far_as_an_answer_can_tell_however_long_it_takes(chain, skew, takes):
    freeze(chain.patch, at=NOW, takes=takes)
    chain.airflow.clock = lambda: NOW + skew
    assert chain.findings()["clock"].state == "ok"


def test_of_a_whole_chain_nothing_is_broken_or_unknown(chain):
    states = {name: one.state for name, one in chain.findings().items()}
    off = {
        "hosts",
        "statsd",
        "component-metrics",
        "templates",
        "boards",
        "panels",
        "callbacks",
        "logs",
        "channels",
        "history",
        "deadlines",
    }
    assert {name: state for name, state in states.items() if name not in off} == dict.fromkeys(
        [name for name in states if name not in off], "ok"
    )


def open_a_key(chain):
    (chain.home / "keys" / "fernet-key").touch(mode=0o644)


def mount_home_read_only(chain):
    found = SimpleNamespace(f_flag=os.ST_RDONLY, f_bavail=1 << 40, f_frsize=1, f_blocks=1, f_bfree=1)
    chain.patch.setattr(os, "statvfs", lambda _path: found)


def fill_the_disk(chain):
    chain.patch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(1 << 40, 1 << 40, 5 << 20))


def stop_airflow(chain):
    chain.environ["CONTRAIL_WATCH__API_URL"] = "http://127.0.0.1:1"


def lose_the_database(chain):
    chain.airflow.answers["/api/v2/monitor/health"]["metadatabase"] = {"status": "unhealthy"}


def stop_the_triggerer(chain):
    chain.airflow.answers["/api/v2/monitor/health"]["triggerer"] = {"status": "unhealthy"}


def set_the_clock_wrong(chain):
    freeze(chain.patch, at=NOW)
    chain.airflow.clock = lambda: NOW - 3600


def forbid_the_api(chain):
    del chain.airflow.answers["/api/v2/dags"]


def break_a_dag(chain):
    error = {"filename": "dags/x.py", "stack_trace": "Traceback\nSyntaxError: invalid syntax\n"}
    chain.airflow.answers["/api/v2/importErrors"] = {"total_entries": 1, "import_errors": [error]}


def remove_the_plugin(chain):
    chain.airflow.answers["/api/v2/plugins"] = {"plugins": []}


def run_a_task_that_tells_nothing(chain):
    task = {"dag_id": "d", "task_id": "t", "dag_run_id": "r", "pid": 7, "start_date": "today"}
    chain.airflow.answers["/api/v2/dags/~/dagRuns/~/taskInstances"] = {"task_instances": [task]}
    chain.store("airflow.task", LINE, "log")


def write_logs_elsewhere(chain):
    run_a_task_that_tells_nothing(chain)
    chain.home.joinpath("store.db").unlink()
    chain.fill()
    chain.store("etl.event", TOLD)


def give_a_token_that_is_none(chain):
    chain.airflow.answers["/api/v2/dags"] = 401  # the version is told to everybody


def refuse_a_question(chain):
    chain.airflow.answers["/api/v2/importErrors"] = 500


def make_kibana_ill(chain):
    chain.environ["CONTRAIL_CORE__KIBANA_URL"] = chain.airflow.url
    chain.airflow.answers["*"] = 500


def take_the_relays_port(chain):
    chain.relay["state"] = "stopped"
    taken = chain.kept.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    taken.bind(("127.0.0.1", int(chain.environ["CONTRAIL_RELAY__STATSD_PORT"])))


def hold(chain):
    """A process of ours that a signal has stopped."""
    command = [sys.executable, "-c", "import signal; signal.raise_signal(signal.SIGSTOP)", "observability"]
    process = chain.kept.enter_context(subprocess.Popen(command))
    chain.kept.callback(process.kill)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    return process.pid


def hold_the_relay(chain):
    chain.relay |= {"time": time.time() - 600, "pid": hold(chain)}


def hold_the_watcher(chain):
    chain.beat |= {"time": time.time() - 600, "pid": hold(chain)}


def stop_the_relay(chain):
    chain.relay["time"] -= 600


def take_a_log_away(chain):
    chain.relay["unreadable"] = {"scheduler.log": "Permission denied"}


def send_metrics_elsewhere(chain):
    chain.environ |= {"CONTRAIL_STATSD__ENABLED": "true", "CONTRAIL_STATSD__PORT": "9"}
    chain.patch.setattr("observability.doctor.delivery._PROBE_S", 0.3)


def stop_the_sink(chain):
    chain.relay["sinks"]["embedded"]["trouble"] = "database is locked"


def fall_behind(chain):
    chain.relay["sinks"]["embedded"]["lag_seconds"] = 900.0


def refuse_records(chain):
    chain.relay["sinks"]["embedded"]["dead_letters"] = 3


def damage_the_store(chain):
    (chain.home / "store.db").write_bytes(b"this is no database, and was never one" * 200)


def lose_elasticsearch(chain):
    chain.environ |= {"CONTRAIL_RELAY__SINKS": "elasticsearch", "CONTRAIL_ELASTICSEARCH__URL": "http://127.0.0.1:1",
                      "CONTRAIL_ELASTICSEARCH__CONNECTION_ID": ""}  # fmt: skip


def leave_old_templates(chain):
    old = {"_meta": {"digest": "of-a-version-before"}}
    chain.environ |= {"CONTRAIL_RELAY__SINKS": "elasticsearch", "CONTRAIL_ELASTICSEARCH__URL": chain.airflow.url,
                      "CONTRAIL_ELASTICSEARCH__CONNECTION_ID": ""}  # fmt: skip
    chain.airflow.answers |= {
        "/": {"version": {"number": "9.4.3"}},
        "/_license": {"license": {"type": "basic"}},
        "*": {
            "component_templates": [{"component_template": old}],
            "index_templates": [{"index_template": old}],
        },
    }


def run_a_newer_airflow(chain):
    chain.airflow.answers["/api/v2/version"] = {"version": "3.9.0"}


def damage_the_ledger(chain):
    (chain.home / "ledger.db").write_bytes(b"this is no database, and was never one" * 200)


def misspell_a_rule(chain):
    (chain.home / "alerts.yaml").write_text("routez: []\n")


def stop_the_watcher(chain):
    chain.beat["time"] -= 600


def call_logs_so_that_no_run_is_told(chain):
    template = "{{ ti.dag_id }}/{{ ti.task_id }}/{{ ts }}/{{ try_number }}.log"
    chain.patch.setenv("AIRFLOW__LOGGING__LOG_FILENAME_TEMPLATE", template)


def run_a_task_as_another_user(chain):
    lost = {"metric.name": "contrail.telemetry.losses", "metric.value": 1, "telemetry.reason": NOT_OURS}
    chain.store("airflow.statsd", json.dumps(json.loads(heartbeat("x")) | {"event.id": "9" * 32} | lost).encode())


def share_the_home(chain):
    (chain.home / "mounts").write_text(f"filer:/x {chain.home} nfs4 rw 0 0\n")
    chain.patch.setattr("observability.doctor.host._MOUNTS", chain.home / "mounts")


def lose_the_broker(chain):
    why = "Error 111 connecting to broker:6379; check the broker's address and what its user may ask"
    chain.relay["component_metrics"] = {"broker": {"state": "failing", "why": why, "failed": 7}}


BREAKS = {
    share_the_home: ("local", "network file system (nfs4)", "CONTRAIL_HOME"),
    open_a_key: ("secrets", "fernet-key can be read by others", "chmod"),
    mount_home_read_only: ("home", "is read-only", "CONTRAIL_HOME"),
    fill_the_disk: ("disk", "5 MiB are free", "du -xsh"),
    stop_airflow: ("api-server", "nothing answers at http://127.0.0.1:1", "contrail up"),
    lose_the_database: ("api-server", "metadata database", "airflow db check"),
    stop_the_triggerer: ("components", "triggerer is not healthy", "contrail status"),
    set_the_clock_wrong: ("clock", "clock is 3600 s behind this machine's", "set-ntp"),
    forbid_the_api: ("login", "403", "correct or unset CONTRAIL_API_TOKEN"),
    run_a_newer_airflow: ("version", "3.9.0 is not one that this version was tried on: 3.1 to 3.4", "pip"),
    break_a_dag: ("dags", "dags/x.py does not parse: SyntaxError: invalid syntax", "python dags/x.py"),
    remove_the_plugin: ("plugin", "not loaded", "pip install"),
    run_a_task_that_tells_nothing: ("callbacks", "d.t ran at today and sent nothing to this store", "pip install"),
    stop_the_relay: ("relay", "the relay has been silent for 10 min", "contrail relay"),
    hold_the_relay: ("relay", "is stopped by a signal", "kill -CONT "),
    take_the_relays_port: ("relay", "another process has UDP port", "ss -lunp"),
    write_logs_elsewhere: ("logs", "no line of the log of d.t has arrived", "CONTRAIL_RELAY__LOG_FOLDER"),
    give_a_token_that_is_none: ("login", "401", "correct or unset CONTRAIL_API_TOKEN"),
    refuse_a_question: ("dags", "500", "contrail status"),
    make_kibana_ill: ("boards", "Kibana answers 500", "Kibana's own log"),
    take_a_log_away: ("relay", "scheduler.log: Permission denied", "chmod"),
    call_logs_so_that_no_run_is_told: ("log-files", "does not hold the run_id", "attempt="),
    run_a_task_as_another_user: ("journal", "run_as_user", "CONTRAIL_HOME"),
    send_metrics_elsewhere: ("statsd", "127.0.0.1:9 does not arrive; the relay listens on 8125", "STATSD__PORT=8125"),
    lose_the_broker: ("component-metrics", "broker cannot be read: Error 111", "check the broker's address"),
    stop_the_sink: ("sinks", "database is locked", "embedded"),
    fall_behind: ("lag", "15 min", "contrail relay --status"),
    refuse_records: ("dead-letters", "3", "contrail relay replay"),
    damage_the_store: ("store", "store.db", "contrail config show"),
    lose_elasticsearch: ("templates", "127.0.0.1:1", "contrail elasticsearch setup"),
    leave_old_templates: ("templates", "not as this version needs them", "contrail elasticsearch setup"),
    damage_the_ledger: ("ledger", "ledger", "ledger_url"),
    misspell_a_rule: ("rules", "routez", "contrail alerts check"),
    stop_the_watcher: ("watcher", "the watcher has been silent for 10 min", "contrail watch"),
    hold_the_watcher: ("watcher", "is stopped by a signal", "kill -CONT "),
}  # fmt: skip


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.__name__)
def test_it_names_the_link_that_is_broken_and_no_other(chain, broken):
    broken(chain)
    link, why, mend = BREAKS[broken]
    found = chain.broken()
    assert [one[0] for one in found] == [link], found
    assert why in found[0][1]
    assert mend in found[0][2]


def test_metrics_that_are_not_airflows_do_not_count_as_airflows(chain, monkeypatch):
    monkeypatch.setattr(Chain, "metric", "contrail.task.started")
    home = chain.home.with_name("other")
    home.mkdir(mode=0o700)
    assert [link for link, _, _ in Chain(home, chain.airflow).broken()] == ["metrics"]


def test_the_prefix_that_the_relay_does_not_take_off_is_named_with_the_remedy(chain, monkeypatch):
    monkeypatch.setattr(Chain, "metric", "acme.scheduler_heartbeat")
    home = chain.home.with_name("other")
    home.mkdir(mode=0o700)
    [(link, why, mend)] = Chain(home, chain.airflow).broken()
    assert link == "metrics"
    assert "arrive as acme.scheduler_heartbeat" in why
    assert "CONTRAIL_RELAY__STATSD_PREFIX=acme" in mend


def test_what_a_broken_link_hides_is_not_called_broken(chain):
    stop_airflow(chain)
    hidden = {name for name, one in chain.findings().items() if one.state == "unknown"}
    assert hidden == {
        "components",
        "clock",
        "login",
        "dags",
        "plugin",
        "callbacks",
        "logs",
        "metrics",
        "hosts",
        "version",
    }


def test_every_broken_link_has_a_command_that_mends_it(chain):
    chain.relay["time"] -= 600
    chain.beat["time"] -= 600
    chain.airflow.answers["/api/v2/plugins"] = {"plugins": []}
    assert [link for link, _, mend in chain.broken() if not mend] == []


def be_a_guest(chain, **said):
    """Relay and watcher are those inside the API server, which says of itself what is given."""
    now = time.time()
    chain.relay |= {"pid": 5, "stands_in": True}
    chain.beat |= {"pid": 5}
    told = {"pid": 5, "time": now, "relay": "running", "watcher": "running", **said}
    (chain.home / "api-server.json").write_text(json.dumps(told))


def test_a_relay_and_a_watcher_inside_the_api_server_are_well_and_take_no_metrics(chain):
    chain.environ["CONTRAIL_STATSD__ENABLED"] = "true"
    chain.home.joinpath("store.db").unlink()
    chain.store("etl.event", DOCUMENT)
    be_a_guest(chain)
    found = chain.findings()
    assert {name: found[name].state for name in ("relay", "watcher", "statsd", "metrics", "journal")} == {
        "relay": "ok", "watcher": "ok", "statsd": "off", "metrics": "off", "journal": "ok"
    }  # fmt: skip
    assert "inside the API server (process 5)" in found["relay"].why
    assert "inside the API server (process 5)" in found["watcher"].why
    assert "contrail relay" in found["statsd"].mend


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"time": 1.0}, "said nothing of it for a while"),
        ({"relay": "off", "watcher": "off", "server_problem": "it did not answer"}, "waits: it did not answer"),
        ({"relay": "failing", "watcher": "failing", "relay_problem": "full", "watcher_problem": "full"}, "waits: full"),
        ({"relay": "off", "watcher": "off"}, "is off"),
    ],
)
def test_the_parts_of_an_api_server_that_have_ended_are_explained_by_it(chain, said, words):
    be_a_guest(chain, **said)
    chain.relay |= {"state": "stopped"}
    chain.beat |= {"time": time.time() - 600}
    broken = {link: (why, mend) for link, why, mend in chain.broken()}
    for name in ("relay", "watcher"):
        assert words in broken[name][0]
        assert "API server" in broken[name][1]
