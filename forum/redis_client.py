"""Redis connections with time-outs of our own: the forum must serve, and soon, while Redis is away."""

from __future__ import annotations

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def connect(url: str, timeout: float = 0.5) -> Redis:
    """A client for `url` (connects when first used). `timeout`, in seconds, bounds the connect and every answer.

    One retry, at once: it mends a pooled connection that Redis closed when it restarted.
    """
    return Redis.from_url(
        url,
        protocol=2,
        decode_responses=True,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 1),
    )
