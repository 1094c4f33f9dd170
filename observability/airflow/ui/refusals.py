"""The answers where no page can be shown: what is wrong, what stays safe meanwhile, and what to do."""

from __future__ import annotations

import traceback
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import structlog
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from observability.airflow.ui.rendering import html_page
from observability.airflow.ui.scope import RightsUnknown
from observability.errors import LedgerError, LedgerUnavailable
from observability.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI, Request, Response

__all__ = ["answer_failures"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
"""Content-Security-Policy of every answer: nothing from elsewhere, nothing inline, framed by Airflow only."""
_KEPT = (
    "Runs are not affected: what happens meanwhile is kept on disk and sent when the store is back."
    " contrail doctor says what to mend."
)
_NO_RIGHTS = (
    "Airflow's auth manager did not answer who you are, or what you may read. Until it does, nothing is shown."
    " Runs and alerts are not affected."
)
_NO_PAGE = "No page has this address. The names at the top lead to those that there are."
_UNAUTHORIZED = 401
_REFUSALS = {
    401: "Log in to Airflow first",
    403: "You may not do this",
    404: "There is no such thing",
    409: "It was not done",
    413: "This is too much",
    502: "Airflow did not do it",
}
_OUR_FAULT = "It is a fault of Contrail. The API server's log has it in full."
_log = structlog.get_logger("contrail.ui")


def answer_failures(app: FastAPI) -> None:
    """Give each failure of a request its page, and every answer the headers that harden it."""
    app.middleware("http")(_harden)
    app.exception_handler(StoreError)(_store_is_down)
    app.exception_handler(LedgerError)(_ledger_is_down)
    app.exception_handler(LedgerUnavailable)(_ledger_is_down)
    app.exception_handler(StarletteHTTPException)(_refused)
    app.exception_handler(RightsUnknown)(_rights_are_unknown)


async def _harden(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        response = await call_next(request)
    except Exception as error:  # noqa: BLE001 - a reader gets a page, whatever broke
        known = getattr(request.state, "reader_is_known", False)
        response = await (_page_failed if known else _rights_are_unknown)(request, error)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response


async def _store_is_down(request: Request, error: Exception) -> Response:
    return _sorry(request, 503, "The store does not answer", str(error), _KEPT)


async def _ledger_is_down(request: Request, error: Exception) -> Response:
    return _sorry(request, 503, "The ledger does not answer", str(error), "Nothing was changed. Try it again.")


async def _refused(request: Request, error: Exception) -> Response:
    """A page for people; who is not logged in is led to Airflow's login and back, where a message led here."""
    assert isinstance(error, StarletteHTTPException)  # noqa: S101 - for the type checker
    root = request.scope.get("root_path", "").rstrip("/")
    path = request.scope["path"].removeprefix(root)
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)
    if error.status_code == _UNAUTHORIZED and request.method == "GET" and path.startswith(("/incidents/", "/links/")):
        login = f"{root.removesuffix('/contrail')}/auth/login?{urlencode({'next': f'{root}{path}'})}"
        return RedirectResponse(login, status_code=303)
    title, why = _REFUSALS.get(error.status_code, "This does not work"), error.detail
    if why == HTTPStatus.NOT_FOUND.phrase:  # the router's own word
        title, why = "There is no such page", _NO_PAGE
    return html_page(request, "unavailable.html", status=error.status_code, title=title, why=why, then="")


async def _rights_are_unknown(request: Request, error: Exception) -> Response:
    _log.error("airflow did not say what a reader may read", reason=f"{type(error).__name__}: {error}")
    return _sorry(request, 503, "Your rights cannot be asked now", _NO_RIGHTS, "The API server's log has the reason.")


async def _page_failed(request: Request, error: Exception) -> Response:
    # as text: Airflow's own log draws an exception with all its variables, which takes seconds
    _log.error("a page failed", path=request.url.path, trace="".join(traceback.format_exception(error)))
    return _sorry(request, 500, "This page failed", _OUR_FAULT, "Please report it with those lines.")


def _sorry(request: Request, status: int, title: str, why: str, then: str) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": f"{title}: {why}"}, status_code=status)
    return html_page(request, "unavailable.html", status=status, title=title, why=why, then=then)
