"""Airflow's own simple auth manager, with one reader who may read one DAG only."""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

READABLE = "open_dag"


class OneDagAuthManager(SimpleAuthManager):
    """``narrow`` may read ``open_dag``; everybody else what the simple auth manager lets them."""

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        if user.username == "narrow":
            return method == "GET" and details is not None and details.id == READABLE
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
