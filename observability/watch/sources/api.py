"""Airflow's REST API as the reconciler asks it: with a token, page by page, patient with a passing 500."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from observability.errors import ApiError, ApiUnavailable
from observability.http_client import http_client, whole_answer
from observability.watch.sources.login import REMEDY, Login

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AirflowApi", "ApiError", "ApiUnavailable", "path_of"]

_PAGE = 100
_MOST_PAGES = 1000
_BRIEF_S = 5.0
_MOST_BYTES = 64 * 1024 * 1024
"""An answer is 100 rows, or the log of one attempt; nothing that we ask for is longer."""
_CLOCKS_AGREE_S = 2.0
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _SERVER_ERROR = 401, 403, 404, 500


def path_of(*parts: str | int) -> str:
    """The path below ``/api/v2`` of these parts, each quoted, because an id may hold ``#``, ``?``, ``%`` or blanks."""
    return "".join(f"/{quote(str(part), safe='~')}" for part in parts)


class AirflowApi:
    """A session with the API server.

    It is used by one thread; ``another`` makes more, which share its ``login``. ``ahead_s`` is how far the server's
    clock is ahead of ours. ``inside`` answers in the API server's own process, and knows who asks.
    """

    def __init__(
        self,
        url: str,
        *,
        connection_id: str = "airflow_api",
        login: Login | None = None,
        timeout_s: float = 15.0,
        inside: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url
        self._inside = inside
        self.answered: float | None = None
        self.ahead_s = 0.0
        self._login = login or Login(url, connection_id)
        self._token = ""
        self._timeout_s = timeout_s
        self._http = (
            http_client(url, timeout_s)
            if inside is None
            else httpx.Client(base_url=url, timeout=timeout_s, transport=inside, trust_env=False)
        )
        self._retrying = Retrying(
            retry=retry_if_exception(_is_passing),
            stop=stop_after_attempt(4),
            wait=wait_random_exponential(multiplier=0.1, max=1.0),
            reraise=True,
        )

    def another(self, *, timeout_s: float = 15.0) -> AirflowApi:
        """A session of its own with the same server: one must not be used by two threads at once."""
        return AirflowApi(self.url, login=self._login, timeout_s=timeout_s, inside=self._inside)

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of ``/api/v2<path>``; None where there is no such thing. Raises :class:`ApiError`."""
        try:
            answer = self._retrying(self._send, path, params)
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status == _NOT_FOUND:
                return None
            if status in {_UNAUTHORIZED, _FORBIDDEN}:
                raise ApiError(f"{self.url}{path} answered {status}: {REMEDY}") from error
            kind = ApiUnavailable if status >= _SERVER_ERROR else ApiError
            raise kind(f"{self.url}{path} answered {status}: {error.response.text[:200]}") from error
        except (httpx.HTTPError, ValueError) as error:
            raise ApiUnavailable(f"{self.url} does not answer: {type(error).__name__}: {error}") from error
        self.answered = time.monotonic()
        return answer

    def once(self, path: str, **params: Any) -> Any:
        """Like :meth:`get`, asked once and not for long: for a question about one thing, which may be asked again."""
        try:
            answer = self._send(path, params, timeout_s=_BRIEF_S)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == _NOT_FOUND:
                return None
            raise ApiError(f"{self.url}{path} answered {error.response.status_code}") from error
        except (httpx.HTTPError, ValueError) as error:
            raise ApiUnavailable(f"{self.url}{path} does not answer: {type(error).__name__}: {error}") from error
        self.answered = time.monotonic()
        return answer

    def change(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Send ``body`` once and answer Airflow's JSON; what may have been done is not tried again.

        Raises :class:`ApiError` with Airflow's own words where it refuses.
        """
        try:
            if "Authorization" not in self._http.headers:
                self._log_in()
            answer = self._whole(method, f"/api/v2{path}", self._timeout_s, json=body)
            if answer.status_code == _UNAUTHORIZED:
                self._log_in()
                answer = self._whole(method, f"/api/v2{path}", self._timeout_s, json=body)
            if answer.is_error:
                raise ApiError(f"{self.url}{path} answered {answer.status_code}: {answer.text[:200]}")
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ApiUnavailable(f"{self.url} does not answer: {type(error).__name__}: {error}") from error

    def pages(self, path: str, key: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every element of a listing; ``order_by`` should be given, so that pages do not shift.

        What is no object is passed on as ``{}``, which says nothing: the row fails alone.
        """
        for number in range(_MOST_PAGES):
            answer = self.get(path, limit=_PAGE, offset=number * _PAGE, **params)
            page = [] if answer is None else answer.get(key) if isinstance(answer, dict) else None
            if not isinstance(page, list):
                raise ApiError(f"{self.url}{path} answered without the list {key!r}")
            yield from (row if isinstance(row, dict) else {} for row in page)
            if len(page) < _PAGE:
                return
        raise ApiError(f"{self.url}{path} has no end after {_MOST_PAGES * _PAGE} rows")

    def silent_s(self, now_monotonic: float) -> float:
        """Seconds since it last answered; infinite if it never did."""
        return float("inf") if self.answered is None else now_monotonic - self.answered

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _send(self, path: str, params: dict[str, Any], timeout_s: float | None = None) -> Any:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        if self._inside is None and "Authorization" not in self._http.headers:
            self._log_in()
        answer = self._whole("GET", f"/api/v2{path}", timeout_s, params=params)
        if self._inside is None and answer.status_code == _UNAUTHORIZED:
            self._log_in()
            answer = self._whole("GET", f"/api/v2{path}", timeout_s, params=params)
        self.ahead_s = _ahead(answer.headers.get("Date"), time.time())
        try:
            return answer.raise_for_status().json()
        except RecursionError as error:
            raise ValueError("its answer is nested too deeply to be read") from error

    def _whole(self, method: str, path: str, timeout_s: float, **given: Any) -> httpx.Response:
        return whole_answer(self._http, method, path, timeout_s, most_bytes=_MOST_BYTES, **given)

    def _log_in(self) -> None:
        self._token = self._login.token(self._ask_for_token, self._token)
        self._http.headers["Authorization"] = f"Bearer {self._token}"

    def _ask_for_token(self, who: dict[str, str] | None) -> httpx.Response:
        """The answer of ``/auth/token`` to a name and password, or to nobody."""
        if who is None:
            return self._whole("GET", "/auth/token", self._timeout_s)
        return self._whole("POST", "/auth/token", self._timeout_s, json=who)


def _ahead(date: str | None, now: float) -> float:
    """Seconds that the server's clock is ahead of ours; a header tells whole seconds, so less than two are none."""
    try:
        found = parsedate_to_datetime(date or "").timestamp() - now
    except (OverflowError, TypeError, ValueError):
        return 0.0
    return found if abs(found) > _CLOCKS_AGREE_S else 0.0


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= _SERVER_ERROR
    return isinstance(error, httpx.TransportError)
