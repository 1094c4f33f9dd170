"""Read a pod's end in the scheduler's log: Kubernetes' executor tells nobody else why a container ended.

Airflow's event log has the pod's own reason only: "Pod failed because of Evicted", but "… of None" for a container
that was out of memory, and nothing for an image that cannot be pulled (provider cncf-kubernetes 10.25).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from observability.credentials import CredentialsError
from observability.store import Query, StoreError, open_store
from observability.timestamps import utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from observability.settings import Settings

__all__ = ["asks_for_pod", "scheduler_lines", "words_about_pod"]

_AROUND = timedelta(minutes=5)
_MOST = 1000
_ENDED = re.compile(
    r"Task (?P<key>.+) failed in pod (?P<pod>\S+)\. Pod phase: .*?, "
    r"reason: (?P<pod_reason>.*?), message: (?P<pod_message>.*?), "
    r"container_type: .*?, container_name: (?P<name>.*?), container_state: (?P<state>.*?), "
    r"container_reason: (?P<reason>.*?), container_message: (?P<message>.*?), exit_code: (?P<code>\S+)",
    re.DOTALL,
)
_STUCK = re.compile(
    r"Event: (?P<pod>\S+) has container (?P<name>\S+) with fatal reason (?P<reason>\w+), task: (?P<key>.+)"
)
_UNSAID = {"None", "", None}


def scheduler_lines(settings: Settings, moment: float) -> list[str] | None:
    """The warnings of schedulers around a moment, from the store; None where it cannot be read."""
    at = utc(moment)
    where: dict[str, Any] = {"airflow.component": "scheduler", "log.level": "warning"}
    asked = Query("airflow.component", where, since=at - _AROUND, until=at + _AROUND, limit=_MOST, newest=True)
    try:
        store = open_store(settings)
        try:
            return [str(line.get("event") or line.get("message") or "") for line in store.documents(asked)]
        finally:
            store.close()
    except (StoreError, CredentialsError):
        return None


def asks_for_pod(events: Sequence[dict[str, Any]]) -> bool:
    """True where Kubernetes' executor ended an attempt and Airflow's event log does not say why."""
    extras = [str(event.get("extra") or "") for event in events if event.get("event") == "state mismatch"]
    return any("KubernetesExecutor" in text and _reason_in(text) in _UNSAID for text in extras)


def words_about_pod(one: dict[str, Any], lines: Iterable[str]) -> list[str]:
    """Sentences about the pod of the attempt ``one`` (as the API shows it), the last one first."""
    found = []
    for line in lines:
        if (ended := _ENDED.search(line)) and _is_key_of(ended["key"], one):
            found.append(_sentence(ended["pod"], ended["name"], ended["state"], ended["reason"], ended["code"],
                                   ended["pod_reason"], ended["message"], ended["pod_message"]))  # fmt: skip
        elif (stuck := _STUCK.search(line)) and _is_key_of(stuck["key"], one):
            found.append(_sentence(stuck["pod"], stuck["name"], "waiting", stuck["reason"], None))
    return found[::-1]


def _reason_in(extra: str) -> str:
    _, told, info = extra.rpartition("Extra info:")
    return info.partition("Pod failed because of ")[2].strip() if told else ""


def _is_key_of(key: str, one: dict[str, Any]) -> bool:
    """True where an executor's key (by names, by the attempt's id, or dag.task.try) is that of the attempt."""
    if one.get("id") and str(one["id"]) in key:
        return True
    if key.strip() == f"{one['dag_id']}.{one['task_id']}.{one['try_number']}":
        return True
    names = {"dag_id": one["dag_id"], "task_id": one["task_id"], "run_id": one["dag_run_id"],
             "try_number": one["try_number"], "map_index": one["map_index"]}  # fmt: skip
    return all(f"{name}={value!r}" in key for name, value in names.items())


def _sentence(pod: str, name: str, state: str, reason: str, code: str | None, *more: str) -> str:
    said = [part for part in (reason, *more) if part not in _UNSAID]
    left = f" (exit code {code})" if code not in _UNSAID else ""
    where = f"container {name} {state}" if name not in _UNSAID else "it failed"
    return f"pod {pod}: {where}: {': '.join(said) or 'no reason is given'}{left}"
