"""From the disk to where people look: the relay, its socket and sinks, the store, templates, boards."""

from __future__ import annotations

import errno
import socket
import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from observability.dashboard_installer.changes import InstallError
from observability.doctor import guest
from observability.doctor.link import Broken, Link, Off
from observability.doctor.ownership import airflow_command, is_ours, start
from observability.doctor.silence import silent, state_of
from observability.durations import lasting
from observability.emit import NOT_OURS
from observability.log_template import AIRFLOWS_OWN, LogTemplate
from observability.relay.relay import read_status
from observability.store import Query, StoreError, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.dashboard_installer.kibana import Kibana
    from observability.settings import Settings

__all__ = ["LINKS"]

_SILENT_S = 15.0
_LATE_S = 60.0
_PROBE_S = 5.0
_PROBE = b"contrail.doctor:1|c"
_RECENT, _LATELY = timedelta(minutes=5), timedelta(days=1)
_NOT_FOUND = 404


def _relay(settings: Settings) -> str:
    status = read_status(settings.home)
    if status is None or status["state"] != "running":
        raise _not_running(settings, status)
    age, stands_in = time.time() - status["time"], bool(status.get("stands_in"))
    if age > _SILENT_S:
        if stands_in and (found := guest.missing(settings, "relay")):
            raise found
        gone = not state_of(status["pid"]) and _is_taken(settings)
        raise _not_running(settings, status) if gone else silent(settings, "relay", status["pid"], age)
    if status["unreadable"]:
        path, why = next(iter(status["unreadable"].items()))
        raise Broken(f"the relay cannot read {path}: {why}", f"chmod u+r {path}, as the user that runs the relay")
    if stands_in:
        return f"inside the API server (process {status['pid']}), {status['files']} files"
    return f"process {status['pid']}, {status['files']} files"


def _log_files(settings: Settings) -> str:
    """Check that every file that looks like a log is carried."""
    status = _status(settings)
    template = settings.log_filename_template
    if template and (trouble := LogTemplate(template).trouble):
        raise Broken(
            f"task logs are called by [logging] log_filename_template {template!r}, and are not carried: {trouble}",
            f"set it to one that names the attempt, such as Airflow's own: {AIRFLOWS_OWN}",
        )
    if number := status.get("unknown_files", 0):
        examples = ", ".join(status.get("unknown", [])[:3])
        raise Broken(
            f"{number} log files are not carried, because their names fit no template that Contrail knows: {examples}"
            + (f"; Airflow's log_filename_template is {template!r}" if template else ""),
            "set the relay's AIRFLOW__LOGGING__LOG_FILENAME_TEMPLATE to the template by which Airflow names them",
        )
    return f"every log below {settings.log_folder} is carried"


def _statsd(settings: Settings) -> str:
    """Check that the relay counts a datagram sent to where the tasks send theirs."""
    if not settings.statsd.enabled:
        raise Off("[statsd] enabled is false", "unset CONTRAIL_STATSD__ENABLED")
    if _status(settings).get("stands_in"):
        raise Off("the relay inside the API server takes no metrics", start(settings, "contrail relay"))
    before = _received(settings)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.sendto(_PROBE, (settings.statsd.host, settings.statsd.port))
    where = f"{settings.statsd.host}:{settings.statsd.port}"
    if not _within(_PROBE_S, lambda: _received(settings) > before):
        port = _status(settings)["statsd"].get("port")
        raise Broken(
            f"a metric sent to {where} does not arrive; the relay listens on {port}",
            f"set CONTRAIL_STATSD__PORT={port}",
        )
    return f"metrics sent to {where} arrive"


def _servers(settings: Settings) -> str:
    """Check that the relay can read what ``[relay] component_metrics`` names."""
    found = _status(settings).get("component_metrics", {})
    if not found:
        raise Off("no metrics of components, database or broker are read", "set CONTRAIL_RELAY__COMPONENT_METRICS")
    for name, one in found.items():
        if one["state"] != "ok":
            why, _, mend = one["why"].partition("; ")
            raise Broken(f"the metrics of the {name} cannot be read: {why}", mend or f"see that the {name} answers")
    return f"read are the metrics of {', '.join(found)}"


def _journal(settings: Settings) -> str:
    """Check that every task may write its events: one that runs as another user may not."""
    where = {"metric.name": "contrail.telemetry.losses", "telemetry.reason": NOT_OURS}
    lost = _counted(settings, Query("airflow.statsd", where, since=datetime.now(timezone.utc) - _LATELY))
    if lost:
        raise Broken(
            f"tasks of another user (run_as_user) lost events: they may not write {settings.journal_directory}",
            "leave out run_as_user, or set CONTRAIL_HOME='~/contrail' and run a relay as each of the users",
        )
    return "every task writes its events"


