"""Secondary indexes of the target: put aside before the copy and built again after it, which is faster by far.

Their definitions are kept in the target's database, in the transaction that drops them: a kill loses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from strangler.sql import quoted, table

if TYPE_CHECKING:
    from strangler.database import Database
    from strangler.move import Move


def put_aside(move: Move) -> None:
    """Drop and remember what neither a row's identity nor another constraint needs."""
    for index in _droppable(move):
        move.target.patiently(f"drop {index['name']}", lambda index=index: _put_aside(move, index))  # type: ignore[misc]


def put_back(move: Move) -> None:
    """Build again what was put aside."""
    move.target.run("memory_for_indexes")
    # A dry run has put nothing aside.
    for index in missing(move) if move.plan is None else _droppable(move):
        move.target.patiently(f"build {index['name']}", lambda index=index: _put_back(move.target, index))  # type: ignore[misc]


def restore(move: Move) -> None:
    """The same in the current transaction."""
    for index in missing(move):
        _build(move.target, index)


def missing(move: Move) -> list[dict[str, Any]]:
    """table, name, definition and constraint of those put aside."""
    if not move.target.value("puts_aside"):
        return []
    return move.target.run("aside_indexes", {"module": move.module.name})


def _droppable(move: Move) -> list[dict[str, Any]]:
    return [
        {"table": name, **index}
        for name in move.module.tables
        for index in move.target.run("droppable_indexes", {"table": quoted(name)})
    ]


def _put_aside(move: Move, index: dict[str, Any]) -> None:
    with move.target.transaction():
        move.target.run("put_index_aside", {**index, "module": move.module.name})
        if index["constraint"]:
            move.target.run("drop_constraint", table=table(index["table"]), name=sql.Identifier(index["constraint"]))
        else:
            move.target.run("drop_index", name=table(index["name"]))


def _put_back(database: Database, index: dict[str, Any]) -> None:
    with database.transaction():
        _build(database, index)


def _build(database: Database, index: dict[str, Any]) -> None:
    definition = sql.SQL(index["definition"])
    if index["constraint"]:
        pieces = {"table": table(index["table"]), "name": sql.Identifier(index["constraint"])}
        database.run("add_unique", definition=definition, **pieces)
    else:
        database.run("build_index", definition=definition)
    database.run("forget_index", {"name": index["name"]})
