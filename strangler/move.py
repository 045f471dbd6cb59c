"""The move of a module: its two databases, the streams between them, and the verbs, one file each.

All state is in the two databases, and every verb finds out from them what is left to do: killed at any point, it is
simply run again.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, Self

import psycopg
from psycopg import sql

from strangler import cancel, complete, create, handover
from strangler.config import Config
from strangler.database import LOCK_TIMEOUT_MS, Database, Planned
from strangler.errors import AwayError, NotYetError, StranglerError
from strangler.events import Events
from strangler.handover import Handover, Limits
from strangler.ownership import Ownership
from strangler.replication import Stream
from strangler.sql import quoted, table

CONTROLLER_MS = 3000
LOWER_MS = 50
"""Lowering the fence only saves time, so nobody is to wait long for it."""
LOWER_SECONDS = 1.0


class Move:
    """A module on its way from source to target. Use as a context manager; it holds the controller's lock.

    With a `plan`, nothing is changed: what would be is noted there. Raises AwayError when a database cannot be reached
    or another controller is at work on the module.
    """

    def __init__(self, config: Config, name: str, exclusive: bool = True, plan: list[Planned] | None = None) -> None:
        self.config = config
        self.module = config.module(name)
        self.plan = plan
        self.source = Database(self.module.source, config.sites[self.module.source].dsn, plan)
        self.target = Database(self.module.target, config.sites[self.module.target].dsn, plan)
        tables = tuple(self.module.tables)
        self.forward = Stream(name, "forward", self.source, self.target, tables)
        self.back = Stream(name, "back", self.target, self.source, tables)
        self.events = Events(self.module, self.source, self.target)
        self._exclusive = exclusive
        if exclusive:
            # At both, because a killed controller's last statement may still be running at either.
            for database in (self.source, self.target):
                self._take(database)

    def _take(self, database: Database) -> None:
        """Wait a moment for the lock: PostgreSQL learns of a killed controller within a second."""
        try:
            with database.transaction():
                database.run("wait_at_most", milliseconds=sql.Literal(CONTROLLER_MS))
                database.run("controller", {"module": self.module.name})
        except psycopg.errors.LockNotAvailable:
            self.source.close()
            self.target.close()
            raise AwayError(
                f"another strangler process is at work on {self.module.name}; wait for it or end it"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._exclusive:
            for database in (self.source, self.target):
                with suppress(psycopg.Error):  # or the next command would meet a session that is just ending
                    database.run("let_go", {"module": self.module.name})
        self.source.close()
        self.target.close()

    # --- the verbs --------------------------------------------------------------------------------------------------

    def create(self, progress: create.Progress | None = None) -> None:
        """See strangler/create.py."""
        create.create(self, progress)

    def switch(self, limits: Limits | None = None) -> Handover:
        """Make the target the owner: see strangler/handover.py."""
        return handover.hand_over(self, "switch", limits or Limits())

    def reverse(self, limits: Limits | None = None) -> Handover:
        """Make the source the owner again: see strangler/handover.py."""
        return handover.hand_over(self, "reverse", limits or Limits())

    def complete(self, **options: Any) -> None:
        """See strangler/complete.py."""
        complete.complete(self, **options)

    def cancel(self, grace_seconds: float = 0.0) -> list[str]:
        """See strangler/cancel.py."""
        return cancel.cancel(self, grace_seconds)

    # --- looking ----------------------------------------------------------------------------------------------------

    def ownership(self, database: Database) -> Ownership | None:
        """The row as one database has it; None when it has none."""
        if not database.value("installed"):
            return None
        row = database.one("ownership", {"module": self.module.name})
        return Ownership(**row) if row else None

    def newest(self) -> Ownership | None:
        """The newer of the two rows; None when no move was created."""
        rows = [row for row in (self.ownership(self.source), self.ownership(self.target)) if row]
        return max(rows, key=lambda row: row.epoch, default=None)

    def owner(self) -> Ownership:
        """The owner by the newer of the two rows. Raises StranglerError when no move was created."""
        found = self.newest()
        if found is None:
            raise StranglerError(
                f"no move of {self.module.name} exists; begin with `strangler move {self.module.name} create`"
            )
        return found

    def database(self, site: str) -> Database:
        return self.source if site == self.source.site else self.target

    def stream_from(self, site: str) -> Stream:
        """The stream in which `site` is the publisher."""
        return self.forward if site == self.source.site else self.back

    def relations(self, database: Database) -> list[str]:
        """The tables, each with its partitions behind it: what must be fenced one by one."""
        return list(self.fences(database))

    def regclasses(self) -> list[str]:
        """The tables as texts that a cast to regclass takes."""
        return [quoted(name) for name in self.module.tables]

    def lockable(self, database: Database) -> dict[str, Any]:
        """What a switch asks locks of: the module, and its tables."""
        return {"module": self.module.name, "tables": [quoted(name) for name in self.relations(database)]}

    # --- the fence --------------------------------------------------------------------------------------------------

    # Up at the site that is not the owner, and at the owner while a switch is at work. Else it is down there, where it
    # would only cost.

    def fences(self, database: Database) -> dict[str, bool | None]:
        """Of every table, and partition, whether its fence is up; None where there is none."""
        return {row["name"]: row["up"] for row in database.run("fences", {"tables": self.regclasses()})}

    def owns(self, database: Database) -> bool:
        """By its own row. A dry run may come before there is one."""
        row = self.ownership(database)
        return row.owner == database.site if row else self.plan is not None and database is self.source

    def unfenced(self, database: Database) -> list[str]:
        """The tables whose fence is not there or, where the site is not the owner, not up."""
        owns = self.owns(database)
        return [name for name, up in self.fences(database).items() if up is None or not (up or owns)]

    def fence(self, database: Database) -> None:
        """Put the fence on every table, and partition."""
        owns = self.owns(database)
        for name in self.unfenced(database):
            database.patiently(f"fence {name}", lambda name=name: self._add_fence(database, name, down=owns))  # type: ignore[misc]

    def _add_fence(self, database: Database, name: str, down: bool) -> None:
        with database.transaction():
            module, site = sql.Literal(self.module.name), sql.Literal(database.site)
            database.run("add_fence", table=table(name), module=module, site=site)
            if down:
                database.run("lower_fence", table=table(name))

    def raise_fences(self, database: Database, timeout_ms: int = LOCK_TIMEOUT_MS) -> None:
        """One table at a time, so that no writer waits for us who holds up another table that we want.

        Raises psycopg.errors.LockNotAvailable or DeadlockDetected when somebody is at work on a table.
        """
        names = [name for name, up in self.fences(database).items() if up is False]
        if not names:
            return
        database.run("in_a_hurry", milliseconds=sql.Literal(str(timeout_ms)))
        try:
            for name in names:
                database.run("raise_fence", table=table(name))
        finally:
            database.run("not_in_a_hurry")

    def lower_fences(self, database: Database) -> list[str]:
        """Where the site owns the module. Returns the tables whose fence stays up: somebody is at work on them."""
        if not self.owns(database):
            return []
        left = []
        for name in [name for name, up in self.fences(database).items() if up]:
            try:
                lower = partial(self._lower_fence, database, name)
                database.patiently(f"lower the fence of {name}", lower, LOWER_SECONDS)
            except NotYetError:
                left.append(name)
        return left

    def _lower_fence(self, database: Database, name: str) -> None:
        with database.transaction():
            database.run("wait_at_most", milliseconds=sql.Literal(LOWER_MS))
            # A switch waits until this is committed, and then sees it, even if this process is killed.
            database.run("lock_shared", {"module": self.module.name})
            if self.owns(database):
                database.run("lower_fence", table=table(name))

    def drop_fences(self, database: Database) -> None:
        for name in self.relations(database):
            database.run("drop_fence", table=table(name))
