"""The pages as a FastAPI app that Airflow mounts; every endpoint asks Airflow who reads and what they may read."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from observability.airflow.ui import acting, boards, graph, ledger, pages, rules, runbooks
from observability.airflow.ui.bounded_bodies import BoundedBodies
from observability.airflow.ui.forms import form_token
from observability.airflow.ui.pages.incident import incident_title
from observability.airflow.ui.readable_store import ReadableStore
from observability.airflow.ui.refusals import answer_failures
from observability.airflow.ui.rendering import html_page, render
from observability.airflow.ui.scope import LOGS, RUNS, TASKS, Reader, asking
from observability.errors import LedgerError, LedgerUnavailable
from observability.settings import get_settings
from observability.store import Store, open_store
from observability.watch.facts import late_assets
from observability.watch.ledger.acts import key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from fastapi import Response
    from fastapi.routing import APIRoute

    from observability.watch.incidents import Incident

__all__ = ["create_app", "render", "rights_of"]

_HERE = Path(__file__).parent


def _known(request: Request, user: GetUserDep) -> Any:
    """The reader; from here on a failure is not about who that is."""
    request.state.reader_is_known = True
    return user


User = Annotated[Any, Depends(_known)]


def _right(entity: DagAccessEntity) -> Any:
    """Airflow's own check of a right to the DAG that a route names."""
    ask = requires_access_dag("GET", entity)

    def asked(request: Request, user: User) -> None:
        with asking():
            ask(request, user)

    return Depends(asked)


_RIGHTS = {entity: _right(entity) for entity in LOGS}
_idle: LifoQueue[Store] = LifoQueue()
"""Open stores that no request uses. FastAPI answers one request in several threads, so a store serves one request at a
time: two threads that count in one SQLite connection wait for each other for ever, and with them the API server."""
_IDLE_MOST = 8
"""A board asks for forty panels at once: as many stores, kept for ever, hold 80 MB."""

_OTHER_LEDGER = (
    "the ledger of this host does not have it, so that it is another watcher's: give the API server that watcher's"
    " [watch] ledger_url (CONTRAIL_WATCH__LEDGER_URL)"
)
MapIndex = Annotated[str | None, Query(pattern=r"^(-?\d{1,9}|undefined|\{MAP_INDEX\})?$")]
Iteration = Annotated[int | None, Query(ge=0, le=999_999_999)]


class _Searched(BaseModel):
    """The search of an address."""

    q: str = Field("", max_length=500)
    dag: str = Field("", max_length=250)
    run: str = Field("", max_length=250)
    task: str = Field("", max_length=250)
    level: str = Field("", max_length=20)
    hours: float = Field(24.0, gt=0, le=24 * 366)
    around: int = Field(2, ge=0, le=20)
    pattern: bool = False
    until: str = Field("", max_length=40)

    def wanted(self) -> pages.Wanted:
        """The search as its page takes it."""
        return pages.Wanted(
            self.q, self.dag, self.run, self.task, self.level, self.hours, self.around, self.pattern, self.until
        )


Name = Annotated[str, Query(max_length=250)]
Hours = Annotated[float | None, Query(gt=0, le=24 * 366)]


def create_app() -> FastAPI:
    """The app; Airflow mounts it below ``/contrail``."""
    app = FastAPI(title="Contrail", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="contrail-static")
    app.add_middleware(BoundedBodies)
    answer_failures(app)
    app.get("/", response_class=HTMLResponse)(_overview)
    app.get("/search", response_class=HTMLResponse)(_search)
    app.get("/deadlines", response_class=HTMLResponse)(_deadlines)
    app.get("/dags", response_class=HTMLResponse)(_dags)
    app.get("/days", response_class=HTMLResponse)(_days)
    app.get("/runbooks", response_class=HTMLResponse)(_runbook)
    app.get("/boards/{board}", response_class=HTMLResponse)(_board)
    app.get("/boards/{board}/panels/{panel}", response_class=HTMLResponse)(_panel)
    for path, rights, page in (  # a run's id may hold a slash, and a server takes %2F for one
        ("/dags/{dag_id}", RUNS, _dag),
        ("/dags/{dag_id}/tasks/{task_id}", LOGS, _task),
        ("/dags/{dag_id}/runs/{run_id:path}/tasks/{task_id}", LOGS, _task_instance),
        ("/dags/{dag_id}/runs/{run_id:path}", TASKS, _run),
    ):
        app.get(path, response_class=HTMLResponse, dependencies=[_RIGHTS[right] for right in rights])(page)
    app.get("/rules", response_class=HTMLResponse)(_rules)
    app.post("/rules", response_class=HTMLResponse)(_try_rules)
    app.get("/quality", response_class=HTMLResponse)(_quality)
    app.get("/setup", response_class=HTMLResponse)(_setup)
    app.get("/incidents/{incident_id}", response_class=HTMLResponse)(_incident)
    app.post("/incidents/{incident_id}/acts/{act}", response_class=HTMLResponse)(_act)
    app.get("/links/{token}", response_class=HTMLResponse)(_link)
    app.post("/links/{token}", response_class=HTMLResponse)(_follow_link)
    return app


