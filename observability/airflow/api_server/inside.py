"""Airflow's REST API asked from within its own process: no address, login, proxy or certificate is needed.

The user that asks is made here, may only read, and exists nowhere else. The auth managers of which we know how
they ask for rights are Airflow's simple one and FAB with what derives from it; for another a login must be named.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from typing import TYPE_CHECKING, Any

import httpx
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api import security
from airflow.configuration import conf

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Send

__all__ = ["Inside", "reader_for", "root_app"]

_MAIN = "airflow.api_fastapi.main"
_ACCESS_LOG = "HttpAccessLogMiddleware"
_READS = frozenset({"can_read", "menu_access"})
_SECONDS = 60.0
_UNANSWERED_MOST = 4
"""Requests under way: a server that is slow is not asked for more."""


def root_app() -> FastAPI | None:
    """Airflow's app of this process, None where it was started in a way that we do not know."""
    return getattr(sys.modules.get(_MAIN), "app", None)


def reader_for() -> Any:
    """A user of this process's auth manager that may read everything and change nothing, None for others."""
    manager = get_auth_manager()
    kinds = {kind.__name__ for kind in type(manager).__mro__}
    if "SimpleAuthManager" in kinds:
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        # with teams a viewer sees only what belongs to its own, and to none
        role = "admin" if conf.getboolean("core", "multi_team", fallback=False) else "viewer"
        return SimpleAuthManagerUser(username="contrail", role=role)
    return _FabReader() if "FabAuthManager" in kinds else None


class _Everything:
    """Holds each permission of FAB to read, and no other."""

    def __contains__(self, permission: object) -> bool:
        return isinstance(permission, tuple) and permission[0] in _READS


class _FabReader:
    """A user as FAB's auth manager asks it for rights."""

    id, username, roles, perms = 0, "contrail", (), _Everything()
    is_active, is_anonymous, is_authenticated = True, False, True

    def get_id(self) -> str:
        """The id of no user of the database."""
        return "0"

    def get_name(self) -> str:
        """The name."""
        return self.username


class Inside(httpx.BaseTransport):
    """Answers requests of other threads by the app, in its event loop, as ``user``. Only reads are let through."""

    def __init__(self, app: FastAPI, loop: asyncio.AbstractEventLoop, user: Any) -> None:
        self._app, self._loop, self._user = app, loop, user
        self._unanswered: list[concurrent.futures.Future[httpx.Response]] = []
        self._transport = httpx.ASGITransport(self._call, raise_app_exceptions=False, client=("127.0.0.1", 0))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer. Raises ``httpx.ReadTimeout``, and ``httpx.ConnectError`` where the server ends."""
        if request.method != "GET":
            raise httpx.UnsupportedProtocol(f"{request.method} {request.url.path}: only reads are let through")
        limit_s = float(request.extensions.get("timeout", {}).get("read") or _SECONDS)
        self._unanswered = [one for one in self._unanswered if not one.done()]
        if len(self._unanswered) >= _UNANSWERED_MOST:
            raise httpx.ReadTimeout("earlier requests are not answered yet", request=request)
        coroutine = self._ask(request)
        try:
            asked = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError as error:
            coroutine.close()
            raise httpx.ConnectError("the API server is ending", request=request) from error
        self._unanswered.append(asked)
        try:
            return asked.result(limit_s)
        except (TimeoutError, concurrent.futures.TimeoutError) as error:
            # it goes on: a request that is cancelled midway does not give its database connection back
            raise httpx.ReadTimeout(f"no answer within {limit_s:.0f} s", request=request) from error
        except concurrent.futures.CancelledError as error:
            raise httpx.ConnectError("the API server is ending", request=request) from error

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        request.headers["accept-encoding"] = "identity"  # nothing travels, so that packing it would be for nothing
        answer = await self._transport.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

    async def _call(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        state = {"user": self._user}
        trusted = getattr(security, "USER_INJECTED_BY_TRUSTED_MIDDLEWARE", None)
        if trusted is not None:
            state["user_authenticated_via"] = trusted
        scope.update(app=self._app, root_path=self._app.root_path, state=state)
        await _below_access_log(self._app)(scope, receive, send)


def _below_access_log(app: FastAPI) -> ASGIApp:
    """The app without the log of requests, in which ours would be most of the lines."""
    found: Any = app.middleware_stack
    while found is not None and type(found).__name__ != _ACCESS_LOG:
        found = getattr(found, "app", None)
    inner: ASGIApp = app if found is None else found.app
    return inner
