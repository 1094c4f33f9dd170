"""The place of a task instance's record in a task loop, in the database (Airflow 3.4)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sqlalchemy.orm import object_session

__all__ = ["loop_of"]


def loop_of(record: Any) -> dict[str, Any]:
    """The ``map_index`` that people know, with loop, iteration and region in a task loop; nothing before Airflow 3.4.

    The record itself has one index, that of its region: the iteration for a task of a loop, the map index for a task
    that is mapped. Which of them, and what is around it, only the regions say.
    """
    if getattr(record, "region_id", None) is None or (session := object_session(record)) is None:
        return {}
    regions = import_module("airflow.models.dynamic_region")
    if record.region_id == regions.SENTINEL_REGION_ID:
        return {}
    with session.no_autoflush:
        region = session.get(regions.DynamicRegion, record.region_id)
        if region is None:
            return {}
        if region.node_id != record.task_id:
            found = (-1, region, record.region_index)
        elif region.parent_region_id is None:
            return {"map_index": record.region_index}
        else:
            around = session.get(regions.DynamicRegion, region.parent_region_id)
            found = (record.region_index, around, region.parent_region_index)
    index, loop, iteration = found
    return {
        "map_index": index,
        "loop_id": getattr(loop, "node_id", None),
        "iteration": str(iteration),
        "region_id": str(record.region_id),
    }