def rights_of(route: APIRoute) -> list[DagAccessEntity]:
    """The rights to the DAG that a route asks for, in the order in which it asks."""
    entities = {depends.dependency: entity for entity, depends in _RIGHTS.items()}
    return [entities[depends.dependency] for depends in route.dependencies]


def _read(user: User) -> Iterator[ReadableStore]:
    """The store as the reader of this request may see it: no page has another, and no other request has it now."""
    reader = Reader.of(user)
    try:
        store = _idle.get_nowait()
    except Empty:
        store = open_store(get_settings())
    try:
        yield ReadableStore(store, reader)
    except BaseException:
        store.close()  # the next request asks a fresh one
        raise
    if _idle.qsize() < _IDLE_MOST:
        _idle.put(store)
    else:
        store.close()


Readable = Annotated[ReadableStore, Depends(_read)]


def _overview(request: Request, store: Readable) -> Response:
    return html_page(request, "overview.html", page=pages.overview(store), hides=_hides(store))


def _search(request: Request, store: Readable, wanted: Annotated[_Searched, Query()]) -> Response:
    page = pages.search_page(store, wanted.wanted())
    return html_page(request, "search.html", page=page, levels=pages.LEVELS, hides=_hides(store))


def _deadlines(request: Request, store: Readable) -> Response:
    return html_page(request, "deadlines.html", page=pages.deadlines_page(store), hides=_hides(store))


def _dags(request: Request, store: Readable, q: Name = "", state: Name = "", *, every: bool = False) -> Response:
    return html_page(request, "dags.html", page=pages.days_page(store, text=q, state=state, every=every))


def _days(request: Request, store: Readable, q: Name = "", state: Name = "", *, every: bool = False) -> Response:
    """The table of :func:`_dags` alone, for the first page."""
    return html_page(request, "days.html", page=pages.days_page(store, text=q, state=state, every=every))


def _board(request: Request, _user: User, board: str, hours: Hours = None) -> Response:
    found = _found(boards.find_board(board), f"there is no board {board!r}")
    view = boards.View.of(found, hours, request.query_params)
    return html_page(request, "board.html", page=view, all=boards.boards(), hours=boards.HOURS)


def _panel(request: Request, store: Readable, board: str, panel: str, hours: Hours = None) -> Response:
    found = _found(boards.find_board(board), f"there is no board {board!r}")
    drawn = _found(boards.find_panel(found, panel), f"there is no panel {panel!r} on the board {board!r}")
    view = boards.View.of(found, hours, request.query_params)
    return html_page(request, "panel.html", page=boards.shown(store, view, drawn), view=view)


def _runbook(request: Request, _user: User, page: str = "task-failed") -> Response:
    found = runbooks.runbook(page)
    if found is None:
        raise HTTPException(404, f"there is no runbook {page!r}")
    return html_page(request, "runbook.html", title=found[0], body=found[1], all=runbooks.names())


def _rules(request: Request, user: User) -> Response:
    return html_page(request, "rules.html", page=rules.rules_page(acting.Actor.of(request, user)))


def _try_rules(request: Request, user: User, token: acting.Token = "", text: rules.RulesToTry = "") -> Response:
    return html_page(request, "rules.html", page=rules.try_page(acting.Actor.of(request, user), token, text))


