"""What must hold before a move is created. Looked at before anything is changed; each finding says its mend."""

from __future__ import annotations

from strangler.config import Module
from strangler.database import Database
from strangler.sql import quoted, table

OLDEST = 160000
"""`origin` came with PostgreSQL 16."""
FIXED = {16: 160009, 17: 170005}
"""Minor releases of May 2025 or later: before them an initial copy could lose rows (release notes 16.9, 17.5)."""
SLOTS_NEEDED = 2
"""One for the stream and one more while the first copy runs."""


def findings(module: Module, source: Database, target: Database) -> list[str]:
    """Each a line: what is wrong, where, and the mend. Empty when the move can be created. The tables exist."""
    found: list[str] = []
    for database in (source, target):
        found += _server(database)
    return found or [line for name in module.tables for line in _table(name, source, target)]


def missing_tables(module: Module, database: Database) -> list[str]:
    """Likewise, the tables that are not there (yet: a service may still be at its migrations)."""
    return [
        f"{database.site}: there is no table {name}; create it (the service's migrations) or mend strangler.toml"
        for name in module.tables
        if not database.value("exists", {"table": quoted(name)})
    ]


def _server(database: Database) -> list[str]:
    found = []
    settings = database.one("settings") or {}
    version, site = settings["version"], database.site
    if version < OLDEST:
        found.append(f"{site}: PostgreSQL {version // 10000} is too old; upgrade to 16 or later")
    elif version < FIXED.get(version // 10000, 0):
        found.append(f"{site}: this minor release can lose rows in a first copy; update PostgreSQL {version // 10000}")
    if settings["wal_level"] != "logical":
        found.append(f"{site}: wal_level is {settings['wal_level']}; set wal_level = logical and restart PostgreSQL")
    for kind, name in (("free_slots", "max_replication_slots"), ("free_senders", "max_wal_senders")):
        if settings[kind] < SLOTS_NEEDED:
            found.append(f"{site}: {settings[kind]} free of {name}; raise it by {SLOTS_NEEDED} and restart PostgreSQL")
    if not settings["may_replicate"] or not settings["may_subscribe"]:
        found.append(
            f"{site}: this role may not replicate; use a superuser, or REPLICATION with pg_create_subscription"
        )
    return found


def _table(name: str, source: Database, target: Database) -> list[str]:
    parameters = {"table": quoted(name)}
    key = source.run("primary_key", parameters)
    if not key:
        return [f"{source.site}: {name} has no primary key; add one: UPDATE and DELETE could not be replicated"]
    if key != target.run("primary_key", parameters):
        return [f"{target.site}: {name} has another primary key than at {source.site}; make them the same"]
    columns = {row["name"]: row for row in source.run("columns", parameters)}
    there = {row["name"]: row for row in target.run("columns", parameters)}
    found = [
        f"{target.site}: {name} lacks the column {column}; add it ({row['type']})"
        for column, row in columns.items()
        if column not in there
    ]
    for column, row in there.items():
        if column not in columns:
            found.append(f"{target.site}: {name} has a column {column} that {source.site} lacks; make them the same")
        elif row != columns[column]:
            found.append(f"{target.site}: {name}.{column} is {_shape(row)}, at {source.site} {_shape(columns[column])}")
    if not found and not target.value("empty", table=table(name)):
        found.append(f"{target.site}: {name} has rows; empty it first (they would collide with the copy)")
    return found


def _shape(column: dict[str, object]) -> str:
    return f"{column['type']}{' not null' if column['not_null'] else ''}{' generated' if column['generated'] else ''}"
