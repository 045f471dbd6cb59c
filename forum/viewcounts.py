"""How often topics were opened: one sorted set in Redis, where losing a few costs nothing, and which keeps the order.

Without Redis there is no count; only the list of the most viewed topics cannot do without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis, RedisError

from forum.problems import unavailable

_KEY = "forum:views"


def add(redis: Redis, topic_id: int) -> int | None:
    """Count one view. Returns the new number; None when Redis is away."""
    try:
        return int(redis.zincrby(_KEY, 1, str(topic_id)) or 0)
    except RedisError:
        return None


def read(redis: Redis, topic_ids: Sequence[int]) -> dict[int, int | None]:
    """The numbers of a page of topics, in one call; None for each when Redis is away."""
    if not topic_ids:
        return {}
    try:
        counts = redis.zmscore(_KEY, [str(topic_id) for topic_id in topic_ids])
    except RedisError:
        return dict.fromkeys(topic_ids)
    return {topic_id: int(count or 0) for topic_id, count in zip(topic_ids, counts, strict=True)}


def most_viewed(redis: Redis, start: int, limit: int) -> dict[int, int | None]:
    """The most viewed topics and their numbers, from place `start` (0 is the first) of the order on.

    A place costs Redis O(log n) wherever it is. Raises Problem (503) when Redis is away.
    """
    try:
        found: Any = redis.zrange(_KEY, start, start + limit - 1, desc=True, withscores=True)
    except RedisError:
        raise unavailable("Views cannot be compared right now.") from None
    return {int(topic_id): int(count) for topic_id, count in found}


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


def forget(redis: Redis, topic_id: int) -> None:
    """The topic is gone."""
    try:
        redis.zrem(_KEY, str(topic_id))
    except RedisError:
        return
