"""The words for what a person did, from a row of Airflow's event log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from observability.catalog import AUDIT_EVENTS

if TYPE_CHECKING:
    from observability.events.identity import Document

__all__ = ["deed_note", "deed_of"]

_SET = {
    "patch_dag_run": "the run",
    "patch_task_instance": "the task",
    "patch_task_group_instances": "the task group",
}
_SAID = {"method", "dry_run", "new_state", "state", "is_paused"}
"""Parts of a body that the words say, or that only a program asks for."""
_PAUSED = {"patch_dag": "the DAG", "patch_dags": "several DAGs"}


def deed_of(document: Document) -> str:
    """Say what the person did, such as ``set the task to success``, by a document of ``audit.recorded``.

    What was written beside the row makes it exact; a reader who may not see that is told the deed in general.
    """
    name = str(document.get("airflow.audit_event") or "")
    said = _exact(name, _body(document)) or AUDIT_EVENTS.get(name) or _spelled(name)
    task = document.get("airflow.task_id")
    if not task:
        return said
    return said.replace("the task to", f"task {task} to") if "the task to" in said else f"{said}: {task}"


def deed_note(document: Document) -> str:
    """Say what was written beside the row and the words for it do not say, such as ``note seen``."""
    body = _body(document)
    if not body:
        return str(document.get("airflow.audit_extra") or "")
    return ", ".join(
        f"{name.replace('_', ' ')} {_listed(value)}" for name, value in body.items() if _is_more(name, value)
    )


def _is_more(name: str, value: Any) -> bool:
    return name not in _SAID and value not in (None, "", [], {}, False)


def _listed(value: Any) -> str:
    if value is True:
        return "yes"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _exact(name: str, body: dict[str, Any]) -> str:
    if name in _PAUSED and (paused := str(body.get("is_paused")).lower()) in {"true", "false"}:
        return f"{'paused' if paused == 'true' else 'unpaused'} {_PAUSED[name]}"
    if name not in _SET:
        return ""
    if state := body.get("new_state") or body.get("state"):
        return f"set {_SET[name]} to {state}"
    return f"wrote a note on {_SET[name]}" if "note" in body else ""


def _body(document: Document) -> dict[str, Any]:
    try:
        body = json.loads(str(document.get("airflow.audit_extra")))
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _spelled(name: str) -> str:
    words = name.replace("_", " ")
    return f"ran a command: {words.removeprefix('cli ')}" if name.startswith("cli_") else words
