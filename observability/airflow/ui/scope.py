"""The rights of a reader, asked of Airflow's own auth manager, and what each of them shows.

Three rights to a DAG build on each other: RUN shows runs, deadlines and incidents; TASK_INSTANCE the tasks, their data
and the boards; TASK_LOGS every text that a person's code wrote (reasons, errors, traces, log lines). Beside them:
CLUSTER_ACTIVITY shows the installation's own metrics and silent components, pools and assets their names, and
IMPORT_ERRORS, together with the logs of every DAG, whatever is about no DAG: import errors and component logs.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import (
    AccessView,
    AssetDetails,
    DagAccessEntity,
    DagDetails,
    PoolDetails,
)
from airflow.configuration import conf
from airflow.models.asset import AssetModel
from airflow.models.dag import DagModel
from airflow.models.pool import Pool
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["LOGS", "RUNS", "TASKS", "AuditedDags", "Names", "Reader", "RightsUnknown", "asking", "may_act"]

RUNS = (DagAccessEntity.RUN,)
TASKS = (*RUNS, DagAccessEntity.TASK_INSTANCE)
LOGS = (*TASKS, DagAccessEntity.TASK_LOGS)

_NO_ASSET = "-1"
"""Asked about where Airflow knows no asset of that URI any more."""
_NO_DAG = "contrail.no.such.dag"
"""Asked about where there is no DAG yet: who may read this one may read any."""


class RightsUnknown(RuntimeError):  # noqa: N818 - a state of Airflow, not a mistake of the caller
    """Airflow did not say what the reader may read; then nothing is shown."""


@contextmanager
def asking() -> Iterator[None]:
    """A question to the auth manager. Raises :class:`RightsUnknown` where it ends in anything but an answer."""
    try:
        yield
    except (HTTPException, RightsUnknown):
        raise
    except Exception as error:  # an auth manager may raise whatever its service's client raises
        raise RightsUnknown(f"{type(error).__name__}: {error}") from error


class Names:
    """The assets, or pools, that a reader may read, asked one by one: who may list them may not read every one.

    ``ask`` decides about a name, ``every`` gives all that there are. Each name is asked once.
    """

    def __init__(self, ask: Callable[[str], bool], every: Callable[[], Iterable[str]] = tuple) -> None:
        self._ask, self._every = ask, every
        self._known: dict[str, bool] = {}

    def __contains__(self, name: str) -> bool:
        if name not in self._known:
            with asking():
                self._known[name] = self._ask(name)
        return self._known[name]

    @property
    def all(self) -> bool:
        """True where every name that there is may be read, and there is one."""
        with asking():
            names = list(self._every())
        return bool(names) and all(name in self for name in names)


_NO_NAMES = Names(lambda _: False)


class AuditedDags:
    """The DAGs whose event log a reader may read, asked where it is shown: most pages show nothing of it.

    ``ask`` gives those of some DAGs.
    """

    def __init__(self, ask: Callable[[frozenset[str]], frozenset[str]]) -> None:
        self._ask = ask
        self._known: dict[frozenset[str], frozenset[str]] = {}

    def among(self, dags: frozenset[str]) -> frozenset[str]:
        """Those of ``dags``."""
        if dags not in self._known:
            with asking():
                self._known[dags] = self._ask(dags)
        return self._known[dags]

    def are_all(self, dags: frozenset[str]) -> bool:
        """True where they are all of ``dags``, which are every DAG that there is; without any, where one would be."""
        asked = dags or frozenset({_NO_DAG})
        return self.among(asked) == asked


_NOT_AUDITED = AuditedDags(lambda _: frozenset())


@dataclass(frozen=True, slots=True)
class Reader:
    """The rights of one person: the DAGs of each right, and the views of the installation.

    ``logs`` is part of ``tasks``, which is part of ``runs``. ``whole``: the logs of every DAG, and import errors.
    ``audited``: DAGs whose event log they may read.
    """

    runs: frozenset[str]
    tasks: frozenset[str]
    logs: frozenset[str]
    whole: bool = False
    cluster: bool = False
    pools: Names = _NO_NAMES
    assets: Names = _NO_NAMES
    audited: AuditedDags = _NOT_AUDITED

    @classmethod
    def of(cls, user: Any) -> Reader:
        """The rights of ``user`` at this moment; nothing of them is kept. Raises :class:`RightsUnknown`."""
        with asking():
            return cls._asked(user)

    @classmethod
    def _asked(cls, user: Any) -> Reader:
        manager = get_auth_manager()
        found = frozenset(manager.get_authorized_dag_ids(user=user, method="GET"))
        runs = _allowed(manager, user, RUNS[-1:], found)
        tasks = _allowed(manager, user, TASKS[-1:], runs)
        logs = _allowed(manager, user, LOGS[-1:], tasks)
        return cls(
            runs,
            tasks,
            logs,
            whole=_is_everything(manager, user, LOGS, logs) and _views(manager, user, AccessView.IMPORT_ERRORS),
            cluster=_views(manager, user, AccessView.CLUSTER_ACTIVITY),
            pools=_pools(manager, user),
            assets=_assets(manager, user),
            audited=AuditedDags(partial(_allowed, manager, user, (DagAccessEntity.AUDIT_LOG,))),
        )


def may_act(user: Any, dag_id: str | None, right: str) -> bool:
    """True where Airflow lets ``user`` edit the DAG (``edit``), or its task instances (``rerun``).

    These are the rights that Airflow's own routes ask for pausing and for clearing. About no DAG it takes the right to
    edit any DAG. Raises :class:`RightsUnknown`.
    """
    entity = DagAccessEntity.TASK_INSTANCE if right == "rerun" else None
    with asking():
        details = _details(dag_id, _teams([dag_id])) if dag_id else DagDetails(id=_NO_DAG)
        allowed = get_auth_manager().is_authorized_dag(method="PUT", access_entity=entity, details=details, user=user)
        return bool(allowed)


def _is_everything(manager: Any, user: Any, entities: Iterable[DagAccessEntity], found: frozenset[str]) -> bool:
    """True where ``found`` is every DAG; where several teams share an Airflow, it never is."""
    if _has_teams():
        return False
    every = _every_dag()
    if every is None or found != every:
        return False
    return bool(every) or _may(manager, user, entities, DagDetails(id=_NO_DAG))


def _allowed(manager: Any, user: Any, entities: tuple[DagAccessEntity, ...], dags: frozenset[str]) -> frozenset[str]:
    """Those of ``dags`` to which the user has the rights; one question where the auth manager can answer it at once."""
    teams = _teams(dags)
    details = {dag: _details(dag, teams) for dag in dags}
    at_once = getattr(manager, "batch_is_authorized_dag", None)
    if dags and at_once is not None:
        asked = [
            {"method": "GET", "access_entity": entity, "details": one}
            for one in details.values()
            for entity in entities
        ]
        if at_once(asked, user=user):
            return dags
    return frozenset(dag for dag in dags if _may(manager, user, entities, details[dag]))


def _may(manager: Any, user: Any, entities: Iterable[DagAccessEntity], details: DagDetails) -> bool:
    return all(
        manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user) for entity in entities
    )


def _views(manager: Any, user: Any, view: AccessView) -> bool:
    return bool(manager.is_authorized_view(access_view=view, user=user))


def _pools(manager: Any, user: Any) -> Names:
    def ask(name: str) -> bool:
        return bool(manager.is_authorized_pool(method="GET", details=PoolDetails(name=name), user=user))

    if _has_teams() or not manager.is_authorized_pool(method="GET", user=user):
        return _NO_NAMES
    return Names(ask, partial(_every_name, Pool.pool))


def _assets(manager: Any, user: Any) -> Names:
    def ask(uri: str) -> bool:
        with create_session() as session:
            found = session.scalars(select(AssetModel.id).where(AssetModel.uri == uri)).all()
        asked = [AssetDetails(id=str(one)) for one in found] or [AssetDetails(id=_NO_ASSET)]
        return all(manager.is_authorized_asset(method="GET", details=one, user=user) for one in asked)

    return Names(ask) if manager.is_authorized_asset(method="GET", user=user) else _NO_NAMES


def _every_name(column: Any) -> list[str]:
    with create_session() as session:
        return list(session.scalars(select(column)))


def _every_dag() -> frozenset[str] | None:
    """Every DAG that Airflow knows, or None where its database does not say."""
    try:
        with create_session() as session:
            return frozenset(session.scalars(select(DagModel.dag_id)))
    except SQLAlchemyError:
        return None


def _details(dag: str, teams: dict[str, str | None]) -> DagDetails:
    """Airflow 3.1 has no teams, and no room for one here."""
    return DagDetails(id=dag, team_name=teams[dag]) if dag in teams else DagDetails(id=dag)


def _has_teams() -> bool:
    return bool(conf.getboolean("core", "multi_team", fallback=False))


def _teams(dags: Iterable[str]) -> dict[str, str | None]:
    if not _has_teams():
        return {}
    teams: dict[str, str | None] = DagModel.get_dag_id_to_team_name_mapping(list(dags))
    return teams