def _metrics(settings: Settings) -> str:
    now = datetime.now(timezone.utc)
    query = Query(
        "airflow.statsd", {"metric.name": ("scheduler_heartbeat", "scheduler.heartbeat")}, since=now - _RECENT
    )
    if _counted(settings, query):
        return "Airflow's own metrics arrive"
    if prefixes := _foreign_prefixes(settings, now):
        raise Broken(
            f"Airflow's metrics arrive as {prefixes[0]}.scheduler_heartbeat, and the relay takes off"
            f" {settings.statsd_prefix!r}",
            f"set CONTRAIL_RELAY__STATSD_PREFIX={prefixes[0]} where the relay runs, and restart it",
        )
    if _status(settings).get("stands_in"):
        raise Off("the relay inside the API server takes no metrics", start(settings, "contrail relay"))
    how = "set AIRFLOW__METRICS__STATSD_ON=True, host and port"
    before = replace(query, since=now - _LATELY)
    if not is_ours(settings) and not _counted(settings, before):
        raise Off("no metric of Airflow's own has arrived: they are optional, and fill the operations board", how)
    raise Broken("no metric of Airflow's own arrived within five minutes", how)


def _foreign_prefixes(settings: Settings, now: datetime) -> list[str]:
    """The prefix of the scheduler's heartbeat, where it is not the one that the relay takes off."""
    with closing(open_store(settings)) as store:
        names = store.count(Query("airflow.statsd", since=now - _RECENT), by="metric.name")
    beats = (name.rpartition(".")[0] for name in names if name.endswith(".scheduler_heartbeat"))
    return sorted(filter(None, beats))


def _sinks(settings: Settings) -> str:
    for name, sink in _status(settings)["sinks"].items():
        if sink.get("state") == "refusing":
            raise Broken(f"{name} refuses: {sink['trouble']}", "correct the cause, then: contrail relay replay")
        if sink["trouble"]:
            raise Broken(
                f"{name} takes no records: {sink['trouble']}", f"look after {name}; the relay goes on by itself"
            )
    return ", ".join(f"{name} ({one['remark']})" if one.get("remark") else name for name, one in _sinks_of(settings))


def _sinks_of(settings: Settings) -> list[tuple[str, dict[str, Any]]]:
    return list(_status(settings)["sinks"].items())


def _lag(settings: Settings) -> str:
    lag = max((sink["lag_seconds"] for sink in _status(settings)["sinks"].values()), default=0.0)
    if lag > _LATE_S:
        raise Broken(
            f"the oldest record on disk waits for {lasting(lag)}", "contrail relay --status; give the relay more CPU"
        )
    return f"{lag:.1f} s behind"


def _dead_letters(settings: Settings) -> str:
    dead = {name: sink["dead_letters"] for name, sink in _status(settings)["sinks"].items() if sink["dead_letters"]}
    if dead:
        raise Broken(f"refused for good: {dead}", "correct what refused them, then: contrail relay replay")
    return "none"


def _store(settings: Settings) -> str:
    try:
        with closing(open_store(settings)) as store:
            trouble = store.health()
    except StoreError as error:
        trouble = str(error)
    if trouble:
        raise Broken(trouble, "contrail config show; see [store]")
    return settings.store.backend


def _templates(settings: Settings) -> str:
    if "elasticsearch" not in settings.relay.sinks:
        raise Off("Elasticsearch is none of [relay] sinks")
    from observability.credentials import CredentialsError
    from observability.store.cluster import ClusterError, ClusterUnreachable, open_cluster
    from observability.store.elasticsearch_setup import OldestServer, install

    try:
        environment, prefix = settings.core.environment, settings.elasticsearch.index_prefix
        report = install(open_cluster(settings), dry_run=True, environment=environment, prefix=prefix)
    except (ClusterError, ClusterUnreachable, CredentialsError, OldestServer) as error:
        raise Broken(f"Elasticsearch gives no answer: {error}", "contrail elasticsearch setup") from error
    for name, why in report.in_the_way.items():
        raise Broken(
            f"{name} is in the way: {why}",
            "contrail elasticsearch setup --dry-run names all; then contrail relay replay",
        )
    if report.installed:
        raise Broken(
            f"not as this version needs them: {', '.join(report.installed[:3])}", "contrail elasticsearch setup"
        )
    if report.rolled_over:
        raise Broken(
            f"streams with the mappings of an older version: {', '.join(report.rolled_over[:3])}",
            "contrail elasticsearch setup",
        )
    return f"current, on Elasticsearch {report.version}"


