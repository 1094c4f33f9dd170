"""The subject of an event, and what is told by it: its id, its name for people, its address in Airflow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Any, TypeAlias
from urllib.parse import quote

__all__ = [
    "IDENTITY_FIELDS",
    "Document",
    "Identity",
    "Region",
    "base_iteration",
    "fact_id",
    "iteration_labels",
    "region_of",
    "task_name",
    "ui_path",
]

Document: TypeAlias = "dict[str, Any]"
"""A flat document: dotted ECS names → JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The subject of an event: a task attempt, a run (no task_id) or a DAG (no run_id).

    In a task loop (Airflow 3.4) ``iteration`` is the number of the iteration, and ``ti_id`` is what tells its attempts
    from those of the others: a path knows the iteration, Airflow knows the id, and only a task process knows both.
    """

    dag_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    try_number: int | None = None
    map_index: int | None = None
    iteration: str | None = None
    loop_id: str | None = None
    region_id: str | None = None
    ti_id: str | None = None
    operator: str | None = None
    owner: str | None = None
    pool: str | None = None
    queue: str | None = None
    team: str | None = None
    tags: tuple[str, ...] | None = None
    run_type: str | None = None
    logical_date: str | None = None
    partition_key: str | None = None
    bundle: str | None = None
    bundle_version: str | None = None
    dag_version: int | None = None
    component: str | None = None
    trace_id: str | None = None

    def document(self) -> Document:
        """The fields of this identity that are known, by their ECS names."""
        known = ((field, getattr(self, name)) for name, field in IDENTITY_FIELDS.items())
        document = {field: value for field, value in known if value is not None}
        if self.dag_id is not None:
            region = region_of(self.region_id, self.map_index, self.iteration)
            document["airflow.run_path"] = ui_path(self.dag_id, self.run_id, self.task_id, self.map_index, region)
        return document

    @property
    def loop_key(self) -> str | None:
        """The key of one iteration's attempts; None outside a task loop."""
        if self.iteration is None and self.loop_id is None:
            return None
        return self.ti_id or self.iteration


IDENTITY_FIELDS: dict[str, str] = {
    **{field.name: f"airflow.{field.name}" for field in fields(Identity)},
    "trace_id": "trace.id",
}
"""Name of a part of an identity → the document field it becomes."""

_AGAIN_MOST = 21
Region: TypeAlias = "tuple[str, int] | None"
"""The region of a task instance in a task loop, and its index there."""


def region_of(region_id: str | None, map_index: int | None, iteration: str | None) -> Region:
    """The region by which Airflow tells the iterations of a task loop apart; None outside a loop, or where unknown."""
    index = map_index if map_index is not None and map_index >= 0 else base_iteration(iteration)
    return None if region_id is None or index is None else (region_id, index)


def base_iteration(iteration: str | None) -> int | None:
    """The number of an iteration: 2 for ``2``, and for ``2.3`` of a loop that a person had run again."""
    number = iteration.partition(".")[0] if isinstance(iteration, str) else ""
    return int(number) if number.isdecimal() else None


def iteration_labels(iteration: int) -> tuple[str, ...]:
    """The names that an iteration can have: ``2``, and ``2.2``, ``2.3``, … after the loop was run again before it."""
    return (str(iteration), *(f"{iteration}.{again}" for again in range(2, _AGAIN_MOST)))


def ui_path(
    dag_id: str,
    run_id: str | None = None,
    task_id: str | None = None,
    map_index: int | None = None,
    region: Region = None,
) -> str:
    """The address of the subject in the Airflow UI, relative to the UI's address; parts are quoted."""
    path = f"dags/{quote(dag_id, safe='')}"
    if run_id is None:
        return path
    path += f"/runs/{quote(run_id, safe='')}"
    if task_id is None:
        return path
    path += f"/tasks/{quote(task_id, safe='')}"
    path = path if map_index is None or map_index < 0 else f"{path}/mapped/{map_index}"
    return path if region is None else f"{path}?region_id={region[0]}&region_index={region[1]}"


def task_name(task_id: object, map_index: int | None = None, iteration: str | None = None) -> str:
    """Name a task instance for people: ``load``, ``load[2]``, ``load[iteration 1]``, ``load[2, iteration 1]``."""
    parts = [str(map_index)] if map_index is not None and map_index >= 0 else []
    parts += [f"iteration {base_iteration(iteration)}"] if iteration is not None else []
    return f"{task_id}[{', '.join(parts)}]" if parts else str(task_id)


def fact_id(action: str, identity: Identity | None, discriminator: str = "") -> str:
    """The id of a fact: equal for equal (action, dag, run, task, map index, try, discriminator), and id in a loop."""
    about = identity or Identity()
    place = (about.dag_id, about.run_id, about.task_id, about.map_index, about.try_number)
    parts = (action, *place, discriminator, *((about.loop_key,) if about.loop_key is not None else ()))
    text = "\x1f".join("" if part is None else str(part) for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
