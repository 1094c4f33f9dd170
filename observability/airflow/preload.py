"""Make ready in the parent what the first event of a process needs, so that a forked task does not pay for it."""

from __future__ import annotations

import logging
import os
from datetime import datetime, timezone
from importlib import import_module

from airflow.configuration import AIRFLOW_HOME

from observability import redact
from observability.airflow.masking import follow_masks
from observability.contain import contained
from observability.emit import journal
from observability.encode import to_json
from observability.events import Identity, TaskFailed, TaskRetried, TaskStarted, TaskSucceeded
from observability.resources import usage
from observability.settings import ALERTS_VARIABLE, SettingsError

__all__ = ["preload"]

_NEEDED_LATER = ("statsd", "observability.logs", "observability.measure", "encodings.idna")
_NEEDED_BY_SUPERVISORS = ("observability.relay.relay", "observability.relay.steps.own_keys")
_NEW_INTERPRETER = "_AIRFLOW_CHILD_TARGET"
"""Airflow 3.4 gives it to a task that it runs in a new Python (``execute_tasks_new_python_interpreter``)."""


def preload() -> None:
    """Read the settings, compile the rules, import what is imported on first use. A bad setting is logged, no more."""
    with contained("preload"):
        try:
            _make_ready()
        except SettingsError as error:
            logging.getLogger(__name__).error("Contrail observes nothing until its settings are right: %s", error)  # noqa: TRY400


def _make_ready() -> None:
    os.environ.setdefault(
        "AIRFLOW_HOME", AIRFLOW_HOME
    )  # so that our home is below Airflow's, also where that is its default
    for module in (*_NEEDED_LATER, *(() if _NEW_INTERPRETER in os.environ else _NEEDED_BY_SUPERVISORS)):
        import_module(module)
    journal()
    redact.add_secret(os.environ.get(ALERTS_VARIABLE, ""))
    follow_masks()
    now = datetime.now(timezone.utc)
    about = Identity(dag_id="", task_id="", run_id="")
    for event in (
        TaskStarted(identity=about, time=now),
        TaskSucceeded(identity=about, time=now),
        TaskFailed(identity=about, cause="app", reason=""),
        TaskRetried(identity=about, cause="app", reason=""),
    ):
        redact.is_clean(to_json(event.document()))
    usage()
    os.register_at_fork(before=_before_fork)


def _before_fork() -> None:
    """Compile the rules again if a secret became known since, and open the journal: here once, not in each child."""
    with contained("preload"):
        redact.is_clean(b"")
        journal().ready("etl.event")
