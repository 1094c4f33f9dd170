"""Every host where a component of Airflow's runs: whether what it writes has a way out."""

from __future__ import annotations

import socket
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from observability.cli.diagnosis.link import Broken, Link, Off
from observability.cli.diagnosis.whose import start
from observability.store import Query, open_store
from observability.watch.witnesses.api import AirflowApi, ApiError

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["LINKS"]

_RECENT = timedelta(minutes=10)
_COMPONENTS = {"SchedulerJob": "scheduler", "TriggererJob": "triggerer", "DagProcessorJob": "dag processor"}
_RELAY = "contrail.relay.lag_bytes"


def _hosts(settings: Settings) -> str:
    """Airflow names the hosts of its running jobs; a relay tells how far behind it is, wherever it runs."""
    api = AirflowApi(settings.api_url)
    try:
        running = api.get("/jobs", limit=100, is_alive=True, order_by="-latest_heartbeat") or {}
    except ApiError as error:
        raise Off(f"Airflow does not tell where its components run: {error}") from error
    finally:
        api.close()
    where = {(_name(one["hostname"]), _COMPONENTS[one["job_type"]]) for one in running.get("jobs", []) if _is_one(one)}
    heard = _heard(settings)
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
    return (
        f"all {len({host for host, _ in where})} are heard of; Airflow does not name the API server's and the workers'"
    )


def _is_one(job: dict[str, Any]) -> bool:
    return job.get("job_type") in _COMPONENTS and bool(job.get("hostname"))


def _heard(settings: Settings) -> set[str]:
    """Hosts from which something has arrived lately: a relay's own measure, an event, a copy of a component's log.

    A relay in a container beside others serves them all by their shared folders, under another name.
    """
    since = datetime.now(timezone.utc) - _RECENT
    with closing(open_store(settings)) as store:
        found = [*store.count(Query("airflow.statsd", {"metric.name": _RELAY}, since=since), by="host.name")]
        found += store.count(Query("etl.event", since=since), by="host.name")
        files = store.count(Query("airflow.component", since=since), by="log.file.path")
    return {_name(host) for host in (*found, *(PurePosixPath(file).stem for file in files))}


def _name(host: str) -> str:
    """A host's name without its domain; this machine's own, whatever Airflow resolved it to."""
    if host in {"localhost", "127.0.0.1", "::1", socket.getfqdn()}:
        host = socket.gethostname()
    return host.partition(".")[0].lower()


LINKS = (Link("hosts", _hosts, ("login", "store")),)
