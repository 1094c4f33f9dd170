"""Secrets that the platform makes for itself, each in a file for its owner only."""

from __future__ import annotations

import base64
import json
import os
import secrets
from typing import TYPE_CHECKING

from observability.local.errors import PlatformError

if TYPE_CHECKING:
    from pathlib import Path

    from observability.local.layout import Layout
    from observability.settings import Settings

__all__ = ["API_CONNECTION", "FILES", "USER", "create_keys", "password"]

USER = "admin"
API_CONNECTION = "airflow_api"
"""Connection by which the watcher and the commands log in to Airflow's API server."""

FILES = {
    "AIRFLOW__API_AUTH__JWT_SECRET_CMD": "jwt-secret",
    "AIRFLOW__API__SECRET_KEY_CMD": "api-secret",
    "AIRFLOW__CORE__FERNET_KEY_CMD": "fernet-key",
}
"""Airflow's variable → file of :attr:`Layout.keys`: read by a command, so that no process's environment holds it."""

_FERNET_BYTES = 32
_SIGNING_BYTES = 64
"""RFC 7518 wants a key as long as the hash, for HS512."""


def create_keys(layout: Layout, settings: Settings) -> None:
    """Make the secrets that are not there yet, and the Connections that follow from them."""
    for name in FILES.values():
        length = _FERNET_BYTES if name == "fernet-key" else _SIGNING_BYTES
        _create(layout.keys / name, base64.urlsafe_b64encode(os.urandom(length)).decode())
    _create(layout.passwords, json.dumps({USER: secrets.token_urlsafe(18)}))
    _create(layout.connections, "{}")
    _connect(layout, settings)


def password(layout: Layout) -> str:
    """The password of :data:`USER`. Raises :class:`PlatformError` when the platform was never started."""
    try:
        return str(json.loads(layout.passwords.read_text("utf-8"))[USER])
    except (OSError, ValueError, KeyError) as error:
        raise PlatformError(
            f"no password for {USER} in {layout.passwords}; delete that file and run contrail up"
        ) from error


def _connect(layout: Layout, settings: Settings) -> None:
    """Keep what people have put into the file; what is ours follows the port and the password."""
    try:
        found = json.loads(layout.connections.read_text("utf-8"))
    except ValueError as error:
        raise PlatformError(
            f"{layout.connections} is not JSON ({error}); correct it, or delete it to start afresh"
        ) from error
    found.setdefault("warehouse", {"conn_type": "sqlite", "host": str(layout.data / "warehouse.db")})
    found[API_CONNECTION] = {
        "conn_type": "http", "schema": "http", "host": settings.airflow.host, "port": settings.airflow.port,
        "login": USER, "password": password(layout),
    }  # fmt: skip
    fresh = layout.connections.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    _create(fresh, json.dumps(found, indent=2))
    fresh.replace(layout.connections)


def _create(path: Path, value: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value)
