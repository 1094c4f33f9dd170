"""Airflow's REST API asked from within its own process: no address, login, proxy or certificate is needed.

The user that asks is made here, may only read, and exists nowhere else. The auth managers of which we know how
they ask for rights are Airflow's simple one and FAB with what derives from it; for another a login must be named.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import orjson
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api import security
from airflow.configuration import conf

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Send

__all__ = ["Inside", "reader_for", "root_app"]

_MAIN = "airflow.api_fastapi.main"
_ACCESS_LOG = "HttpAccessLogMiddleware"
_READS = frozenset({"can_read", "menu_access"})
_SECONDS = 60.0
_REST, _GENTLE_S, _LONGEST_REST_S = 3.0, 5.0, 30.0
"""After an answer the server is left alone for three times as long as it took, so that people meet ours seldom; after
one that took longer than five seconds for as long as it took, so that the next question has its turn in time."""
_LOST_S, _LOST_MOST = 120.0, 2
"""A question that has no answer for so long is passed over; with more of them nothing is asked any more."""
_LOG = re.compile(r"/taskInstances/[^/]+/logs/\d+$")
_LINES = "application/x-ndjson"
_TAIL_BYTES, _MOST_BYTES = 262_144, 64 * 1024 * 1024


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
    """Answers requests of other threads by the app, in its event loop, as ``user``. Only reads are let through.

    ``why_not`` gives the reason for which nothing may be asked now, "" where there is none.
    """

    def __init__(
        self, app: FastAPI, loop: asyncio.AbstractEventLoop, user: Any, why_not: Callable[[], str] = str
    ) -> None:
        self._app, self._loop, self._user, self._why_not = app, loop, user, why_not
        self._turn = threading.Lock()
        self._rest_until = 0.0
        self._unanswered: list[tuple[concurrent.futures.Future[httpx.Response], float]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer. Raises ``httpx.ReadTimeout``, and ``httpx.ConnectError`` where the server ends.

        A question that we hold back ourselves raises ``httpx.ConnectTimeout``, as one that never reached the server: it
        is asked again, and nothing is lost.
        """
        if request.method != "GET":
            raise httpx.UnsupportedProtocol(f"{request.method} {request.url.path}: only reads are let through")
        limit_s = float(request.extensions.get("timeout", {}).get("read") or _SECONDS)
        ends_at = time.monotonic() + limit_s
        if not self._turn.acquire(timeout=limit_s):
            raise httpx.ConnectTimeout(f"its turn did not come within {limit_s:.0f} s", request=request)
        try:
            rest_s = self._rest_until - time.monotonic()
            if rest_s > ends_at - time.monotonic():
                raise httpx.ConnectTimeout("the API server rests from an answer that took long", request=request)
            time.sleep(max(0.0, rest_s))
            self._check(request)
            return self._answer(request, ends_at)
        finally:
            self._turn.release()

    def _check(self, request: httpx.Request) -> None:
        """Raises ``httpx.ConnectTimeout`` where nothing may be asked now."""
        if why_not := self._why_not():
            raise httpx.ConnectTimeout(why_not, request=request)
        self._unanswered = [one for one in self._unanswered if not one[0].done()]
        lost = sum(time.monotonic() - since > _LOST_S for _, since in self._unanswered)
        if len(self._unanswered) > lost or lost > _LOST_MOST:
            raise httpx.ConnectTimeout("an earlier request is not answered yet", request=request)

    def _answer(self, request: httpx.Request, ends_at: float) -> httpx.Response:
        began, gone = time.monotonic(), asyncio.Event()
        coroutine = self._ask(request, gone)
        try:
            asked = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError as error:
            coroutine.close()
            raise httpx.ConnectError("the API server is ending", request=request) from error
        self._unanswered.append((asked, began))
        try:
            return asked.result(max(0.0, ends_at - began))
        except (TimeoutError, concurrent.futures.TimeoutError) as error:
            # it goes on as that of a browser which was closed does: one that is cancelled keeps its database connection
            self._loop.call_soon_threadsafe(gone.set)
            raise httpx.ReadTimeout(f"no answer within {ends_at - began:.0f} s", request=request) from error
        except concurrent.futures.CancelledError as error:
            raise httpx.ConnectError("the API server is ending", request=request) from error
        finally:
            took_s = time.monotonic() - began
            rest_s = max(took_s, min(_REST * took_s, _GENTLE_S))
            self._rest_until = time.monotonic() + min(rest_s, _LONGEST_REST_S)

    async def _ask(self, request: httpx.Request, gone: asyncio.Event) -> httpx.Response:
        request.headers["accept-encoding"] = "identity"  # nothing travels, so that packing it would be for nothing
        if _LOG.search(request.url.path):  # line by line: a whole log is made into one document in the event loop
            request.headers["accept"] = _LINES
        client = ("127.0.0.1", 0)
        transport = httpx.ASGITransport(partial(self._call, gone), raise_app_exceptions=False, client=client)
        answer = await transport.handle_async_request(request)
        content = await answer.aread()
        if answer.headers.get("content-type", "").startswith(_LINES):
            return httpx.Response(answer.status_code, json={"content": _documents(content)})
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)

    async def _call(self, gone: asyncio.Event, scope: MutableMapping[str, Any], _receive: Receive, send: Send) -> None:
        state = {"user": self._user}
        trusted = getattr(security, "USER_INJECTED_BY_TRUSTED_MIDDLEWARE", None)
        if trusted is not None:
            state["user_authenticated_via"] = trusted
        scope.update(app=self._app, root_path=self._app.root_path, state=state)
        tail = _Tail(gone, send)
        await _below_access_log(self._app)(scope, _Client(gone).receive, tail)
        await tail.end()


