"""An httpx client for an address that the operator has named: Airflow, Kibana; through a proxy as curl would use it.

httpx reads the environment differently: it knows neither networks nor ports in ``NO_PROXY``. Channels, whose addresses
come from a file of rules, have a client of their own (:mod:`~observability.watch.notify.channels.guarded_client`).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from observability.proxies import proxy_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

__all__ = ["SOCKS_REMEDY", "http_client"]

SOCKS_REMEDY = "a SOCKS proxy needs one more package: pip install 'httpx[socks]'"


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
        headers=headers,
        verify=httpx.create_ssl_context() if trusted is None else trusted,
        proxy=None if broken else found,
        transport=_Unreachable() if broken else None,
        trust_env=False,
    )


class _Unreachable(httpx.BaseTransport):
    """Every request fails with the remedy; httpx itself would raise ImportError when the client is made."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raise ``httpx.ProxyError``."""
        raise httpx.ProxyError(SOCKS_REMEDY, request=request)
