"""How far behind the events of a site are: what waits in its outbox and in the stream, and what is parked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Engine, text

from forum.events.relay import STREAM
from strangler.config import Module
from strangler.ownership import OwnershipReader

_OUTBOX = text(
    "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float FROM outbox"
    " WHERE published_at IS NULL"
)


@dataclass(frozen=True)
class Outbox:
    """waiting: events not yet published. seconds: the age of the oldest of them, 0 when there is none."""

    waiting: int
    seconds: float


@dataclass(frozen=True)
class Group:
    """The events of a module, at its owner.

    undelivered: in the stream, and no consumer has read them yet. pending: read, and not yet acknowledged.
    seconds: for how long the oldest of both has been in the stream. handled: acknowledged, since Redis knows the group;
    None when Redis does not know. parked: put aside.
    """

    module: str
    undelivered: int
    pending: int
    seconds: float
    handled: int | None
    parked: int


def owned(engine: Engine, site: str, modules: Mapping[str, Module]) -> list[str]:
    """Those of `modules` that handle events, and that `site` owns now."""
    reader = OwnershipReader()
    with engine.connect() as connection:
        return [
            name
            for name, module in modules.items()
            if f"public.{name}_inbox" in module.tables and reader.read(connection, module).owner == site
        ]


def of_outbox(engine: Engine) -> Outbox:
    with engine.connect() as connection:
        return Outbox(*connection.execute(_OUTBOX).one())


def of_groups(engine: Engine, redis: Redis, modules: Sequence[str]) -> list[Group]:
    """Raises RedisError when Redis is away."""
    found = []
    known, length = _stream(redis)
    with engine.connect() as connection:
        for module in modules:
            parked = connection.scalar(text(f"SELECT count(*) FROM {module}_parked"))  # noqa: S608
            found.append(_group(redis, module, known.get(module), length, int(parked or 0)))
    return found


def _stream(redis: Any) -> tuple[dict[str, Any], int]:
    """Its groups by name, and its length."""
    try:
        known = {group["name"]: group for group in redis.xinfo_groups(STREAM)}
    except ResponseError:  # no stream yet
        known = {}
    return known, int(redis.xlen(STREAM))


def _group(redis: Any, module: str, group: Mapping[str, Any] | None, length: int, parked: int) -> Group:
    if group is None:
        first = redis.xrange(STREAM, count=1)
        return Group(module, length, 0, _age(redis, first[0][0]) if first else 0.0, None, parked)
    last, read = group["last-delivered-id"], group.get("entries-read")
    next_ = redis.xrange(STREAM, min=f"({last}", count=1)
    # Redis cannot tell after entries were deleted from the middle: then it is at most all that there is.
    undelivered = (length if group.get("lag") is None else int(group["lag"])) if next_ else 0
    pending = redis.xpending(STREAM, module)
    oldest = pending["min"] or (next_[0][0] if next_ else None)
    return Group(
        module, undelivered, int(pending["pending"]), _age(redis, oldest) if oldest else 0.0,
        None if read is None else int(read) - int(pending["pending"]), parked,
    )  # fmt: skip


def _age(redis: Any, entry: str) -> float:
    seconds, microseconds = redis.time()
    now: float = seconds + microseconds / 1e6
    return max(0.0, now - int(entry.partition("-")[0]) / 1000)
