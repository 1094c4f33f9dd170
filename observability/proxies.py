"""The proxy that the environment names for an address; this machine itself never lies behind one.

``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` mean what they mean to curl; the lower case wins. An
entry of ``NO_PROXY`` is a host, a domain with all below it, an address, a network, or ``*``; it may end with a port.
"""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from observability.errors import ProxyRefused

__all__ = ["ProxyRefused", "http_proxy_for", "is_loopback", "proxy_for", "spare_loopback"]

_PORTS = {"http": 80, "https": 443}
_SPARED = ("localhost", "127.0.0.1", "::1")


def http_proxy_for(url: str, given: str = "") -> str | None:
    """Like :func:`proxy_for`, for a client that speaks to HTTP proxies only. Raises :class:`ProxyRefused`."""
    where = urlsplit(url)
    proxy = proxy_for(where.scheme or "http", where.hostname or "", where.port, given)
    if proxy is None or proxy.lower().startswith(("http://", "https://")):
        return proxy
    raise ProxyRefused(
        f"{url} cannot be reached by {proxy.partition('://')[0].lower()}, only through an HTTP proxy;"
        " name one by HTTPS_PROXY, or spare the host by NO_PROXY"
    )


def proxy_for(scheme: str, host: str, port: int | None = None, given: str = "") -> str | None:
    """Address of the proxy through which ``scheme://host:port`` is reached; None for a direct connection.

    ``given``, which a Connection names, stands in place of the environment's and of ``NO_PROXY``.
    """
    found = given or _named(f"{scheme}_proxy") or _named("all_proxy")
    port = port or _PORTS.get(scheme)
    if not found or is_loopback(host) or (not given and _is_spared(host, port, _named("no_proxy"))):
        return None
    return found if "://" in found else f"http://{found}"


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this machine, written as a name or an address."""
    bare = host.strip("[]").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return bare == "localhost" or bare.endswith(".localhost")
    inner = getattr(address, "ipv4_mapped", None)
    return bool((inner or address).is_loopback)


def spare_loopback() -> None:
    """Add this machine to ``NO_PROXY`` of the process, for libraries that read the environment themselves."""
    if not any(_named(f"{scheme}_proxy") for scheme in ("http", "https", "all")):
        return
    entries = _entries(_named("no_proxy"))
    missing = [host for host in _SPARED if host not in entries]
    if missing and "*" not in entries:
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join((*entries, *missing))


def _named(variable: str) -> str:
    # A CGI script gets HTTP_PROXY from the header "Proxy" of a request: curl and urllib leave it out there.
    upper = "" if variable == "http_proxy" and "REQUEST_METHOD" in os.environ else os.environ.get(variable.upper(), "")
    return (os.environ.get(variable) or upper).strip()


def _is_spared(host: str, port: int | None, entries: str) -> bool:
    bare = host.strip("[]").rstrip(".").lower()
    return any(_covers(entry.lower(), bare, port) for entry in _entries(entries))


def _entries(listed: str) -> list[str]:
    """The entries of ``NO_PROXY``, which commas or blanks divide."""
    return listed.replace(",", " ").split()


def _covers(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except (ValueError, TypeError):
        pass
    wanted = urlsplit(f"//{entry}")
    name = (wanted.hostname or "").lstrip("*").lstrip(".")
    if _port_of(entry) not in {None, port} or not name:
        return False
    return host == name or host.endswith(f".{name}")


def _port_of(entry: str) -> int | None:
    try:
        return urlsplit(f"//{entry}").port
    except ValueError:
        return None
