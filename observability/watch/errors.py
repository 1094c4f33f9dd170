"""The watcher's errors.

:class:`WatchError`
 ├─ ``ledger.LedgerError``            ``LedgerUnavailable``
 ├─ ``route.RulesError``
 ├─ ``channels.channel.ChannelError`` ``ChannelUnavailable``, ``ChannelRefused``
 └─ ``witnesses.api.ApiError``        ``ApiUnavailable``
"""

from __future__ import annotations

__all__ = ["WatchError"]


class WatchError(Exception):
    """Something that the watcher or a command of it cannot do; the message names it and the remedy."""
