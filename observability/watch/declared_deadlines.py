"""The deadlines that a DAG declares beside itself: in its param ``contrail_deadlines``, or as tags."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from observability.watch.rules.config import with_calendar
from observability.watch.rules.deadline import CONDITIONS, Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

__all__ = ["beside_dag"]


def beside_dag(
    dag_id: str, about: Mapping[str, Any], calendars: Mapping[str, frozenset[date]] | None = None
) -> list[Deadline]:
    """The deadlines that a DAG declares itself; one that is not valid is left out, and said so in the log."""
    declared = about.get("deadlines")
    wanted = [dict(one) for one in declared if isinstance(one, dict)] if isinstance(declared, list) else []
    for tag in about.get("tags") or ():
        name, _, value = str(tag).partition("=")
        if name in CONDITIONS and value:
            wanted.append({name: True if value == "true" else value})
    found = []
    for number, one in enumerate(wanted, 1):
        try:
            valid = Deadline.model_validate({"name": _name(dag_id, number), **one, "dag": "*"})
        except ValidationError as error:
            _say_once(dag_id, error.errors()[0]["msg"])
            continue
        if valid.calendar and valid.calendar not in (calendars or {}):
            _say_once(dag_id, f"no calendar is called {valid.calendar!r} in alerts.yaml")
            continue
        found.append(with_calendar(valid.model_copy(update={"dag": dag_id}), calendars or {}))
    return found


def _name(dag_id: str, number: int) -> str:
    """A name for what has none; a DAG id may have letters, and a length, that a deadline's name may not."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', dag_id)[:70]}-{number}"


@lru_cache(maxsize=1000)
def _say_once(dag_id: str, reason: str) -> None:
    structlog.get_logger("contrail.watch").warning("a deadline is not valid", dag_id=dag_id, reason=reason)
