"""An httpx client for an address that the operator has named: Airflow, Kibana; through a proxy as curl would use it.

httpx reads the environment differently: it knows neither networks nor ports in ``NO_PROXY``. Channels, whose addresses
come from a file of rules, have a client of their own (:mod:`~observability.watch.notify.channels.guarded_client`).
"""

from __future__ import annotations

import os
import time
import zlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from observability.proxies import proxy_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

__all__ = ["SOCKS_REMEDY", "http_client", "usual_trust", "whole_answer"]

SOCKS_REMEDY = "a SOCKS proxy needs one more package: pip install 'httpx[socks]'"

_MOST_BYTES = 64 * 1024 * 1024
_PART = 65_536
"""Bytes that are unpacked at once: few may be packed from gigabytes."""


def http_client(
    base_url: str,
    timeout_s: float,
    *,
    headers: Mapping[str, str] | None = None,
    trusted: ssl.SSLContext | None = None,
    proxy: str = "",
) -> httpx.Client:
    """A client of ``base_url``; ``proxy`` stands in place of the environment's. ``SSL_CERT_FILE`` counts."""
    where = urlsplit(base_url)
    found = proxy_for(where.scheme or "http", where.hostname or "", where.port, proxy)
    broken = bool(found and found.lower().startswith("socks")) and find_spec("socksio") is None
    return httpx.Client(
        base_url=base_url,
        timeout=timeout_s,
        headers={"Accept-Encoding": "gzip", **(headers or {})},
        verify=usual_trust() if trusted is None else trusted,
        proxy=None if broken else found,
        transport=_Unreachable() if broken else None,
        trust_env=False,
    )


def usual_trust() -> ssl.SSLContext:
    """The TLS context of a client that is told nothing else: the authorities of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``.

    Without those, the ones that certifi ships. Clients share it, because it takes 30 ms to make; a file that changes is
    read again by the next client.
    """
    named = tuple(os.environ.get(name, "") for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    return _trust(named, tuple(_changed_at(path) for path in named))


@lru_cache(maxsize=1)
def _trust(_named: tuple[str, ...], _changed: tuple[int, ...]) -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _changed_at(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns if path else 0
    except OSError:
        return 0


def whole_answer(
    client: httpx.Client, method: str, url: str, timeout_s: float, *, most_bytes: int = _MOST_BYTES, **given: Any
) -> httpx.Response:
    """The answer with all of its body, unpacked.

    Raises ``httpx.DecodingError`` where that is longer than ``most_bytes`` or packed by other than gzip, and
    ``httpx.ReadTimeout`` where it takes longer than ``timeout_s``.
    """
    ends_at = time.monotonic() + timeout_s
    with client.stream(method, url, timeout=timeout_s, **given) as answer:
        body = bytearray()
        for part in _unpacked(answer):
            body += part
            if len(body) > most_bytes:
                raise httpx.DecodingError(f"its answer is longer than {most_bytes >> 20} MiB", request=answer.request)
            if time.monotonic() > ends_at:
                raise httpx.ReadTimeout(f"its answer was not whole after {timeout_s:.0f} s", request=answer.request)
        headers = {name: answer.headers[name] for name in ("Date", "Content-Type") if name in answer.headers}
        return httpx.Response(answer.status_code, headers=headers, content=bytes(body), request=answer.request)


def _unpacked(answer: httpx.Response) -> Iterator[bytes]:
    """The body in small parts."""
    packed = answer.headers.get("Content-Encoding", "identity").lower()
    if answer.is_stream_consumed:  # it came from this process
        yield answer.content
    elif packed == "identity":
        yield from answer.iter_raw()
    elif packed != "gzip":
        why = f"its answer is packed by {packed[:40]!r}, which was not asked for"
        raise httpx.DecodingError(why, request=answer.request)
    else:
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        for part in answer.iter_raw():
            left = part
            while left:
                try:
                    yield unpack.decompress(left, _PART)
                except zlib.error as error:
                    raise httpx.DecodingError(
                        f"its answer cannot be unpacked: {error}", request=answer.request
                    ) from error
                left = unpack.unconsumed_tail


class _Unreachable(httpx.BaseTransport):
    """Every request fails with the remedy; httpx itself would raise ImportError when the client is made."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raise ``httpx.ProxyError``."""
        raise httpx.ProxyError(SOCKS_REMEDY, request=request)
