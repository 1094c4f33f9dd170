"""Ways to tell somebody: one module per service, opened by :func:`open_channel`."""

from observability.watch.notify.channels.channel import (
    Channel,
    ChannelRefused,
    ChannelUnavailable,
    Contact,
    open_channel,
)

__all__ = ["Channel", "ChannelRefused", "ChannelUnavailable", "Contact", "open_channel"]
