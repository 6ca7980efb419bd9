"""The Redis broker: kombu's Redis transport, made to survive an acknowledgement that fails.

Invariant: a message that was handled is counted as handled here, whatever Redis says. kombu forgets to
count it when Redis is away at that moment; with a prefetch of one the worker then looks alive and takes
no message ever again (seen with kombu 5.7 by restarting Redis under a busy worker).
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis, virtual

TRANSPORT = "workers.redis:Transport"


class QoS(redis.QoS):
    """Counts what was delivered and is not yet acknowledged."""

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge in Redis, and here even where Redis cannot be told."""
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except self.channel.connection_errors:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]
            raise


class Channel(redis.Channel):
    """kombu's channel with our `QoS`."""

    QoS = QoS


class Transport(redis.Transport):
    """kombu's Redis transport over `Channel`."""

    Channel = Channel
