"""From the outbox to the Redis stream, at least once, also when Redis loses what it was given.

Beside the stream Redis keeps a mark for each outbox: the `published_at` of what it published last, written by the same
script that adds the events. A mark older than the database's own newest `published_at` therefore means that Redis lost
events (emptied, or back from an older snapshot), and every row published after the mark is published again. Inboxes
make that safe, so the outbox keeps its rows for a while, and inboxes keep theirs longer (see cleaning.py).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Connection, Engine, Row, text

from forum.events.outbox import drained

logger = logging.getLogger(__name__)

STREAM = "forum:events"
MARKS = "{forum:events}:marks"  # hashes to the stream's slot, should Redis be a cluster
BATCH = 200
KEEP = timedelta(days=7)
STREAM_LENGTH = 100_000
IDLE = 0.1  # seconds between looks at an empty outbox
LOSS_CHECK = 1.0  # seconds between looks whether Redis has lost events, when there is nothing to publish
TRIM = 10.0  # seconds between trims

# One relay per database at a time: `published_at` then rises with the order of publishing, which the mark relies on.
_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('forum.relay', 0))")
_LAST = text(
    "SELECT (extract(epoch FROM max(published_at)) * 1000000)::bigint FROM outbox WHERE created_at > now() - :keep"
)
_BATCH = text(
    "SELECT id, event_id, type, payload, created_at, traceparent FROM outbox"
    " WHERE published_at IS NULL ORDER BY id LIMIT :batch"
)
_NOW = text("SELECT greatest((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, :last + 1)")
_PUBLISHED = text(
    "UPDATE outbox SET published_at = timestamptz 'epoch' + :now * interval '1 microsecond' WHERE id = ANY(:ids)"
)
_AGAIN = text(
    "UPDATE outbox SET published_at = NULL WHERE created_at > now() - :keep"
    " AND published_at > timestamptz 'epoch' + :mark * interval '1 microsecond'"
)

# KEYS: stream, marks. ARGV: outbox, its last published_at (microseconds), this one's, then five for each event.
# Answers -1 when it has added them; else, having added nothing, the mark after which events are lost.
_PUBLISH = """
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end
local mark = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
if mark < tonumber(ARGV[2]) then return mark end
for i = 4, #ARGV, 5 do
  redis.call('XADD', KEYS[1], '*', 'id', ARGV[i], 'type', ARGV[i + 1], 'at', ARGV[i + 2], 'payload', ARGV[i + 3],
             'traceparent', ARGV[i + 4])
end
if #ARGV > 3 then redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) end
return -1
"""


class Relay:
    """Publishes one database's outbox. `name` tells this outbox from others in Redis (the site's name)."""

    def __init__(self, engine: Engine, redis: Redis, name: str, *, keep: timedelta = KEEP) -> None:
        self._engine = engine
        self._redis: Any = redis
        self._script = redis.register_script(_PUBLISH)
        self._name = name
        self._keep = keep
        self._checked = self._trimmed = float("-inf")

    def step(self) -> float:
        """Publish a batch. Seconds after which to call again; raises when PostgreSQL or Redis is away."""
        now = time.monotonic()
        if now - self._trimmed >= TRIM:
            self.trim()
            self._trimmed = now
        if drained(self._engine) and now - self._checked < LOSS_CHECK:
            return IDLE
        self._checked = now
        with self._engine.begin() as connection:
            if not connection.scalar(_LOCK):
                return LOSS_CHECK  # another process relays
            return 0.0 if self._publish(connection) else IDLE

    def _publish(self, connection: Connection) -> bool:
        """Whether there may be more to publish."""
        last = connection.scalar(_LAST, {"keep": self._keep}) or 0
        rows = connection.execute(_BATCH, {"batch": BATCH}).all() if self._has_room() else []
        now = connection.scalar(_NOW, {"last": last})
        mark = int(self._script(keys=[STREAM, MARKS], args=[self._name, last, now, *_wire(rows)]))
        if mark >= 0:
            lost = connection.execute(_AGAIN, {"mark": mark, "keep": self._keep}).rowcount
            logger.warning("Redis has lost events: %d of %s are published again", lost, self._name)
            return lost > 0
        if rows:
            connection.execute(_PUBLISHED, {"now": now, "ids": [row.id for row in rows]})
        return len(rows) == BATCH

    def _has_room(self) -> bool:
        """Events wait in the outbox, not in Redis's memory, while a module does not handle them."""
        if int(self._redis.xlen(STREAM)) < 2 * STREAM_LENGTH or self.trim() < 2 * STREAM_LENGTH:
            return True
        logger.warning("%s holds %d unhandled events: publishing waits", STREAM, 2 * STREAM_LENGTH)
        return False

    def trim(self) -> int:
        """Cut off what every group has handled, if it is older than the keep time or too much. The length then."""
        try:
            groups = self._redis.xinfo_groups(STREAM)
        except ResponseError:  # no stream yet
            return 0
        length = int(self._redis.xlen(STREAM))
        floors = [self._floor(group["name"], group["last-delivered-id"]) for group in groups]
        if floors:
            seconds, microseconds = self._redis.time()
            old = (seconds * 1000 + microseconds // 1000 - int(self._keep.total_seconds() * 1000), 0)
            floor = min(floors) if length > STREAM_LENGTH else min(*floors, old)
            length -= int(self._redis.xtrim(STREAM, minid=f"{floor[0]}-{floor[1]}", approximate=False))
        return length

    def _floor(self, group: str, last_delivered: str) -> tuple[int, int]:
        """The first entry that the group may still need."""
        pending = self._redis.xpending(STREAM, group)
        milliseconds, _, number = (pending["min"] or last_delivered).partition("-")
        return int(milliseconds), int(number)


def _wire(rows: Sequence[Row[Any]]) -> list[str]:
    fields: list[str] = []
    for row in rows:
        at: datetime = row.created_at
        fields += [str(row.event_id), row.type, at.isoformat(), json.dumps(row.payload), row.traceparent or ""]
    return fields
