"""Airflow: its components, our way in, its clock, its DAGs, and whether it has us."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx

from observability.cli.diagnosis.link import Broken, Link, Off
from observability.store import Query, open_store
from observability.watch.witnesses.api import AirflowApi, ApiError

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["LINKS"]

_SKEW_S = 5.0
_COMPONENTS = {"scheduler": "scheduler", "dag_processor": "dag-processor", "triggerer": "triggerer"}
_ENDED = {"success", "failed", "skipped", "up_for_retry"}
_TELLING = ("task.started", "task.succeeded", "task.failed", "task.retried", "task.skipped", "task.killed")


def _api_server(settings: Settings) -> str:
    told = _health(settings)
    if told["metadatabase"]["status"] != "healthy":
        raise Broken("Airflow's metadata database does not answer the API server", "contrail airflow db check")
    return settings.api_url


def _components(settings: Settings) -> str:
    told = _health(settings)
    for key, name in _COMPONENTS.items():
        part = told.get(key) or {}
        if part.get("status") != "healthy":
            beat = part.get(f"latest_{key}_heartbeat") or "never"
            raise Broken(
                f"Airflow's {name} is not healthy; its last heartbeat: {beat}", f"contrail status; start the {name}"
            )
    return ", ".join(_COMPONENTS.values())


def _clock(settings: Settings) -> str:
    answer = httpx.get(f"{settings.api_url}/api/v2/version", timeout=5.0)
    skew = abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time())
    if skew > _SKEW_S:
        raise Broken(f"the API server's clock is {skew:.0f} s from this machine's", "timedatectl set-ntp true")
    return f"within {_SKEW_S:.0f} s"


def _login(settings: Settings) -> str:
    try:
        version = _ask(settings, "/version")
    except ApiError as error:
        raise Broken(
            str(error), "contrail airflow connections add airflow_api, or set CONTRAIL_API_USERNAME"
        ) from error
    return f"Airflow {version['version']}"


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
    """Whether the attempt that ended last has told of itself: nothing proves callbacks better."""
    path = "/dags/~/dagRuns/~/taskInstances"
    found = _ask(settings, path, limit=20, order_by="-end_date", state=sorted(_ENDED)) or {}
    ran = [task for task in found.get("task_instances", []) if task.get("pid")]
    if not ran:
        raise Off("no task has run yet", "contrail airflow dags trigger canary")
    task = ran[0]
    where = {"event.action": _TELLING, "airflow.dag_id": task["dag_id"], "airflow.run_id": task["dag_run_id"]}
    store = open_store(settings)
    try:
        if not store.count(Query("etl.event", {**where, "airflow.task_id": task["task_id"]})).get("", 0):
            raise Broken(
                f"{task['dag_id']}.{task['task_id']} ran at {task['start_date']} and told nothing",
                "contrail airflow plugins; the workers need contrail-etl and [core] lazy_load_plugins as it is",
            )
    finally:
        store.close()
    return f"{task['dag_id']}.{task['task_id']} told of itself"


def _health(settings: Settings) -> dict[str, Any]:
    try:
        answer = httpx.get(f"{settings.api_url}/api/v2/monitor/health", timeout=5.0)
        told: dict[str, Any] = answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise Broken(
            f"nothing answers at {settings.api_url} ({error})", "contrail up; or set CONTRAIL_WATCH__API_URL"
        ) from error
    return told


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
    Link("dags", _dags, ("login",)),
    Link("plugin", _plugin, ("login",)),
    Link("callbacks", _callbacks, ("login", "plugin", "relay", "store")),
)
