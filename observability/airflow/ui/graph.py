"""The tasks that follow each task of a DAG, as Airflow has stored them last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["downstream_of"]


def downstream_of(dag_id: str) -> Mapping[str, frozenset[str]]:
    """The downstream tasks by task; empty where Airflow knows no such DAG, or stores it in a form that we do not know.

    The stored JSON is read as it is: making a DAG of it takes seconds where there are thousands of tasks.
    """
    try:
        with create_session() as session:
            found = SerializedDagModel.get(dag_id, session=session)
            data: Any = found.data if found is not None else None
        tasks: list[Any] = data["dag"]["tasks"] if data else []
        parts = [one.get("__var", one) for one in tasks]
        return {str(one["task_id"]): frozenset(map(str, one.get("downstream_task_ids") or ())) for one in parts}
    except (SQLAlchemyError, AttributeError, KeyError, TypeError):
        return {}
