"""A module's consumer group: each event is handled once, by the module's owner, in one transaction with its inbox row.

Between the handlers' commit and the acknowledgement to Redis a process may die: the event is then delivered again, to
whoever claims it, and its inbox row (which moves with the module) says that nothing is left to do.

An event that its handler cannot cope with, or that ends every process that tries, is delivered a few times and then
parked: a row beside the inbox, which an operator looks at (command.py). Nobody handles it behind their back, because
the inbox has it too.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from forum import tracing
from forum.events.relay import STREAM
from strangler.fence import is_fenced

logger = logging.getLogger(__name__)

BATCH = 50
BLOCK = 500  # milliseconds that a read waits for an event; also how soon a stop is noticed
CLAIM_IDLE = 1000  # milliseconds after which another consumer's unacknowledged event is taken over
DELIVERIES = 5  # of an event that fails before it is parked; twice as many of one that nobody ever answered for
ERROR_LENGTH = 1000  # characters of a parked event's error that are kept
LOOK = 1.0  # seconds between looks at the ownership row, and between claims


@dataclass(frozen=True)
class Event:
    """A fact: `type` such as "user.deleted"; `at`, when it was written to the outbox."""

    id: UUID
    type: str
    at: datetime
    payload: dict[str, Any]
    traceparent: str | None = None


Handler = Callable[[Session, Sequence[Event]], None]
"""Handles events of one type in the session's transaction (does not commit). Events come in any order."""

_Entry = tuple[str, dict[str, str] | None]


