"""E-mail through the server of an Airflow Connection, as text and HTML."""

from __future__ import annotations

import smtplib
import ssl
import time
from datetime import datetime, timezone
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import structlog

from observability import redact
from observability.watch.notify import render
from observability.watch.notify.channels.channel import ChannelRefused, ChannelUnavailable
from observability.watch.notify.channels.guarded_client import guarded_client
from observability.watch.notify.channels.webhook import refusal
from observability.watch.notify.messages import plain

if TYPE_CHECKING:
    from pathlib import Path

    from observability.watch.notify.channels.channel import Contact, Contacts
    from observability.watch.notify.message import Message
    from observability.watch.rules.config import ChannelSpec

__all__ = ["open_channel"]

_PERMANENT, _TOO_LARGE = 500, 552
_EARLY_S = 60.0
_AUTHORITY = "https://login.microsoftonline.com"
"""The hosts for which Airflow's SMTP provider asks for a token as well."""


class _Smtp:
    def __init__(self, name: str, contact: Contact, to: list[str], timeout_s: float) -> None:
        self._name, self._contact, self._to, self._timeout_s = name, contact, to, timeout_s
        self._held = ("", 0.0)

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - the Message-ID is the same
        mail = self._mail(message)
        try:
            with self._server() as server:
                self._log_in(server)
                refused = server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            permanent = all(code >= _PERMANENT for code, _ in error.recipients.values())  # 4xx: greylisting
            kind = ChannelRefused if permanent else ChannelUnavailable
            raise kind(f"{self._name}: {self._contact.host} takes no mail for {', '.join(error.recipients)}") from error
        except ssl.SSLCertVerificationError as error:
            raise ChannelRefused(f"{self._name}: {self._contact.host}: {error}") from error
        except smtplib.SMTPResponseException as error:
            who = f"{self._name}: {self._contact.host} answered {error.smtp_code}"
            if error.smtp_code < _PERMANENT:
                raise ChannelUnavailable(who) from error
            raise ChannelRefused(who, perhaps_too_long=error.smtp_code == _TOO_LARGE) from error
        except smtplib.SMTPNotSupportedError as error:
            raise ChannelRefused(f"{self._name}: {self._contact.host}: {error}; correct the Connection") from error
        except (OSError, smtplib.SMTPException) as error:
            raise ChannelUnavailable(f"{self._name}: {self._contact.host}: {error}") from error
        if refused:
            structlog.get_logger("contrail.watch").warning("a mail did not reach everybody", refused=sorted(refused))

    def close(self) -> None:
        """Each message has its own session."""

    def _server(self) -> smtplib.SMTP:
        extra = self._contact.extra
        context = _ssl_context(self._name, str(extra.get("ssl_context") or "default"))
        timeout_s = float(extra.get("timeout") or self._timeout_s)
        if not extra.get("disable_ssl"):
            return smtplib.SMTP_SSL(self._contact.host, self._contact.port or 465, timeout=timeout_s, context=context)
        server = smtplib.SMTP(self._contact.host, self._contact.port or 25, timeout=timeout_s)
        if not extra.get("disable_tls"):
            try:
                server.starttls(context=context)
            except BaseException:
                server.close()
                raise
        return server

    def _log_in(self, server: smtplib.SMTP) -> None:
        """With a token where the Connection says ``auth_type`` oauth2, else with login and password."""
        if self._contact.extra.get("auth_type") == "oauth2":
            who, token = self._contact.login or str(self._contact.extra.get("from_email") or ""), self._token()
            if not who:
                raise ChannelRefused(f"{self._name}: auth_type oauth2 needs a login, or from_email, to log in with")
            said = f"user={who}\x01auth=Bearer {token}\x01\x01"
            server.ehlo_or_helo_if_needed()
            try:
                server.auth("XOAUTH2", lambda challenge=None: said if challenge is None else "")
            except smtplib.SMTPAuthenticationError:
                self._held = ("", 0.0)  # it may have been withdrawn
                raise
        elif self._contact.login and self._contact.password:
            server.login(self._contact.login, self._contact.password)

    def _token(self) -> str:
        """The access token that the Connection holds, or one for its client credentials, kept while it is valid."""
        extra = self._contact.extra
        if given := extra.get("access_token"):
            return str(given)
        if not (extra.get("client_id") and extra.get("client_secret")):
            raise ChannelRefused(f"{self._name}: auth_type oauth2 needs access_token, or client_id and client_secret")
        if self._held[1] <= time.monotonic():
            self._held = self._asked()
        return self._held[0]

    def _asked(self) -> tuple[str, float]:
        """A token from the authority, and until when (monotonic) it is used."""
        extra = self._contact.extra
        tenant = quote(str(extra.get("tenant_id") or "common"), safe="")
        form = {
            "grant_type": "client_credentials",
            "client_id": extra["client_id"],
            "client_secret": extra["client_secret"],
            "scope": extra.get("scope") or "https://outlook.office.com/.default",
        }
        try:
            with guarded_client((), self._timeout_s) as client:
                answer = client.post(f"{_AUTHORITY}/{tenant}/oauth2/v2.0/token", data=form)
            said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ChannelUnavailable(f"{self._name}: no token from {_AUTHORITY}: {type(error).__name__}") from error
        if "access_token" not in said:
            words = plain(said.get("error_description") or said.get("error") or "", 200)
            raise refusal(f"{self._name}: {_AUTHORITY}", answer.status_code, words)
        redact.add_secret(str(said["access_token"]))
        return str(said["access_token"]), time.monotonic() + max(0.0, float(said.get("expires_in") or 0) - _EARLY_S)

    def _mail(self, message: Message) -> EmailMessage:
        sender = str(self._contact.extra.get("from_email") or self._contact.login or "contrail@localhost")
        mail = EmailMessage()
        mail["Subject"] = render.subject(message)
        mail["From"], mail["To"] = sender, ", ".join(self._to)
        mail["Date"] = format_datetime(datetime.now(timezone.utc))
        mail["Message-ID"] = f"<{message.dedup_key.replace(':', '.')}@contrail>" if message.dedup_key else make_msgid()
        mail["X-Contrail-Incident"] = message.incident_id
        mail["Auto-Submitted"] = "auto-generated"
        if message.incident_id:
            mail["References"] = f"<{message.incident_id}@contrail>"
        mail.set_content(render.text(message))
        mail.add_alternative(f"<!doctype html><html><body>{render.html(message)}</body></html>", subtype="html")
        return mail


def _ssl_context(name: str, given: str) -> ssl.SSLContext | None:
    """The authorities to trust; None, for ``none``: everybody."""
    if given not in {"default", "none"}:
        raise ChannelRefused(f"{name}: ssl_context of the Connection must be default or none, and not {given}")
    return ssl.create_default_context() if given == "default" else None


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, _home: Path) -> _Smtp:
    """The server of the Connection (``smtp_default``); its extras mean what Airflow's SMTP provider says."""
    conn_id = spec.connection or "smtp_default"
    try:
        contact = contacts.connection(conn_id)
    except LookupError:
        raise ChannelUnavailable(
            f"Airflow knows no Connection {conn_id} now: create it, or correct alerts.yaml"
        ) from None
    if not contact.host:
        raise ChannelRefused(f"{name}: Connection {conn_id} names no host of a mail server")
    for secret in (contact.password, contact.extra.get("access_token"), contact.extra.get("client_secret")):
        redact.add_secret(str(secret or ""))
    return _Smtp(name, contact, spec.to, spec.timeout)
