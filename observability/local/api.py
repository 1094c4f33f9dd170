"""Airflow's REST API as the platform's own commands use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from observability.http_client import http_client, whole_answer
from observability.local.errors import PlatformError
from observability.local.keys import USER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Api", "monitor_health"]

_UNAUTHORIZED = 401
_SERVER_ERROR = 500
_PAGE = 100
_TIMEOUT_S = 20.0


def monitor_health(url: str, *, timeout_s: float = 3.0) -> dict[str, Any]:
    """Ask Airflow's API server for the health of the other components. Raises :class:`PlatformError`."""
    try:
        with http_client(url, timeout_s) as client:
            answer = whole_answer(client, "GET", "/api/v2/monitor/health", timeout_s).raise_for_status()
        found: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise PlatformError(f"Airflow's API server at {url} does not answer ({error}); see contrail status") from error
    return found


class Api:
    """A session with the API server. A 5xx and a lost connection are tried again for ``patience_s``."""

    def __init__(self, url: str, password: str, *, patience_s: float = 30.0) -> None:
        self.url = url
        self._password = password
        self._http = http_client(url, _TIMEOUT_S)
        self._retrying = Retrying(
            retry=retry_if_exception(_is_passing),
            stop=stop_after_delay(patience_s),
            wait=wait_random_exponential(multiplier=0.2, max=2.0),
            reraise=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def call(self, method: str, path: str, *, json: Any = None, params: dict[str, Any] | None = None) -> Any:
        """Call ``/api/v2<path>``; its JSON. Raises :class:`PlatformError` naming the call and the answer."""
        try:
            answer = self._retrying(self._send, method, path, json, params)
        except httpx.HTTPStatusError as error:
            raise PlatformError(f"{method} {path}: {error.response.status_code} {error.response.text[:500]}") from error
        except httpx.HTTPError as error:
            raise PlatformError(
                f"{method} {self.url}{path}: {error}; is the API server up? see contrail status"
            ) from error
        return answer.json() if answer.content else None

    def pages(self, path: str, key: str, params: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Every element of a listing."""
        offset = 0
        while True:
            page = self.call("GET", path, params={**(params or {}), "limit": _PAGE, "offset": offset})[key]
            yield from page
            if len(page) < _PAGE:
                return
            offset += _PAGE

    def _send(self, method: str, path: str, json: Any, params: dict[str, Any] | None) -> httpx.Response:
        if "Authorization" not in self._http.headers:
            self._log_in()
        answer = whole_answer(self._http, method, f"/api/v2{path}", _TIMEOUT_S, json=json, params=params)
        if answer.status_code == _UNAUTHORIZED:
            self._log_in()
            answer = whole_answer(self._http, method, f"/api/v2{path}", _TIMEOUT_S, json=json, params=params)
        return answer.raise_for_status()

    def _log_in(self) -> None:
        who = {"username": USER, "password": self._password}
        answer = whole_answer(self._http, "POST", "/auth/token", _TIMEOUT_S, json=who)
        self._http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= _SERVER_ERROR
    return isinstance(error, httpx.TransportError)
