"""Airflow: its components, our way in, its clock, its DAGs, and whether it has us."""

from __future__ import annotations

import os
import re
import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx

from observability.doctor.link import Broken, Link, Off
from observability.doctor.ownership import airflow_command, is_ours
from observability.http_client import http_client, whole_answer
from observability.store import Query, open_store
from observability.watch.sources.api import AirflowApi, ApiError

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["LINKS", "TRIED"]

TRIED = ((3, 1), (3, 4))
"""The oldest and the newest Airflow of ``make matrix``; pyproject.toml and the docs say the same."""

_OF_A_TASK = (("dag_id", "dag_id"), ("run_id", "dag_run_id"), ("task_id", "task_id"))

_SKEW_S = 5.0
_COMPONENTS = {"scheduler": "scheduler", "dag_processor": "dag-processor", "triggerer": "triggerer"}
_ENDED = {"success", "failed", "skipped", "up_for_retry"}
_LOGINS = ("CONTRAIL_API_TOKEN", "CONTRAIL_API_USERNAME")
"""The settings that name a login, first found wins."""
_TELLING = ("task.started", "task.succeeded", "task.failed", "task.retried", "task.skipped", "task.killed")


def _api_server(settings: Settings) -> str:
    health = _health(settings)
    if health["metadatabase"]["status"] != "healthy":
        raise Broken(
            "Airflow's metadata database does not answer the API server", airflow_command(settings, "db check")
        )
    return settings.api_url


def _components(settings: Settings) -> str:
    health = _health(settings)
    for key, name in _COMPONENTS.items():
        part = health.get(key) or {}
        if part.get("status") != "healthy":
            beat = part.get(f"latest_{key}_heartbeat") or "never"
            raise Broken(
                f"Airflow's {name} is not healthy; its last heartbeat: {beat}",
                f"contrail status; start the {name}" if is_ours(settings) else f"start the {name}; see its own log",
            )
    return ", ".join(_COMPONENTS.values())


def _clock(settings: Settings) -> str:
    """The server's ``Date`` is a whole second somewhere between our question and its answer, if both clocks agree."""
    asked = time.time()
    with http_client(settings.api_url, 5.0) as client:
        answer = whole_answer(client, "GET", "/api/v2/version", 5.0)
    said, answered = parsedate_to_datetime(answer.headers["date"]).timestamp(), time.time()
    behind, ahead = asked - 1 - said, said - answered
    if max(behind, ahead) > _SKEW_S:
        words = f"{ahead:.0f} s ahead of" if ahead > 0 else f"{behind + 1:.0f} s behind"
        raise Broken(f"the API server's clock is {words} this machine's", "timedatectl set-ntp true, on both")
    return f"within {_SKEW_S:.0f} s"


def _login(settings: Settings) -> str:
    """Check that we may read DAGs; Airflow tells its version to everybody, whatever the token."""
    try:
        _ask(settings, "/dags", limit=1)
        version = _ask(settings, "/version")
    except ApiError as error:
        given = next((name for name in _LOGINS if os.environ.get(name)), "")
        mend = f"correct or unset {given}" if given else _how_to_log_in(settings)
        raise Broken(str(error), mend) from error
    return f"Airflow {version['version']}"


def _version(settings: Settings) -> str:
    """Check that this version was tried on the Airflow: a newer one may write logs and answers unlike those."""
    version = str(_ask(settings, "/version")["version"])
    oldest, newest = TRIED
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if not oldest <= numbers <= newest:
        raise Broken(
            f"Airflow {version} is not one that this version was tried on: {_dotted(oldest)} to {_dotted(newest)}",
            "pip install --upgrade contrail-etl, and look at docs/existing-airflow.md",
        )
    return version


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _how_to_log_in(settings: Settings) -> str:
    if is_ours(settings):
        return f"contrail airflow connections add airflow_api, or set {_LOGINS[1]}"
    return f"set {_LOGINS[1]} and CONTRAIL_API_PASSWORD of a user of Airflow's who may read DAGs and logs"


