"""PagerDuty's Events API v2: an incident of ours is an alert there, opened and resolved under one ``dedup_key``."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson

from observability.catalog import CAUSE_LABELS
from observability.watch.notify import render
from observability.watch.notify.channels.channel import reference
from observability.watch.notify.channels.guarded_client import check_url, guarded_client
from observability.watch.notify.channels.webhook import post
from observability.watch.notify.size_limits import code_units, fitted_whole, shorten

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import httpx

    from observability.watch.notify.channels.channel import Contacts
    from observability.watch.notify.message import Message
    from observability.watch.rules.config import ChannelSpec

__all__ = ["open_channel", "payload"]

_SUMMARY_MOST, _WORD_MOST = 1024, 255
_BODY_MOST = 500_000
"""Bytes, of the 512 KB that PagerDuty takes."""
_URL = "https://events.pagerduty.com/v2/enqueue"


def payload(message: Message, routing_key: str, *, action: str = "") -> dict[str, Any]:
    """The request's body; ``dedup_key`` is the incident, so that repeats and the resolution find it."""
    action = action or ("resolve" if message.kind == "resolved" else "trigger")
    return fitted_whole(message, lambda one: _body(one, routing_key, action), _size, _BODY_MOST)


def _size(body: dict[str, Any]) -> int:
    return len(orjson.dumps(body))


def _body(message: Message, routing_key: str, action: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": _key(message.pair or message.incident_id or message.dedup_key),
    }
    if action == "resolve":
        return body
    details = {"summary": message.summary, **dict(message.details), "log": list(message.log)}
    details |= {"notices": render.members(message)} if message.incidents else {}
    body["payload"] = {
        "summary": shorten(render.subject(message), _SUMMARY_MOST, code_units),
        "source": shorten(message.dag_id or "contrail", _WORD_MOST, code_units),
        "severity": message.severity,
        "class": CAUSE_LABELS.get(message.cause, message.cause),
        "group": shorten(message.dag_id or "", _WORD_MOST, code_units) or None,
        "custom_details": {name: value for name, value in details.items() if value},
    }
    body["links"] = [{"href": address, "text": label} for label, address in message.links if render.is_web(address)]
    return body


def _key(key: str) -> str:
    """PagerDuty takes 255 characters."""
    return key if len(key) <= _WORD_MOST else hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


class _PagerDuty:
    def __init__(self, name: str, routing_key: str, client: httpx.Client, url: httpx.URL) -> None:
        self._name, self._key, self._client, self._url = name, routing_key, client, url

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - the dedup_key makes it one
        self._post(payload(message, self._key))
        if message.kind == "test":  # nobody would ever say that it is over
            self._post(payload(message, self._key, action="resolve"))

    def _post(self, body: dict[str, Any]) -> None:
        post(self._client, self._url, orjson.dumps(body), {"Content-Type": "application/json"}, self._name)

    def close(self) -> None:
        self._client.close()


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, _home: Path) -> _PagerDuty:
    """The service whose integration key ``spec`` refers to; ``url`` is for the EU region or a proxy."""
    url = reference(spec.url, contacts) if spec.url else _URL
    key = reference(str(spec.routing_key), contacts)
    return _PagerDuty(name, key, guarded_client(spec.allow, spec.timeout), check_url(url, spec.allow))
