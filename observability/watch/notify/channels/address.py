"""The channel that fits an address: Slack, SNS, a service of Apprise, or a webhook that takes our JSON."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from observability.watch.notify.channels.channel import ChannelRefused, reference

if TYPE_CHECKING:
    from pathlib import Path

    from observability.watch.notify.channels.channel import Channel, Contacts
    from observability.watch.rules.config import ChannelSpec

__all__ = ["kind_of", "open_channel"]

_CHANNELS = "observability.watch.notify.channels"
_SLACK = "hooks.slack.com"
_CHATS = ("discord.com", "discordapp.com", "office.com", "powerplatform.com", "azure.com", "chat.googleapis.com")
"""Hosts whose webhooks take a form of their own: our JSON would be refused there, message by message."""


def kind_of(address: str, *, with_apprise: bool) -> str:
    """The type of channel that takes messages for ``address``; "" where none of those that are installed does."""
    where = urlsplit(address)
    host = where.hostname or ""
    if host == _SLACK:
        return "slack"
    if address.startswith("arn:") and ":sns:" in address:
        return "sns"
    if with_apprise and import_module(f"{_CHANNELS}.apprise").understands(address):
        return "apprise"
    is_chat = any(host == chat or host.endswith(f".{chat}") for chat in _CHATS)
    return "webhook" if where.scheme in {"http", "https"} and host and not is_chat else ""


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, home: Path) -> Channel:
    """The channel that fits what ``spec.url`` refers to. Raises :class:`ChannelRefused`."""
    kind = kind_of(reference(str(spec.url), contacts), with_apprise=find_spec("apprise") is not None)
    if not kind:
        raise ChannelRefused(
            f"{name}: {spec.url} holds an address that needs Apprise: pip install 'contrail-etl[alerts]', or name the"
            " channel's type in alerts.yaml"
        )
    fitting = spec.model_copy(update={"type": kind, "topic": spec.url})
    channel: Channel = import_module(f"{_CHANNELS}.{kind}").open_channel(name, fitting, contacts, home)
    return channel
