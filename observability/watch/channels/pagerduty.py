"""PagerDuty's Events API v2: an incident of ours is an alert there, opened and resolved under one ``dedup_key``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from observability.watch import render
from observability.watch.channels.channel import reference
from observability.watch.channels.guard import check_url, guarded_client
from observability.watch.channels.webhook import post

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import httpx

    from observability.watch.channels.channel import Contacts
    from observability.watch.messages import Message
    from observability.watch.route import ChannelSpec

__all__ = ["open_channel", "payload"]

_URL = "https://events.pagerduty.com/v2/enqueue"


def payload(message: Message, routing_key: str) -> dict[str, Any]:
    """The request's body; ``dedup_key`` is the incident, so that repeats and the resolution find it."""
    links = [{"href": address, "text": label} for label, address in message.links if address.startswith("http")]
    body: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if message.kind == "resolved" else "trigger",
        "dedup_key": message.incident_id or message.dedup_key,
    }
    if message.kind != "resolved":
        body["payload"] = {
            "summary": render.subject(message)[:1024],
            "source": message.dag_id or "contrail",
            "severity": message.severity,
            "class": message.cause,
            "group": message.dag_id,
            "custom_details": {**dict(message.details), "summary": message.summary, "log": list(message.log)},
        }
        body["links"] = links
    return body


class _PagerDuty:
    def __init__(self, name: str, routing_key: str, client: httpx.Client, url: httpx.URL) -> None:
        self._name, self._key, self._client, self._url = name, routing_key, client, url

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - the dedup_key makes it one
        body = orjson.dumps(payload(message, self._key))
        post(self._client, self._url, body, {"Content-Type": "application/json"}, self._name)

    def close(self) -> None:
        self._client.close()


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, _home: Path) -> _PagerDuty:
    """The service whose integration key ``spec`` refers to; ``url`` is for the EU region or a proxy."""
    url = reference(spec.url, contacts) if spec.url else _URL
    key = reference(str(spec.routing_key), contacts)
    return _PagerDuty(name, key, guarded_client(spec.allow, spec.timeout), check_url(url, spec.allow))
