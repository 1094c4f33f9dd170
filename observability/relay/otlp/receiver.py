"""A receiver of one signal over HTTP: one request, and its answer as OTLP means it."""

from __future__ import annotations

import gzip
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import orjson
import urllib3

from observability.bounded_answers import read_answer
from observability.credentials import CredentialsError
from observability.errors import SinkUnavailable
from observability.proxies import ProxyRefused, http_proxy_for
from observability.redact import inert

if TYPE_CHECKING:
    from observability.relay.otlp.destination import Destination

__all__ = ["Accepted", "Receiver", "Refused", "TooLarge"]

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_BAD_DATA = 400
_TOO_LARGE = 413
_MOST_ANSWER = 262_144
"""An answer that is longer is none of a receiver's."""
_REMEDIES = {
    401: "; check the headers or the login of the Connection",
    403: "; check the headers or the login of the Connection",
    404: "; check the address: /v1/logs, /v1/metrics and /v1/traces are added to it",
    405: "; check the address: it is not one of an OTLP receiver over HTTP",
    415: "; the receiver takes no http/protobuf",
}
_MISSHAPEN = (AttributeError, KeyError, TypeError, ValueError)


class Accepted(NamedTuple):
    """The receiver has taken the request, but for ``rejected`` of its records."""

    rejected: int = 0
    reason: str = ""


class Refused(NamedTuple):
    """The receiver will never take this request; ``own_words`` where it says so as OTLP has it."""

    reason: str
    own_words: bool


class TooLarge(NamedTuple):
    """The request is larger than the receiver takes."""

    reason: str


class Receiver:
    """One address, one pool of kept-alive connections. Raises :class:`CredentialsError` for what cannot be used."""

    def __init__(self, to: Destination) -> None:
        self.url = to.url
        self._compress, self._timeout_s = to.compress, to.timeout_s
        self._headers = to.credentials.headers() | {"content-type": _PROTOBUF, "accept": _PROTOBUF}
        if to.compress:
            self._headers["content-encoding"] = "gzip"
        timeout = urllib3.Timeout(connect=min(5.0, to.timeout_s), read=to.timeout_s)
        options: dict[str, Any] = {"timeout": timeout, "retries": False, "maxsize": 1, "block": True}
        if to.url.startswith("https"):
            options |= to.credentials.tls_options()
        self._pool = _pool(to.url, str(to.credentials.extra.get("proxy") or ""), options)

    def send(self, body: bytes) -> Accepted | Refused | TooLarge:
        """One request. Raises :class:`SinkUnavailable` where it may be taken later, or nothing can be said."""
        sent = gzip.compress(body, 1, mtime=0) if self._compress else body
        try:
            reply = self._pool.urlopen(
                "POST", self.url, body=sent, headers=self._headers, redirect=False, preload_content=False
            )
            answer = read_answer(reply, _MOST_ANSWER, self._timeout_s, cut=True)
        except urllib3.exceptions.HTTPError as error:
            raise SinkUnavailable(f"{self.url} gave no whole answer: {error}") from error
        except ValueError as error:  # a header that HTTP does not know
            raise SinkUnavailable(
                f"{self.url} cannot be asked: {error}; correct the headers of the Connection"
            ) from error
        return self._judged(reply.status, reply.headers, answer)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _judged(self, status: int, headers: Any, body: bytes) -> Accepted | Refused | TooLarge:
        media = str(headers.get("content-type", "")).partition(";")[0].strip().lower()
        if 200 <= status < 300:  # noqa: PLR2004 - HTTP
            return self._accepted(media, body)
        words = _status_message(media, body) if media in {_PROTOBUF, _JSON} else None
        said = inert(words or body[:300].decode("utf-8", "replace"))
        reason = f"{self.url} answered {status}: {said}"
        if status == _TOO_LARGE:
            return TooLarge(reason)
        if status == _BAD_DATA:
            return Refused(reason, own_words=words is not None)
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP
            where = inert(str(headers.get("location", "")))
            raise SinkUnavailable(f"{self.url} answered {status}, redirecting to {where!r}; redirects are not followed")
        raise SinkUnavailable(f"{self.url} answered {status}{_REMEDIES.get(status, '')}: {said}", _wish(headers))

    def _accepted(self, media: str, body: bytes) -> Accepted:
        """A success; with a body, it has to be OTLP's own to be one."""
        if not body:
            return Accepted()
        if media not in {_PROTOBUF, _JSON}:
            raise SinkUnavailable(
                f"{self.url} answered with {inert(media) or 'a body of no type'}, not with OTLP; check the address"
            )
        try:
            found = _partial_success(media, body)
        except _MISSHAPEN as error:
            raise SinkUnavailable(f"{self.url} gave an answer that is not OTLP's ({error}); sending again") from error
        return Accepted(max(0, found.rejected), inert(found.reason))


def _pool(url: str, given: str, options: dict[str, Any]) -> urllib3.PoolManager:
    """The client for the proxy that the Connection or the environment names, or for a direct connection."""
    try:
        proxy = http_proxy_for(url, given)
    except ProxyRefused as error:
        raise CredentialsError(str(error)) from None
    if proxy is None:
        return urllib3.PoolManager(num_pools=1, **options)
    login = urllib3.util.parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=unquote(login)) if login else None
    return urllib3.ProxyManager(proxy, proxy_headers=headers, num_pools=1, **options)


def _partial_success(media: str, body: bytes) -> Accepted:
    """Read an ``Export…ServiceResponse``: its shape is the same for logs, metrics and traces."""
    if media == _JSON:
        answer = orjson.loads(body).get("partialSuccess") or {}
        number = next((one for name, one in answer.items() if name.startswith("rejected")), 0)
        return Accepted(int(number), str(answer.get("errorMessage", "")))
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    found = _parsed(ExportLogsServiceResponse, body).partial_success
    return Accepted(found.rejected_log_records, found.error_message)


def _status_message(media: str, body: bytes) -> str | None:
    """The message of a ``google.rpc.Status``; None for another shape."""
    try:
        if media == _JSON:
            answer = orjson.loads(body)
            return str(answer.get("message", ""))[:500] if "code" in answer or "message" in answer else None
        from opentelemetry.proto.trace.v1.trace_pb2 import Status  # message is field 2 of both

        return str(_parsed(Status, body).message)[:500]
    except _MISSHAPEN:
        return None


def _parsed(kind: Any, body: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise ValueError(str(error)) from error


def _wish(headers: Any) -> float | None:
    """The seconds of ``Retry-After``, which is a number or a date; None where it is neither."""
    text = str(headers.get("retry-after", "")).strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
