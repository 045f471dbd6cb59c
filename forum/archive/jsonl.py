"""`forum export` and `forum import jsonl`: the whole forum as lines of JSON, and from them, in an empty one, the same
forum again: ids, times, locks and pins, edits, replies, and posts without an author.

    {"forum": 1, "personal": true, "tables": {"users": ["id", "username", ...], ...}, "sequences": {"users": 17, ...}}
    {"table": "users", "row": {"id": 1, "username": "ada", ...}}
    ...
    {"end": {"users": 17, ...}}

Every column is in it that is not computed from others. What is not: sessions (everybody logs in again), the memory of
requests and events, and view counts, which are Redis's. With `personal` it holds e-mail addresses and password hashes,
as a backup must; without, it is what everybody can read, and its accounts cannot be logged in to until they have both.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NoReturn

import psycopg
from psycopg import sql
from rich.console import Console

from forum import bulk
from forum.archive import ArchiveError
from forum.archive.load import NO_PASSWORD, explained, require_owner

VERSION = 1
TABLES = ("users", "topics", "topics_reads", "messages", "messages_counted", "messages_imports")
"""In this order a row comes after those that it refers to."""
PERSONAL: Mapping[str, tuple[str, ...]] = {"users": ("email", "password_hash"), "topics_reads": ("user_id",)}
"""Columns that only their owner may know. A table that is nothing without them is left out with them."""

_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""


# --- out ------------------------------------------------------------------------------------------------------------


def export(dsn: str, path: Path | None, personal: bool = True, console: Console | None = None) -> Counter[str]:
    """Write the forum to `path` (None: standard output), as it is at one moment. Rows by table. Raises ArchiveError."""
    try:
        with _writing(path) as out, psycopg.connect(dsn, connect_timeout=5) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute("SET LOCAL TIME ZONE 'UTC'")
            tables = {table: _columns(connection, table) for table in TABLES if personal or table != "topics_reads"}
            with psycopg.connect(dsn, connect_timeout=5) as another:  # as of now, or later
                require_owner(another)
            if not personal:
                tables["users"] = [name for name in tables["users"] if name not in PERSONAL["users"]]
            _line(out, {
                "forum": VERSION, "personal": personal, "tables": tables, "sequences": _sequences(connection, tables),
            })  # fmt: skip
            rows = Counter[str]()
            with bulk.bars(console) as progress:
                for table, columns in tables.items():
                    rows[table] = _write(connection, out, table, columns, progress)
            _line(out, {"end": rows})
    except psycopg.Error as error:
        raise explained(error, "export") from error
    return rows


@contextmanager
def _writing(path: Path | None) -> Iterator[IO[str]]:
    """A file that nobody else can read, there when it is whole. Raises ArchiveError."""
    if path is None:
        yield sys.stdout
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:  # noqa: PTH123
            yield out
        part.replace(path)
    except OSError as error:
        raise ArchiveError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _columns(connection: psycopg.Connection[Any], table: str) -> list[str]:
    return [name for (name,) in connection.execute(_COLUMNS, (table,))]


def _sequences(connection: psycopg.Connection[Any], tables: Iterable[str]) -> dict[str, int]:
    """Where ids stand, which may be beyond the last row: the id of a deleted one is not given out again."""
    found = {}
    for table in tables:
        name = connection.execute(
            "SELECT pg_get_serial_sequence(%s, attname) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attidentity <> ''", (table, table),
        ).fetchone()  # fmt: skip
        if name:
            position = sql.SQL("SELECT last_value FROM {} WHERE is_called").format(sql.SQL(name[0]))
            row = connection.execute(position).fetchone()
            found[table] = int(row[0]) if row else 0
    return found


def _write(
    connection: psycopg.Connection[Any], out: IO[str], table: str, columns: list[str], progress: Any
) -> int:  # fmt: skip
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    source = sql.SQL(
        "COPY (SELECT json_build_object('table', {}::text, 'row', to_jsonb(t))::text FROM (SELECT {} FROM {}) t"
        " ORDER BY {}) TO STDOUT"
    ).format(sql.Literal(table), names, sql.Identifier(table), sql.Identifier(columns[0]))
    guess = connection.execute("SELECT greatest(reltuples, 1)::bigint FROM pg_class WHERE oid = %s::regclass", (table,))
    tell = bulk.bar(progress, table, (guess.fetchone() or [1])[0])
    done = 0
    with connection.cursor() as cursor, cursor.copy(source) as rows:
        for done, (text,) in enumerate(bulk.counted(rows.rows(), tell), start=1):  # noqa: B007
            out.write(f"{text}\n")
    return done


def _line(out: IO[str], content: Mapping[str, Any]) -> None:
    out.write(json.dumps(content) + "\n")


# --- in -------------------------------------------------------------------------------------------------------------


def load(dsn: str, path: Path, console: Console | None = None) -> Counter[str]:
    """Read `path` into an empty forum, all of it or nothing. Rows by table. Raises ArchiveError."""
    try:
        with path.open(encoding="utf-8") as file, psycopg.connect(dsn, connect_timeout=5) as connection:
            require_owner(connection)
            _require_empty(connection)
            return _load(connection, _Lines(path, file), console)
    except psycopg.Error as error:
        raise explained(error, f"import {path} into") from error
    except UnicodeDecodeError as error:
        raise ArchiveError(f"cannot read {path}: it is not UTF-8") from error
    except OSError as error:
        raise ArchiveError(f"cannot read {path}: {error.strerror or error}") from error


def _require_empty(connection: psycopg.Connection[Any]) -> None:
    for table in TABLES:
        if connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(table))).fetchone() is not None:
            raise ArchiveError(f"this forum has content already ({table}); import into an empty one: forum migrate")


class _Lines:
    """The lines of an export as objects, counted."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file = path, file
        self.number = 0
        self.end: Any = None

    def header(self) -> dict[str, Any]:
        found = self.next()
        if found is None or found.get("forum") != VERSION or not isinstance(found.get("tables"), dict):
            self.refuse(f"this is no export of a forum (version {VERSION})")
        return found

    def next(self) -> dict[str, Any] | None:
        line = self._file.readline()
        if not line:
            return None
        self.number += 1
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            self.refuse("not JSON")
        if not isinstance(found, dict):
            self.refuse("not a JSON object")
        return found

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Table and row, up to the end, which must come."""
        while (found := self.next()) is not None:
            if "end" in found:
                self.end = found["end"]
                return
            if not isinstance(found.get("row"), dict):
                self.refuse('no {"table": ..., "row": {...}}')
            yield str(found.get("table")), found["row"]
        self.refuse("the file ends here, without its last line: it is not whole")

    def refuse(self, why: str) -> NoReturn:
        raise ArchiveError(f"{self._path}, line {self.number}: {why}")


def _load(connection: psycopg.Connection[Any], lines: _Lines, console: Console | None) -> Counter[str]:
    header = lines.header()
    tables: dict[str, list[str]] = header["tables"]
    for table, columns in tables.items():
        unknown = set(columns) - set(_columns(connection, table)) if table in TABLES else {table}
        if unknown:
            lines.refuse(f"this forum has no {table}.{min(unknown)}: bring its tables up to date (forum migrate)")
    done = Counter[str]()
    with bulk.bars(console) as progress, connection.cursor() as cursor:
        for table, rows in groupby(lines.rows(), key=lambda found: found[0]):
            if table not in tables:
                lines.refuse(f"there is no table {table!r} in the first line")
            values = (_values(lines, tables[table], row) for _, row in rows)
            columns = tables[table]
            if table == "users" and not header.get("personal"):
                values = ((*row, f"user-{row[0]}@import.invalid", NO_PASSWORD) for row in values)
                columns = [*columns, *PERSONAL["users"]]
            done[table] += bulk.copy(cursor, table, columns, values, bulk.bar(progress, table, 1))
        if not isinstance(lines.end, dict) or Counter(lines.end) != done:
            lines.refuse(f"{dict(done)} rows were read where {lines.end} are told")
        _settle(cursor, header.get("sequences") or {})
    connection.commit()
    connection.autocommit = True
    for table in TABLES:
        connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))
    return done


def _values(lines: _Lines, columns: list[str], row: dict[str, Any]) -> tuple[Any, ...]:
    if row.keys() != set(columns):
        lines.refuse("the row has other columns than the first line says")
    return tuple(row[name] for name in columns)


def _settle(cursor: psycopg.Cursor[Any], sequences: Mapping[str, int]) -> None:
    """Ids go on where they stood; counters are what they count, also where an event was still under way."""
    for table, position in sequences.items():
        cursor.execute(
            sql.SQL(
                "SELECT setval(pg_get_serial_sequence({0}, 'id'), greatest({1}, (SELECT max(id) FROM {2}), 1),"
                " {1} > 0 OR EXISTS (SELECT FROM {2}))"
            ).format(sql.Literal(table), sql.Literal(int(position)), sql.Identifier(table))
        )
    cursor.execute("""
        UPDATE topics SET message_count = messages, last_activity_at = greatest(created_at, latest)
        FROM (SELECT topics.id, count(messages.id) AS messages, max(messages.created_at) AS latest
              FROM topics LEFT JOIN messages ON messages.topic_id = topics.id GROUP BY topics.id) AS counted
        WHERE topics.id = counted.id
          AND (message_count, last_activity_at) <> (messages, greatest(created_at, latest))""")
