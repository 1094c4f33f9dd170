"""The acts that people can do about incidents, each declared once: its words, its right, what takes it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from observability.watch.incidents import Incident

__all__ = ["ACTS", "ActSpec", "Right", "applies", "offered"]

Right = Literal["edit", "rerun"]


@dataclass(frozen=True, slots=True)
class ActSpec:
    """One act: its button, what it does in a sentence, the right that it needs and the act that takes it back.

    ``right``: ``edit`` is PUT on the DAG, ``rerun`` PUT on its task instances, as Airflow's own routes ask.
    ``asks`` names the field that a person fills in, ``states`` the incidents to which it applies, ``in_messages``
    the value with which a message offers it; None: no message does.
    """

    label: str
    says: str
    done: str
    right: Right = "edit"
    undo: str = ""
    asks: Literal["", "to", "until", "note"] = ""
    states: tuple[str, ...] = ("open", "acknowledged")
    in_messages: str | None = None
    by_hand: bool = True


ACTS: dict[str, ActSpec] = {
    "acknowledge": ActSpec(
        "Acknowledge", "You take the incident: no escalation, and a reminder every other day only.",
        "acknowledged it", undo="unacknowledge", states=("open",), in_messages="",
    ),
    "unacknowledge": ActSpec(
        "Give back", "Nobody has the incident any more: reminders and escalation begin again.", "gave it back",
        undo="acknowledge", states=("acknowledged",),
    ),
    "assign": ActSpec(
        "Assign", "The incident names this person as its owner.", "assigned it to {value}", undo="assign", asks="to",
    ),
    "silence": ActSpec(
        "Silence this error", "This error of this task notifies nobody until then; another error does.",
        "silenced this error until {value}", undo="unsilence", asks="until", in_messages="change",
    ),
    "unsilence": ActSpec(
        "End the silence", "The error notifies again. What was held back is sent within a minute.",
        "ended silence {value}",
        states=("open", "acknowledged", "resolved"), by_hand=False,
    ),
    "resolve": ActSpec(
        "Resolve", "The incident is over. Those who were notified of it are notified of the end.", "resolved it",
        undo="reopen", asks="note",
    ),
    "reopen": ActSpec("Reopen", "The incident is open again.", "reopened it", undo="resolve", states=("resolved",)),
    "rerun": ActSpec(
        "Clear and rerun", "Airflow clears the failed tasks of the run and those after them, and runs them again.",
        "cleared and reran {value}", right="rerun", undo="stop", in_messages="",
    ),
    "stop": ActSpec(
        "Stop the rerun", "Airflow marks the run as failed, and ends its tasks.", "stopped the rerun: {value}",
        right="rerun", by_hand=False, states=("open", "acknowledged", "resolved"),
    ),
    "useful": ActSpec(
        "Useful", "You say that it was right to notify people of this.", "marked it useful", undo="unmark",
        states=("open", "acknowledged", "resolved"),
    ),
    "noise": ActSpec(
        "Noise", "You say that nobody needed to hear of this. contrail alerts quality counts it.", "marked it noise",
        undo="unmark", states=("open", "acknowledged", "resolved"), in_messages="",
    ),
    "unmark": ActSpec(
        "Take the mark back", "The incident is neither useful nor noise.", "took the mark back", by_hand=False,
        states=("open", "acknowledged", "resolved"),
    ),
}  # fmt: skip
"""Every act by its name, which stands in addresses, in the ledger and in Airflow's audit log (``contrail.<name>``)."""


def offered(incident: Incident) -> list[str]:
    """The names of the acts that apply to the incident as it stands, in the order of their buttons."""
    return [name for name, spec in ACTS.items() if spec.by_hand and applies(name, incident)]


def applies(name: str, incident: Incident) -> bool:
    """True where the act changes something about the incident."""
    if name in {"rerun", "stop"} and not (incident.dag_id and incident.run_id):
        return False
    if name in {"useful", "noise"} and incident.about.get("verdict") == name:
        return False
    return incident.state in ACTS[name].states
