"""Redis connections with time-outs of our own: the forum must serve, and soon, while Redis is away."""

from __future__ import annotations

import time
from typing import Any

from redis import ConnectionError as RedisConnectionError
from redis import ConnectionPool, Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

PAUSE = 1.0
"""Seconds for which no connection is tried after one failed."""


class PausingPool(ConnectionPool):
    """Says at once that Redis is away, when it just was.

    No time-out of ours bounds the look-up of a name, and in some networks that of a name which nobody has at the moment
    takes a second or more. One of the callers finds out, not every one of them at each command. (With pybreaker all
    would try while one does, or wait for it.)
    """

    _again = 0.0
    _reason = ""

    def get_connection(self, *args: Any, **options: Any) -> Any:
        """A connection.

        Raises:
            RedisError: there is none, or there was none less than PAUSE seconds ago.
        """
        away = self._again > 0
        if away:
            if time.monotonic() < self._again:
                raise RedisConnectionError(self._reason)
            self._again = time.monotonic() + PAUSE  # the others need not wait for what comes of this one
        try:
            connection = super().get_connection(*args, **options)
        except RedisError as error:
            self._again, self._reason = time.monotonic() + PAUSE, str(error)
            raise
        self._again = 0.0
        return connection


def connect(url: str, timeout: float = 0.5) -> Redis:
    """A client for `url` (connects when first used). `timeout`, in seconds, bounds the connect and every answer.

    Nothing is tried twice. A connection that Redis closed when it restarted is noticed when the pool hands it out.
    """
    pool = PausingPool.from_url(
        url,
        protocol=2,
        decode_responses=True,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)
