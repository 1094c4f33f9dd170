"""The pages as a FastAPI app that Airflow mounts; every endpoint asks Airflow who reads and what they may read."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates

from observability import catalog
from observability.airflow.ui import answers, boards, words
from observability.airflow.ui.scope import readable
from observability.settings import get_settings
from observability.store import Store, StoreError, open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import Response

__all__ = ["create_app", "render"]

_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
"""Content-Security-Policy of every answer: nothing from elsewhere, nothing inline, framed by Airflow only."""

_may_read_runs = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
_may_read_tasks = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))
_may_read_logs = Depends(requires_access_dag("GET", DagAccessEntity.TASK_LOGS))
_templates = Jinja2Templates(_HERE / "templates")
_templates.env.filters.update(words.FILTERS | boards.FILTERS)
_templates.env.globals.update(causes=catalog.CAUSES)
_stores = threading.local()

MapIndex = Annotated[str | None, Query(pattern=r"^(-?\d{1,9}|undefined|\{MAP_INDEX\})?$")]


Hours = Annotated[float | None, Query(gt=0, le=24 * 366)]


def create_app() -> FastAPI:
    """The app; Airflow mounts it below ``/contrail``."""
    app = FastAPI(title="Contrail", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="contrail-static")
    app.middleware("http")(_harden)
    app.exception_handler(StoreError)(_store_is_down)
    app.get("/", response_class=HTMLResponse)(_overview)
    app.get("/boards/{board}", response_class=HTMLResponse)(_board)
    app.get("/boards/{board}/panels/{panel}", response_class=HTMLResponse)(_panel)
    app.get("/dags/{dag_id}", response_class=HTMLResponse, dependencies=[_may_read_runs])(_dag)
    app.get("/dags/{dag_id}/runs/{run_id}", response_class=HTMLResponse, dependencies=[_may_read_tasks])(_run)
    app.get(
        "/dags/{dag_id}/tasks/{task_id}", response_class=HTMLResponse, dependencies=[_may_read_tasks, _may_read_logs]
    )(_task)
    app.get(
        "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}",
        response_class=HTMLResponse,
        dependencies=[_may_read_tasks, _may_read_logs],
    )(_task_instance)
    return app


def render(name: str, page: Any, links: words.Links | None = None, **more: Any) -> str:
    """The page as HTML, without a request: what :mod:`benchmarks.pages` times."""
    html: str = _templates.get_template(name).render(page=page, links=links or words.Links(), environment="", **more)
    return html


def _overview(request: Request, user: GetUserDep) -> Response:
    dags = readable(user, lines=False)
    may_read = (lambda _: True) if dags is None else set(dags).__contains__
    return _page(request, "overview.html", page=answers.overview(_store(), may_read))


def _board(request: Request, user: GetUserDep, board: str, hours: Hours = None) -> Response:
    found = _known(boards.find_board(board), f"there is no board {board!r}")
    view = boards.View.of(found, hours, request.query_params, readable(user, lines=False))
    return _page(request, "board.html", page=view, all=boards.boards(), hours=boards.HOURS)


def _panel(request: Request, user: GetUserDep, board: str, panel: str, hours: Hours = None) -> Response:
    found = _known(boards.find_board(board), f"there is no board {board!r}")
    drawn = _known(boards.find_panel(found, panel), f"there is no panel {panel!r} on the board {board!r}")
    lines = drawn["kind"] == "search" or "airflow.task" in drawn["datasets"]
    view = boards.View.of(found, hours, request.query_params, readable(user, lines=lines))
    return _page(request, "panel.html", page=boards.shown(_store(), view, drawn), view=view)


def _known(found: dict[str, Any] | None, why: str) -> dict[str, Any]:
    if found is None:
        raise HTTPException(404, why)
    return found


def _dag(request: Request, dag_id: str) -> Response:
    return _page(request, "dag.html", page=answers.dag_page(_store(), dag_id))


def _run(request: Request, dag_id: str, run_id: str) -> Response:
    return _page(request, "run.html", page=answers.run_page(_store(), dag_id, run_id))


def _task(request: Request, dag_id: str, task_id: str) -> Response:
    return _page(request, "task.html", page=answers.task_page(_store(), dag_id, task_id))


def _task_instance(request: Request, dag_id: str, run_id: str, task_id: str, map_index: MapIndex = None) -> Response:
    index = int(map_index) if map_index and map_index.lstrip("-").isdigit() else None
    return _page(request, "task.html", page=answers.task_page(_store(), dag_id, task_id, run_id, index))


def _page(request: Request, name: str, status: int = 200, **context: Any) -> Response:
    knobs = get_settings()
    root = request.scope.get("root_path", "").rstrip("/")
    links = words.Links(root=root, airflow=root.removesuffix("/contrail"), kibana=knobs.contrail.kibana_url.rstrip("/"))
    told = {**context, "links": links, "environment": knobs.contrail.environment}
    return _templates.TemplateResponse(request, name, told, status_code=status)


def _store() -> Store:
    if not hasattr(_stores, "store"):
        _stores.store = open_store(get_settings())
    store: Store = _stores.store
    return store


async def _harden(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response


async def _store_is_down(request: Request, error: Exception) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": str(error)}, status_code=503)
    return _page(request, "unavailable.html", status=503, error=str(error))
