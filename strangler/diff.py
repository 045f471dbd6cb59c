"""Comparing a module's tables at both sites while writes go on: no false alarm, no miss.

Tables are compared by checksums of chunks in key order. A chunk that differs is looked at again row by row, and a row
that differs is judged by three looks: at the owner, then, once the other side has replayed past that moment, at the
other side, and at the owner again. If the owner's row has stayed what it was (same content, same xmin), the other side
had every chance to show the same; then, and only then, it is a difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from strangler.errors import StranglerError
from strangler.replication import CATCH_UP_SECONDS
from strangler.sql import quoted, statement, table

if TYPE_CHECKING:
    from strangler.move import Move

Key = tuple[Any, ...]
Row = tuple[str, str]
"""md5 of the row's text, and its xmin."""

CHUNK_ROWS = 10_000
LOOKS = 50
"""How often a row that changes between two looks is looked at again before it is called undecided."""


@dataclass(frozen=True)
class Difference:
    """A row that is not the same. kind: missing (the other side lacks it), extra, different, or undecided."""

    table: str
    key: str
    kind: str


@dataclass(frozen=True)
class TableProgress:
    table: str
    rows: int
    of: int
    differences: int


@dataclass(frozen=True)
class LastDiff:
    finished: Any
    epoch: int
    differences: int


def last_diff(move: Move) -> LastDiff | None:
    return None


class Diff:
    """Compares the owner's tables with the other side's. Constant memory: one chunk's keys at a time."""

    def __init__(self, move: Move, chunk_rows: int = CHUNK_ROWS) -> None:
        self._owner = move.database(move.owner().owner)
        self._stream = move.stream_from(self._owner.site)
        self._stream.require_healthy()
        self._other = self._stream.subscriber
        self._tables = move.module.tables
        self._chunk_rows = chunk_rows

    def run(self, progress: Callable[[TableProgress], None] | None = None) -> Iterator[Difference]:
        """Every difference, as it is found. Raises NotYetError when the other side does not catch up."""
        with self._owner.connect() as here, self._other.connect() as there:
            for connection in (here, there):
                connection.row_factory = tuple_row  # type: ignore[assignment]
                connection.execute(statement("session"))
            for name in self._tables:
                yield from _TableDiff(self, name, here, there).run(progress)

    def catch_up(self) -> None:
        self._stream.catch_up(CATCH_UP_SECONDS)

    def describe(self, name: str) -> tuple[list[str], list[str], int]:
        """Key columns, all columns, and about how many rows."""
        parameters = {"table": quoted(name)}
        key = [row["attname"] for row in self._owner.run("primary_key", parameters)]
        if not key:
            raise StranglerError(f"{self._owner.site}: {name} has no primary key; add one")
        columns = [row["name"] for row in self._owner.run("columns", parameters)]
        return key, columns, max(0, self._owner.value("rows", parameters))

    @property
    def chunk_rows(self) -> int:
        return self._chunk_rows


class _TableDiff:
    def __init__(self, diff: Diff, name: str, here: psycopg.Connection[Any], there: psycopg.Connection[Any]) -> None:
        self._diff, self._name, self._here, self._there = diff, name, here, there
        self._keys, columns, self._rows = diff.describe(name)
        self._pieces: dict[str, sql.Composable] = {
            "table": table(name),
            "key": sql.SQL(", ").join(map(sql.Identifier, self._keys)),
            "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
        }

    def run(self, progress: Callable[[TableProgress], None] | None) -> Iterator[Difference]:
        after: Key | None = None
        rows = found = 0
        while True:
            upto = self._boundary(after)
            here, there = (self._checksum(site, after, upto) for site in (self._here, self._there))
            rows += here[0]
            if here != there:
                for difference in self._judge(after, upto):
                    found += 1
                    yield difference
            if progress:
                progress(TableProgress(self._name, rows, max(rows, self._rows), found))
            if upto is None:
                return
            after = upto

    def _range(self, after: Key | None, upto: Key | None) -> sql.Composable:
        """The rows with after < key <= upto; None is open."""
        parts: list[sql.Composable] = [sql.SQL("true")]
        for operator, bound in ((">", after), ("<=", upto)):
            if bound is not None:
                parts.append(
                    sql.SQL("({}) {} ({})").format(
                        self._pieces["key"], sql.SQL(operator), sql.SQL(", ").join(map(sql.Literal, bound))
                    )
                )
        return sql.SQL(" AND ").join(parts)

    def _boundary(self, after: Key | None) -> Key | None:
        found = self._here.execute(
            statement(
                "boundary", **self._pieces, after=self._range(after, None), rows=sql.Literal(self._diff.chunk_rows)
            )
        ).fetchone()
        return None if found is None else tuple(found)

    def _checksum(self, site: psycopg.Connection[Any], after: Key | None, upto: Key | None) -> tuple[int, str]:
        found = site.execute(statement("checksum", **self._pieces, range=self._range(after, upto))).fetchone()
        assert found is not None
        return found[0], found[1]

    def _hashes(self, site: psycopg.Connection[Any], after: Key | None, upto: Key | None) -> dict[str, tuple[str, Key]]:
        found = site.execute(statement("row_hashes", **self._pieces, range=self._range(after, upto)))
        return {text: (md5, key) for text, md5, _, *key in found}

    def _judge(self, after: Key | None, upto: Key | None) -> Iterator[Difference]:
        self._diff.catch_up()
        here, there = (self._hashes(site, after, upto) for site in (self._here, self._there))
        for text in sorted(here.keys() | there.keys()):
            one, other = here.get(text), there.get(text)
            if one is None or other is None or one[0] != other[0]:
                key = (one or other)[1]  # type: ignore[index]
                if kind := self._judge_row(key):
                    yield Difference(self._name, text.strip("()"), kind)

    def _judge_row(self, key: Key) -> str | None:
        for look in range(LOOKS):
            before = self._row(self._here, key)
            self._diff.catch_up()
            other = self._row(self._there, key)
            if (before and before[0]) == (other and other[0]):
                return None
            if before == self._row(self._here, key):
                return "missing" if other is None else "extra" if before is None else "different"
            time.sleep(0.001 * look)
        return "undecided"

    def _row(self, site: psycopg.Connection[Any], key: Key) -> Row | None:
        values = sql.SQL(", ").join(map(sql.Literal, key))
        return site.execute(statement("row_hash", **self._pieces, values=values)).fetchone()
