"""A signed POST to an address of the user's choice.

``X-Contrail-Signature: t=<unix seconds>,v1=<hex>`` where hex is HMAC-SHA256 over ``<t>.<body>``. With several
keys there is a ``v1`` for each, so that a receiver can change keys without a gap. A receiver refuses what is
older than 300 s, and drops a ``Idempotency-Key`` it has seen.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx
import orjson

from observability.watch import render
from observability.watch.channels.channel import ChannelRefused, ChannelUnavailable, reference
from observability.watch.channels.guard import check_url, guarded_client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from observability.watch.channels.channel import Contacts
    from observability.watch.messages import Message
    from observability.watch.route import ChannelSpec

__all__ = ["open_channel", "post", "retry_after", "sign", "verify"]

_AGE_MOST_S = 300
_SUCCESS, _SERVER_ERROR = 200, 500
_TRY_AGAIN = {408, 409, 425, 429}


def sign(body: bytes, keys: Sequence[str], moment: int) -> str:
    """The signature header for ``body`` at ``moment`` (unix seconds)."""
    parts = [f"v1={_hmac(body, key, moment)}" for key in keys]
    return ",".join([f"t={moment}", *parts])


def verify(header: str, body: bytes, key: str, now: float) -> bool:
    """Whether ``header`` signs ``body`` with ``key`` and is no older than 300 s: what a receiver does."""
    parts = [part.partition("=")[::2] for part in header.split(",")]
    moments = [value for name, value in parts if name == "t" and value.isdigit()]
    if len(moments) != 1 or abs(now - int(moments[0])) > _AGE_MOST_S:
        return False
    expected = _hmac(body, key, int(moments[0]))
    return any(name == "v1" and hmac.compare_digest(value.encode(), expected.encode()) for name, value in parts)


def _hmac(body: bytes, key: str, moment: int) -> str:
    return hmac.new(key.encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()


class _Webhook:
    def __init__(self, name: str, url: str, keys: list[str], client: httpx.Client, allow: Sequence[str]) -> None:
        self._name, self._keys, self._client = name, keys, client
        self._url = check_url(url, allow)

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - the receiver has the key to tell
        body = orjson.dumps({**message.as_json(), "text": render.text(message)})
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.dedup_key}
        if self._keys:
            headers["X-Contrail-Signature"] = sign(body, self._keys, int(time.time()))
        post(self._client, self._url, body, headers, self._name)

    def close(self) -> None:
        self._client.close()


def post(client: httpx.Client, url: httpx.URL, body: bytes, headers: dict[str, str], name: str) -> None:
    """One POST. Raises :class:`ChannelUnavailable` or :class:`ChannelRefused`; neither names the address's path."""
    try:
        with client.stream("POST", url, content=body, headers=headers) as answer:
            status, wish = answer.status_code, answer.headers.get("Retry-After")
    except httpx.HTTPError as error:
        if _is_certificate(error):
            raise ChannelRefused(f"{name}: the certificate of {url.host} is not valid: {error}") from error
        raise ChannelUnavailable(f"{name}: {url.host}: {type(error).__name__}: {error}") from error
    if _SUCCESS <= status < _SUCCESS + 100:
        return
    if status in _TRY_AGAIN or status >= _SERVER_ERROR:
        raise ChannelUnavailable(f"{name}: {url.host} answered {status}", retry_after(wish, time.time()))
    raise ChannelRefused(f"{name}: {url.host} answered {status}: correct the address or the credentials")


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, in either of its two forms; at most an hour."""
    if not value:
        return None
    try:
        wish = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - now
    except ValueError:
        return None
    return min(max(wish, 0.0), 3600.0)


def _is_certificate(error: BaseException | None) -> bool:
    """Whether it is the other side that cannot be trusted; a handshake that was merely cut is tried again."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def open_channel(
    name: str, spec: ChannelSpec, contacts: Contacts, _home: Path, client: Callable[..., httpx.Client] = guarded_client
) -> _Webhook:
    """The webhook whose address and keys ``spec`` refers to."""
    url = reference(str(spec.url), contacts)
    keys = [reference(one, contacts) for one in spec.secret]
    return _Webhook(name, url, keys, client(spec.allow, spec.timeout), spec.allow)