class _Client:
    """A client that sends a request without a body, and is there until ``gone``."""

    def __init__(self, gone: asyncio.Event) -> None:
        self._gone, self._asked = gone, False

    async def receive(self) -> MutableMapping[str, Any]:
        """Answer what the client says next."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}


class _Tail:
    """Passes an answer on; of one that comes line by line only the end, and nothing if it is too long."""

    def __init__(self, gone: asyncio.Event, send: Send) -> None:
        self._gone, self._send = gone, send
        self._is_lines = self._is_whole = False
        self._kept, self._length = bytearray(), 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = {name.lower(): value for name, value in message.get("headers", ())}
            self._is_lines = headers.get(b"content-type", b"").startswith(_LINES.encode())
        elif self._is_lines:
            message = {**message, "body": self._body(message)}
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._is_whole = True
            self._gone.set()

    async def end(self) -> None:
        """The app is done, also where it left off because nobody was there any more."""
        if not self._is_whole:
            await self._send({"type": "http.response.body", "body": b""})

    def _body(self, message: MutableMapping[str, Any]) -> bytes:
        part = message.get("body", b"")
        self._length += len(part)
        if self._length > _MOST_BYTES:
            self._gone.set()
            return b""
        self._kept += part
        if message.get("more_body", False):
            if len(self._kept) > 2 * _TAIL_BYTES:
                del self._kept[:-_TAIL_BYTES]
            return b""
        return bytes(self._kept)


def _documents(lines: bytes) -> list[Any]:
    """The lines that are JSON; the first one may be a part of one."""
    found = []
    for line in lines.splitlines():
        try:
            found.append(orjson.loads(line))
        except ValueError:
            continue
    return found


def _below_access_log(app: FastAPI) -> ASGIApp:
    """The app without the log of requests, in which ours would be most of the lines."""
    found: Any = app.middleware_stack
    while found is not None and type(found).__name__ != _ACCESS_LOG:
        found = getattr(found, "app", None)
    inner: ASGIApp = app if found is None else found.app
    return inner
