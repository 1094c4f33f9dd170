"""The facts: one frozen struct per kind of event, and its document in ECS words; a module for each subject.

An event knows what happened and to what; :mod:`observability.catalog` knows what that implies.
Equal facts have equal ids, whoever saw them, so that no source can double what another reported.
"""

from __future__ import annotations

import dataclasses
from functools import cache

from msgspec import structs

from observability.events import alerting, dags, data, deadlines, operations, tasks
from observability.events.alerting import *
from observability.events.dags import *
from observability.events.data import *
from observability.events.deadlines import *
from observability.events.deeds import Setting, deed_note, deed_of, setting_of
from observability.events.event import Event, moment, provider_of
from observability.events.fields import EVENT_FIELDS
from observability.events.identity import (
    Document,
    Identity,
    Region,
    base_iteration,
    fact_id,
    iteration_labels,
    region_of,
    task_name,
    ui_path,
)
from observability.events.operations import *
from observability.events.tasks import *

__all__ = [
    "Document",
    "Event",
    "Identity",
    "Region",
    "Setting",
    "base_iteration",
    "by_action",
    "deed_note",
    "deed_of",
    "fact_id",
    "iteration_labels",
    "list_fields",
    "moment",
    "provider_of",
    "region_of",
    "setting_of",
    "task_name",
    "ui_path",
]
__all__ += alerting.__all__
__all__ += dags.__all__
__all__ += data.__all__
__all__ += deadlines.__all__
__all__ += operations.__all__
__all__ += tasks.__all__

_SUBJECTS = (tasks, dags, data, deadlines, alerting, operations)


@cache
def list_fields() -> frozenset[str]:
    """The fields of documents in which an event has a list."""
    found = [(one.name, str(one.type)) for one in dataclasses.fields(Identity)]
    found += [(one.name, str(one.type)) for kind in by_action().values() for one in structs.fields(kind)]
    return frozenset(EVENT_FIELDS[name] for name, kind in found if "tuple" in kind)


def by_action() -> dict[str, type[Event]]:
    """Every public event class by its ``event.action``."""
    kinds: list[type[Event]] = [vars(subject)[name] for subject in _SUBJECTS for name in subject.__all__]
    return {kind.action: kind for kind in kinds}
