"""Set off everything that a healthy system lacks, below the home that is named: ``python play_drills.py HOME``.

A process of its own, in which the product's own code makes every document: Airflow's callbacks and listener hooks get
the contexts of attempts and runs, ``measure`` a bad day of data, the relay a store that is away and the log of a killed
task, and the watcher an Airflow of which everything is wrong for a while (``drill_services.py``).
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import orjson

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE), str(HERE.parent / "support")]

import postgresql  # noqa: E402 - found by the line above
from drill_services import ALERT_INDEX, OVER, WELL, WRONG, Services  # noqa: E402
from redis_server import PROGRAM, running_redis  # noqa: E402

WITHIN_S = 60.0
RUN_ID = "manual__2026-01-01T00:00:00+00:00"
RULES = """
timing: {{storm_messages: 1000, flap_messages: 1000}}
thresholds: {{queued: 1s, overdue: 1s, component_silent: 30s}}
channels:
  file: {{type: file}}
  chat: {{type: webhook, url: "env:DRILL_CHAT", allow: ["127.0.0.1"]}}
receivers:
  everybody: {{channels: [file], escalate: [{{after: 1s, receiver: chat}}]}}
  chat: {{channels: [chat], fallback: file}}
routes: [{{match: {{dag: [drills]}}, receiver: chat, continue: true}}, {{receiver: everybody}}]
deadlines:
  - {{name: by-six, dag: drill_late, run_finishes_within: 10m}}
  - {{name: by-seven, dag: drill_near, run_finishes_within: 60m}}
proof: {{canary_every: 0s}}
{more}
"""
EXIT_MESSAGES = (
    ("info", "DAG bundles loaded: dags-folder", {}),
    ("critical", "Process terminated by signal. Likely out of memory", {"signal": -9, "signal_name": "SIGKILL"}),
)


def environment(home, services):
    """The environment from which the product reads its settings."""
    statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    statsd.bind(("127.0.0.1", 0))
    port = str(statsd.getsockname()[1])
    statsd.close()
    return {
        "CONTRAIL_HOME": str(home),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "CONTRAIL_RELAY__LOG_FOLDER": str(home / "airflow" / "logs"),
        "CONTRAIL_RELAY__STATSD_PORT": port,
        "CONTRAIL_RELAY__STATSD_INTERVAL_S": "0.2",
        "CONTRAIL_RELAY__SERIES_BUDGET": "12",
        "CONTRAIL_STATSD__ENABLED": "true",
        "CONTRAIL_STATSD__PORT": port,
        "CONTRAIL_WATCH__API_URL": services.url,
        "CONTRAIL_WATCH__RECONCILE_S": "0.2",
        "CONTRAIL_WATCH__KIBANA_ALERTS": ALERT_INDEX,
        "CONTRAIL_ELASTICSEARCH__URL": services.url,
        "CONTRAIL_API_TOKEN": "drill-token",
        "DRILL_CHAT": f"{services.url}/chat",
        "CONTRAIL_RELAY__COMPONENT_METRICS": "processes,database,broker",
        "CONTRAIL_RELAY__DATABASE_CONNECTION_ID": "drill_database",
        "CONTRAIL_RELAY__BROKER_CONNECTION_ID": "drill_broker",
    }


class Stage:
    """The home of the drills, and what was emitted there."""

    def __init__(self, home):
        self.home = home

    def emitted(self):
        """Count each kind in the journal, without the canary's samples."""
        from observability.journal import frames

        files = sorted((self.home / "journal").glob("*.journal"))
        whole = [frame.document for path in files for frame in frames(path.read_bytes()) if frame.document]
        found = [document for one in whole if "canary.probe" not in (document := orjson.loads(one))]
        return Counter(document.get("event.action") for document in found)

    def wait_for(self, *kinds):
        """Return when each of these kinds has been emitted."""
        self.until(lambda: set(kinds) <= set(self.emitted()), lambda: sorted(set(kinds) - set(self.emitted())))

    def wait_for_metrics(self, *names):
        """Return when each of these metrics is in the journal."""
        journals = (self.home / "journal").glob
        wanted = [f'"{name}"'.encode() for name in names]
        self.until(
            lambda: all(any(name in path.read_bytes() for path in journals("airflow.statsd*")) for name in wanted),
            lambda: f"all of {names}",
        )

    def until(self, holds, what):
        """Look until ``holds()``; ``what()`` says what is missing when it takes too long."""
        over = time.monotonic() + WITHIN_S
        while not holds():
            if time.monotonic() > over:
                raise TimeoutError(f"not within {WITHIN_S:.0f} s: {what()}")
            time.sleep(0.1)


# what runs inside Airflow


