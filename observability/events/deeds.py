"""The words for what a person did, from a row of Airflow's event log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observability.catalog import AUDIT_EVENTS

if TYPE_CHECKING:
    from observability.events.identity import Document

__all__ = ["Setting", "deed_note", "deed_of", "setting_of"]

_SET = {
    "patch_dag_run": "the run",
    "patch_task_instance": "the task",
    "patch_task_group_instances": "the task group",
}
_SAID = {"method", "dry_run", "new_state", "state", "is_paused"}
"""Parts of a body that the words say, or that only a program asks for."""
_STATES = ("success", "failed", "skipped")
"""A person may set a task to these."""
_MOST_DIGITS = 9
_PAUSED = {"patch_dag": "the DAG", "patch_dags": "several DAGs"}


def deed_of(document: Document) -> str:
    """Say what the person did, such as ``set the task to success``, by a document of ``audit.recorded``.

    Airflow writes a request down before it decides about it. Where it is not known to be carried out the words are
    ``asked to set the task to success``. What was written beside the row makes them exact; a reader who may not see
    that is told the deed in general.
    """
    name = str(document.get("airflow.audit_event") or "")
    asked = _exact(name, _body(document)) or AUDIT_EVENTS.get(name)
    if asked and (task := document.get("airflow.task_id")):
        asked = asked.replace("the task to", f"task {task} to") if "the task to" in asked else f"{asked}: {task}"
    return _SAYS.get(str(document.get("event.outcome")), _asked)(asked) if asked else _spelled(document, name)


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


@dataclass(frozen=True, slots=True)
class Setting:
    """A state to which a person set a task, or each task of a group; of one map index, or of each (None)."""

    task_id: str
    group_id: str
    map_index: int | None
    state: str
    who: str
    time: str

    def concerns(self, task_id: str, map_index: int) -> bool:
        """True if it is about this task, and this part of it where it is mapped."""
        is_in = task_id.startswith(f"{self.group_id}.") if self.group_id else task_id == self.task_id
        return is_in and self.map_index in {None, map_index}


def setting_of(document: Document) -> Setting | None:
    """Return the state that a person set, by a document of ``audit.recorded``.

    None for another deed, for a request that Airflow is not known to have carried out, and where the reader may not
    see what was written beside it.
    """
    body, name = _body(document), document.get("airflow.audit_event")
    group = str(body.get("group_id") or "") if name == "patch_task_group_instances" else ""
    is_set = (name == "patch_task_instance" or group) and body.get("new_state") in _STATES
    if not is_set or document.get("event.outcome") != "success":
        return None
    index = str(body.get("map_index", ""))
    return Setting(
        task_id=str(document.get("airflow.task_id")),
        group_id=group,
        map_index=int(index) if index.isdecimal() and len(index) <= _MOST_DIGITS else None,
        state=str(body["new_state"]),
        who=str(document.get("user.name") or "a person"),
        time=str(document["@timestamp"]),
    )


def _exact(name: str, body: dict[str, Any]) -> str:
    if name in _PAUSED and (paused := str(body.get("is_paused")).lower()) in {"true", "false"}:
        return f"{'pause' if paused == 'true' else 'unpause'} {_PAUSED[name]}"
    if name not in _SET:
        return ""
    if state := body.get("new_state") or body.get("state"):
        return f"set {_SET[name]} to {state}"
    return f"write a note on {_SET[name]}" if "note" in body else ""


def _body(document: Document) -> dict[str, Any]:
    try:
        body = json.loads(str(document.get("airflow.audit_extra")))
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _spelled(document: Document, name: str) -> str:
    words = name.replace("_", " ")
    said = f"ran a command: {words.removeprefix('cli ')}" if name.startswith("cli_") else words
    return f"{said}: {task}" if (task := document.get("airflow.task_id")) else said


def _asked(deed: str) -> str:
    return f"asked to {deed}"


def _in_vain(deed: str) -> str:
    return f"asked to {deed}; nothing changed"


def _done(deed: str) -> str:
    """``set the task to success`` of ``set …``, ``cleared tasks`` of ``clear …``."""
    verb, _, rest = deed.partition(" ")
    return f"{_PAST.get(verb) or verb.removesuffix('e') + 'ed'} {rest}"


_SAYS = {"success": _done, "failure": _in_vain}
_PAST = {
    "begin": "began", "cancel": "cancelled", "give": "gave", "make": "made", "rerun": "reran", "set": "set",
    "stop": "stopped", "take": "took", "write": "wrote",
}  # fmt: skip
