"""Judges what a client library does in this thread: connections, look-ups, files, processes (PEP 578 audit events).

The interpreter reports each of these before it happens, whichever library asks. So an address is judged where the
connection is made, and a name that changes its answer gains nothing. What cannot be judged is refused. This confines a
library that is trusted, with an address that is not. It is not a prison for hostile code.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
import sys
import sysconfig
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from observability.proxies import proxy_for
from observability.watch.notify.channels.address_policy import check_host, is_listed, may_use
from observability.watch.notify.channels.channel import ChannelRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Audit", "audited"]

_REFUSED = {
    "subprocess.Popen": "start a program",
    "os.system": "start a program",
    "os.exec": "start a program",
    "os.posix_spawn": "start a program",
    "os.spawn": "start a program",
    "os.fork": "start a process",
    "os.forkpty": "start a process",
    "pty.spawn": "start a program",
    "_thread.start_new_thread": "work in a thread of its own, where nobody judges it",
    "_thread.start_joinable_thread": "work in a thread of its own, where nobody judges it",
    "syslog.openlog": "write to this host's system log",
    "syslog.syslog": "write to this host's system log",
}
_CA = ssl.get_default_verify_paths()
_FOLDERS = tuple(
    {
        *(path for name, path in sysconfig.get_paths().items() if name not in {"scripts", "data"}),
        *(path for path in (_CA.capath, _CA.openssl_capath) if path),
        *("/etc/ssl", "/etc/pki", "/usr/share/zoneinfo", "/usr/share/ca-certificates"),
    }
)
_FILES = frozenset({"/etc/mime.types", "/etc/resolv.conf", "/etc/hosts", "/dev/null", "/dev/urandom", _CA.cafile})
_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_FORWARDED = re.compile(rb"[A-Z]+ http://([^/?# ]+)")
_here = threading.local()
_installed: list[bool] = []


class AuditError(OSError):
    """An operation that the audit does not allow; an ``OSError``, so that libraries take it for a failed one."""


class Audit:
    """The rights of one thread while :func:`audited`; ``refused`` is the first reason for which something was not done.

    ``secrets`` are never looked up. ``files`` are those that it wanted to read and may not.
    """

    def __init__(self, allow: Sequence[str], secrets: Sequence[str] = ()) -> None:
        self._allow = allow
        self._secrets = {secret.lower() for secret in secrets}
        self.refused = ""
        self.files: list[str] = []
        self.hosts: list[str] = []
        self._host = ""
        self._by_proxy = False
        self._judged: list[Any] = []  # held, so that no other object gets their identity

    def refuse(self, why: str) -> NoReturn:
        """Do not let it happen, and remember why."""
        self.refused = self.refused or why
        raise AuditError(why)

    def look_up(self, host: Any, port: Any = None) -> None:
        """A name server, or the hosts file, is about to be asked for ``host``."""
        name = (host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")).rstrip(".").lower()
        self._host, self._by_proxy = name, _is_proxy(name, port)
        if self._by_proxy or name == socket.gethostname().lower():
            return
        self._judge(name)
        self.hosts.append(name)

    def connect(self, sock: socket.socket, address: Any) -> None:
        """A connection is about to be made, or a datagram sent."""
        if sock.family not in {socket.AF_INET, socket.AF_INET6} or not isinstance(address, tuple):
            self.refuse("it would speak to a program on this host")
        host, port = str(address[0]), address[1]
        try:
            literal = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:  # resolved between the judgement and the connection, by whoever answers then
            if _is_proxy(host, port):
                self._by_proxy = True
                return
            self.refuse(f"it would connect to {self._shown(host)} without a look-up that can be judged")
        if self._by_proxy or may_use(literal, self._allow) or is_listed(self._host, self._allow):
            return
        self.refuse(f"{self._shown(self._host) or host} leads to {host}, which is not public: list it under allow")

    def send(self, connection: Any, data: Any) -> None:
        """HTTP is about to be spoken; where that is by a proxy, the host that the proxy is asked for is judged."""
        if not self._by_proxy or any(one is connection for one in self._judged):
            return
        self._judged.append(connection)
        line = data[:2048] if isinstance(data, bytes) else b""
        asked = getattr(connection, "_tunnel_host", None)
        if not asked and (found := _FORWARDED.match(line)):
            asked = urlsplit(f"//{found[1].decode('ascii', 'replace')}").hostname
        asked = str(asked or getattr(connection, "host", ""))
        self._judge(asked)
        self.hosts.append(asked)

    def read(self, path: Any) -> None:
        """A file is about to be opened."""
        if isinstance(path, int):
            return
        where = os.path.realpath(os.fsdecode(path))
        given = [os.environ[name] for name in _CA_VARIABLES if os.environ.get(name)]
        if where in _FILES or where.startswith(_FOLDERS) or where.startswith(tuple(map(os.path.realpath, given))):
            return
        self.files.append(where)
        raise AuditError(f"it may not read {where}")

    def _judge(self, host: str) -> None:
        labels = {host, *host.split(".")}
        if labels & self._secrets or any(len(one) > 7 and one in host for one in self._secrets):  # noqa: PLR2004
            self.refuse("it would look up a part of a secret")
        try:
            check_host(host, self._allow)
        except ChannelRefused as error:
            self.refuse(str(error))
        if "." not in host and ":" not in host and not is_listed(host, self._allow):
            self.refuse("its host is a name without a domain: list it under allow")

    def _shown(self, host: str) -> str:
        return "***" if {host, *host.split(".")} & self._secrets else host


@contextmanager
def audited(audit: Audit) -> Iterator[Audit]:
    """Judge everything that this thread does meanwhile by ``audit``."""
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_hook)
    before = getattr(_here, "audit", None)
    _here.audit = audit
    try:
        yield audit
    finally:
        _here.audit = before


def _hook(event: str, args: tuple[Any, ...]) -> None:
    """One call for each audit event of the process: what concerns no audited thread must cost nothing."""
    audit = getattr(_here, "audit", None)
    if audit is None:
        return
    if (judge := _JUDGES.get(event)) is not None:
        _here.audit = None  # what the judgement itself does is not judged
        try:
            judge(audit, args)
        finally:
            _here.audit = audit
    elif event in _REFUSED:
        audit.refuse(f"it would {_REFUSED[event]}")


_JUDGES: dict[str, Callable[[Audit, tuple[Any, ...]], None]] = {
    "socket.getaddrinfo": lambda audit, args: audit.look_up(args[0], args[1]),
    "socket.gethostbyname": lambda audit, args: audit.look_up(args[0]),
    "socket.gethostbyaddr": lambda audit, args: audit.look_up(args[0]),
    "socket.connect": lambda audit, args: audit.connect(args[0], args[1]),
    "socket.sendto": lambda audit, args: audit.connect(args[0], args[1]),
    "socket.sendmsg": lambda audit, args: audit.connect(args[0], args[1]) if args[1] is not None else None,
    "http.client.send": lambda audit, args: audit.send(args[0], args[1]),
    "open": lambda audit, args: audit.read(args[0]),
}


def _is_proxy(host: str, port: Any) -> bool:
    """Tell whether ``host`` and ``port`` are those of a proxy that the environment names."""
    named = [proxy_for(scheme, "outside.invalid") for scheme in ("http", "https", "all")]
    for proxy in filter(None, named):
        parts = urlsplit(proxy)
        if (parts.hostname or "").lower() == host.lower() and str(port) in {str(parts.port), "None"}:
            return True
    return False
