"""A guard against being sent to addresses that are none of the outside's business (SSRF).

A host is resolved once, each of its addresses is checked, and the connection is made to the checked address:
an answer that changes between check and use (DNS rebinding) changes nothing. Redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import httpcore
import httpx

from observability.watch.channels.channel import ChannelRefused, ChannelUnavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["check_url", "checked_addresses", "guarded_client"]

_Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
_PORTS = {80, 443}


def check_url(url: str, allow: Sequence[str] = ()) -> httpx.URL:
    """``url`` as far as it can be judged without a look-up. Raises :class:`ChannelRefused` with the rule it breaks."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise ChannelRefused("the address is no URL") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ChannelRefused("the address must begin with https:// and a host")
    if parsed.userinfo:
        raise ChannelRefused("the address must not hold a login; use a secret or a header")
    listed = _listed(parsed.host, allow)
    if parsed.scheme == "http" and not listed:
        raise ChannelRefused(f"http to {parsed.host} is not encrypted: use https, or list the host under allow")
    if (parsed.port or 443) not in _PORTS and not listed:
        raise ChannelRefused(f"port {parsed.port} of {parsed.host} is not 443: list the host under allow")
    if _looks_numeric(parsed.host) and _literal(parsed.host) is None:
        raise ChannelRefused(f"{parsed.host} is an address in disguise: write it in full")
    return parsed


def checked_addresses(host: str, port: int, allow: Sequence[str] = ()) -> list[str]:
    """The addresses of ``host`` if every one may be used. Raises :class:`ChannelError`."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ChannelUnavailable(f"{host} cannot be resolved: {error.strerror or error}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not _may_use(ipaddress.ip_address(address.split("%")[0]), allow) and not _host_listed(host, allow):
            raise ChannelRefused(
                f"{host} leads to {address}, which is not public: list it under allow if that is wanted"
            )
    return addresses


def guarded_client(allow: Sequence[str], timeout_s: float, verify: Any = None) -> httpx.Client:
    """An HTTP client that connects to checked addresses only, verifies certificates, and follows no redirect.

    A request may take ``timeout_s`` in all, also when the answer comes byte by byte.
    """
    trusted = httpx.create_ssl_context() if verify is None else verify  # SSL_CERT_FILE names an own authority
    transport = httpx.HTTPTransport(verify=trusted, trust_env=False, retries=0)
    backend = _GuardedBackend(allow, timeout_s)
    transport._pool._network_backend = backend  # noqa: SLF001 - httpx offers no other way to pin an address
    hooks = {"request": [backend.begin]}
    return httpx.Client(
        transport=transport, timeout=timeout_s, follow_redirects=False, trust_env=False, event_hooks=hooks
    )


class _GuardedBackend(httpcore.NetworkBackend):
    """Resolves, checks, and connects to what it checked; TLS still verifies the name that was asked for."""

    def __init__(self, allow: Sequence[str], timeout_s: float) -> None:
        self._allow, self._timeout_s = allow, timeout_s
        self._real = httpcore.SyncBackend()
        self._until = math.inf

    def begin(self, _request: httpx.Request) -> None:
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
        for address in checked_addresses(host, port, self._allow):
            try:
                real = self._real.connect_tcp(address, port, timeout, local_address, socket_options)
                return _TimedStream(real, self.left)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem

    def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise ChannelRefused(f"{path} is no network address")

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


def _may_use(address: _Address, allow: Sequence[str]) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return _may_use(inner, allow)
        if address in ipaddress.ip_network("64:ff9b::/96"):
            return _may_use(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF), allow)
    if any(address in network for network in _networks(allow) if network.version == address.version):
        return True
    return address.is_global and not address.is_multicast


def _networks(allow: Sequence[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    found = []
    for entry in allow:
        try:
            found.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            continue  # a host name
    return found


def _host_listed(host: str, allow: Sequence[str]) -> bool:
    return host.lower().strip("[]") in {entry.lower() for entry in allow}


def _listed(host: str, allow: Sequence[str]) -> bool:
    literal = _literal(host)
    inside = literal is not None and any(literal in n for n in _networks(allow) if n.version == literal.version)
    return _host_listed(host, allow) or inside


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _looks_numeric(host: str) -> bool:
    """Whether a C library would read the last label as a number: decimal, octal or hexadecimal forms."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last.isdigit() or (last.startswith("0x") and all(c in "0123456789abcdef" for c in last[2:]))
