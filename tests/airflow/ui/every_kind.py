"""Every kind of event about a DAG, made of names that are its own: what :mod:`test_rights` looks for on each page."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from msgspec.structs import fields

from observability import catalog
from observability.airflow.ui.readable_store import OPEN_ACTIONS, TEXTS
from observability.events import (
    DeadlineApproached,
    DeadlineMissed,
    Identity,
    IncidentOpened,
    NotificationSent,
    by_action,
)

__all__ = ["ASSET", "every_kind"]

ASSET = "late-uri-of-"
_NAMES = ("operator", "owner", "pool", "queue", "team", "bundle", "bundle_version", "partition_key")
_BOUNDED = {"cause": "app", "severity": "error", "incident_state": "open", "kind": "opened"}
_NOT_FILLED = {"identity", "time", "discriminator", "probe", "asset", "state", "provider", "delivery"}
_ABOUT_AN_ASSET = (DeadlineApproached, DeadlineMissed, IncidentOpened, NotificationSent)


def every_kind(dag, reason, run_id):
    """The events of a task, a run and an asset of ``dag`` (None: those about no DAG), what is over before the rest.

    ``reason`` stands where a person's code may have said it, ``<field>-of-<dag>`` in every other field.
    """
    run = Identity(dag_id=dag, run_id=dag and run_id)
    task = Identity(
        dag_id=dag, run_id=run_id, task_id=f"task-of-{dag}", try_number=1, map_index=-1, tags=(f"tag-of-{dag}",),
        **{name: f"{name}-of-{dag}" for name in _NAMES},
    )  # fmt: skip
    for action, kind in by_action().items():
        if dag is not None or action not in OPEN_ACTIONS:
            for who in (task, run) if dag else (Identity(),):
                yield catalog.EVENTS[action].dataset, _event(kind, who, dag or "nobody", reason)
    for kind in _ABOUT_AN_ASSET if dag else ():
        uri = f"{ASSET}{dag}"
        late = _event(kind, Identity(), f"assets-{kind.action}", f"{uri} has not been updated", asset=uri)
        yield "contrail.alert", late


def _event(kind, who, whose, reason, *, asset=""):
    values = {}
    for field in fields(kind):
        if field.name == "asset" and (asset or field.required):
            values["asset"] = (asset,) if "tuple" in str(field.type) else asset or f"asset-of-{whose}"
        elif field.name not in _NOT_FILLED:
            values[field.name] = _value(field.name, str(field.type), whose, reason)
    ends = getattr(catalog.EVENTS[kind.action].incident, "status", "") == "resolved"
    when = datetime.now(timezone.utc) - timedelta(hours=2 if ends else 1)
    return kind(identity=who, time=when, discriminator=f"{whose}{asset}{who.task_id}", **values)


def _value(name, kind, whose, reason):
    if name in _BOUNDED:
        return _BOUNDED[name]
    if "int" in kind or "float" in kind:
        return 1
    if "datetime" in kind:
        return datetime.now(timezone.utc)
    if name in {"reason", "incident_title", "incident_key"} or f"error.{name.removeprefix('error_')}" in TEXTS:
        return reason
    return (f"{name}-of-{whose}",) if "tuple" in kind else f"{name}-of-{whose}"
