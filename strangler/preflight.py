"""What must hold before a move is created. Looked at before anything is changed; each finding says its mend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from strangler.config import Module
from strangler.database import Database
from strangler.sql import quoted, table

OLDEST = 160000
"""`origin` came with PostgreSQL 16."""
FIXED = {16: 160009, 17: 170005}
"""Minor releases of May 2025 or later: before them an initial copy could lose rows (release notes 16.9, 17.5)."""
LONG_SECONDS = 10.0

SLOTS = "max_replication_slots", 2, "one for the stream and one more while the first copy runs"
SENDERS = "max_wal_senders", 2, "as many as slots"
WORKERS = (
    "max_logical_replication_workers",
    2,
    "one that applies and one that copies (and max_worker_processes with it)",
)
ORIGINS = "max_active_replication_origins, before PostgreSQL 18 max_replication_slots,", 2, "one a worker"


@dataclass
class Report:
    """Lines. refusals: what must be mended first; notices: what to know."""

    refusals: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.refusals += other.refusals
        self.notices += other.notices


def missing_tables(module: Module, database: Database) -> list[str]:
    """The tables that are not there (yet: a service may still be at its migrations), a line each with the mend."""
    return [
        f"{database.site}: there is no table {name}; create it (the service's migrations) or mend strangler.toml"
        for name in module.tables
        if not database.value("exists", {"table": quoted(name)})
    ]


def check(module: Module, source: Database, target: Database) -> Report:
    """Everything, for a move that has not begun. The tables exist."""
    found = Report()
    settings = {database.site: database.one("settings") or {} for database in (source, target)}
    for database in (source, target):
        found.add(_server(database, settings[database.site]))
    found.add(_pair(source, settings[source.site], target, settings[target.site]))
    for name in module.tables:
        for database in (source, target):
            found.add(_relation(name, database, settings[database.site]))
        # Secondary indexes are dropped there and built again.
        row = target.one("relation", {"table": quoted(name)}) or {}
        if not row["may_index"]:
            role = settings[target.site]["role"]
            found.refusals.append(
                f"{target.site}: role {role} may build no index; GRANT CREATE ON SCHEMA {row['schema']} TO {role}"
            )
    if found.refusals:
        return found
    found.add(shapes(module, source, target))
    for name in module.tables:
        found.add(_triggers(name, source, target))
        if not target.value("empty", table=table(name)):
            found.refusals.append(f"{target.site}: {name} has rows; empty it first (they would collide with the copy)")
    found.add(_waits(module, source, settings[source.site]))
    return found


def shapes(module: Module, source: Database, target: Database) -> Report:
    """Whether the tables look the same at both sites."""
    found = Report()
    for name in module.tables:
        found.add(_table(name, source, target))
        if not found.refusals:
            found.add(_rules(name, module, source, target))
            found.add(_counters(name, source, target))
    tables = {"tables": [quoted(name) for name in module.tables]}
    here, there = ({row["name"]: row["definition"] for row in side.run("types", tables)} for side in (source, target))
    for name in sorted(here.keys() & there.keys()):
        if here[name] != there[name]:
            found.refusals.append(
                f"{target.site}: type {name} is ({there[name]}), at {source.site} ({here[name]}); make them the same"
            )
    return found


def _server(database: Database, settings: dict[str, Any]) -> Report:
    found = Report()
    version, site = settings["version"], database.site
    if version < OLDEST:
        found.refusals.append(f"{site}: PostgreSQL {version // 10000} is too old; upgrade to 16 or later")
    elif version < FIXED.get(version // 10000, 0):
        found.refusals.append(
            f"{site}: this minor release can lose rows in a first copy; update PostgreSQL {version // 10000}"
        )
    if settings["wal_level"] != "logical":
        found.refusals.append(
            f"{site}: wal_level is {settings['wal_level']}; set wal_level = logical and restart PostgreSQL"
        )
    for kind, (name, needed, why) in {
        "free_slots": SLOTS, "free_senders": SENDERS, "free_workers": WORKERS, "free_origins": ORIGINS,
    }.items():  # fmt: skip
        if settings[kind] < needed:
            found.refusals.append(
                f"{site}: {max(0, settings[kind])} free of {name} but {needed} needed ({why}); raise it by "
                f"{needed - settings[kind]} and restart PostgreSQL"
            )
    if settings["sync_workers"] < 1:
        found.refusals.append(f"{site}: max_sync_workers_per_subscription is 0; set it to 2 and reload")
    role = settings["role"]
    if not settings["may_replicate"]:
        found.refusals.append(f"{site}: role {role} may not replicate; ALTER ROLE {role} REPLICATION, or a superuser")
    if not settings["may_subscribe"]:
        found.refusals.append(f"{site}: role {role} may not subscribe; GRANT pg_create_subscription TO {role}")
    if not settings["may_watch"]:
        found.refusals.append(f"{site}: role {role} cannot see how far a stream has got; GRANT pg_monitor TO {role}")
    if not settings["may_create"]:
        found.refusals.append(
            f"{site}: role {role} may create no schema; GRANT CREATE ON DATABASE {settings['database']} TO {role}"
        )
    if settings["slot_timeout"]:
        found.notices.append(
            f"{site}: idle_replication_slot_timeout is {settings['slot_timeout']}: a stream that stands still for so "
            f"long is lost; set it to 0 for the time of the move"
        )
    return found


def _pair(source: Database, here: dict[str, Any], target: Database, there: dict[str, Any]) -> Report:
    found = Report()
    if (here["cluster"], here["oid"]) == (there["cluster"], there["oid"]):
        found.refusals.append(
            f"{source.site} and {target.site} are one database, {here['database']}; give {target.site} its own"
        )
    if here["encoding"] != there["encoding"]:
        found.refusals.append(
            f"{target.site}: the encoding is {there['encoding']}, at {source.site} {here['encoding']}; create the "
            f"database with the same (not every text could be copied)"
        )
    if here["collation"] != there["collation"]:
        found.notices.append(
            f"{target.site}: texts sort by {there['collation']}, at {source.site} by {here['collation']}: lists may "
            f"come in another order, and `diff` is slower for text keys"
        )
    return found


def _relation(name: str, database: Database, settings: dict[str, Any]) -> Report:
    found, site = Report(), database.site
    row = database.one("relation", {"table": quoted(name)}) or {}
    if row["kind"] not in ("r", "p"):
        found.refusals.append(f"{site}: {name} is no table but a view, or foreign; take it out of strangler.toml")
        return found
    if row["persistence"] == "u":
        found.refusals.append(f"{site}: {name} is unlogged and would not replicate; ALTER TABLE {name} SET LOGGED")
    if row["partition"]:
        found.refusals.append(f"{site}: {name} is a partition; name the partitioned table in strangler.toml")
    if row["inherits"]:
        found.refusals.append(f"{site}: {name} has to do with inheritance, which is not supported; use partitions")
    if row["identity"] == "n":
        found.refusals.append(
            f"{site}: {name} has REPLICA IDENTITY NOTHING; ALTER TABLE {name} REPLICA IDENTITY DEFAULT"
        )
    if not row["ours"]:
        found.refusals.append(
            f"{site}: {name} does not belong to role {settings['role']}; grant it its owner's role, or use a superuser"
        )
    if row["row_security"] and not settings["superuser"]:
        found.refusals.append(f"{site}: {name} has row security, which would hide rows from the copy; use a superuser")
    for column in database.run("large_objects", {"table": quoted(name)}):
        found.notices.append(
            f"{site}: {name}.{column['name']} may refer to large objects, which do not replicate; keep them in a bytea"
        )
    return found


def _table(name: str, source: Database, target: Database) -> Report:
    parameters = {"table": quoted(name)}
    key = source.run("primary_key", parameters)
    if not key:
        return Report([f"{source.site}: {name} has no primary key; add one: UPDATE and DELETE could not be replicated"])
    if key != target.run("primary_key", parameters):
        return Report([f"{target.site}: {name} has another primary key than at {source.site}; make them the same"])
    columns, there = (_by("name", side, "columns", name) for side in (source, target))
    found = [
        f"{target.site}: {name} lacks the column {column}; add it ({row['type']})"
        for column, row in columns.items()
        if column not in there
    ]
    for column, row in there.items():
        if column not in columns:
            found.append(f"{target.site}: {name} has a column {column} that {source.site} lacks; make them the same")
        elif row != columns[column]:
            found.append(
                f"{target.site}: {name}.{column} is {_shape(row)}, at {source.site} {_shape(columns[column])}; "
                f"make them the same"
            )
    return Report(found)


def _by(key: str, database: Database, statement: str, name: str) -> dict[str, dict[str, Any]]:
    """What a statement finds of a table."""
    return {row[key]: row for row in database.run(statement, {"table": quoted(name)})}


def _shape(column: dict[str, Any]) -> str:
    parts = [column["type"], "not null" if column["not_null"] else "nullable"]
    parts += [f"collation {column['collation']}"] if column["collation"] else []
    parts += [f"generated as {column['generated']}"] if column["generated"] else []
    return " ".join(parts)


def _rules(name: str, module: Module, source: Database, target: Database) -> Report:
    parameters = {"table": quoted(name), "tables": [quoted(one) for one in module.tables]}
    here, there = ({row["definition"] for row in side.run("rules", parameters)} for side in (source, target))
    # Foreign keys do not fire on apply.
    return Report(
        [
            f"{target.site}: {name} has {rule}, which {source.site} lacks: a row could fail it; drop it"
            for rule in sorted(there - here)
            if not rule.startswith("FOREIGN KEY")
        ],
        [
            f"{target.site}: {name} lacks {rule} of {source.site}: nobody will watch that after the switch; add it"
            for rule in sorted(here - there)
        ],
    )


def _counters(name: str, source: Database, target: Database) -> Report:
    found = Report()
    here, there = (_by("column", side, "counters", name) for side in (source, target))
    for side, columns in ((source, here), (target, there)):
        for row in columns.values():
            if not row["owned"]:
                found.refusals.append(
                    f"{side.site}: {name}.{row['column']} counts by {row['sequence']}, which is not its own and would "
                    f"not move along; ALTER SEQUENCE {row['sequence']} OWNED BY {name}.{row['column']}"
                )
    for side, other, column in (
        *((target, source, column) for column in here.keys() - there.keys()),
        *((source, target, column) for column in there.keys() - here.keys()),
    ):
        found.refusals.append(
            f"{side.site}: {name}.{column} counts by a sequence at {other.site}, not here; make it an identity column"
        )
    return found


def _triggers(name: str, source: Database, target: Database) -> Report:
    found = Report()
    here, there = (_by("name", side, "triggers_of", name) for side in (source, target))
    for side, triggers in ((source, here), (target, there)):
        for row in triggers.values():
            if row["on_apply"]:
                found.refusals.append(
                    f"{side.site}: trigger {row['name']} of {name} fires for replicated rows too and would do its "
                    f"work twice; ALTER TABLE {name} ENABLE TRIGGER {row['name']} (without ALWAYS or REPLICA)"
                )
    if lacking := sorted(here.keys() - there.keys()):
        found.notices.append(
            f"{target.site}: {name} lacks trigger {', '.join(lacking)}: what that does at {source.site} will end"
        )
    return found


def _waits(module: Module, source: Database, settings: dict[str, Any]) -> Report:
    found = Report()
    for row in source.run("long_transactions", {"seconds": LONG_SECONDS}):
        found.notices.append(
            f"{source.site}: pid {row['pid']} ({row['who']}) is in a transaction for {row['seconds']:.0f} s; "
            f"the stream begins when it has ended"
        )
    for key in source.run("crossing_foreign_keys", {"tables": [quoted(name) for name in module.tables]}):
        found.notices.append(
            f"{source.site}: {key['table']} loses {key['name']} ({key['definition']}); `cancel` puts it back"
        )
    sizes = [source.one("relation", {"table": quoted(name)}) or {} for name in module.tables]
    size = sum(row["bytes"] for row in sizes)
    if 0 <= settings["slot_keeps"] < size:
        found.notices.append(
            f"{source.site}: max_slot_wal_keep_size is {settings['slot_keeps']:,} bytes for {size:,} bytes to copy: a "
            f"slot that falls behind further is lost; set it to -1 for the time of the move, or watch `status`"
        )
    found.notices.append(
        f"{size:,} bytes to copy: see that the target has room for them, and {source.site} for its log while that lasts"
    )
    return found
