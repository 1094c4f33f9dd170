"""Airflow's own simple auth manager, with readers who may read some DAGs only."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

READABLE = "open_dag"
PASSWORD = "a-password-of-the-test"
LISTED: dict[str, tuple[str, ...] | None] = {
    "none": (),
    "one": ("open_dag",),
    "two": ("open_dag", "second_dag"),
    "all": None,
    "runs_of_one": ("open_dag",),
    "runs_of_all": None,
    "bare_runs_of_one": ("open_dag",),
    "all_but_assets": None,
}
"""The DAGs that each reader of :mod:`test_rights` may read; None: every DAG, and the views of the installation."""
EDITORS = {"editor": "open_dag"}
"""People who may also edit a DAG and its task instances."""
BARE_RUNS = ("bare_runs_of_one",)
"""Those who may read runs, and no task of them."""
ONLY_RUNS = ("runs_of_one", "runs_of_all", *BARE_RUNS)
"""Those who may not read task logs."""
NO_ASSETS = ("all_but_assets",)
"""Those who may read every DAG, and no asset."""


class OneDagAuthManager(SimpleAuthManager):
    """``narrow`` may read ``open_dag``; everybody else what the simple auth manager lets them."""

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        if user.username == "narrow":
            return method == "GET" and details is not None and details.id == READABLE
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)


class ListingAuthManager(SimpleAuthManager):
    """The readers of ``LISTED``; to the question without a DAG it says, as Keycloak's does, who may list at all."""

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        if user.username in EDITORS:
            return method in {"GET", "PUT"} and (details is None or details.id in {None, EDITORS[user.username]})
        if method != "GET":
            return False
        if access_entity is DagAccessEntity.TASK_LOGS and user.username in ONLY_RUNS:
            return False
        if access_entity is DagAccessEntity.TASK_INSTANCE and user.username in BARE_RUNS:
            return False
        listed = LISTED[user.username]
        if listed is None:
            return True
        return bool(listed) if details is None or not details.id else details.id in listed

    def is_authorized_view(self, *, access_view, user):  # noqa: ARG002 - Airflow's signature
        return user.username in LISTED and LISTED[user.username] is None

    def is_authorized_pool(self, *, method, user, details=None):  # noqa: ARG002 - Airflow's signature
        return user.username in LISTED and LISTED[user.username] is None

    def is_authorized_asset(self, *, method, user, details=None):  # noqa: ARG002 - Airflow's signature
        return user.username in LISTED and LISTED[user.username] is None and user.username not in NO_ASSETS


ASKED = (
    "deserialize_user",
    "get_authorized_dag_ids",
    "is_authorized_dag",
    "batch_is_authorized_dag",
    "is_authorized_view",
    "is_authorized_pool",
    "is_authorized_asset",
)
"""The questions that our pages ask an auth manager, directly or by Airflow's own dependencies."""


class FailingAuthManager(ListingAuthManager):
    """Raises in the method that the file ``fails`` in AIRFLOW_HOME names, or answers nothing where it says so."""

    def __getattribute__(self, name):
        if name in ASKED:
            fails, _, how = (Path(os.environ["AIRFLOW_HOME"]) / "fails").read_text().partition(" ")
            if fails == name:
                return _nothing if how == "nothing" else _raise
        return super().__getattribute__(name)


def _raise(*_args, **_more):
    raise OSError("the words of a service that is down")


def _nothing(*_args, **_more):
    return None
