"""One direction of a move: publication and slot at the publisher, subscription at the subscriber.

Every step can be repeated; a step that was done is not done again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from psycopg.conninfo import make_conninfo

from strangler.database import Database
from strangler.errors import NotYetError, StranglerError
from strangler.sql import table

WORKER_SECONDS = 20.0
CATCH_UP_SECONDS = 60.0


@dataclass(frozen=True)
class Stream:
    """Changes of `tables` and of the module's ownership row, from publisher to subscriber."""

    module: str
    direction: str
    publisher: Database
    subscriber: Database
    tables: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of publication and subscription."""
        return f"strangler_{self.module}_{self.direction}"

    @property
    def slot(self) -> str:
        """Slots belong to the whole cluster, so both databases are in the name, by oid."""
        return f"{self.name}_{self.publisher.value('slot_suffix')}_{self.subscriber.value('slot_suffix')}"

    def publish(self) -> None:
        if not self.publisher.value("publication_exists", {"name": self.name}):
            self.publisher.patiently("publish", lambda: self._create_publication())

    def _create_publication(self) -> None:
        self.publisher.run(
            "create_publication", name=sql.Identifier(self.name), module=sql.Literal(self.module),
            tables=sql.SQL(", ").join(table(name) for name in self.tables),
        )  # fmt: skip

    def subscribe(self, copy: bool) -> None:
        """Create slot and subscription, with or without a first copy.

        Creating a slot waits for every transaction that is open at the publisher.
        """
        if self.subscription() is not None:
            return
        # A slot without its subscription is left from an attempt that was killed. It may stand before what the old
        # subscription had applied, and a new one would apply that again.
        if self.publisher.one("slot", {"name": self.slot}) is not None:
            self._drop_slots()
        with self.publisher.transaction():
            self.publisher.run("wait_for_ever")
            self.publisher.run("create_slot", {"name": self.slot})
        planning = self.publisher.plan is not None
        dsn = make_conninfo(self.publisher.dsn, password="********") if planning else self.publisher.dsn  # noqa: S106
        self.subscriber.run(
            "create_subscription", name=sql.Identifier(self.name), dsn=sql.Literal(dsn),
            slot=sql.Literal(self.slot), copy=sql.Literal(copy),
        )  # fmt: skip

    def subscription(self) -> dict[str, Any] | None:
        """oid, slot, synchronous, enabled, working, ready, apply_errors, sync_errors, conflicts; None without one."""
        return self.subscriber.one("subscription", {"name": self.name})

    def hurry(self) -> None:
        """After the copy: apply without waiting for the disk at each commit."""
        found = self.subscription()
        if self.subscriber.plan is not None or (found and found["synchronous"] != "off"):
            self.subscriber.run("apply_asynchronously", name=sql.Identifier(self.name))

    def attached(self) -> bool:
        """Whether there is a subscription and it has a slot; what is being removed has none."""
        found = self.subscription()
        return found is not None and found["slot"] is not None

    def drop(self) -> None:
        """Remove subscription, slots and publication, whichever of them there are."""
        found = self.subscription()
        name = sql.Identifier(self.name)
        if found is not None:
            self.subscriber.run("disable_subscription", name=name)
            self.subscriber.run("forget_slot", name=name)
            self.subscriber.patiently(
                "drop the subscription", lambda: self.subscriber.run("drop_subscription", name=name)
            )
        self._drop_slots(f"pg_{found['oid']}_sync_%" if found else "")
        self.publisher.patiently("unpublish", lambda: self.publisher.run("drop_publication", name=name))

    def _drop_slots(self, sync: str = "") -> None:
        slots = {"name": self.slot, "sync": sync}
        deadline = time.monotonic() + 30
        while True:
            self.publisher.run("end_senders", slots)
            self.publisher.run("drop_slots", slots)
            if self.publisher.plan is not None or self.publisher.one("slot", {"name": self.slot}) is None:
                break
            if time.monotonic() > deadline:
                raise NotYetError(f"{self.publisher.site}: the slot {self.slot} stays in use; run this again")
            time.sleep(0.05)

    def rest(self) -> None:
        """Apply nothing until `wake`; returns when the worker has ended."""
        self.subscriber.run("disable_subscription", name=sql.Identifier(self.name))
        while (found := self.subscription()) and found["working"]:
            time.sleep(0.02)

    def wake(self) -> None:
        """Apply again, if it was at rest."""
        found = self.subscription()
        if found and found["slot"] and not found["enabled"]:
            self.subscriber.run("enable_subscription", name=sql.Identifier(self.name))

    def progress(self) -> list[dict[str, Any]]:
        """Per table: table, state (i, d: copying; f, s: catching up; r: ready); while it is copied, rows so far
        (copied) and for how long (seconds)."""
        return self.subscriber.run("copying", {"name": self.name})

    def stranded(self) -> list[str]:
        """Tables that have been copied and will never be ready: the slot from which they are to catch up is gone.

        A worker drops its slot and then commits that it is done. When the subscriber crashes before that is on disk,
        the next one asks for the slot for ever; PostgreSQL does not count that as an error.
        """

        def copied() -> list[dict[str, Any]]:
            return self.subscriber.run("copied", {"name": self.name})

        gone = [row["slot"] for row in copied() if self.publisher.one("slot", {"name": row["slot"]}) is None]
        if not gone:
            return []
        # The worker that dropped it may be about to commit; when there is none any more, it has or never will.
        idle = [row["slot"] for row in copied() if row["slot"] in gone and not row["working"]]
        return [row["table"] for row in copied() if row["slot"] in idle]

    def behind(self) -> int | None:
        """Bytes of the publisher's log that the subscriber has not confirmed; None when there is no slot."""
        slot = self.publisher.one("slot", {"name": self.slot})
        return None if slot is None else slot["behind"]

    def caught_up(self, position: str) -> bool:
        """Whether the subscriber has applied everything up to a position of the publisher's log."""
        return bool(self.publisher.value("replayed", {"name": self.slot, "position": position}))

    def catch_up(self, seconds: float) -> None:
        """Wait until the subscriber has applied everything that is committed now. Raises NotYetError in the end."""
        position = self.publisher.value("position")
        deadline = time.monotonic() + seconds
        while not self.caught_up(position):
            if time.monotonic() > deadline:
                raise NotYetError(
                    f"{self.subscriber.site} did not catch up with {self.publisher.site} within {seconds:.0f} s "
                    f"(subscription {self.name}); see `status` and its PostgreSQL log"
                )
            time.sleep(0.005)

    def round_trip(self, seconds: float) -> float:
        """How long the subscriber takes now to apply what is committed, in s."""
        began = time.perf_counter()
        self.catch_up(seconds)
        return time.perf_counter() - began

    def require_healthy(self) -> None:
        """Raises StranglerError when there is no such stream, NotYetError when it is copying or has no worker.

        A worker that died is started again by PostgreSQL after wal_retrieve_retry_interval (5 s), so it is waited for.
        """
        deadline = time.monotonic() + WORKER_SECONDS
        while True:
            found = self.subscription()
            if found is None:
                raise StranglerError(f"there is no stream {self.name}; run `strangler move {self.module} create`")
            if not found["ready"]:
                raise NotYetError(
                    f"the stream {self.name} is copying; `strangler move {self.module} create` waits for it"
                )
            if found["enabled"] and found["working"]:
                return
            if time.monotonic() > deadline:
                raise NotYetError(
                    f"the stream {self.name} has no apply worker at {self.subscriber.site}; see its PostgreSQL log"
                )
            time.sleep(0.05)