def _where(settings: Settings) -> str:
    if is_ours(settings):
        return "contrail up; or set CONTRAIL_WATCH__API_URL"
    return "set CONTRAIL_WATCH__API_URL to the address of the API server, as this host reaches it"


def _dags(settings: Settings) -> str:
    errors = _ask(settings, "/importErrors", limit=1)
    if errors["total_entries"]:
        first = errors["import_errors"][0]
        last = str(first["stack_trace"]).strip().rpartition("\n")[2]
        raise Broken(f"{first['filename']} does not parse: {last}", f"python {first['filename']}")
    return f"{_ask(settings, '/dags', limit=1)['total_entries']} DAGs, all parse"


def _plugin(settings: Settings) -> str:
    known = _ask(settings, "/plugins", limit=100)["plugins"]
    if not any(plugin["name"] == "contrail" for plugin in known):
        raise Broken(
            "Airflow has not loaded the plugin contrail", "pip install contrail-etl where Airflow runs, and restart it"
        )
    return "loaded"


def _callbacks(settings: Settings) -> str:
    """Check that the attempt that ended last has emitted events: nothing proves callbacks better."""
    task = _last_task(settings)
    if not _stored(settings, "etl.event", {**_whose(task), "event.action": _TELLING}):
        raise Broken(
            f"{_name(task)} ran at {task['start_date']} and sent nothing to this store",
            f"pip install contrail-etl where it ran ({task.get('hostname') or 'its worker'}), and restart that worker; "
            f"is {settings.api_url} the Airflow that is meant? else set CONTRAIL_WATCH__API_URL",
        )
    return f"{_name(task)} reported itself"


def _logs(settings: Settings) -> str:
    """Check that the log of the attempt that ended last is stored: the relay reads the folder of Airflow."""
    task = _last_task(settings)
    if not _stored(settings, "airflow.task", _whose(task)):
        raise Broken(
            f"no line of the log of {_name(task)} has arrived; the relay reads {settings.log_folder}",
            "set CONTRAIL_RELAY__LOG_FOLDER to what this says: airflow config get-value logging base_log_folder",
        )
    return f"the log of {_name(task)} is stored"


def _last_task(settings: Settings) -> dict[str, Any]:
    path = "/dags/~/dagRuns/~/taskInstances"
    found = _ask(settings, path, limit=20, order_by="-end_date", state=sorted(_ENDED)) or {}
    ran: list[dict[str, Any]] = [task for task in found.get("task_instances", []) if task.get("pid")]
    if not ran:
        raise Off("no task has run yet", airflow_command(settings, "dags trigger <a DAG>"))
    return ran[0]


def _name(task: dict[str, Any]) -> str:
    return f"{task['dag_id']}.{task['task_id']}"


def _whose(task: dict[str, Any]) -> dict[str, Any]:
    return {f"airflow.{ours}": task[theirs] for ours, theirs in _OF_A_TASK}


def _stored(settings: Settings, dataset: str, where: dict[str, Any]) -> int:
    with closing(open_store(settings)) as store:
        return store.count(Query(dataset, where)).get("", 0)


def _health(settings: Settings) -> dict[str, Any]:
    try:
        with http_client(settings.api_url, 5.0) as client:
            health: dict[str, Any] = (
                whole_answer(client, "GET", "/api/v2/monitor/health", 5.0).raise_for_status().json()
            )
    except (httpx.HTTPError, ValueError) as error:
        raise Broken(f"nothing answers at {settings.api_url} ({error})", _where(settings)) from error
    return health


def _ask(settings: Settings, path: str, **params: Any) -> Any:
    api = AirflowApi(settings.api_url)
    try:
        return api.get(path, **params)
    finally:
        api.close()


LINKS = (
    Link("api-server", _api_server),
    Link("components", _components, ("api-server",)),
    Link("clock", _clock, ("api-server",)),
    Link("login", _login, ("api-server",)),
    Link("version", _version, ("login",)),
    Link("dags", _dags, ("login",)),
    Link("plugin", _plugin, ("login",)),
    Link("callbacks", _callbacks, ("login", "plugin", "relay", "sinks", "store")),
    Link("logs", _logs, ("login", "relay", "sinks", "store")),
)
