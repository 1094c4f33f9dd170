"""Addresses, headers and certificates of the three signals: ours, a Connection's, or OpenTelemetry's own variables.

``[otlp] url`` goes first, then the Connection, then ``OTEL_EXPORTER_OTLP_*``, where a variable of one signal
(``…_LOGS_ENDPOINT``) goes before that of all. Headers and certificates of the variables are sent to the address of the
variables only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from observability.credentials import Credentials, CredentialsError, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.settings import Settings

__all__ = ["Destination", "Signal", "destination", "resource"]

Signal = Literal["logs", "metrics", "traces"]
_OTEL = "OTEL_EXPORTER_OTLP"
_HTTP = frozenset({"", "http/protobuf"})
_COMPRESSIONS = ("gzip", "none")


@dataclass(frozen=True, slots=True)
class Destination:
    """The address of one signal, and what a request to it needs."""

    url: str
    credentials: Credentials = field(repr=False)
    compress: bool
    timeout_s: float


def destination(settings: Settings, signal: Signal, environ: Mapping[str, str] | None = None) -> Destination:
    """The destination of a signal. Raises :class:`CredentialsError` where there is none, or it cannot be used."""
    env = os.environ if environ is None else environ
    options = settings.otlp
    compress, timeout_s = options.compression != "none", options.request_timeout_s
    if options.url or options.connection_id:
        found = Credentials(url=options.url) if options.url else resolve(options.connection_id)
        if not found.url:
            raise CredentialsError(f"Connection {options.connection_id!r} names no host of an OTLP receiver")
        timeout_s = float(found.extra.get("request_timeout") or timeout_s)
        to = Destination(f"{found.url.rstrip('/')}/v1/{signal}", found, compress, timeout_s)
    else:
        to = _of_variables(env, signal, compress=compress, timeout_s=timeout_s)
    _refuse_oneself(settings, to.url)
    return to


def resource(settings: Settings, host: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The attributes of who sends: ours, and those of ``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME``."""
    env = os.environ if environ is None else environ
    own = {
        "service.name": "airflow",
        "service.instance.id": host,
        "host.name": host,
        "deployment.environment.name": settings.core.environment,
    }
    attributes = _pairs(env.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    name = {"service.name": named} if (named := env.get("OTEL_SERVICE_NAME", "").strip()) else {}
    return own | attributes | name


def _refuse_oneself(settings: Settings, url: str) -> None:
    """Refuse the relay's own receiver, which would send to itself what it took, for ever."""
    parts = urlsplit(url)
    own = {settings.otlp.receive_host, "localhost", "127.0.0.1", "::1"}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if settings.otlp.receive_port == port and parts.hostname in own:
        raise CredentialsError(f"{url} is the relay's own receiver; name another, or another [otlp] receive_port")


def _of_variables(env: Mapping[str, str], signal: Signal, *, compress: bool, timeout_s: float) -> Destination:
    def named(option: str) -> str:
        return (env.get(f"{_OTEL}_{signal.upper()}_{option}") or env.get(f"{_OTEL}_{option}") or "").strip()

    own, common = (env.get(f"{_OTEL}_{name}ENDPOINT", "").strip() for name in (f"{signal.upper()}_", ""))
    url = own or (f"{common.rstrip('/')}/v1/{signal}" if common else "")
    if not url:
        raise CredentialsError(
            f"no OTLP receiver is named for {signal}: set [otlp] url or connection_id, or {_OTEL}_ENDPOINT"
        )
    if urlsplit(url).scheme not in {"http", "https"}:
        raise CredentialsError(f"{_OTEL}_ENDPOINT is {url!r}; it must begin with http:// or https://")
    if (protocol := named("PROTOCOL")) not in _HTTP:
        raise CredentialsError(f"{_OTEL}_PROTOCOL is {protocol!r}, but the relay speaks http/protobuf only; set it so")
    if (compression := named("COMPRESSION")) and compression not in _COMPRESSIONS:
        raise CredentialsError(f"{_OTEL}_COMPRESSION is {compression!r}; it must be gzip or none")
    extra = {"headers": _pairs(named("HEADERS"))} | {
        ours: file
        for ours, theirs in (
            ("ca_certs", "CERTIFICATE"),
            ("client_cert", "CLIENT_CERTIFICATE"),
            ("client_key", "CLIENT_KEY"),
        )
        if (file := named(theirs))
    }
    return Destination(
        url, Credentials(url=url, extra=extra), compression == "gzip" if compression else compress,
        _seconds(named("TIMEOUT")) or timeout_s,
    )  # fmt: skip


def _seconds(milliseconds: str) -> float | None:
    """A time-out as OpenTelemetry's variables give it. Raises :class:`CredentialsError` for anything but a number."""
    if not milliseconds:
        return None
    if not milliseconds.isascii() or not milliseconds.isdigit():
        raise CredentialsError(f"{_OTEL}_TIMEOUT is {milliseconds!r}; it must be a number of milliseconds")
    return int(milliseconds) / 1000 or None


def _pairs(text: str) -> dict[str, str]:
    """``key=value,key2=value2`` with values quoted as in an address; what has no ``=`` is left out."""
    pairs = (one.partition("=") for one in text.split(",") if "=" in one)
    return {unquote(name.strip()): unquote(given.strip()) for name, _, given in pairs if name.strip()}
