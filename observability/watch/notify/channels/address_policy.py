"""Allow the addresses of a channel: public ones, and those that ``allow`` names (against SSRF).

An IPv6 address that carries an IPv4 address is judged by both. Names are judged by what they lead to, where the
connection is made; behind a proxy, which alone looks names up, by how they are written.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, TypeAlias

import httpx

from observability.proxies import is_loopback
from observability.watch.notify.channels.channel import ChannelRefused, ChannelUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_host", "check_url", "checked_addresses", "is_listed", "may_use"]

_Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
_PORTS = {80, 443}
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
"""Global unicast, all that was ever given out (RFC 4291); what is outside leads inside, or nowhere."""
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")  # RFC 9637, which older Pythons do not know
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_INSIDE = frozenset(
    {"local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "svc", "arpa", "onion"}
    | {"localhost6", "ip6-localhost", "ip6-loopback", "metadata", "kubernetes"}
)
"""Last labels that no public name has (RFC 6761, 6762 and 8375, ICANN's .internal, Kubernetes' .svc), and bare names.

Where we look a name up ourselves its addresses are judged. Behind a proxy the name is all that there is to judge.
"""
_ISATAP = (0x00005EFE, 0x02005EFE)
_NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "168.63.129.16/32",  # Azure's host, reachable from every virtual machine
        "100.100.100.200/32",  # Alibaba's metadata
        "192.0.0.0/24",  # IETF; Oracle's metadata is 192.0.0.192 (is_global before Python 3.11.10)
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "240.0.0.0/4",
    )
)


def check_url(url: str, allow: Sequence[str] = ()) -> httpx.URL:
    """Judge ``url`` as far as that needs no look-up. Raises :class:`ChannelRefused` with the rule it breaks."""
    try:
        parsed = httpx.URL(url)
        named = bool(parsed.host)  # an IDNA name is read here
    except (httpx.InvalidURL, TypeError, ValueError):
        raise ChannelRefused("the address is not a URL") from None
    if parsed.scheme not in {"http", "https"} or not named:
        raise ChannelRefused("the address must begin with https:// and a host")
    if parsed.userinfo:
        raise ChannelRefused("the address must not hold a login; use a secret or a header")
    listed = is_listed(parsed.host, allow)
    if parsed.scheme == "http" and not listed:
        raise ChannelRefused(f"http to {parsed.host} is not encrypted: use https, or list the host under allow")
    if parsed.port is not None and parsed.port not in _PORTS and not listed:
        raise ChannelRefused(f"port {parsed.port} of {parsed.host} is not 443: list the host under allow")
    check_host(parsed.host, allow)
    return parsed


def check_host(host: str, allow: Sequence[str] = ()) -> None:
    """Judge ``host`` as it is written. Raises :class:`ChannelRefused` for what cannot be a public host."""
    bare = host.strip("[]").rstrip(".")
    literal = _literal(bare)
    if literal is None and _looks_numeric(bare):
        raise ChannelRefused(f"{host} is an address in disguise: write it in full")
    if is_listed(bare, allow):
        return
    if literal is not None:
        leads_inside = not may_use(literal, allow)
    else:
        leads_inside = is_loopback(bare) or bool(_INSIDE & {bare.lower(), bare.lower().rpartition(".")[2]})
    if leads_inside:
        raise ChannelRefused(f"it leads to {host}, which is not public: list it under allow if that is wanted")


def checked_addresses(host: str, port: int, allow: Sequence[str] = ()) -> list[str]:
    """Look ``host`` up; its addresses if every one may be used. Raises :class:`ChannelError`."""
    if _literal(host) is not None:
        check_host(host, allow)
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ChannelUnavailable(f"{host} cannot be resolved: {getattr(error, 'strerror', '') or error}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not may_use(ipaddress.ip_address(address.split("%")[0]), allow) and not _host_listed(host, allow):
            raise ChannelRefused(
                f"{host} leads to {address}, which is not public: list it under allow if that is wanted"
            )
    return addresses


def may_use(address: _Address, allow: Sequence[str] = ()) -> bool:
    """Tell whether ``address``, with every address that it carries, is public or allowed."""
    if any(address in network for network in _networks(allow) if network.version == address.version):
        return True
    if isinstance(address, ipaddress.IPv4Address):
        listed = any(address in network for network in _NOT_PUBLIC_V4)
        return address.is_global and not address.is_multicast and not listed
    if address.ipv4_mapped is not None:
        return may_use(address.ipv4_mapped, allow)
    carried = _carried(address)
    if address in _DOCUMENTATION:
        return False
    if address not in _NAT64 and not (address in _PUBLIC_V6 and (address.is_global or carried)):
        return False
    return all(may_use(inner, allow) for inner in carried)


def is_listed(host: str, allow: Sequence[str]) -> bool:
    """Tell whether ``allow`` names ``host``, or a network that it lies in."""
    literal = _literal(host)
    inside = literal is not None and any(literal in n for n in _networks(allow) if n.version == literal.version)
    return _host_listed(host, allow) or inside


def _carried(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses to which a translator or tunnel would bring ``address``."""
    low = int(address) & 0xFFFFFFFF
    found = [address.sixtofour] if address.sixtofour is not None else []
    found += list(address.teredo) if address.teredo is not None else []
    if address in _NAT64 or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        found.append(ipaddress.IPv4Address(low))
    return found


def _networks(allow: Sequence[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    found = []
    for entry in allow:
        try:
            found.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            continue  # a host name
    return found


def _host_listed(host: str, allow: Sequence[str]) -> bool:
    return host.lower().strip("[]").rstrip(".") in {entry.lower().strip("[]").rstrip(".") for entry in allow}


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _looks_numeric(host: str) -> bool:
    """Tell whether a C library would read the last label as a number: decimal, octal or hexadecimal forms."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last.isdigit() or (last.startswith("0x") and all(c in "0123456789abcdef" for c in last[2:]))
