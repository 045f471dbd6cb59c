"""The process beside an application: relays its database's outbox, consumes for its modules, deletes what has expired.

It outlives PostgreSQL and Redis being away (waits, and goes on), and ends on SIGTERM or SIGINT after what it is at and
what the outbox holds.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from uuid import uuid4

import psycopg
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from forum.events.cleaning import Cleaner, Expiry
from forum.events.consumer import Consumer, Handler
from forum.events.outbox import drained
from forum.events.relay import KEEP, Relay
from strangler.config import Config
from strangler.ownership import OwnershipReader

logger = logging.getLogger(__name__)

AWAY = RedisError, OperationalError, InterfaceError, psycopg.OperationalError
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between attempts while something is away
GRACE = 10.0  # seconds that a step may take to end


class Worker:
    """Runs one thread each for the relay, the cleaning and every consumer.

    site: which site's database `engine` is, by its name in strangler.toml.
    handlers: for each module that consumes, event type -> handler.
    expiries: what to delete beside the outbox; `Expiry.idempotency(module)`, `Expiry.inbox(module)`.
    """

    def __init__(
        self,
        site: str,
        *,
        engine: Engine,
        redis: Redis,
        config: Config,
        handlers: Mapping[str, Mapping[str, Handler]],
        expiries: Sequence[Expiry] = (),
        keep: timedelta = KEEP,
    ) -> None:
        self.site = site
        self.engine = engine
        self._config = config
        self._ownership = OwnershipReader()
        self._stop = threading.Event()
        name = f"{site}/{os.environ.get('INSTANCE') or socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        self.consumers = [
            Consumer(module, by_type, engine=engine, redis=redis, owns=self._owner_of(module), name=name)
            for module, by_type in handlers.items()
        ]
        self._relay = Relay(engine, redis, site, keep=keep)
        self._steps: dict[str, Callable[[], float]] = {
            "relay": self._relay.step,
            "cleaning": Cleaner(engine, self.owns, [Expiry.outbox(keep), *expiries]).step,
            **{f"consumer of {consumer.module}": consumer.step for consumer in self.consumers},
        }

    def owns(self, module: str) -> bool:
        """Whether this site owns `module` now, from the database, on a connection of its own."""
        with self.engine.connect() as connection:
            return self._ownership.read(connection, self._config.module(module)).owner == self.site

    def _owner_of(self, module: str) -> Callable[[], bool]:
        return lambda: self.owns(module)

    def stop(self) -> None:
        """Let `run` end, soon. Safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Work until `stop`."""
        threads = [
            threading.Thread(target=self._repeat, args=(name, step), name=name, daemon=True)
            for name, step in self._steps.items()
        ]
        for thread in threads:
            thread.start()
        logger.info("%s: %s", self.site, ", ".join(self._steps))
        self._stop.wait()
        for thread in threads:
            thread.join(GRACE)
        self._relay_the_rest()
        try:
            for consumer in self.consumers:
                consumer.close()
        except RedisError as error:
            logger.info("left the groups without a word: %s", error)

    def _relay_the_rest(self) -> None:
        """What has been committed goes out: when the monolith is switched off, nobody comes after this worker."""
        until = time.monotonic() + GRACE
        try:
            while not drained(self.engine) and time.monotonic() < until:
                time.sleep(self._relay.step())
        except AWAY as error:
            logger.warning("what the outbox still has waits for the next worker: %s", first_line(error))

    def _repeat(self, name: str, step: Callable[[], float]) -> None:
        pause = FIRST_PAUSE
        away = ""
        while not self._stop.is_set():
            try:
                wait = step()
            except AWAY as error:
                reason = first_line(error)
                if reason != away:
                    logger.warning("%s waits: %s", name, reason)
                away = reason
            except Exception:
                logger.exception("%s failed and tries again", name)
                away = "a failure"
            else:
                if away:
                    logger.info("%s goes on", name)
                away, pause = "", FIRST_PAUSE
                self._stop.wait(wait)
                continue
            self._stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def first_line(error: Exception) -> str:
    """What PostgreSQL or Redis says, in a line."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