class Consumer:
    """Reads the stream for `module` and calls `handlers` by event type; other types are passed over.

    `owns` says, from its own look at the database, whether this site owns the module now. `name` must differ between
    processes.
    """

    def __init__(
        self,
        module: str,
        handlers: Mapping[str, Handler],
        *,
        engine: Engine,
        redis: Redis,
        owns: Callable[[], bool],
        name: str,
    ) -> None:
        self.module = module
        self.name = name
        self._handlers = dict(handlers)
        self._engine = engine
        self._redis: Any = redis
        self._owns = owns
        self._owner = False
        self._looked = float("-inf")
        self._inbox = text(
            f"INSERT INTO {module}_inbox (event_id) SELECT unnest(CAST(:ids AS uuid[]))"
            " ON CONFLICT DO NOTHING RETURNING event_id"
        )
        self._parked = text(
            f"INSERT INTO {module}_parked (event_id, type, payload, at, error, deliveries)"  # noqa: S608
            " VALUES (:event_id, :type, :payload, :at, :error, :deliveries) ON CONFLICT DO NOTHING"
        )

    def step(self) -> float:
        """Handle what there is. Seconds after which to call again; raises when PostgreSQL or Redis is away."""
        now = time.monotonic()
        due = now - self._looked >= LOOK
        if due:
            self._owner = self._owns()
            self._looked = now
        if not self._owner:
            return LOOK
        try:
            if due:
                self._claim()
            for _, entries in self._redis.xreadgroup(self.module, self.name, {STREAM: ">"}, count=BATCH, block=BLOCK):
                self._handle(entries)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            return self._create_group()
        return 0.0

    def _create_group(self) -> float:
        """From the stream's beginning: a group that was lost handled some of it, and the inbox knows what.

        The stream itself is left for a relay to make, which then sees that events were lost.
        """
        try:
            self._redis.xgroup_create(STREAM, self.module, id="0")
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                return LOOK  # no stream yet
        return 0.0

    def _claim(self) -> None:
        """Take over what a consumer read and, dead or fenced, did not acknowledge.

        One at a time: one that ends its process must not make those beside it look as if they did.
        """
        cursor = "0-0"
        while self._owner:
            cursor, entries, _ = self._redis.xautoclaim(
                STREAM, self.module, self.name, CLAIM_IDLE, start_id=cursor, count=1
            )
            for entry in entries:
                self._again(entry)
            if cursor == "0-0":
                return

    def _again(self, entry: _Entry) -> None:
        [known] = self._redis.xpending_range(STREAM, self.module, entry[0], entry[0], 1) or [{"times_delivered": 1}]
        deliveries = int(known["times_delivered"])
        event = self._parse(entry)
        if event is None or deliveries <= 2 * DELIVERIES:
            self._handle([entry], deliveries)
        elif self._park(event, deliveries, "no delivery came to an end: each was cut off, or its process died"):
            self._acknowledge([entry])

    def _handle(self, entries: Sequence[_Entry], deliveries: int = 1) -> None:
        """Handle and acknowledge. What a handler cannot cope with stays unacknowledged, and so comes again."""
        events = [event for entry in entries if (event := self._parse(entry))]
        try:
            self._commit(events)
        except (OperationalError, InterfaceError, RedisError):  # away, or chosen in a deadlock
            raise
        except Exception as error:
            if is_fenced(error):
                self._owner = False  # left for the owner's consumer to claim
                return
            if len(entries) > 1:  # one event a transaction, so that one that fails does not hold up the rest
                for entry in entries:
                    if self._owner:
                        self._handle([entry])
                return
            if deliveries < DELIVERIES:
                logger.exception("%s could not handle %s; it will be tried again", self.module, entries[0])
                return
            if not self._park(events[0], deliveries, f"{type(error).__name__}: {error}"):
                return
        self._acknowledge(entries)

    def _acknowledge(self, entries: Sequence[_Entry]) -> None:
        if entries:
            self._redis.xack(STREAM, self.module, *[id_ for id_, _ in entries])

    def _park(self, event: Event, deliveries: int, reason: str) -> bool:
        """Put the event aside. False when another site owns the module: then it is the owner's to try."""
        row = {
            "event_id": event.id, "type": event.type, "payload": json.dumps(event.payload), "at": event.at,
            "error": reason.replace("\0", "")[:ERROR_LENGTH], "deliveries": deliveries,
        }  # fmt: skip
        try:
            with Session(self._engine) as session:
                if session.scalar(self._inbox, {"ids": [event.id]}):  # else somebody has handled it after all
                    session.execute(self._parked, row)
                session.commit()
        except DBAPIError as error:
            if not is_fenced(error):
                raise
            self._owner = False
            return False
        logger.error("%s parked %s %s after %d deliveries: %s", self.module, event.type, event.id, deliveries, reason)
        return True

    def _commit(self, events: Sequence[Event]) -> None:
        wanted = {event.id: event for event in events if event.type in self._handlers}
        if not wanted:
            return
        with Session(self._engine) as session:
            # Sorted: two consumers with the same events would otherwise wait for each other.
            fresh = set(session.scalars(self._inbox, {"ids": sorted(wanted)}))
            for type_, handler in self._handlers.items():
                batch = [event for event in wanted.values() if event.type == type_ and event.id in fresh]
                if batch:
                    with tracing.handling(f"{self.module} handles {type_}", [event.traceparent for event in batch]):
                        handler(session, batch)
            session.commit()

    def _parse(self, entry: _Entry) -> Event | None:
        id_, fields = entry
        if fields is None:  # trimmed away while it waited for its acknowledgement
            return None
        try:
            at, payload = datetime.fromisoformat(fields["at"]), json.loads(fields["payload"])
            return Event(UUID(fields["id"]), fields["type"], at, payload, fields.get("traceparent"))
        except (KeyError, ValueError):
            logger.error("%s passes over %s in %s, which is no event of ours: %s", self.module, id_, STREAM, fields)
            return None

    def close(self) -> None:
        """Take this consumer's name off the group, unless others still have to claim what it read."""
        try:
            consumers = self._redis.xinfo_consumers(STREAM, self.module)
        except ResponseError:  # no stream, or no group
            return
        if any(each["name"] == self.name and not each["pending"] for each in consumers):
            self._redis.xgroup_delconsumer(STREAM, self.module, self.name)
