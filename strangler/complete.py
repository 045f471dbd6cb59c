"""`complete`: the end of a move at its target. No way back any more; the source's tables are archived or dropped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from strangler import repair
from strangler.errors import NotYetError, StranglerError
from strangler.handover import wait_for_arrival
from strangler.replication import CATCH_UP_SECONDS
from strangler.sql import quoted, table

if TYPE_CHECKING:
    from strangler.move import Move

QUIET_SECONDS = 12.0
"""A session that falls idle reports to pg_stat within 10 s (PGSTAT_IDLE_INTERVAL)."""
POLL_SECONDS = 0.5


def complete(
    move: Move,
    drop: bool = False,
    quiet_seconds: float = QUIET_SECONDS,
    force: bool = False,
    watching: Callable[[float], None] | None = None,
) -> None:
    """Retire the source's tables: to the schema strangler_retired, or for good when `drop`.

    For `quiet_seconds` nobody may read or write them first, unless `force`. `watching` is called with the seconds left.
    Raises StranglerError when the target is not the owner or views still show the tables, NotYetError when somebody
    uses them: then everything is as it was.
    """
    # A reverse that was killed may have its COMMIT still at work, under this lock.
    try:
        move.target.run("hold", {"module": move.module.name})
    except psycopg.errors.LockNotAvailable:
        raise NotYetError(
            f"a hand-over of {move.module.name} is under way at {move.target.site}; wait for it"
        ) from None
    own = move.owner()
    if own.owner != move.target.site:
        raise StranglerError(f"{move.module.name} is owned by {own.owner}; run `switch` first")
    wait_for_arrival(move, move.target, own.epoch)
    left = [name for name in move.module.tables if move.source.value("exists", {"table": quoted(name)})]
    if views := move.source.run("views_of", {"tables": [quoted(name) for name in left]}):
        raise StranglerError(
            f"{move.source.site}: {', '.join(row['name'] for row in views)} shows tables of {move.module.name}; drop it"
        )
    # Streams that have lost their slot are being removed, by a `complete` that was killed: it has watched already.
    if move.forward.attached() and move.plan is None:
        move.back.wake()  # one that was killed may have left it at rest
        move.back.catch_up(CATCH_UP_SECONDS)
        if not force:
            _require_quiet(move, left, quiet_seconds, watching)
    move.forward.drop()
    move.back.drop()
    for database in (move.source, move.target):
        repair.drop_origin(database, move.module.name)
    if left:
        move.source.patiently("retire the tables", lambda: _retire(move, left, drop))
    for name in move.relations(move.target):
        move.target.patiently(f"unfence {name}", lambda name=name: move.target.run("drop_fence", table=table(name)))  # type: ignore[misc]
    if not move.events.has("complete", own.epoch):
        move.events.add("complete", own.epoch, owner=own.owner, tables="dropped" if drop else "strangler_retired")


def _retire(move: Move, tables: list[str], drop: bool) -> None:
    if drop:
        move.source.run("drop_tables", tables=sql.SQL(", ").join(table(name) for name in tables))
        return
    with move.source.transaction():
        move.source.run("create_archive")
        for name in tables:
            for row in reversed(move.source.run("fences", {"tables": [quoted(name)]})):
                move.source.run("archive", table=table(row["name"]))


def _require_quiet(move: Move, tables: list[str], seconds: float, watching: Callable[[float], None] | None) -> None:
    """Watch PostgreSQL's own counters of the tables. The stream back would move them, so it rests meanwhile."""
    move.back.rest()
    try:
        began = time.monotonic()
        before = _uses(move, tables)
        while (left := began + seconds - time.monotonic()) > 0:
            if watching:
                watching(left)
            time.sleep(min(POLL_SECONDS, left))
            busy = [name for name, used in _uses(move, tables).items() if used != before[name]]
            who = move.source.run("who_uses", {"tables": [quoted(name) for name in tables]})
            if busy or who:
                raise NotYetError(_told(move, busy, who))
    except BaseException:
        move.back.wake()
        raise


def _uses(move: Move, tables: list[str]) -> dict[str, tuple[Any, ...]]:
    return {name: tuple((move.source.one("table_uses", {"table": quoted(name)}) or {}).values()) for name in tables}


def _told(move: Move, busy: list[str], who: list[dict[str, Any]]) -> str:
    what = f"{', '.join(busy)} is still read or written" if busy else f"tables of {move.module.name} are in use"
    by = ", ".join(f"{row['who']} (pid {row['pid']}, {row['state']})" for row in who)
    if not who:
        seen = move.source.run("who_names", {"names": [name.split(".", 1)[1] for name in busy]})
        present = seen or move.source.run("users_of_database")
        by = ", ".join(row["who"] for row in present) or "somebody who has gone meanwhile"
        by = by if seen else f"one of: {by}"
    return f"{move.source.site}: {what}, by {by}; stop that, or say --force if it does not matter"
