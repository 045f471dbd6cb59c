"""Wrong passwords, counted by account and by address: after too many, no more are tried for a while.

Only failures count, so that nobody who knows their password is slowed by how often they log in. The counters are in
Redis, under digests, and end by themselves; with Redis away nothing is counted and everybody can log in.
"""

from __future__ import annotations

import hashlib
import math
import time

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis import Redis, RedisError

from forum.problems import Problem
from forum.settings import IssuerSettings


class Throttle:
    """One for each application. A request asks first (`check`) and counts what was wrong (`failed`).

    As many more as are under way at once may slip through between the two.
    """

    def __init__(self, redis: Redis, settings: IssuerSettings) -> None:
        # Connects when first used.
        storage = RedisStorage(settings.redis_url, connection_pool=redis.connection_pool, key_prefix="forum:throttle")
        self._limiter = FixedWindowRateLimiter(storage)
        self._secret = settings.strangler_secret.get_secret_value().encode()[:64]
        seconds = settings.login_window_seconds
        self._account = RateLimitItemPerSecond(settings.login_failures_per_account, seconds, "account")
        self._address = RateLimitItemPerSecond(settings.login_failures_per_address, seconds, "address")

    def check(self, account: str, address: str = "") -> None:
        """Raises Problem (429, with Retry-After) when there were too many failures. "": of no known address."""
        try:
            for limit, key in self._counters(account, address):
                if not self._limiter.test(limit, key):
                    raise _too_many(self._limiter.get_window_stats(limit, key).reset_time - time.time())
        except RedisError:
            return

    def failed(self, account: str, address: str = "") -> None:
        """Count a wrong password."""
        try:
            for limit, key in self._counters(account, address):
                self._limiter.hit(limit, key)
        except RedisError:
            return

    def _counters(self, account: str, address: str) -> list[tuple[RateLimitItem, str]]:
        counters: list[tuple[RateLimitItem, str]] = [(self._account, self._digest(account.lower()))]
        if address:
            counters.append((self._address, self._digest(address)))
        return counters

    def _digest(self, value: str) -> str:
        """Nobody reads in Redis who tried to log in, and from where; and a key is no longer than this."""
        return hashlib.blake2b(value.encode(), key=self._secret, digest_size=16).hexdigest()


def _too_many(seconds: float) -> Problem:
    wait = max(1, math.ceil(seconds))
    minutes = math.ceil(wait / 60)
    after = f"{minutes} minutes" if minutes > 1 else "a minute"
    detail = f"There were too many wrong passwords. Try again in {after}."
    return Problem(429, detail, headers=[("Retry-After", str(wait))])
