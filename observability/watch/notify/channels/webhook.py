"""A signed POST to an address of the user's choice.

``X-Contrail-Signature: t=<unix seconds>,v1=<hex>`` where hex is HMAC-SHA256 over ``<t>.<body>``. With several
keys there is a ``v1`` for each, so that a receiver can change keys without a gap. A receiver refuses what is
older than 300 s, and drops a ``Idempotency-Key`` it has seen.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx
import orjson

from observability.watch.notify import render
from observability.watch.notify.channels.channel import (
    ChannelError,
    ChannelRefused,
    ChannelUnavailable,
    endpoint,
    reference,
)
from observability.watch.notify.channels.guarded_client import check_url, guarded_client
from observability.watch.notify.messages import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from observability.watch.notify.channels.channel import Contacts, Endpoint
    from observability.watch.notify.message import Message
    from observability.watch.rules.config import ChannelSpec

__all__ = ["is_certificate", "open_channel", "post", "refusal", "retry_after", "sign", "verify"]

_AGE_MOST_S = 300
_SUCCESS, _SERVER_ERROR = 200, 500
_TRY_AGAIN = {408, 409, 425, 429}
_ABOUT_THE_MESSAGE = {400, 413, 414, 422, 431}
_WORDS_MOST = 1000


def sign(body: bytes, keys: Sequence[str], moment: int) -> str:
    """The signature header for ``body`` at ``moment`` (unix seconds)."""
    parts = [f"v1={_hmac(body, key, moment)}" for key in keys]
    return ",".join([f"t={moment}", *parts])


def verify(header: str, body: bytes, key: str, now: float) -> bool:
    """Tell whether ``header`` signs ``body`` with ``key`` and is no older than 300 s; an odd header is a no."""
    parts = [part.strip().partition("=")[::2] for part in header.split(",")]
    moments = [value for name, value in parts if name == "t"]
    if len(moments) != 1 or not re.fullmatch(r"[0-9]{1,12}", moments[0]):
        return False
    if abs(now - int(moments[0])) > _AGE_MOST_S:
        return False
    expected = _hmac(body, key, int(moments[0])).encode()
    given = [value.encode("utf-8", "surrogatepass") for name, value in parts if name == "v1"]
    return any(hmac.compare_digest(value, expected) for value in given)


def _hmac(body: bytes, key: str, moment: int) -> str:
    return hmac.new(key.encode("utf-8", "surrogatepass"), b"%d." % moment + body, hashlib.sha256).hexdigest()


class _Webhook:
    def __init__(self, name: str, where: Endpoint, keys: list[str], client: httpx.Client, allow: Sequence[str]) -> None:
        self._name, self._keys, self._client = name, keys, client
        self._url, self._headers = check_url(where.url, allow), where.headers

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - the receiver has the key to tell
        body = orjson.dumps({**message.as_json(), "text": render.text(message)})
        headers = {**self._headers, "Content-Type": "application/json", "Idempotency-Key": message.dedup_key}
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
            said = "" if _is_success(status) else _words(answer)
    except httpx.HTTPError as error:
        if is_certificate(error):
            raise ChannelRefused(f"{name}: the certificate of {url.host} is not valid: {error}") from error
        if isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
            raise ChannelRefused(
                f"{name}: {url.host}: such a request cannot be sent; correct the address and its headers"
            ) from None
        raise ChannelUnavailable(f"{name}: {url.host}: {type(error).__name__}: {error}") from error
    if not _is_success(status):
        raise refusal(f"{name}: {url.host}", status, said, retry_after(wish, time.time()))


def refusal(who: str, status: int, said: str, wish_s: float | None = None) -> ChannelError:
    """The consequence of an HTTP status other than success: try again, or never as it stands."""
    words = f": {said}" if said else ""
    if status in _TRY_AGAIN or status >= _SERVER_ERROR:
        return ChannelUnavailable(f"{who} answered {status}{words}", wish_s)
    advice = "" if status in _ABOUT_THE_MESSAGE else "; correct the address or the credentials"
    return ChannelRefused(f"{who} answered {status}{words}{advice}", perhaps_too_long=status in _ABOUT_THE_MESSAGE)


def _is_success(status: int) -> bool:
    return _SUCCESS <= status < _SUCCESS + 100


def _words(answer: httpx.Response) -> str:
    """The beginning of what the service says of its refusal, without secrets."""
    found = bytearray()
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        return ""  # a part of it may be gigabytes
    try:
        for part in answer.iter_raw():
            found += part
            if len(found) >= _WORDS_MOST:
                break
    except httpx.HTTPError:
        return ""  # the status alone is an answer
    return plain(found[:_WORDS_MOST].decode("utf-8", "replace"), 300)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, in either of its two forms; at most an hour."""
    if not value:
        return None
    try:
        wish = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wish, 0.0), 3600.0)


def is_certificate(error: BaseException | None) -> bool:
    """True if it is the other side that cannot be trusted; a handshake that was merely cut is tried again."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, _home: Path) -> _Webhook:
    """The webhook whose address and keys ``spec`` refers to; a Connection's login and headers are sent as well."""
    where = endpoint(str(spec.url), contacts)
    keys = [reference(one, contacts) for one in spec.secret]
    client = guarded_client(spec.allow, where.timeout_s or spec.timeout, where.trusted, where.proxy)
    return _Webhook(name, where, keys, client, spec.allow)
