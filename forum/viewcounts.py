"""How often topics were opened: counted in Redis, where losing a few costs nothing. Without Redis there is no count."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis, RedisError


def _key(topic_id: int) -> str:
    return f"forum:views:{topic_id}"


def add(redis: Redis, topic_id: int) -> int | None:
    """Count one view. Returns the new number; None when Redis is away."""
    try:
        return int(redis.incr(_key(topic_id)))
    except RedisError:
        return None


def read(redis: Redis, topic_ids: Sequence[int]) -> dict[int, int | None]:
    """The numbers of a page of topics, in one call; None for each when Redis is away."""
    if not topic_ids:
        return {}
    try:
        counts = redis.mget([_key(topic_id) for topic_id in topic_ids])
    except RedisError:
        return dict.fromkeys(topic_ids)
    return {topic_id: int(count or 0) for topic_id, count in zip(topic_ids, counts, strict=True)}


def forget(redis: Redis, topic_id: int) -> None:
    """The topic is gone."""
    try:
        redis.delete(_key(topic_id))
    except RedisError:
        return
