"""About a hundred services by URL, through Apprise: Slack, Teams, Discord, Telegram, Opsgenie, e-mail and more."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from observability.watch import render
from observability.watch.channels.channel import ChannelRefused, ChannelUnavailable, reference
from observability.watch.channels.guard import checked_addresses

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from observability.watch.channels.channel import Contacts
    from observability.watch.messages import Message
    from observability.watch.route import ChannelSpec

__all__ = ["open_channel"]

_TYPE = {"critical": "failure", "error": "failure", "warning": "warning", "info": "info"}


class _Last(logging.Handler):
    """Keeps what Apprise says of a failure: it answers False and logs the reason."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = record.getMessage()


class _Apprise:
    def __init__(self, name: str, target: Any) -> None:
        self._name, self._target = name, target
        self._last = _Last()
        logging.getLogger("apprise").addHandler(self._last)

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - these services know no keys
        kind = "success" if message.kind == "resolved" else _TYPE[message.severity]
        self._last.said = ""
        body, form = _body(message, str(self._target.notify_format))
        if not self._target.notify(body=body, title=render.subject(message), notify_type=kind, body_format=form):
            raise ChannelUnavailable(f"{self._name}: {self._last.said or 'the service did not take the message'}")

    def close(self) -> None:
        logging.getLogger("apprise").removeHandler(self._last)


def _body(message: Message, wanted: str) -> tuple[str, str]:
    if wanted.endswith("html"):
        return render.html(message), "html"
    if wanted.endswith("markdown"):
        return render.markdown(message), "markdown"
    return render.text(message), "text"


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, _home: Path) -> _Apprise:
    """The service that the URL names; private hosts and redirects are refused, and its timeout is ours."""
    try:
        import apprise
    except ImportError:
        raise ChannelRefused(f"channel {name} needs Apprise: install contrail-etl[alerts]") from None
    target = apprise.Apprise.instantiate(reference(str(spec.url), contacts))
    if target is None:
        raise ChannelRefused(f"{spec.url} holds no URL that Apprise knows: see its list of services")
    if isinstance(host := getattr(target, "host", None), str) and host:
        checked_addresses(host, getattr(target, "port", None) or 443, spec.allow)
    target.socket_connect_timeout = target.socket_read_timeout = spec.timeout
    target.redirects = False
    return _Apprise(name, target)
