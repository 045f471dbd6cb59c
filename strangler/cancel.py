"""`cancel`: undo `create`, at any point at which the source is the owner. Both databases are as they were."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from strangler import indexes, repair
from strangler.errors import StranglerError
from strangler.handover import wait_for_arrival
from strangler.sql import quoted, table

if TYPE_CHECKING:
    from strangler.database import Database
    from strangler.move import Move


GRACE_SECONDS = 10.0


def cancel(move: Move, grace_seconds: float = 0.0) -> list[str]:
    """Returns a line for each foreign key that could be put back but not validated.

    grace_seconds: since a reverse. A request that the target's application took before it, and that has looked at the
    ownership row in a transaction of its own, could still write there when the fence is gone.
    Raises StranglerError when the target is the owner.
    """
    own = move.newest()
    if own and own.owner != move.source.site:
        raise StranglerError(f"{move.module.name} is owned by {move.target.site}; run `reverse` first")
    if own:  # after a reverse that was killed the target's last writes may still be on their way
        wait_for_arrival(move, move.source, own.epoch)
        if move.plan is None and (left := grace_seconds - move.events.seconds_since("reverse", move.target)) > 0:
            time.sleep(left)
    event = None
    if own and move.ownership(move.source):
        event = move.events.record("cancel", own.epoch)
    move.back.drop()
    move.forward.drop()
    for database in (move.source, move.target):
        repair.drop_origin(database, move.module.name)
    warnings = _restore_foreign_keys(move)
    if move.target.value("installed"):
        move.target.patiently("empty the tables", lambda: _clean_target(move))
    if move.source.value("installed"):
        move.source.patiently("remove the fence", lambda: _unfence(move, move.source))
    if event:
        move.events.log(event)
    return warnings


def _was_fenced(move: Move) -> bool:
    """Whether `create` has been at the target (it fences it before anything is copied to it)."""
    return any(up is not None for up in move.fences(move.target).values())


def _clean_target(move: Move) -> None:
    with move.target.transaction():
        move.target.run("lock_readers")
        if _was_fenced(move):
            # The fence goes with the rows: as long as there are rows here, nobody but the stream may write them.
            move.drop_fences(move.target)
            move.target.run("truncate", tables=sql.SQL(", ").join(table(name) for name in move.module.tables))
        indexes.restore(move)
        _disclaim(move, move.target)


def _unfence(move: Move, database: Database) -> None:
    with database.transaction():
        move.drop_fences(database)
        _disclaim(move, database)


def _disclaim(move: Move, database: Database) -> None:
    if database.value("still_used", {"module": move.module.name}):
        database.run("disclaim", {"module": move.module.name})
    else:
        database.run("uninstall")


def _restore_foreign_keys(move: Move) -> list[str]:
    if not move.source.value("installed"):
        return []
    warnings = []
    for key in move.source.run("remembered_constraints", {"module": move.module.name}):
        pieces = {"table": table(key["table"]), "name": sql.Identifier(key["name"])}
        if heir := _still_crossing(move, key):
            move.source.run("entrust_constraint", {**key, "module": heir})
            continue
        if not move.source.value("constraint_exists", {**key, "table": quoted(key["table"])}):
            definition = sql.SQL(key["definition"].removesuffix(" NOT VALID"))
            move.source.patiently(
                f"restore {key['name']}",
                lambda pieces=pieces, definition=definition: move.source.run(  # type: ignore[misc]
                    "add_constraint", definition=definition, **pieces
                ),
            )
        if not key["definition"].endswith(" NOT VALID"):
            try:
                move.source.run("validate_constraint", **pieces)
            except psycopg.errors.ForeignKeyViolation as error:
                warnings.append(
                    f"{key['table']}: {key['name']} is back for new rows, but old ones break it: "
                    f"{error.diag.message_detail}"
                )
        move.source.run("forget_constraint", key)
    return warnings


def _still_crossing(move: Move, key: dict[str, Any]) -> str | None:
    """Another module on the move that has just one end of the foreign key."""
    for row in move.source.run("others", {"module": move.module.name}):
        known = move.config.modules.get(row["module"])
        tables = known.tables if known else []
        if (key["table"] in tables) != (key["referenced"] in tables):
            return str(row["module"])
    return None
