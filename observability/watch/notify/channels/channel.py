"""The protocol of a channel: what it is given and what it answers.

:class:`ChannelError`
 ├─ :class:`ChannelUnavailable`  not now; the message is sent again
 └─ :class:`ChannelRefused`      never as it stands; the message is dead, the fallback is used
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from observability import redact
from observability.credentials import Credentials, CredentialsError
from observability.errors import ChannelError, ChannelRefused, ChannelUnavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from pathlib import Path

    from observability.watch.notify.message import Message
    from observability.watch.rules.config import ChannelSpec

__all__ = [
    "Channel",
    "ChannelError",
    "ChannelRefused",
    "ChannelUnavailable",
    "Contact",
    "Contacts",
    "Endpoint",
    "contact_of",
    "endpoint",
    "open_channel",
    "reference",
]

_TLS = frozenset({"ca_certs", "verify_certs", "client_cert", "ssl_assert_hostname"})
"""Options of a Connection that say whom to trust; without them it is whom everything here trusts."""


class Channel(Protocol):
    """One service. Used by one thread."""

    def send(self, message: Message, *, resent: bool) -> None:
        """Deliver ``message``; ``resent`` where an earlier try may have arrived. Raises :class:`ChannelError`."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class Contact:
    """An Airflow Connection as far as a channel needs it."""

    host: str = ""
    port: int | None = None
    schema: str = ""
    login: str = ""
    password: str = field(default="", repr=False)
    uri: str = field(default="", repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


def contact_of(found: Credentials) -> Contact:
    """The contact that an Airflow Connection is."""
    url, uri = httpx.URL(found.url), str(found.extra.get("url") or found.url)
    return Contact(url.host, url.port, url.scheme, found.login, found.password, uri, found.extra)


class Contacts(Protocol):
    """The source of addresses and secrets; the implementation that asks Airflow is handed in."""

    def connection(self, conn_id: str) -> Contact:
        """The Airflow Connection. Raises LookupError."""

    def variable(self, key: str) -> str:
        """The Airflow Variable. Raises LookupError."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of HTTP with what its Connection says of requests to it; ``timeout_s`` None: the channel's own."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trusted: ssl.SSLContext | None = None
    timeout_s: float | None = None
    proxy: str = field(default="", repr=False)


def reference(value: str, contacts: Contacts) -> str:
    """The value of ``connection:<id>``, ``variable:<key>`` or ``env:<NAME>``; masked everywhere from now on.

    A Connection or Variable that is not found may be there later: Airflow denies it also while its database is down.
    """
    kind, _, name = value.partition(":")
    try:
        if kind == "env":
            found = os.environ[name]
        elif kind == "variable":
            found = contacts.variable(name)
        else:
            found = _address(contacts.connection(name))
    except LookupError as error:
        if kind == "env":
            raise ChannelRefused(f"{value} is not set: set it, or correct alerts.yaml") from None
        raise ChannelUnavailable(f"{value} is not known to Airflow now: {error}") from error
    return _masked(found, value)


def endpoint(value: str, contacts: Contacts) -> Endpoint:
    """Like :func:`reference`, for an address of HTTP; a Connection also says who asks, whom to trust and the proxy."""
    kind, _, name = value.partition(":")
    if kind != "connection":
        return Endpoint(reference(value, contacts))
    try:
        contact = contacts.connection(name)
    except LookupError as error:
        raise ChannelUnavailable(f"{value} is not known to Airflow now: {error}") from error
    url, extra = _masked(_address(contact), value), contact.extra
    login = contact.login if contact.host else ""
    try:
        who = Credentials(url, login, contact.password, extra)
        headers, trusted = who.headers(), who.ssl_context() if set(extra) & _TLS else None
    except CredentialsError as error:
        raise ChannelRefused(f"{value}: {error}") from error
    for secret in (contact.password, *headers.values()):
        redact.add_secret(secret.rpartition(" ")[2])
    timeout = extra.get("request_timeout")
    return Endpoint(url, headers, trusted, float(timeout) if timeout else None, str(extra.get("proxy") or ""))


def _address(contact: Contact) -> str:
    """The secret that a Connection holds: its address, or the password of one without a host."""
    return contact.password if contact.password and not contact.host else contact.uri or contact.password


def _masked(found: str, value: str) -> str:
    if not found:
        raise ChannelRefused(f"{value} is empty: correct it, or alerts.yaml")
    redact.add_secret(found)
    return found


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, home: Path) -> Channel:
    """The channel called ``name``, of the module beside this one that ``spec.type`` names; imported here, not before.

    Raises :class:`ChannelRefused`.
    """
    module = import_module(f"observability.watch.notify.channels.{spec.type}")
    channel: Channel = module.open_channel(name, spec, contacts, home)
    return channel
