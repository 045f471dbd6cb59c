"""Giving the side that does not own a module the owner's rows, where a diff found others. Never a write at the owner.

Rows are repaired in batches. A batch's rows are locked at the owner, so that nobody changes them meanwhile; once the
other side has replayed past that moment, what still differs there is wrong, and is replaced in one transaction: by a
session that is a replica (no fence, no trigger, no foreign key answers) and has a replication origin, so that no stream
carries it back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from strangler.database import Database
from strangler.diff_run import Difference
from strangler.errors import NotYetError, StranglerError
from strangler.replication import CATCH_UP_SECONDS
from strangler.rows import Key, Rows, hash_of, session
from strangler.sql import statement

if TYPE_CHECKING:
    from strangler.move import Move

BATCH_ROWS = 100
LOCKED_SECONDS = 2.0
"""How long a batch's rows stay locked at most, while the other side catches up."""
ROUNDS = 10
"""How often what could not be repaired (somebody had the row locked) is tried again."""
LEFT_ROWS = 10_000
"""How many rows are remembered for that; what is more is for the next repair."""
ORIGIN_SECONDS = 10.0


@dataclass(frozen=True)
class Outcome:
    """repaired: also when it was found to have healed. The kind is what the diff found."""

    difference: Difference
    repaired: bool


def drop_origin(database: Database, module: str) -> None:
    """Remove what a killed repair leaves: its replication origin. Safe to repeat; for `cancel`, at both sites.

    Raises NotYetError when the killed repair's session does not end.
    """
    name = {"name": _origin(database, module)}
    deadline = time.monotonic() + ORIGIN_SECONDS
    while database.value("repair_origin_exists", name):  # to drop one takes more rights than there being none
        try:
            database.run("repair_drop_origin", name)
            if database.plan is not None:
                return
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise NotYetError(
                    f"{database.site}: a session still uses the replication origin {name['name']}; "
                    "end it (pg_stat_activity: strangler repair) and run this again"
                ) from None
        time.sleep(0.1)


def _origin(database: Database, module: str) -> str:
    """Origins belong to the whole cluster, so the database is in the name."""
    return f"strangler_repair_{module}_{database.value('slot_suffix')}"


class Repair:
    """Repairs what a diff of the same move finds. The move must be exclusive, so that no switch comes between.

    Raises StranglerError when the role at the other side may not do it.
    """

    def __init__(self, move: Move) -> None:
        self._move = move
        self._own = move.owner()
        self._owner = move.database(self._own.owner)
        self._stream = move.stream_from(self._owner.site)
        self._other = self._stream.subscriber

    def run(self, differences: Iterable[Difference]) -> Iterator[Outcome]:
        """Each difference with what became of it. Raises NotYetError when the other side does not catch up."""
        with self._sessions() as (here, there):
            left: list[Difference] = []
            for batch in _batches(differences):
                for outcome in self._batch(here, there, batch):
                    if outcome.repaired or len(left) >= LEFT_ROWS:
                        yield outcome
                    else:
                        left.append(outcome.difference)
            for round_ in range(ROUNDS):
                time.sleep(0.1 * round_ if left else 0)
                waiting, left = left, []
                for batch in _batches(waiting):
                    for outcome in self._batch(here, there, batch):
                        if outcome.repaired:
                            yield outcome
                        else:
                            left.append(outcome.difference)
            yield from (Outcome(difference, False) for difference in left)

    @contextmanager
    def _sessions(self) -> Iterator[tuple[psycopg.Connection[object], psycopg.Connection[object]]]:
        name = {"name": _origin(self._other, self._move.module.name)}
        with ExitStack() as stack:
            here = stack.enter_context(session(self._owner))
            here.execute(statement("repair_reader"))
            there = stack.enter_context(session(self._other))
            try:
                there.execute(statement("repair_writer"))
                there.execute(statement("repair_origin"), name)
                there.execute(statement("repair_use_origin"), name)
            except psycopg.errors.InsufficientPrivilege as error:
                raise StranglerError(
                    f"{self._other.site}: this role may not repair ({error.diag.message_primary}); use a superuser, or "
                    "GRANT SET ON PARAMETER session_replication_role and EXECUTE on pg_replication_origin_create, "
                    "_drop, _session_setup and _session_reset to it"
                ) from None
            try:
                yield here, there
            finally:
                if not there.closed:
                    there.execute(statement("repair_leave_origin"))
                    there.execute(statement("repair_drop_origin"), name)

    def _batch(
        self, here: psycopg.Connection[object], there: psycopg.Connection[object], batch: list[Difference]
    ) -> Iterator[Outcome]:
        name = batch[0].table
        pair = (Rows(here, self._owner.site, name), Rows(there, self._other.site, name))
        self._stream.catch_up(CATCH_UP_SECONDS)  # nobody is made to wait for this
        try:
            left = self._replace(*pair, [one.values for one in batch])
        except psycopg.IntegrityError:
            if len(batch) > 1:
                for one in batch:
                    yield from self._batch(here, there, [one])
                return
            # A unique value of this row is with another one there, which is wrong too but not of this batch. Ours goes,
            # so that neither stands in the other's way; it comes with the next round.
            left = self._replace(*pair, [batch[0].values], insert=False)
        for one in batch:
            yield Outcome(one, one.values not in left)

    def _replace(self, here: Rows, there: Rows, keys: list[Key], insert: bool = True) -> set[Key]:
        """Answers the keys that could not be repaired now."""
        seen = there.lookup(keys)
        try:
            with here.connection.transaction():
                here.connection.execute(statement("repair_hold"), {"module": self._move.module.name})
                if self._move.ownership(self._owner) != self._own:
                    raise StranglerError(
                        f"{self._move.module.name} was switched while it was repaired; run `diff` again"
                    )
                locked = here.lock(keys)
                right = here.lookup(keys)
                self._stream.catch_up(LOCKED_SECONDS)
                found = there.lookup(keys)
                wrong = [key for key in locked if hash_of(right, key) != hash_of(found, key)]
                # What the owner lacks cannot be locked there. But a version that was there before the owner was seen to
                # lack the row, and still is when the other side has caught up, did not come from the owner.
                extra = [key for key in keys if key not in right and key in found and seen.get(key) == found[key]]
                with there.connection.transaction():
                    if not there.delete({key: found[key] for key in wrong + extra if key in found}):
                        raise NotYetError("a row changed in between")
                    if insert:
                        here.copy_to(there, wrong)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, NotYetError):
            return set(keys)
        unsettled = {key for key in found if key not in right and key not in extra}
        return (right.keys() - locked) | unsettled | (set() if insert else set(wrong))


def _batches(differences: Iterable[Difference]) -> Iterator[list[Difference]]:
    """Each of one table."""
    waiting: dict[str, list[Difference]] = {}
    for one in differences:
        batch = waiting.setdefault(one.table, [])
        batch.append(one)
        if len(batch) >= BATCH_ROWS:
            yield waiting.pop(one.table)
    yield from waiting.values()
