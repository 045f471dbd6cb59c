"""The move of a module: create, switch, reverse, complete, cancel. DESIGN's protocol, one method a verb.

All state is in the two databases, and every verb finds out from them what is left to do: killed at any point, it is
simply run again.
"""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from strangler import preflight
from strangler.config import Config
from strangler.database import Database
from strangler.errors import AwayError, NotYetError, StranglerError
from strangler.ownership import Ownership
from strangler.replication import Stream
from strangler.sql import quoted, table

Progress = Callable[[list[dict[str, Any]]], None]

TRAVEL_SECONDS = 60.0
CATCH_UP_SECONDS = 60.0
COPY_FAILURES = 3


@dataclass(frozen=True)
class Handover:
    """What a switch or reverse did. pause_ms: from asking for the lock until the new owner's row was seen, in ms;
    None when there was nothing to do."""

    module: str
    direction: str
    owner: str
    epoch: int
    pause_ms: float | None
    tries: int


class Move:
    """A module on its way from source to target. Use as a context manager; it holds the controller's lock.

    Raises AwayError when a database cannot be reached or another controller is at work on the module.
    """

    def __init__(self, config: Config, name: str, exclusive: bool = True) -> None:
        self.module = config.module(name)
        self._tables_of = {module.name: module.tables for module in config.modules.values()}
        self.source = Database(self.module.source, config.sites[self.module.source].dsn)
        self.target = Database(self.module.target, config.sites[self.module.target].dsn)
        tables = tuple(self.module.tables)
        self.forward = Stream(name, "forward", self.source, self.target, tables)
        self.back = Stream(name, "back", self.target, self.source, tables)
        if exclusive and not self.source.value("controller", {"module": name}):
            raise AwayError(f"another strangler process is at work on {name}; wait for it or end it")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()
        self.target.close()

    # --- looking ----------------------------------------------------------------------------------------------------

    def ownership(self, database: Database) -> Ownership | None:
        """The row as one database has it; None when it has none."""
        if not database.value("installed"):
            return None
        row = database.one("ownership", {"module": self.module.name})
        return Ownership(**row) if row else None

    def owner(self) -> Ownership:
        """The owner by the newer of the two rows. Raises StranglerError when no move was created."""
        rows = [row for row in (self.ownership(self.source), self.ownership(self.target)) if row]
        if not rows:
            raise StranglerError(
                f"no move of {self.module.name} exists; begin with `strangler move {self.module.name} create`"
            )
        return max(rows, key=lambda row: row.epoch)

    def database(self, site: str) -> Database:
        return self.source if site == self.source.site else self.target

    def stream_from(self, site: str) -> Stream:
        """The stream in which `site` is the publisher."""
        return self.forward if site == self.source.site else self.back

    def events(self) -> list[dict[str, Any]]:
        """What happened to the move, oldest first."""
        if not self.source.value("installed"):
            return []
        return self.source.run("events", {"module": self.module.name})

    # --- create -----------------------------------------------------------------------------------------------------

    def create(self, progress: Progress | None = None) -> None:
        """Fence the tables at both sites, copy them, and keep both copies equal from then on, in either direction.

        Raises StranglerError when a check before the start fails (nothing was changed), NotYetError when the copy
        cannot get on; `create` again goes on where it stopped.
        """
        begun = self.forward.subscription() is not None
        if not begun and (own := self.ownership(self.source)) and own.owner == self.target.site:
            raise StranglerError(f"the move of {self.module.name} is complete; {own.owner} owns it for good")
        if not begun:
            if missing := [
                line for side in (self.source, self.target) for line in preflight.missing_tables(self.module, side)
            ]:
                raise AwayError("; ".join(missing))
            if found := preflight.findings(self.module, self.source, self.target):
                raise StranglerError("; ".join(found))
        module = {"module": self.module.name}
        for database in (self.source, self.target):
            database.patiently("install", lambda database=database: self._install(database))  # type: ignore[misc]
        self.source.run("claim", {**module, "owner": self.source.site})
        self._fence(self.source)
        self._fence(self.target)
        self._drop_crossing_foreign_keys()
        self.forward.publish()
        self.back.publish()
        fresh = not begun or self.back.subscription() is None
        self.forward.subscribe(copy=True)
        self._wait_for_copy(progress)
        # Before the switch, so that nothing written after it can be missed; without a copy, since origin = none would
        # not keep it from sending back what came from here.
        self.back.subscribe(copy=False)
        self._wait_for_copy(None, self.back)
        if fresh:
            self._record("create", self.owner().epoch)

    def _install(self, database: Database) -> None:
        with database.transaction():
            database.run("install", site=sql.Literal(database.site))
            if database is self.source:
                database.run("install_source")

    def _fence(self, database: Database) -> None:
        for name in self.module.tables:
            if not database.value("fenced", {"table": quoted(name)}):
                database.patiently(
                    f"fence {name}",
                    lambda name=name: database.run(  # type: ignore[misc]
                        "add_fence", table=table(name), module=sql.Literal(self.module.name),
                        site=sql.Literal(database.site),
                    ),
                )  # fmt: skip

    def _fenced(self, database: Database) -> bool:
        """Whether `create` has been here (it fences the target before anything is copied to it)."""
        return any(database.value("fenced", {"table": quoted(name)}) for name in self.module.tables)

    def _drop_crossing_foreign_keys(self) -> None:
        for key in self.source.run("crossing_foreign_keys", {"tables": [quoted(name) for name in self.module.tables]}):
            self.source.patiently(f"drop {key['name']}", lambda key=key: self._drop_foreign_key(key))  # type: ignore[misc]

    def _drop_foreign_key(self, key: dict[str, Any]) -> None:
        with self.source.transaction():
            self.source.run("remember_constraint", {**key, "module": self.module.name})
            self.source.run("drop_constraint", table=table(key["table"]), name=sql.Identifier(key["name"]))

    def _wait_for_copy(self, progress: Progress | None, stream: Stream | None = None) -> None:
        stream = stream or self.forward
        failures = None
        while True:
            found = stream.subscription()
            if found is None:
                raise StranglerError(f"the stream {stream.name} was removed while it copied")
            if progress:
                progress(stream.progress())
            if found["ready"] and found["working"]:
                return
            errors = found["sync_errors"] + found["apply_errors"]
            failures = errors if failures is None else failures
            if errors - failures >= COPY_FAILURES:
                raise NotYetError(
                    f"the copy to {stream.subscriber.site} keeps failing; its PostgreSQL log says why; mend it and run "
                    "`create` again, or `cancel`"
                )
            time.sleep(0.1)

    # --- switch and reverse -----------------------------------------------------------------------------------------

    def switch(self, tries: int = 20) -> Handover:
        """Make the target the owner. Raises NotYetError when writers hold the lock through all tries."""
        return self._hand_over("switch", self.source, self.target, tries)

    def reverse(self, tries: int = 20) -> Handover:
        """Make the source the owner again."""
        return self._hand_over("reverse", self.target, self.source, tries)

    def _hand_over(self, direction: str, giver: Database, taker: Database, tries: int) -> Handover:
        own = self.owner()
        if own.owner == taker.site:  # done before, perhaps by one that was killed on the way
            self._wait_for_arrival(taker, own.epoch)
            return Handover(self.module.name, direction, own.owner, own.epoch, None, 0)
        stream = self.stream_from(giver.site)
        for one in (stream, self.stream_from(taker.site)):
            one.require_healthy()
        stream.catch_up(CATCH_UP_SECONDS)
        hand_over = self._prepare_hand_over(giver, taker)
        for attempt in range(1, tries + 1):
            asked = time.perf_counter()
            try:
                epoch = hand_over()
            except psycopg.errors.LockNotAvailable:
                time.sleep(min(2.0, 0.1 * attempt))
                continue
            self._wait_for_arrival(taker, epoch)
            pause = round((time.perf_counter() - asked) * 1000, 1)
            self._record(direction, epoch, pause_ms=pause, tries=attempt, owner=taker.site)
            return Handover(self.module.name, direction, taker.site, epoch, pause, attempt)
        raise NotYetError(
            f"writers held {self.module.name} through {tries} tries; nothing has changed; end the long transaction at "
            f"{giver.site} (pg_stat_activity shows it) and run `{direction}` again"
        )

    def _prepare_hand_over(self, giver: Database, taker: Database) -> Callable[[], int]:
        """The switch as one short transaction at the owner, with everything looked up beforehand."""
        positions = [
            sql.SQL("(SELECT jsonb_build_object('table', {}, 'column', {}, 'last_value', last_value, 'is_called', "
                    "is_called) FROM {})").format(row["table"], row["column"], table(row["sequence"]))
            for row in giver.run("sequences", {"tables": [quoted(name) for name in self.module.tables]})
        ]  # fmt: skip
        sequences = sql.SQL("jsonb_build_array({})").format(sql.SQL(", ").join(positions))
        parameters = {"module": self.module.name, "from": giver.site, "to": taker.site}

        def hand_over() -> int:
            with giver.transaction():
                giver.run("lock_exclusive", {"module": self.module.name})
                epoch = giver.value("hand_over", parameters, sequences=sequences)
                if epoch is None:
                    raise StranglerError(f"{giver.site} does not own {self.module.name} any more; look at `status`")
            return int(epoch)

        return hand_over

    def _wait_for_arrival(self, taker: Database, epoch: int) -> None:
        deadline = time.monotonic() + TRAVEL_SECONDS
        while True:
            row = self.ownership(taker)
            if row and row.epoch >= epoch:
                return
            if time.monotonic() > deadline:
                raise NotYetError(
                    f"{taker.site} owns {self.module.name} but its row has not arrived within {TRAVEL_SECONDS:.0f} s: "
                    f"writes wait; its PostgreSQL log says why the subscription does not apply"
                )
            time.sleep(0.001)

    # --- complete and cancel ----------------------------------------------------------------------------------------

    def complete(self, force: bool = False) -> None:
        """End the move at the target: no way back any more. The source's tables go to the schema strangler_retired.

        Raises StranglerError when the target is not the owner, NotYetError when applications are still connected to
        the source's database (unless `force`).
        """
        own = self.owner()
        if own.owner != self.target.site:
            raise StranglerError(f"{self.module.name} is owned by {own.owner}; run `switch` first")
        self._wait_for_arrival(self.target, own.epoch)
        sessions = self.source.run("users_of_database")
        if sessions and not force:
            who = ", ".join(f"{row['application_name'] or row['user']} ({row['sessions']})" for row in sessions)
            raise NotYetError(
                f"still connected to {self.source.site}: {who}; stop them, or say --force if they use other tables"
            )
        if self.back.subscription() is not None:
            self.back.catch_up(CATCH_UP_SECONDS)
        self.forward.drop()
        self.back.drop()
        self.source.run("create_archive")
        for name in self.module.tables:
            if self.source.value("exists", {"table": quoted(name)}):
                self.source.patiently(f"retire {name}", lambda name=name: self.source.run("archive", table=table(name)))  # type: ignore[misc]
            self.target.patiently(f"unfence {name}", lambda name=name: self.target.run("drop_fence", table=table(name)))  # type: ignore[misc]
        self._record("complete", own.epoch)

    def cancel(self) -> list[str]:
        """Undo `create`, at any point at which the source is the owner: both databases are as they were.

        Returns a line for each foreign key that could be put back but not validated. Raises StranglerError when the
        target is the owner.
        """
        rows = [row for row in (self.ownership(self.source), self.ownership(self.target)) if row]
        if rows and max(rows, key=lambda row: row.epoch).owner != self.source.site:
            raise StranglerError(f"{self.module.name} is owned by {self.target.site}; run `reverse` first")
        self.back.drop()
        self.forward.drop()
        warnings = self._restore_foreign_keys()
        if self.target.value("installed") and self._fenced(self.target):
            self.target.patiently("empty the tables", self._clean_target)
        if self.source.value("installed"):
            self.source.patiently("remove the fence", lambda: self._unfence(self.source))
        return warnings

    def _clean_target(self) -> None:
        with self.target.transaction():
            # The fence goes with the rows: as long as there are rows here, nobody but the stream may write them.
            self._drop_fences(self.target)
            tables = sql.SQL(", ").join(table(name) for name in self.module.tables)
            self.target.run("truncate", tables=tables)
            self._disclaim(self.target)

    def _unfence(self, database: Database) -> None:
        with database.transaction():
            self._drop_fences(database)
            self._disclaim(database)

    def _drop_fences(self, database: Database) -> None:
        for name in self.module.tables:
            database.run("drop_fence", table=table(name))

    def _disclaim(self, database: Database) -> None:
        others = database.run("others", {"module": self.module.name})
        if others:
            database.run("disclaim", {"module": self.module.name})
        else:
            database.run("uninstall")

    def _restore_foreign_keys(self) -> list[str]:
        if not self.source.value("installed"):
            return []
        warnings = []
        for key in self.source.run("remembered_constraints", {"module": self.module.name}):
            pieces = {"table": table(key["table"]), "name": sql.Identifier(key["name"])}
            if heir := self._still_crossing(key):
                self.source.run("entrust_constraint", {**key, "module": heir})
                continue
            if not self.source.value("constraint_exists", {**key, "table": quoted(key["table"])}):
                definition = sql.SQL(key["definition"].removesuffix(" NOT VALID"))
                self.source.patiently(
                    f"restore {key['name']}",
                    lambda pieces=pieces, definition=definition: self.source.run(  # type: ignore[misc]
                        "add_constraint", definition=definition, **pieces
                    ),
                )
            if not key["definition"].endswith(" NOT VALID"):
                try:
                    self.source.run("validate_constraint", **pieces)
                except psycopg.errors.ForeignKeyViolation as error:
                    warnings.append(
                        f"{key['table']}: {key['name']} is back for new rows, but old ones break it: "
                        f"{error.diag.message_detail}"
                    )
            self.source.run("forget_constraint", key)
        return warnings

    def _still_crossing(self, key: dict[str, Any]) -> str | None:
        """Another module on the move that has just one end of the foreign key."""
        for row in self.source.run("others", {"module": self.module.name}):
            tables = self._tables_of.get(row["module"], ())
            if (key["table"] in tables) != (key["referenced"] in tables):
                return str(row["module"])
        return None

    def _record(self, action: str, epoch: int, **detail: object) -> None:
        actor = f"{getpass.getuser()}@{socket.gethostname()}"
        self.source.run(
            "record",
            {"module": self.module.name, "actor": actor, "action": action, "epoch": epoch, "detail": Jsonb(detail)},
        )
