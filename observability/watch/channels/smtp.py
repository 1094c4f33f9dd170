"""E-mail through the server of an Airflow Connection, as text and HTML."""

from __future__ import annotations

import smtplib
import ssl
from datetime import datetime, timezone
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING

import structlog

from observability import redact
from observability.watch import render
from observability.watch.channels.channel import ChannelRefused, ChannelUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from observability.watch.channels.channel import Contact, Contacts
    from observability.watch.messages import Message
    from observability.watch.route import ChannelSpec

__all__ = ["open_channel"]

_PERMANENT = 500


class _Smtp:
    def __init__(self, name: str, contact: Contact, to: list[str], timeout_s: float) -> None:
        self._name, self._contact, self._to, self._timeout_s = name, contact, to, timeout_s

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - the Message-ID is the same
        mail = self._mail(message)
        try:
            with self._server() as server:
                if self._contact.login:
                    server.login(self._contact.login, self._contact.password)
                refused = server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            permanent = all(code >= _PERMANENT for code, _ in error.recipients.values())  # 4xx: greylisting
            kind = ChannelRefused if permanent else ChannelUnavailable
            raise kind(f"{self._name}: {self._contact.host} takes no mail for {', '.join(error.recipients)}") from error
        except ssl.SSLCertVerificationError as error:
            raise ChannelRefused(f"{self._name}: {self._contact.host}: {error}") from error
        except smtplib.SMTPResponseException as error:
            kind = ChannelRefused if error.smtp_code >= _PERMANENT else ChannelUnavailable
            raise kind(f"{self._name}: {self._contact.host} answered {error.smtp_code}") from error
        except (OSError, smtplib.SMTPException) as error:
            raise ChannelUnavailable(f"{self._name}: {self._contact.host}: {error}") from error
        if refused:
            structlog.get_logger("contrail.watch").warning("a mail did not reach everybody", refused=sorted(refused))

    def close(self) -> None:
        """Each message has its own session."""

    def _server(self) -> smtplib.SMTP:
        extra = self._contact.extra
        context = ssl.create_default_context()
        port = self._contact.port or (25 if extra.get("disable_ssl") else 465)
        if not extra.get("disable_ssl"):
            return smtplib.SMTP_SSL(self._contact.host, port, timeout=self._timeout_s, context=context)
        server = smtplib.SMTP(self._contact.host, port, timeout=self._timeout_s)
        if not extra.get("disable_tls"):
            server.starttls(context=context)
        return server

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


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, _home: Path) -> _Smtp:
    """The server of the Connection (``smtp_default``); its extras mean what Airflow's SMTP provider says."""
    conn_id = spec.connection or "smtp_default"
    try:
        contact = contacts.connection(conn_id)
    except LookupError:
        raise ChannelUnavailable(
            f"Airflow knows no Connection {conn_id} now: create it, or correct alerts.yaml"
        ) from None
    redact.add_secret(contact.password)
    return _Smtp(name, contact, spec.to, spec.timeout)
