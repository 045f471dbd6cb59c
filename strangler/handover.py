"""`switch` and `reverse`: ownership goes from one site to the other in one short transaction at the owner.

Before it the owner's fences go up, table by table, so that whoever writes holds the module's lock. After it the row
travels in the stream, behind every write that came before it; from its arrival the other site accepts writes. Between
the two neither does: the pause.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from strangler import guards
from strangler.database import LOCK_TIMEOUT_MS
from strangler.errors import NotYetError, StranglerError
from strangler.replication import CATCH_UP_SECONDS
from strangler.sql import table

if TYPE_CHECKING:
    from strangler.database import Database
    from strangler.move import Move

TRAVEL_SECONDS = 60.0
LONGEST_WAIT_SECONDS = 2.0
"""Between two tries."""


@dataclass(frozen=True)
class Limits:
    """What a switch may cost, and which guards it may pass all the same.

    tries: how often the lock is asked for. max_pause_ms: what a try may take, by what the stream takes just before
    it. max_lag: bytes that the other site may be behind. max_diff_age_seconds: since the last clean `diff`. override:
    names of guards.
    """

    tries: int = 20
    max_pause_ms: int = 500
    max_lag: int = 16 * 1024 * 1024
    max_diff_age_seconds: float = 24 * 3600.0
    override: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Handover:
    """What a switch or reverse did. pause_ms: from asking for the first lock until the new owner's row was seen, in ms;
    None when there was nothing to do. fences_up: tables of the new owner whose fence could not be lowered yet, which
    costs their writes some time and nothing else."""

    module: str
    direction: str
    owner: str
    epoch: int
    pause_ms: float | None
    tries: int
    fences_up: list[str] = field(default_factory=list)


class _LoweredError(Exception):
    """A fence went down again before the lock was there: a killed controller's doing."""


def hand_over(move: Move, direction: str, limits: Limits) -> Handover:
    """Make the target (`switch`) or the source (`reverse`) the owner.

    Raises NotYetError when a guard does not hold or writers hold the lock through all tries: then nothing has changed.
    """
    giver, taker = (move.source, move.target) if direction == "switch" else (move.target, move.source)
    own = move.owner()
    if own.owner == taker.site:  # done before, perhaps by one that was killed on the way
        wait_for_arrival(move, taker, own.epoch)
        if own.epoch > 1 and not move.events.has("arrived", own.epoch):
            move.events.add("arrived", own.epoch, owner=taker.site, pause_ms=None)
        return Handover(move.module.name, direction, own.owner, own.epoch, None, 0, move.lower_fences(taker))
    for one in (move.forward, move.back):
        one.wake()  # a `complete` that was killed may have left it at rest
    passed = guards.require(move, giver, taker, limits)
    stream = move.stream_from(giver.site)
    if "stream" not in passed:
        stream.catch_up(CATCH_UP_SECONDS)
    try_it = _prepare(move, direction, giver, taker, passed)
    if move.plan is not None:
        move.raise_fences(giver)
        try_it(1, LOCK_TIMEOUT_MS)
        for name in move.fences(taker):
            taker.run("lower_fence", table=table(name))
        return Handover(move.module.name, direction, taker.site, own.epoch + 1, None, 0)
    reason = ""
    for attempt in range(1, limits.tries + 1):
        travel_ms = 0.0 if "stream" in passed else stream.round_trip(CATCH_UP_SECONDS) * 1000
        if travel_ms * 2 > limits.max_pause_ms:
            reason = f"a row takes {travel_ms:.0f} ms to {taker.site} and the pause may be {limits.max_pause_ms} ms"
        else:
            asked = time.perf_counter()
            timeout_ms = min(LOCK_TIMEOUT_MS, int(limits.max_pause_ms - travel_ms))
            try:
                move.raise_fences(giver, timeout_ms)
                event = try_it(attempt, timeout_ms)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, _LoweredError):
                reason = _holders(move, giver) or "writers held it"
            else:
                wait_for_arrival(move, taker, event["epoch"])
                pause = round((time.perf_counter() - asked) * 1000, 1)
                move.events.log(event)
                move.events.add("arrived", event["epoch"], owner=taker.site, pause_ms=pause)
                up = move.lower_fences(taker)
                return Handover(move.module.name, direction, taker.site, event["epoch"], pause, attempt, up)
        # With jitter, so as not to meet a periodic job again and again.
        time.sleep(random.uniform(0.5, 1.0) * min(LONGEST_WAIT_SECONDS, 0.1 * 2**attempt))  # noqa: S311
    move.lower_fences(giver)
    move.events.add(f"{direction} given up", own.epoch, tries=limits.tries, reason=reason)
    raise NotYetError(
        f"{move.module.name} stays with {giver.site} after {limits.tries} tries, nothing has changed: {reason}; end "
        f"what is in the way and run `{direction}` again"
    )


def _prepare(
    move: Move, direction: str, giver: Database, taker: Database, passed: frozenset[str]
) -> Callable[[int, int], dict[str, Any]]:
    """The switch as one short transaction at the owner, with everything looked up beforehand. It returns its event."""
    positions = [
        sql.SQL("(SELECT jsonb_build_object('table', {}, 'column', {}, 'last_value', last_value, 'is_called', "
                "is_called) FROM {})").format(row["table"], row["column"], table(row["sequence"]))
        for row in giver.run("sequences", {"tables": move.regclasses()})
    ]  # fmt: skip
    sequences = sql.SQL("jsonb_build_array({})").format(sql.SQL(", ").join(positions))
    module = {"module": move.module.name}

    def transaction(attempt: int, timeout_ms: int) -> dict[str, Any]:
        with giver.transaction():
            giver.run("wait_at_most", milliseconds=sql.Literal(timeout_ms))
            giver.run("lock_exclusive", module)
            if False in move.fences(giver).values() and move.plan is None:
                raise _LoweredError
            row = giver.one("hand_over", {**module, "from": giver.site, "to": taker.site}, sequences=sequences)
            if row is None and move.plan is None:
                raise StranglerError(f"{giver.site} does not own {move.module.name} any more; look at `status`")
            epoch = int(row["epoch"]) if row else move.owner().epoch + 1
            return move.events.record(
                direction, epoch, giver, owner=taker.site, tries=attempt, overridden=sorted(passed)
            )

    return transaction


def _holders(move: Move, giver: Database) -> str:
    return "; ".join(holder(row) for row in giver.run("holders", move.lockable(giver)))


def holder(row: dict[str, Any]) -> str:
    """Who is in a switch's way, and why."""
    if row["backend_type"] == "autovacuum worker":
        return (
            f"pid {row['pid']} is autovacuum, for {row['seconds']:.0f} s, which waits for nobody but those who may "
            f"set deadlock_timeout (as a superuser: GRANT SET ON PARAMETER deadlock_timeout TO the kit's user)"
        )
    return f"pid {row['pid']} ({row['who']}) has written in a transaction of {row['seconds']:.0f} s, {row['state']}"


def wait_for_arrival(move: Move, taker: Database, epoch: int) -> None:
    """Until the taker's row says so. Raises NotYetError in the end."""
    deadline = time.monotonic() + TRAVEL_SECONDS
    while True:
        row = move.ownership(taker)
        if row and row.epoch >= epoch:
            return
        if time.monotonic() > deadline:
            raise NotYetError(
                f"{taker.site} owns {move.module.name} but its row has not arrived within {TRAVEL_SECONDS:.0f} s: "
                f"writes wait; its PostgreSQL log says why the subscription does not apply"
            )
        time.sleep(0.001)
