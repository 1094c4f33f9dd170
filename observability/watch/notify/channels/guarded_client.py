"""An HTTP client that is sent to checked addresses only, directly or through the proxy that the environment names.

A host is resolved once, each of its addresses is checked, and the connection is made to the checked address:
an answer that changes between check and use (DNS rebinding) changes nothing. Behind a proxy, which alone looks the name
up, the host is judged as it is written. Redirects are not followed.
"""

from __future__ import annotations

import math
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import httpcore
import httpx

from observability import redact
from observability.http_client import SOCKS_REMEDY, usual_trust
from observability.proxies import proxy_for
from observability.watch.notify.channels.address_policy import check_host, check_url, checked_addresses
from observability.watch.notify.channels.channel import ChannelRefused, ChannelUnavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["check_url", "checked_addresses", "guarded_client"]


def guarded_client(
    allow: Sequence[str], timeout_s: float, verify: ssl.SSLContext | None = None, proxy: str = ""
) -> httpx.Client:
    """An HTTP client that connects to checked addresses only, verifies certificates, and follows no redirect.

    A request may take ``timeout_s`` in all, also when the answer comes byte by byte. ``proxy`` stands in place of what
    the environment names.
    """
    transport = _GuardedTransport(allow, timeout_s, usual_trust() if verify is None else verify, proxy)
    headers = {"Accept-Encoding": "identity"}  # what is said of a refusal is short, or nothing that we read
    return httpx.Client(
        transport=transport, headers=headers, timeout=timeout_s, follow_redirects=False, trust_env=False
    )


class _GuardedTransport(httpx.BaseTransport):
    """Chooses between the direct way and a proxy for each request, and judges the host on either."""

    def __init__(self, allow: Sequence[str], timeout_s: float, trusted: ssl.SSLContext, proxy: str) -> None:
        self._allow, self._timeout_s, self._trusted, self._proxy = allow, timeout_s, trusted, proxy
        self._pools: dict[str | None, tuple[_GuardedBackend, httpcore.ConnectionPool]] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request``; its time begins here."""
        url = request.url
        check_host(url.host, self._allow)
        backend, pool = self._pool(proxy_for(url.scheme, url.host, url.port, self._proxy))
        backend.begin()
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx(request):
            answer = pool.handle_request(asked)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer, request), extensions=answer.extensions
        )

    def close(self) -> None:
        """Close the connections."""
        for _, pool in self._pools.values():
            pool.close()

    def _pool(self, proxy: str | None) -> tuple[_GuardedBackend, httpcore.ConnectionPool]:
        if proxy not in self._pools:
            backend = _GuardedBackend(self._allow if proxy is None else None, self._timeout_s)
            common: dict[str, Any] = {"ssl_context": self._trusted, "network_backend": backend, "retries": 0}
            made = httpcore.ConnectionPool(**common) if proxy is None else _proxy_pool(proxy, common)
            self._pools[proxy] = backend, made
        return self._pools[proxy]


def _proxy_pool(proxy: str, common: dict[str, Any]) -> httpcore.ConnectionPool:
    """Connections through ``proxy``; its password is masked everywhere from now on."""
    try:
        parts = urlsplit(proxy)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = f"{parts.scheme}://{_bracketed(parts.hostname or '')}:{port}"
    except ValueError:
        raise ChannelRefused("the proxy that the environment names has no valid address") from None
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    redact.add_secret(unquote(parts.password or ""))
    if parts.scheme in {"http", "https"}:
        return httpcore.HTTPProxy(address, proxy_auth=auth, **common)
    if parts.scheme in {"socks5", "socks5h"}:
        if find_spec("socksio") is None:  # httpcore says so only when it connects
            raise ChannelRefused(SOCKS_REMEDY)
        return httpcore.SOCKSProxy(address, proxy_auth=auth, **common)
    raise ChannelRefused(f"a proxy by {parts.scheme or 'no scheme'} cannot be used: name one by http:// or socks5h://")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _as_httpx:  # noqa: N801 - a context manager, written like a function
    """Raise what httpcore raises as httpx would; the classes have the same names there."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request

    def __enter__(self) -> None:
        """Nothing is prepared."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        kinds = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError)
        if isinstance(error, (*kinds, httpcore.UnsupportedProtocol)):
            kind = getattr(httpx, type(error).__name__, httpx.TransportError)
            raise kind(str(error), request=self._request) from error


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response, request: httpx.Request) -> None:
        self._answer, self._request = answer, request

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx(self._request):
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _GuardedBackend(httpcore.NetworkBackend):
    """Resolves, checks, and connects to what it checked; TLS still verifies the name that was asked for.

    Without ``allow`` it leads to a proxy, which the operator has named: that one is not judged.
    """

    def __init__(self, allow: Sequence[str] | None, timeout_s: float) -> None:
        self._allow, self._timeout_s = allow, timeout_s
        self._real = httpcore.SyncBackend()
        self._until = math.inf

    def begin(self) -> None:
        """A request begins: from here its time runs."""
        self._until = time.monotonic() + self._timeout_s

    def left(self, timeout: float | None) -> float:
        """Seconds that an operation may still take."""
        left = self._until - time.monotonic()
        return left if timeout is None else min(timeout, left)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        problem: Exception = ChannelUnavailable(f"{host} has no address")
        if self._allow is None:
            return _TimedStream(self._real.connect_tcp(host, port, timeout, local_address, socket_options), self.left)
        for address in checked_addresses(host, port, self._allow):
            try:
                real = self._real.connect_tcp(address, port, timeout, local_address, socket_options)
                return _TimedStream(real, self.left)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem

    def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise ChannelRefused(f"{path} is not a network address")

    def sleep(self, seconds: float) -> None:
        self._real.sleep(seconds)


class _TimedStream(httpcore.NetworkStream):
    """A connection whose reads and writes end with the time of the request."""

    def __init__(self, real: httpcore.NetworkStream, left: Callable[[float | None], float]) -> None:
        self._real, self._left = real, left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if (left := self._left(timeout)) <= 0:
            raise httpcore.ReadTimeout("the answer takes longer than the timeout in all")
        return self._real.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if (left := self._left(timeout)) <= 0:
            raise httpcore.WriteTimeout("the request takes longer than the timeout in all")
        self._real.write(buffer, left)

    def close(self) -> None:
        self._real.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        if (left := self._left(timeout)) <= 0:
            raise httpcore.ConnectTimeout("the connection takes longer than the timeout in all")
        return _TimedStream(self._real.start_tls(ssl_context, server_hostname, left), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._real.get_extra_info(info)