def _boards(settings: Settings) -> str:
    if not settings.core.kibana_url:
        raise Off(
            "[core] kibana_url is empty",
            "set CONTRAIL_CORE__KIBANA_URL and run contrail dashboards install kibana",
        )
    from observability.dashboard_installer.kibana import open_kibana
    from observability.dashboards.kibana.objects import saved_objects
    from observability.dashboards.names import Names

    wanted = [one for one in saved_objects(Names(airflow_url=settings.public_url)) if one["type"] == "dashboard"]
    try:
        with closing(open_kibana(settings)) as kibana:
            missing = [one for one in wanted if not _is_there(kibana, one["id"])]
    except InstallError as error:
        raise Broken(str(error), "look at Kibana's own log; [core] kibana_url and its Connection say where") from error
    if missing:
        raise Broken(f"{len(missing)} of {len(wanted)} boards are not in Kibana", "contrail dashboards install kibana")
    return f"{len(wanted)} boards in Kibana"


def _is_there(kibana: Kibana, board: str) -> bool:
    """Check that Kibana has the board. Raises InstallError where it does not say."""
    answer = kibana.ask("GET", f"/api/saved_objects/dashboard/{board}")
    if answer.is_error and answer.status_code != _NOT_FOUND:
        raise InstallError(f"Kibana answers {answer.status_code} when it is asked for a board: {answer.text[:200]}")
    return answer.is_success


def _panels(settings: Settings) -> str:
    if settings.store.backend != "embedded":
        raise Off(f"asked of {settings.store.backend} by a command of its own", "contrail dashboards verify")
    if not _counted(settings, Query("etl.event", {"event.action": "task.started"})):
        raise Off("no task has run yet", airflow_command(settings, "dags trigger <a DAG>"))
    from observability.dashboard_installer.verify import verify_store

    until = datetime.now(timezone.utc) + timedelta(minutes=1)
    with closing(open_store(settings)) as store:
        verdicts = verify_store(store, until - timedelta(days=1), until)
    if not any(verdict.rows for verdict in verdicts):
        raise Broken("no panel has data although tasks have run", "contrail dashboards verify")
    return f"{sum(1 for verdict in verdicts if verdict.rows)} of {len(verdicts)} panels have data"


def _not_running(settings: Settings, status: dict[str, Any] | None) -> Broken:
    """The relay is not there: because another process has its port, or for no reason that can be seen from here."""
    if (status is None or status.get("stands_in")) and (found := guest.missing(settings, "relay")):
        return found
    port = settings.relay.statsd_port
    if _is_taken(settings):
        return Broken(
            f"no relay runs on {settings.home}, and another process has UDP port {port}, where it listens for metrics",
            f"ss -lunp 'sport = :{port}' names the process; end it, or set CONTRAIL_RELAY__STATSD_PORT and "
            "CONTRAIL_STATSD__PORT to another port",
        )
    word = "no relay has run" if status is None else f"the relay is {status['state']}"
    return Broken(f"{word} on {settings.home}", start(settings, "contrail relay"))


def _is_taken(settings: Settings) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.bind((settings.relay.statsd_host, settings.relay.statsd_port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _status(settings: Settings) -> dict[str, Any]:
    status = read_status(settings.home)
    if status is None:
        raise Broken(f"no relay has run on {settings.home}", start(settings, "contrail relay"))
    return status


def _received(settings: Settings) -> int:
    return int(_status(settings)["statsd"].get("received", 0))


def _counted(settings: Settings, query: Query) -> int:
    with closing(open_store(settings)) as store:
        return store.count(query).get("", 0)


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


LINKS = (
    Link("relay", _relay, ("home",)),
    Link("log-files", _log_files, ("relay",)),
    Link("statsd", _statsd, ("relay",)),
    Link("component-metrics", _servers, ("relay",)),
    Link("sinks", _sinks, ("relay",)),
    Link("lag", _lag, ("relay", "sinks")),
    Link("dead-letters", _dead_letters, ("relay",)),
    Link("store", _store, ("home",)),
    Link("journal", _journal, ("relay", "statsd", "store")),
    Link("metrics", _metrics, ("relay", "statsd", "sinks", "store", "components")),
    Link("templates", _templates),
    Link("boards", _boards),
    Link("panels", _panels, ("store",)),
)
