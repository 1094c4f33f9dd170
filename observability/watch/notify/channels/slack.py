"""Slack by an incoming webhook, as blocks; 429 and its Retry-After are obeyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from observability.watch.notify import render
from observability.watch.notify.channels.channel import endpoint
from observability.watch.notify.channels.guarded_client import check_url, guarded_client
from observability.watch.notify.channels.webhook import post

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from observability.watch.notify.channels.channel import Contacts
    from observability.watch.notify.message import Message
    from observability.watch.rules.config import ChannelSpec

__all__ = ["open_channel"]


class _Slack:
    def __init__(self, name: str, url: httpx.URL, client: httpx.Client) -> None:
        self._name, self._url, self._client = name, url, client

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - Slack knows no keys
        body = orjson.dumps(render.slack(message))
        post(self._client, self._url, body, {"Content-Type": "application/json"}, self._name)

    def close(self) -> None:
        self._client.close()


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, _home: Path) -> _Slack:
    """The incoming webhook whose address ``spec`` refers to."""
    where = endpoint(str(spec.url), contacts)
    client = guarded_client(spec.allow, where.timeout_s or spec.timeout, where.trusted, where.proxy)
    return _Slack(name, check_url(where.url, spec.allow), client)
