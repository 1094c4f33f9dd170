"""Every host where a component of Airflow's runs: whether what it writes has a way out."""

from __future__ import annotations

import socket
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from observability.doctor.link import Broken, Link, Off
from observability.doctor.ownership import start
from observability.store import Query, open_store
from observability.timestamps import parsed
from observability.watch.sources.api import AirflowApi, ApiError

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["LINKS"]

_RECENT = timedelta(minutes=10)
_COMPONENTS = {"SchedulerJob": "scheduler", "TriggererJob": "triggerer", "DagProcessorJob": "dag processor"}
_RELAY = "contrail.relay.lag_bytes"
_HEARTBEAT = "contrail.relay.up"
_TASKS_MOST = 200
_BEATS, _BEATS_LEAST, _BEATS_OF_TWO = timedelta(minutes=2), 3, 1.5


def _hosts(settings: Settings) -> str:
    """Airflow names the hosts of its running jobs and of tasks; a relay says how far behind it is, wherever it runs."""
    api = AirflowApi(settings.api_url)
    try:
        workers = _workers(api)
        running = api.get("/jobs", limit=100, is_alive=True, order_by="-latest_heartbeat") or {}
    except ApiError as error:
        raise Off(f"Airflow does not say where its components run: {error}") from error
    finally:
        api.close()
    where = {(_name(one["hostname"]), _COMPONENTS[one["job_type"]]) for one in running.get("jobs", []) if _is_one(one)}
    where |= {(host, "worker") for host in workers - {host for host, _ in where}}
    heard, beating = _heard(settings)
    silent = sorted((host, component) for host, component in where if host not in heard)
    if not where:
        raise Off("Airflow names no host of a running component")
    if silent:
        host, component = silent[0]
        raise Broken(
            f"nothing has arrived within {_RECENT.seconds // 60} minutes from {len({one for one, _ in silent})} hosts, "
            f"such as {host}: what its {component} writes (events, its log) stays there",
            f"there: {start(settings, 'contrail relay')}",
        )
    if twice := _named_twice(settings):
        raise Broken(
            f"two relays call themselves {twice}: while one of them is heard, nobody sees that the other is not",
            "give each host a name of its own (hostnamectl set-hostname; in compose: hostname), restart its relay",
        )
    names = {host for host, _ in where}
    return f"all {len(names)} are heard of; {_unknown(names - beating)}; Airflow does not name the API server's"


def _named_twice(settings: Settings) -> str:
    """A host that two relays name as theirs, '' where there is none: their heartbeats cover more time than passed."""
    since = datetime.now(timezone.utc) - _BEATS
    beats: dict[str, list[tuple[float, float, Any]]] = {}
    with closing(open_store(settings)) as store:
        for one in store.documents(Query("airflow.statsd", {"metric.name": _HEARTBEAT}, since=since)):
            at = parsed(str(one["@timestamp"])).timestamp()
            length_s = float(one.get("metric.interval", 0)) / 1000
            beats.setdefault(str(one.get("host.name")), []).append((at, length_s, one.get("process.pid")))
    for host, found in sorted(beats.items()):
        passed = max(at for at, _, _ in found) - min(at for at, _, _ in found) + found[0][1]
        lives = len({process for _, _, process in found})  # a relay that is started again says one more at its end
        if len(found) >= _BEATS_LEAST * lives and sum(length for _, length, _ in found) > _BEATS_OF_TWO * passed:
            return host
    return ""


def _unknown(without: set[str]) -> str:
    """Words about the hosts that send no heartbeat: what is written there is carried by a relay with another name."""
    if not without:
        return "each has a relay, whose heartbeat says that the host is there"
    return (
        f"{len(without)} of them have no relay of their name, such as {min(without)}: no heartbeat says whether they "
        "are there"
    )


def _workers(api: AirflowApi) -> set[str]:
    """Hosts on which tasks began lately; Airflow has no other word for a worker's host."""
    since = (datetime.now(timezone.utc) - _RECENT).isoformat()
    path = "/dags/~/dagRuns/~/taskInstances"
    found = api.get(path, limit=_TASKS_MOST, start_date_gte=since, order_by="-start_date") or {}
    return {_name(one["hostname"]) for one in found.get("task_instances", []) if one.get("hostname")}


def _is_one(job: dict[str, Any]) -> bool:
    return job.get("job_type") in _COMPONENTS and bool(job.get("hostname"))


def _heard(settings: Settings) -> tuple[set[str], set[str]]:
    """Hosts from which something has arrived lately, and those of them whose relay sends its heartbeat.

    Something is a relay's own measure, an event, or a copy of a component's log. A relay in a container beside others
    serves them all by their shared folders, under another name.
    """
    since = datetime.now(timezone.utc) - _RECENT
    with closing(open_store(settings)) as store:
        beating = store.count(Query("airflow.statsd", {"metric.name": _HEARTBEAT}, since=since), by="host.name")
        found = [*store.count(Query("airflow.statsd", {"metric.name": _RELAY}, since=since), by="host.name")]
        found += store.count(Query("etl.event", since=since), by="host.name")
        files = store.count(Query("airflow.component", since=since), by="log.file.path")
    heard = {_name(host) for host in (*found, *(PurePosixPath(file).stem for file in files))}
    return heard, {_name(host) for host in beating}


def _name(host: str) -> str:
    """A host's name without its domain; this machine's own, whatever Airflow resolved it to."""
    if host in {"localhost", "127.0.0.1", "::1", socket.getfqdn()}:
        host = socket.gethostname()
    return host.partition(".")[0].lower()


LINKS = (Link("hosts", _hosts, ("login", "store")),)
