"""The entries of Airflow's UI under which the plugin registers the pages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, overload
from urllib.parse import urlsplit

from airflow.configuration import conf

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


class _Apps(Sequence[dict[str, Any]]):
    """The pages as Airflow mounts them, made when they are asked for.

    Every task process loads the plugin, and only the API server serves: no other imports FastAPI for it.
    """

    def __len__(self) -> int:
        return 1

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return [self._mounted][index]

    @cached_property
    def _mounted(self) -> dict[str, Any]:
        from observability.airflow.ui.mounted_app import Pages

        return {"app": Pages(), "url_prefix": URL_PREFIX, "name": "Contrail"}


FASTAPI_APPS: Sequence[dict[str, Any]] = _Apps()
"""The pages behind those entries."""
