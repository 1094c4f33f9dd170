"""Credentials of a service as an Airflow Connection has them, without Airflow in this process.

Importing Airflow costs more memory than a relay may use, so a process without it asks another one,
once, when the first request needs the answer. A process that has Airflow anyway names its own
resolver with :func:`use_resolver`.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from observability.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Credentials", "CredentialsError", "airflow_server", "resolve", "use_resolver", "verified"]

_RESOLVER = "observability.airflow.connections"
_SERVERS = "observability.airflow.servers"
_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Credentials:
    """An address and what opens it; ``extra`` holds the options of the service.

    Options of HTTP are named as the Elasticsearch client names them (``api_key``, ``ca_certs``, ``verify_certs``,
    ``headers`` …), whatever the provider of the Connection calls them. docs/reference/connections.md lists them.
    """

    url: str = ""
    login: str = ""
    password: str = field(default="", repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def headers(self) -> dict[str, str]:
        """The headers of every request: the Connection's own, and one that says who asks where it holds a login."""
        found = {str(name).lower(): str(value) for name, value in (self.extra.get("headers") or {}).items()}
        if opaque := self.extra.get("opaque_id"):
            found["x-opaque-id"] = str(opaque)
        return found | self._authorization()

    def ssl_context(self) -> ssl.SSLContext:
        """The trust and identity of TLS. Raises :class:`CredentialsError` for a file that cannot be read."""
        return _ssl_context(self.extra)

    def tls_options(self) -> dict[str, Any]:
        """The options of a urllib3 pool: the trusted authorities, and the name or fingerprint that it must have."""
        options: dict[str, Any] = {"ssl_context": self.ssl_context()}
        if (name := self.extra.get("ssl_assert_hostname")) is not None:
            options["assert_hostname"] = name
        if fingerprint := self.extra.get("ssl_assert_fingerprint"):
            options["assert_fingerprint"] = str(fingerprint)
        return options

    def _authorization(self) -> dict[str, str]:
        if key := self.extra.get("api_key"):
            return {"authorization": f"ApiKey {_encoded(key)}"}
        if token := self.extra.get("bearer_auth"):
            return {"authorization": f"Bearer {token}"}
        if login := self.extra.get("basic_auth"):
            return {"authorization": f"Basic {_encoded(login)}"}
        if self.login:
            return {"authorization": f"Basic {_encoded((self.login, self.password))}"}
        return {}


def _encoded(value: Any) -> str:
    """A pair as base64; text is encoded already."""
    return value if isinstance(value, str) else base64.b64encode(":".join(map(str, value)).encode()).decode()


def _ssl_context(extra: Mapping[str, Any]) -> ssl.SSLContext:
    verified(extra, "verify_certs", "ssl_assert_hostname")
    try:
        given = extra.get("ca_certs")
        where = {"capath" if Path(str(given)).is_dir() else "cafile": str(given)} if given else {}
        context = ssl.create_default_context(**where)  # type: ignore[arg-type]
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate := extra.get("client_cert"):
            context.load_cert_chain(str(certificate), extra.get("client_key"))
    except OSError as error:
        files = [str(extra[name]) for name in ("ca_certs", "client_cert", "client_key") if extra.get(name)]
        raise CredentialsError(f"the Connection names {', '.join(files)}, which cannot be used: {error}") from error
    return context


def verified(extra: Mapping[str, Any], *names: str) -> None:
    """Refuse a Connection that would take any certificate. Raises :class:`CredentialsError` with the remedy."""
    for name in names:
        if extra.get(name) is False:
            raise CredentialsError(
                f"the Connection says {name}: false, but certificates are always verified; name the file of your own"
                " authority instead (ca_certs for Elasticsearch, verify for HTTP and AWS)"
            )


_own: list[Callable[[str], Credentials]] = []


def use_resolver(resolver: Callable[[str], Credentials]) -> None:
    """Answer :func:`resolve` in this process with ``resolver``, which raises :class:`CredentialsError`."""
    _own[:] = [resolver]


def resolve(connection_id: str) -> Credentials:
    """The Airflow Connection of that id, from wherever Airflow keeps it. Raises :class:`CredentialsError`."""
    return _own[0](connection_id) if _own else _ask_airflow(connection_id)


def airflow_server(which: str, connection_id: str = "") -> Credentials:
    """The ``database`` or ``broker`` of Airflow, as its configuration or a Connection has it.

    Raises :class:`CredentialsError`.
    """
    return _ask(_SERVERS, which, connection_id)


def _ask_airflow(connection_id: str) -> Credentials:
    return _ask(_RESOLVER, connection_id)


def _ask(module: str, *what: str) -> Credentials:
    """The answer of a process that has Airflow."""
    command = [sys.executable, "-m", module, *what]
    named = f"Connection {what[0]!r}" if module == _RESOLVER else f"the address of its {what[0]}"
    try:
        asked = subprocess.run(command, capture_output=True, check=False, timeout=_TIMEOUT_S)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired as error:
        message = f"Airflow did not hand out {named} within {_TIMEOUT_S} s; is its database up?"
        raise CredentialsError(message) from error
    if asked.returncode != 0:
        last = asked.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise CredentialsError("".join(last) or f"Airflow could not hand out {named}")
    return Credentials(**json.loads(asked.stdout.splitlines()[-1]))