def _quality(request: Request, user: User) -> Response:
    return html_page(request, "quality.html", page=rules.quality_page(acting.Actor.of(request, user)))


def _setup(request: Request, _user: User) -> Response:
    return html_page(request, "setup.html", page=rules.setup_page())


def _incident(request: Request, user: User, incident_id: str, done: acting.Done = 0) -> Response:
    actor = acting.Actor.of(request, user)
    try:
        with ledger.transaction() as connection:
            if whole := acting.whole_id(actor, connection, incident_id):
                return acting.to_incident(actor, whole)
            one = acting.find_incident(actor, connection, incident_id)
            token = form_token(key(connection), actor.identity, one.id)
            page = pages.incident_page(connection, one, reasons=_reads_reasons(actor, one), whole=actor.reader.whole)
    except (LedgerError, LedgerUnavailable, HTTPException) as error:
        return _reported(request, user, incident_id, error)
    buttons = acting.buttons(actor, one)
    return html_page(request, "incident.html", page=page, buttons=buttons, token=token, done=done, who=actor.name)


def _reported(request: Request, user: User, incident_id: str, error: Exception) -> Response:
    """The incident from its events, where the ledger cannot be read here or is not the one of its watcher."""
    with contextmanager(_read)(user) as store:
        page = pages.reported_incident(store, incident_id)
        hides = _hides(store)
    if page is None:
        raise error
    why = _OTHER_LEDGER if isinstance(error, HTTPException) else str(error)
    return html_page(request, "reported.html", page=page, why=why.rstrip("."), hides=hides)


def _act(  # noqa: PLR0913, PLR0917 - FastAPI's way of naming what a form holds
    request: Request,
    user: User,
    incident_id: str,
    act: str,
    token: acting.Token = "",
    value: acting.Text = "",
    note: acting.Text = "",
    undo: acting.Number = 0,
) -> Response:
    return acting.act(acting.Actor.of(request, user), incident_id, acting.Filled(act, token, value, note, undo))


def _link(request: Request, user: User, token: str) -> Response:
    actor = acting.Actor.of(request, user)
    found = acting.confirm_link(actor, token)
    title = incident_title(found["incident"], reasons=_reads_reasons(actor, found["incident"]))
    return html_page(request, "link.html", page=found, title=title, who=actor.name)


def _follow_link(request: Request, user: User, token: str, form: acting.Token = "", note: acting.Text = "") -> Response:
    return acting.follow_link(acting.Actor.of(request, user), token, form, note)


def _reads_reasons(actor: acting.Actor, one: Incident) -> bool:
    of_assets = all(asset in actor.reader.assets for asset in late_assets(one.evidence))
    return of_assets and (one.dag_id in actor.reader.logs if one.dag_id else actor.reader.whole)


def _found(found: dict[str, Any] | None, why: str) -> dict[str, Any]:
    if found is None:
        raise HTTPException(404, why)
    return found


def _hides(store: ReadableStore, dag_id: str | None = None) -> bool:
    """True where reasons and errors are left out for want of the right to task logs."""
    reader = store.reader
    return reader.logs != reader.runs if dag_id is None else dag_id not in reader.logs


def _dag(request: Request, store: Readable, dag_id: str) -> Response:
    return html_page(request, "dag.html", page=pages.dag_page(store, dag_id), hides=_hides(store, dag_id))


def _run(request: Request, store: Readable, dag_id: str, run_id: str) -> Response:
    page = pages.run_page(store, dag_id, run_id, graph.downstream_of(dag_id))
    return html_page(request, "run.html", page=page, hides=_hides(store, dag_id))


def _task(request: Request, store: Readable, dag_id: str, task_id: str) -> Response:
    return html_page(request, "task.html", page=pages.task_page(store, dag_id, task_id))


def _task_instance(  # noqa: PLR0913, PLR0917 - FastAPI's way of naming what a request holds
    request: Request,
    store: Readable,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: MapIndex = None,
    iteration: Iteration = None,
) -> Response:
    index = int(map_index) if map_index and map_index.lstrip("-").isdigit() else None
    return html_page(request, "task.html", page=pages.task_page(store, dag_id, task_id, run_id, index, iteration))
