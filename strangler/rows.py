"""A table of a move at one site, read by key: by ranges, by pages, and row by row as hashes.

Keys travel as text, column by column, and are put back as literals of the column's type; so a key may be of any type,
and a position can be stored. Order and equality are always the database's, never Python's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from strangler.database import Database
from strangler.errors import StranglerError
from strangler.sql import quoted, statement, table

Key = tuple[str, ...]


class Row(NamedTuple):
    """hash: SHA-256 of the text of all columns. xmin: which transaction wrote this version of the row."""

    hash: str
    xmin: str


def hash_of(rows: Mapping[Key, Row], key: Key) -> str | None:
    """None where there is no such row."""
    row = rows.get(key)
    return row.hash if row else None


@contextmanager
def session(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A connection whose settings make the text of a value depend on the value alone."""
    with database.connect() as connection:
        connection.row_factory = tuple_row  # type: ignore[assignment]
        connection.prepare_threshold = None  # each range is a statement of its own that does not come again
        connection.execute(statement("session"))
        yield connection


class Rows:
    """One table over one `session`. Raises StranglerError when it has no primary key."""

    def __init__(self, connection: psycopg.Connection[Any], site: str, name: str) -> None:
        self.connection, self.site, self.name = connection, site, name
        connection.execute("SET search_path = pg_catalog")
        parameters = {"table": quoted(name)}
        key = connection.execute(statement("key_columns"), parameters).fetchall()
        if not key:
            raise StranglerError(f"{site}: {name} has no primary key; add one")
        columns = connection.execute(statement("columns"), parameters).fetchall()
        self._types = [sql.SQL(type_) for _, type_, _ in key]
        stored = [name for name, *_, generated in columns if not generated]
        self._pieces: dict[str, sql.Composable] = {
            "table": table(name),
            "key": _list(sql.Identifier("t", name) for name, _, _ in key),
            "key_text": _list(sql.SQL("{}::text").format(sql.Identifier("t", name)) for name, _, _ in key),
            "names": _list(sql.Identifier(f"k{n}") for n in range(len(key))),
            "values": _list(sql.SQL(f"v.k{n}::{type_}") for n, (_, type_, _) in enumerate(key)),
            "wanted": _list(sql.SQL(f"${n + 1}::text[]") for n in range(len(key))),
            "versions": sql.SQL(f"${len(key) + 1}"),
            "columns": _list(sql.Identifier("t", name) for name, *_ in columns),
            "texts": _list(_text(name, type_) for name, type_, *_ in columns),
            "stored": _list(sql.Identifier("t", name) for name in stored),
            "plain": _list(map(sql.Identifier, stored)),
        }
        if schemas := sorted({schema for _, _, schema in key} - {"pg_catalog"}):
            connection.execute(statement("key_operators", schemas=_list(map(sql.Identifier, schemas))))

    def estimate(self) -> int:
        """About how many rows, by the planner's statistics; 0 when it does not know."""
        found = self.connection.execute(statement("rows"), {"table": quoted(self.name)}).fetchone()
        return max(0, found[0]) if found else 0

    def load(self) -> int:
        """Client sessions at work in this database, the kit's own left out."""
        found = self.connection.execute(statement("active_sessions")).fetchone()
        assert found is not None
        return int(found[0])

    def boundary(self, after: Key | None, upto: Key | None, rows: int) -> Key | None:
        """The key of the last of the next so many rows of a range; None when there are fewer."""
        return self._run("boundary", range=self._range(after, upto), rows=sql.Literal(rows)).fetchone()

    def checksum(self, after: Key | None, upto: Key | None) -> tuple[int, str]:
        """Number of rows of a range, and the sum of their hashes."""
        found = self._run("checksum", range=self._range(after, upto)).fetchone()
        assert found is not None
        return found[0], found[1]

    def pages(self, after: Key | None, upto: Key | None, rows: int) -> Iterator[list[Key]]:
        """The keys of a range, so many at a time."""
        while True:
            page: list[Key] = self._run("keys", range=self._range(after, upto), rows=sql.Literal(rows)).fetchall()
            if page:
                yield page
            if len(page) < rows:
                return
            after = page[-1]

    def lookup(self, keys: Sequence[Key]) -> dict[Key, Row]:
        """Those of the keys that there are."""
        return {keys[n - 1]: Row(hash_, xmin) for n, hash_, xmin in self._by_key("rows_by_key", keys)}

    def lock(self, keys: Sequence[Key]) -> set[Key]:
        """Lock those of the keys that there are and that nobody else has locked, until the end of the transaction."""
        return {keys[n - 1] for (n,) in self._by_key("repair_lock", keys)}

    def delete(self, seen: Mapping[Key, Row]) -> bool:
        """Delete rows, each only if it still is the version that was seen; whether all of them were."""
        return self._by_key("repair_delete", list(seen), [row.xmin for row in seen.values()]).rowcount == len(seen)

    def copy_to(self, other: Rows, keys: Sequence[Key]) -> None:
        """Insert rows into the table at another site, byte by byte as they are here."""
        if not keys:
            return
        literals = _list(sql.SQL("({})").format(_list(map(sql.Literal, key))) for key in keys)
        read = statement("repair_read", **self._pieces, keys=literals)
        write = statement("repair_write", **{**other._pieces, "plain": self._pieces["plain"]})
        here, there = self.connection.cursor(), other.connection.cursor()
        with here.copy(read) as source, there.copy(write) as sink:
            for data in source:
                sink.write(data)

    def _by_key(self, name: str, keys: Sequence[Key], *more: list[str]) -> psycopg.Cursor[Any]:
        columns = [[key[n] for key in keys] for n in range(len(self._types))]
        return psycopg.RawCursor(self.connection).execute(statement(name, **self._pieces), [*columns, *more])

    def _run(self, name: str, **pieces: sql.Composable) -> psycopg.Cursor[Any]:
        return self.connection.execute(statement(name, **self._pieces, **pieces))

    def _literals(self, key: Key) -> sql.Composable:
        pairs = zip(key, self._types, strict=True)
        return _list(sql.SQL("{}::{}").format(sql.Literal(value), type_) for value, type_ in pairs)

    def _range(self, after: Key | None, upto: Key | None) -> sql.Composable:
        """The rows with after < key <= upto; None is open."""
        parts: list[sql.Composable] = [sql.SQL("true")]
        for operator, bound in ((">", after), ("<=", upto)):
            if bound is not None:
                parts.append(
                    sql.SQL("({}) {} ({})").format(self._pieces["key"], sql.SQL(operator), self._literals(bound))
                )
        return sql.SQL(" AND ").join(parts)


def _list(pieces: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(pieces)


def _text(column: str, type_: str) -> sql.Composed:
    """A column as text, byte by byte (a collation may call different texts equal).

    As part of a row it is slow, but never goes by a cast to text, which a type from outside pg_catalog may bring.
    """
    form = 'ROW({})::text COLLATE "C"' if "." in type_ else '{}::text COLLATE "C"'
    return sql.SQL(form).format(sql.Identifier("t", column))
