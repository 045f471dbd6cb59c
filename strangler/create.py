"""`create`: fence the tables at both sites, copy them, and keep both copies equal from then on, in either direction."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from psycopg import sql

from strangler import indexes, preflight
from strangler.errors import AwayError, NotYetError, StranglerError
from strangler.sql import table

if TYPE_CHECKING:
    from strangler.database import Database
    from strangler.move import Move
    from strangler.replication import Stream

Progress = Callable[[list[dict[str, Any]]], None]

COPY_FAILURES = 3


def create(move: Move, progress: Progress | None = None) -> None:
    """Begin the move, or go on where it stopped. `progress` is called with Stream.progress() while rows are copied.

    Raises StranglerError when a check before the start fails (nothing was changed), NotYetError when the copy
    cannot get on.
    """
    if move.events.unfinished("cancel"):
        move.cancel()
    begun = move.forward.subscription() is not None
    if not begun:
        _check(move)
    for database in (move.source, move.target):
        database.patiently("install", lambda database=database: _install(move, database))  # type: ignore[misc]
    move.source.run("claim", {"module": move.module.name, "owner": move.source.site})
    fresh = not begun or move.back.subscription() is None
    epoch = move.owner().epoch if move.plan is None else 1
    if not begun:
        move.events.add("create", epoch, tables=move.module.tables, source=move.source.site, target=move.target.site)
    move.fence(move.source)
    move.fence(move.target)
    for database in (move.source, move.target):  # a switch that was killed may have left them up
        move.lower_fences(database)
    _drop_crossing_foreign_keys(move)
    move.forward.publish()
    move.back.publish()
    if not begun:
        indexes.put_aside(move)
    move.forward.subscribe(copy=True)
    _wait_for_copy(move, move.forward, progress)
    indexes.put_back(move)
    # Before the switch, so that nothing written after it can be missed; without a copy, since origin = none would
    # not keep it from sending back what came from here.
    move.back.subscribe(copy=False)
    for stream in (move.forward, move.back):
        _wait_for_copy(move, stream, None)
        stream.hurry()
    for stream in (move.forward, move.back):
        _wait_for_copy(move, stream, None)  # its worker begins anew with the setting
    if fresh:
        for name in move.module.tables:
            move.target.run("analyze", table=table(name))
        move.events.add("ready", epoch)


def _check(move: Move) -> None:
    own = move.ownership(move.source)
    if own and own.owner == move.target.site:
        raise StranglerError(f"the move of {move.module.name} is complete; {own.owner} owns it for good")
    if missing := [line for side in (move.source, move.target) for line in preflight.missing_tables(move.module, side)]:
        raise AwayError("; ".join(missing))
    if found := preflight.check(move.module, move.source, move.target).refusals:
        raise StranglerError("; ".join(found))


def _install(move: Move, database: Database) -> None:
    with database.transaction():
        database.run("install", site=sql.Literal(database.site))
        if database is move.source:
            database.run("install_source")
        else:
            database.run("install_target")


def _drop_crossing_foreign_keys(move: Move) -> None:
    for key in move.source.run("crossing_foreign_keys", {"tables": move.regclasses()}):
        move.source.patiently(f"drop {key['name']}", lambda key=key: _drop_foreign_key(move, key))  # type: ignore[misc]


def _drop_foreign_key(move: Move, key: dict[str, Any]) -> None:
    with move.source.transaction():
        move.source.run("remember_constraint", {**key, "module": move.module.name})
        move.source.run("drop_constraint", table=table(key["table"]), name=sql.Identifier(key["name"]))


def _wait_for_copy(move: Move, stream: Stream, progress: Progress | None) -> None:
    if move.plan is not None:
        return
    failures = None
    while True:
        found = stream.subscription()
        if found is None:
            raise StranglerError(f"the stream {stream.name} was removed while it copied")
        if progress:
            progress(stream.progress())
        if found["ready"] and found["working"]:
            return
        if lost := stream.stranded():
            raise StranglerError(
                f"{', '.join(lost)} will never be ready, the slot to catch up from is gone; run `cancel`, then `create`"
            )
        errors = found["sync_errors"] + found["apply_errors"]
        failures = errors if failures is None else failures
        if errors - failures >= COPY_FAILURES:
            raise NotYetError(
                f"the copy to {stream.subscriber.site} keeps failing; its PostgreSQL log says why; mend it and run "
                "`create` again, or `cancel`"
            )
        time.sleep(0.1)
