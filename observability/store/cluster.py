"""An Elasticsearch cluster over HTTP: address, TLS, authentication, and its errors as ours.

The official client costs 80 MB of memory and parses every reply; here a body goes out as the bytes it is.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson
import urllib3

from observability.bounded_answers import AnswerTooLong, read_answer
from observability.credentials import Credentials, resolve
from observability.errors import AnswerTooLarge, ClusterError, ClusterUnreachable
from observability.proxies import ProxyRefused, http_proxy_for

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = [
    "READER_PRIVILEGES",
    "RELAY_PRIVILEGES",
    "AnswerTooLarge",
    "Cluster",
    "ClusterError",
    "ClusterUnreachable",
    "Reply",
    "open_cluster",
]

RELAY_PRIVILEGES = ("auto_configure", "create_doc", "maintenance", "read")
"""The privileges of a relay on our data streams: append, refresh after a lost reply, look up what arrived."""
READER_PRIVILEGES = ("read", "view_index_metadata")
"""The privileges of watcher and pages on our data streams: search, ask for shards."""

_MOST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer; a page of documents that is larger is asked for in smaller ones."""
_PATIENCE = 10.0
"""So many times the wait for one byte may be the wait for all of them."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response."""

    status: int
    headers: Any
    body: bytes


class Cluster:
    """One cluster, one pool of kept-alive connections; safe across threads.

    ``compat_with`` asks a newer server to speak an older version (``es_compat_with``); 0: as it is. ``opaque_id`` is
    the ``X-Opaque-Id`` by which the server's list of tasks and its slow logs tell whose request it is.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        timeout_s: float = 30.0,
        compat_with: int = 0,
        compress: bool = False,
        opaque_id: str = "",
    ) -> None:
        self.url = credentials.url.rstrip("/")
        self._prefix = urllib3.util.parse_url(self.url).path or ""
        self._compress = compress or bool(credentials.extra.get("http_compress"))
        timeout_s = float(credentials.extra.get("request_timeout") or timeout_s)
        older = f"application/vnd.elasticsearch+%s; compatible-with={compat_with}"
        self._media = older if compat_with else "application/%s"
        self._headers = credentials.headers() | {"Accept": self._media % "json"}
        self.opaque_id = opaque_id
        if opaque_id:
            self._headers |= {"X-Opaque-Id": opaque_id}
        timeout = urllib3.Timeout(connect=min(5.0, timeout_s), read=timeout_s)
        self._whole_s = _PATIENCE * timeout_s
        options: dict[str, Any] = {"timeout": timeout, "retries": False, "maxsize": 4, "block": True}
        if self.url.startswith("https"):
            options |= credentials.tls_options()
        self._pool: Any = None
        self._manager = _through_a_proxy(self.url, str(credentials.extra.get("proxy") or ""), options)
        if self._manager is None:
            self._pool = urllib3.connection_from_url(self.url, **options)

    def send(self, method: str, path: str, body: bytes | None = None, *, media: str = "json") -> Reply:
        """One request, whatever the answer. Raises :class:`ClusterUnreachable` when there is no whole one."""
        headers = self._headers
        if body is not None:
            headers = headers | {"content-type": self._media % media}
            if self._compress:
                body, headers = gzip.compress(body, 1), headers | {"content-encoding": "gzip"}
        given: dict[str, Any] = {"body": body, "headers": headers, "redirect": False, "preload_content": False}
        try:
            if self._manager is not None:
                reply = self._manager.urlopen(method, self.url + path, **given)
            else:
                reply = self._pool.urlopen(method, self._prefix + path, **given)
            answer = read_answer(reply, _MOST_ANSWER, self._whole_s)
        except AnswerTooLong as error:
            raise AnswerTooLarge(f"{self.url}: {error}") from error
        except urllib3.exceptions.HTTPError as error:
            raise ClusterUnreachable(f"{self.url} gave no whole answer: {error}") from error
        return Reply(reply.status, reply.headers, answer)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """JSON to and from the cluster. Raises :class:`ClusterError` for an error it names."""
        reply = self.send(method, path, None if body is None else orjson.dumps(body))
        try:
            answer = orjson.loads(reply.body) if reply.body else {}
        except orjson.JSONDecodeError as error:
            raise ClusterUnreachable(f"{self.url}{path} answered {reply.status} without JSON") from error
        if reply.status >= 400:  # noqa: PLR2004 - HTTP
            raise _error(reply.status, answer, f"{method} {self.url}{path}")
        return answer

    def close(self) -> None:
        """Close the connections."""
        if self._manager is not None:
            self._manager.clear()
        else:
            self._pool.close()


def open_cluster(settings: Settings, *, opaque_id: str = "") -> Cluster:
    """The cluster of ``[elasticsearch]``: its ``url``, else its Airflow Connection. Raises ``CredentialsError``."""
    options = settings.elasticsearch
    credentials = Credentials(url=options.url) if options.url else resolve(options.connection_id)
    return Cluster(
        credentials, timeout_s=options.request_timeout_s, compat_with=options.compat_with, compress=options.compress,
        opaque_id=opaque_id,
    )  # fmt: skip


def _through_a_proxy(url: str, given: str, options: dict[str, Any]) -> urllib3.ProxyManager | None:
    """The client for the proxy that the Connection or the environment names; None for a direct connection."""
    try:
        proxy = http_proxy_for(url, given)
    except ProxyRefused as error:
        raise ClusterUnreachable(str(error)) from None
    if proxy is None:
        return None
    login = urllib3.util.parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=unquote(login)) if login else None
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)


def _error(status: int, answer: Any, what: str) -> ClusterError:
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return ClusterError(status, "", f"{what} answered {status}: {error}")
    reasons = []
    cause: Any = error
    while isinstance(cause, dict):
        reasons.append(str(cause.get("reason", "")))
        cause = cause.get("caused_by")
    kind = str(error.get("type", ""))
    return ClusterError(status, kind, f"{what} answered {status} {kind}: {': '.join(dict.fromkeys(reasons))}")