def attempt(task_id="load", **more):
    """The context that Airflow gives a callback."""
    now = datetime.now(timezone.utc)
    dag = SimpleNamespace(dag_id="drills", tags={"drill"}, owner="platform-oncall")
    operator = SimpleNamespace(
        task_type="PythonOperator", owner="platform-oncall", pool="default_pool", queue="default", dag=dag
    )
    ti = SimpleNamespace(
        id=f"ti-{task_id}", dag_id="drills", task_id=task_id, run_id=RUN_ID, try_number=1, map_index=-1,
        queue="default", start_date=now - timedelta(seconds=3), end_date=now, hostname=socket.gethostname(),
        task=operator, bundle_instance=SimpleNamespace(name="dags-folder"), context_carrier={},
    )  # fmt: skip
    return {"ti": ti, "task": operator, "dag": dag, "dag_run": dag_run(), "run_id": RUN_ID, "exception": None, **more}


def dag_run(run_id=RUN_ID, run_type="manual"):
    """A run as the scheduler hands it to a listener."""
    now = datetime.now(timezone.utc)
    return SimpleNamespace(
        dag_id="drills", run_id=run_id, run_type=run_type, logical_date=None, start_date=now - timedelta(seconds=9),
        end_date=now, dag=None, context_carrier={}, run_after=now - timedelta(seconds=12),
    )  # fmt: skip


def raised(error):
    """The error as it is once it was raised."""
    try:
        raise error
    except type(error) as caught:
        return caught


def play_tasks():
    """Attempts and runs of every ending, through the callbacks and the listener."""
    from observability import callbacks, metrics
    from observability.airflow import listener

    for number in range(15):  # more series than the budget allows
        callbacks.on_execute(attempt(f"part_{number}"))
    callbacks.on_success(attempt("part_0"))
    callbacks.on_skipped(attempt("part_1"))
    callbacks.on_retry(attempt("load", exception=raised(RuntimeError("this drill raises"))))
    callbacks.on_failure(attempt("load", exception=raised(RuntimeError("this drill raises"))))
    listener.on_dag_run_running(dag_run(), "")
    listener.on_dag_run_running(dag_run("scheduled__1", "scheduled"), "")
    listener.on_dag_run_failed(dag_run(), "task_failure")
    listener.on_dag_run_success(dag_run("manual__2"), "")
    callbacks.on_deadline(
        {
            "dag_run": {"dag_id": "drills", "dag_run_id": RUN_ID, "run_type": "manual", "state": "running"},
            "deadline": {"id": "d1", "deadline_time": datetime.now(timezone.utc) - timedelta(seconds=9)},
        },
        name="by five",
    )
    listener.on_asset_event_emitted(
        SimpleNamespace(
            source_dag_id="drills", source_task_id="load", source_run_id=RUN_ID, source_map_index=-1,
            asset=SimpleNamespace(uri="file:///flights.csv", name="flights"),
        )
    )  # fmt: skip
    listener.on_new_dag_import_error("drill_parsed.py", "Traceback\n  File \"drill_parsed.py\"\nNameError: name 'x'")
    metrics.flush()


def play_data():
    """A bad day of data, measured in a task."""
    from observability import identity
    from observability.from_airflow import identify
    from observability.measure import measure

    with identity.bound(identify(attempt("validate"))):
        with measure("validate", table="flights") as step:
            step.input(10_000)
            step.rejected(1700, rule="air_time_positive")
            step.output(8300)
            step.columns(["id", "gate"], expected=["id", "origin"])
            step.watermark(datetime.now(timezone.utc) - timedelta(days=3))
        with suppress(RuntimeError), measure("load", table="flights"):
            raise RuntimeError("this drill raises")


def play_canary(stage):
    """A round that arrives, and one that was never sent."""
    from observability import canary
    from observability.settings import get_settings

    since = datetime.now(timezone.utc) - timedelta(minutes=1)
    canary.send_round(1)
    canary.report(1, *canary.ask(get_settings(), 1, since, wait_s=WITHIN_S))
    canary.report(2, *canary.ask(get_settings(), 2, since))
    stage.wait_for("canary.verified", "canary.missing")


# what runs beside it


def write_logs(home):
    """The log of a task that was killed, as its supervisor ends it, and a log whose name no template has."""
    folder = home / "airflow" / "logs"
    path = folder / "dag_id=drills" / f"run_id={RUN_ID}" / "task_id=killed" / "attempt=1.log"
    path.parent.mkdir(parents=True)
    stamp = datetime.now(timezone.utc).isoformat()
    lines = [
        {"timestamp": stamp, "level": level, "event": event, "logger": "task", **more}
        for level, event, more in EXIT_MESSAGES
    ]
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    (folder / "theirs.log").write_text("a log of another program\n")


