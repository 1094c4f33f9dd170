"""What a reader may see on a page that is about many DAGs, by Airflow's own auth manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.configuration import conf
from airflow.models.dag import DagModel

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["readable"]

_EVENTS = (DagAccessEntity.RUN, DagAccessEntity.TASK_INSTANCE)
_LINES = (*_EVENTS, DagAccessEntity.TASK_LOGS)


def readable(user: Any, *, lines: bool) -> tuple[str, ...] | None:
    """The DAGs whose runs and tasks (``lines``: and logs) ``user`` may read; None: those of the whole installation.

    Where several teams share an Airflow, nobody has the right to all DAGs by not being asked about one.
    """
    manager, entities = get_auth_manager(), _LINES if lines else _EVENTS
    if not conf.getboolean("core", "multi_team", fallback=False) and _may(manager, user, entities, None):
        return None
    found = manager.get_authorized_dag_ids(user=user, method="GET")
    teams = _teams(found)
    return tuple(sorted(dag for dag in found if _may(manager, user, entities, _details(dag, teams))))


def _may(manager: Any, user: Any, entities: Iterable[DagAccessEntity], details: DagDetails | None) -> bool:
    return all(
        manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user) for entity in entities
    )


def _details(dag: str, teams: dict[str, str | None]) -> DagDetails:
    """Airflow 3.1 has no teams, and no room for one here."""
    return DagDetails(id=dag, team_name=teams[dag]) if dag in teams else DagDetails(id=dag)


def _teams(dags: set[str]) -> dict[str, str | None]:
    if not conf.getboolean("core", "multi_team", fallback=False):
        return {}
    teams: dict[str, str | None] = DagModel.get_dag_id_to_team_name_mapping(list(dags))
    return teams
