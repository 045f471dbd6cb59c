"""How often topics were opened: one sorted set in Redis, where losing a few costs nothing, and which keeps the order.

Without Redis there is no count; only the list of the most viewed topics cannot do without.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis, RedisError

from forum.problems import unavailable

SECONDS = 1.0
"""How late a view may be counted, and how old a number may be: no page waits for Redis that asks more often."""
SHOWN_SECONDS = 10.0
"""For how long a number is shown with what does not change otherwise."""
_KEY = "forum:views"


class ViewCounts:
    """As an application's threads count and show them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._new: Counter[int] = Counter()
        self._known: dict[int, int | None] = {}
        self._known_until = 0.0

    def add(self, topic_id: int, readers: int = 1) -> None:
        with self._lock:
            first = not self._new
            self._new[topic_id] += readers
        if first:
            threading.Timer(SECONDS, self._hand_in).start()

    def _hand_in(self) -> None:
        with self._lock:
            new, self._new = self._new, Counter()
        try:
            with self._redis.pipeline(transaction=False) as all_at_once:
                for topic_id, times in new.items():
                    all_at_once.zincrby(_KEY, times, str(topic_id))
                all_at_once.execute()
        except RedisError:
            return

    def read(self, topic_ids: Sequence[int]) -> dict[int, int | None]:
        """The numbers of a page of topics, by at most one call; None for each that is not known when Redis is away."""
        if time.monotonic() >= self._known_until:
            self._known, self._known_until = {}, time.monotonic() + SECONDS
        known = self._known
        missing = [topic_id for topic_id in topic_ids if topic_id not in known]
        if missing:
            try:
                counts = self._redis.zmscore(_KEY, [str(topic_id) for topic_id in missing])
            except RedisError:
                known.update(dict.fromkeys(missing))
            else:
                known.update({id: int(count or 0) for id, count in zip(missing, counts, strict=True)})
        return {topic_id: known[topic_id] for topic_id in topic_ids}

    def most_viewed(self, start: int, limit: int) -> dict[int, int | None]:
        """The most viewed topics and their numbers, from place `start` (0 is the first) of the order on.

        A place costs Redis O(log n) wherever it is. Raises Problem (503) when Redis is away.
        """
        try:
            found: Any = self._redis.zrange(_KEY, start, start + limit - 1, desc=True, withscores=True)
        except RedisError:
            raise unavailable("Views cannot be compared right now.") from None
        return {int(topic_id): int(count) for topic_id, count in found}

    def forget(self, topic_id: int) -> None:
        """The topic is gone."""
        with self._lock:
            self._new.pop(topic_id, None)
        try:
            self._redis.zrem(_KEY, str(topic_id))
        except RedisError:
            return


def begin(redis: Redis, counts: Mapping[int, int]) -> bool:
    """The numbers of a forum that is filled; others are forgotten. False when Redis is away."""
    try:
        with redis.pipeline() as all_at_once:
            all_at_once.delete(_KEY)
            if counts:
                all_at_once.zadd(_KEY, {str(topic_id): count for topic_id, count in counts.items()})
            all_at_once.execute()
    except RedisError:
        return False
    return True