def start_relay(home):
    """The relay, with the patience of a drill, on a store that is away at first: a folder stands in its place."""
    from observability.airflow.servers import server
    from observability.relay.alarms import SinkAlarms
    from observability.relay.relay import Relay
    from observability.relay.sources.components import servers as of_components
    from observability.settings import get_settings

    (home / "store.db").mkdir()
    of_components.airflow_server = server  # Airflow is in this process: another one need not be asked
    relay = Relay(get_settings())
    relay._alarms = SinkAlarms(home / "relay.alarms.json", patience_s=0.5)
    thread = threading.Thread(target=relay.run)
    thread.start()
    return relay, thread


@contextmanager
def servers(home):
    """A PostgreSQL and a Redis with a task in its queue, as Connections; what is not installed is not there."""
    with ExitStack() as stack:
        if (programs := postgresql.programs()) is not None:
            server, stop = postgresql.start(programs)
            stack.callback(stop)
            os.environ["AIRFLOW_CONN_DRILL_DATABASE"] = json.dumps({"conn_type": "postgres", **server.database()})
        if PROGRAM is not None:
            url = urlsplit(stack.enter_context(running_redis(home)))
            about = {"conn_type": "redis", "host": url.hostname, "port": url.port, "password": url.password}
            os.environ["AIRFLOW_CONN_DRILL_BROKER"] = json.dumps(about)
        yield


def start_watcher():
    """The watcher, which looks more often than one that is not drilled."""
    from observability.settings import get_settings
    from observability.watch import watcher
    from observability.watch.ledger.database import Ledger
    from observability.watch.rules.loader import RulesFile, find_rules
    from observability.watch.sources import kibana, reconcile
    from observability.watch.sources.api import AirflowApi

    watcher._RULES_S = watcher._GAUGES_S = kibana._POLL_S = reconcile._SLOW_S = 0.3
    settings = get_settings()
    ledger = Ledger(settings.ledger_url)
    made = watcher.Watcher(
        settings, ledger, RulesFile(find_rules(settings)), contacts=None, api=AirflowApi(settings.api_url)
    )
    thread = threading.Thread(target=made.run)
    thread.start()
    return made, thread


def acknowledge_one():
    """Take an open incident, as a person does."""
    from typer.testing import CliRunner

    from observability.cli.alerts import app

    open_now = orjson.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)
    name = next(one["id"] for one in open_now if one["state"] == "open")
    for act in ("ack", "unack", "ack"):
        assert CliRunner().invoke(app, [act, name, "--by", "ann"]).exit_code == 0


def play_watcher(stage, services):
    """Three acts: all is well, all is wrong, it is over."""
    rules = stage.home / "alerts.yaml"
    rules.write_text(RULES.format(more=""))
    watcher, thread = start_watcher()
    try:
        stage.until(lambda: services.looks > 1, lambda: "the first look at Airflow")
        services.turn(WRONG)
        stage.wait_for(
            "component.silent", "dag.vanished", "dag.auto_paused", "dag_run.overdue", "dag_run.stuck", "task.stuck",
            "task.removed", "dag.import_failed", "deadline.upcoming", "deadline.approached", "deadline.missed",
            "rule.fired", "channel.broken", "notification.failed", "notification.sent", "incident.opened",
            "incident.escalated", "audit.recorded",
        )  # fmt: skip
        # a callback has reported one that was missed; this is the watcher's own
        stage.until(lambda: stage.emitted()["deadline.missed"] > 1, lambda: "a deadline that the watcher finds missed")
        acknowledge_one()
        rules.write_text(RULES.format(more="nonsense: true"))
        stage.wait_for("rules.rejected")
        stage.until(lambda: services.looks > 3, lambda: "a look that sees the DAG paused")
        services.turn(OVER)
        rules.write_text(RULES.format(more=""))
        stage.wait_for(
            "component.recovered", "dag.returned", "dag.unpaused", "dag_run.unstuck", "task.unstuck",
            "dag.import_repaired", "deadline.recovered", "deadline.kept", "rule.recovered", "rules.accepted",
            "channel.recovered", "incident.acknowledged", "incident.reopened",
            "incident.resolved",
        )  # fmt: skip
    finally:
        watcher.stop()
        thread.join()


def main(home):
    """Play everything below ``home``."""
    home.mkdir(parents=True, exist_ok=True)
    with Services() as services, servers(home):
        os.environ.update(environment(home, services))
        stage = Stage(home)
        write_logs(home)
        relay, thread = start_relay(home)
        try:
            play_tasks()
            play_data()
            stage.wait_for("sink.failed", "task.killed")
            (home / "store.db").rmdir()
            stage.wait_for("sink.recovered", "telemetry.lost")
            play_canary(stage)
            play_watcher(stage, services)
            stage.wait_for_metrics(*(f"contrail.{name}.up" for name in ("database", "broker")))
        finally:
            relay.stop()
            thread.join()
    assert services.act == OVER > WRONG > WELL


if __name__ == "__main__":
    main(Path(sys.argv[1]))
