"""Messages written to the watcher's own log: nothing can be in the way, so it suits as a last fallback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from pathlib import Path

    from observability.watch.notify.channels.channel import Contacts
    from observability.watch.notify.message import Message
    from observability.watch.rules.config import ChannelSpec

__all__ = ["open_channel"]


class _LogChannel:
    def __init__(self) -> None:
        self._log = structlog.get_logger("contrail.alerts")

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - a second line does no harm
        say = self._log.info if message.severity == "info" or message.kind == "resolved" else self._log.error
        say(
            message.title, **{"event.reason": message.summary, "incident.id": message.incident_id, "kind": message.kind}
        )

    def close(self) -> None:
        """Nothing is held open."""


def open_channel(_name: str, _spec: ChannelSpec, _contacts: Contacts, _home: Path) -> _LogChannel:
    """The watcher's log."""
    return _LogChannel()
