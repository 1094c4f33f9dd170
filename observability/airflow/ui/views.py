"""The entries of Airflow's UI under which the plugin registers the pages."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["EXTERNAL_VIEWS", "FASTAPI_APPS", "URL_PREFIX"]

URL_PREFIX = "/contrail"
"""The path of the pages below Airflow's own address."""

_BASE = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/") + URL_PREFIX
"""The address of the pages: below the path of ``[api] base_url``, which Airflow's UI does not add by itself."""
_ICON = f"{_BASE}/static/icon.svg"
_ICON_DARK = f"{_BASE}/static/icon-dark.svg"
_RUN = f"{_BASE}/dags/{{DAG_ID}}/runs/{{RUN_ID}}"


def _view(destination: str, route: str, href: str) -> dict[str, Any]:
    return {
        "name": "Contrail",
        "destination": destination,
        "url_route": route,
        "href": href,
        "icon": _ICON,
        "icon_dark_mode": _ICON_DARK,
    }


EXTERNAL_VIEWS: list[dict[str, Any]] = [
    {**_view("nav", "contrail", f"{_BASE}/"), "nav_top_level": True},
    {
        **_view("nav", "contrail-boards", f"{_BASE}/boards/operations"),
        "name": "Contrail boards",
        "category": "browse",
    },
    _view("dag", "contrail-dag", f"{_BASE}/dags/{{DAG_ID}}"),
    _view("dag_run", "contrail-run", _RUN),
    _view("task", "contrail-task", f"{_BASE}/dags/{{DAG_ID}}/tasks/{{TASK_ID}}"),
    _view("task_instance", "contrail-task-instance", f"{_RUN}/tasks/{{TASK_ID}}?map_index={{MAP_INDEX}}"),
]
"""Two pages in the navigation, and a tab on DAG, run, task and task instance."""


class _Pages:
    """The app, built at its first request: every task process loads the plugin, only the API server serves."""

    @cached_property
    def _app(self) -> ASGIApp:
        from observability.airflow.ui.app import create_app

        return create_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


FASTAPI_APPS: list[dict[str, Any]] = [{"app": _Pages(), "url_prefix": URL_PREFIX, "name": "Contrail"}]
"""The pages behind those entries."""
