"""Who we are to a service: what an Airflow Connection says, without Airflow in this process.

Importing Airflow costs more memory than a relay may use, so a process without it asks another one,
once, when the first request needs the answer. A process that has Airflow anyway names its own
resolver with :func:`use_resolver`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Credentials", "CredentialsError", "resolve", "use_resolver"]

_RESOLVER = "observability.airflow.connections"
_TIMEOUT_S = 120


class CredentialsError(RuntimeError):
    """A Connection that cannot be read; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An address and what opens it; ``extra`` holds what only one service knows (``api_key``, ``region_name``)."""

    url: str = ""
    login: str = ""
    password: str = field(default="", repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


_own: list[Callable[[str], Credentials]] = []


def use_resolver(resolver: Callable[[str], Credentials]) -> None:
    """Answer :func:`resolve` in this process with ``resolver``, which raises :class:`CredentialsError`."""
    _own[:] = [resolver]


def resolve(connection_id: str) -> Credentials:
    """The Airflow Connection of that id, from wherever Airflow keeps it. Raises :class:`CredentialsError`."""
    return _own[0](connection_id) if _own else _ask_airflow(connection_id)


def _ask_airflow(connection_id: str) -> Credentials:
    command = [sys.executable, "-m", _RESOLVER, connection_id]
    try:
        asked = subprocess.run(command, capture_output=True, check=False, timeout=_TIMEOUT_S)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired as error:
        message = f"Airflow did not tell Connection {connection_id!r} within {_TIMEOUT_S} s; is its database up?"
        raise CredentialsError(message) from error
    if asked.returncode != 0:
        last = asked.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise CredentialsError("".join(last) or f"Airflow could not tell Connection {connection_id!r}")
    return Credentials(**json.loads(asked.stdout.splitlines()[-1]))
