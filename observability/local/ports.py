"""Ports that must be free before anything is started, and free ones where any will do."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

from observability.local.errors import PlatformError

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["any_port", "require_ports"]


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
