"""Ports that must be free before anything is started, and free ones where any will do."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

from observability.local.errors import PlatformError

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["answers", "any_port", "require_ports"]

_CONNECT_S = 0.3
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where to reach what listens on all


def require_ports(settings: Settings) -> None:
    """Raise :class:`PlatformError` naming the first port that is taken and how to choose another."""
    web, statsd = settings.airflow, settings.relay
    _require(
        socket.SOCK_STREAM,
        web.host,
        web.port,
        "Airflow's API server",
        "contrail up --port N (or CONTRAIL_AIRFLOW__PORT=N)",
    )
    _require(
        socket.SOCK_DGRAM, statsd.statsd_host, statsd.statsd_port, "the relay's StatsD listener",
        "CONTRAIL_RELAY__STATSD_PORT=N CONTRAIL_STATSD__PORT=N contrail up",
    )  # fmt: skip


def any_port(kind: socket.SocketKind) -> int:
    """A port of the loopback interface that nobody has now."""
    with closing(socket.socket(socket.AF_INET, kind)) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(host: str, port: int) -> bool:
    """True if somebody on this machine takes connections at an address to listen on."""
    try:
        socket.create_connection((_ANY.get(host, host), port), _CONNECT_S).close()
    except OSError:
        return False
    return True


def _require(kind: socket.SocketKind, host: str, port: int, wanted_by: str, remedy: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, kind)) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise PlatformError(
                f"{wanted_by} cannot have {host}:{port} ({_why(error)}); choose another port: {remedy}"
            ) from error


def _why(error: OSError | OverflowError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
