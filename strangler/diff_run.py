"""What is kept of a comparison in the source's database: how far it has come, and what the last one found."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Self

import psycopg
from psycopg import sql

from strangler.errors import AwayError, StranglerError
from strangler.ownership import Ownership
from strangler.rows import Key
from strangler.sql import statement

if TYPE_CHECKING:
    from strangler.move import Move

LOCK_MS = 3000
KEPT_ROWS = 1000
"""So many of a table's differences are kept, to be judged again when a killed comparison goes on."""


@dataclass(frozen=True)
class LastDiff:
    """The last comparison that came to its end. What was repaired since is still counted as a difference."""

    started: datetime
    finished: datetime
    owner: str
    epoch: int
    rows: int
    differences: int


def last_diff(move: Move) -> LastDiff | None:
    """None when no comparison of this move has come to its end."""
    if not move.source.value("diff_installed"):
        return None
    found = move.source.one("last_diff", {"module": move.module.name})
    return LastDiff(**found) if found else None


@dataclass(frozen=True)
class Difference:
    """A row that is not the same. kind: missing (the other side lacks it), extra, different, or undecided."""

    table: str
    values: Key
    """Of the key's columns, as text."""
    kind: str

    @property
    def key(self) -> str:
        """To be read: `a,250`."""
        return ",".join(f'"{value}"' if "," in value or '"' in value else value for value in self.values)

    def as_dict(self) -> dict[str, str]:
        return {"table": self.table, "key": self.key, "kind": self.kind}


@dataclass
class TableState:
    """How far a table has been compared. position: the key of the last row; None before the first."""

    table: str
    position: Key | None = None
    done: bool = False
    rows: int = 0
    differences: int = 0
    kept: list[Key] = field(default_factory=list)
    """Differences found before this process began."""
    new: list[Difference] = field(default_factory=list)
    """Differences to be kept with the next checkpoint."""
    stored: int = 0

    def room(self) -> int:
        """How many differences more may be kept."""
        return KEPT_ROWS - self.stored - len(self.new)


class DiffRun:
    """A comparison, begun or gone on with. Use as a context manager; it holds a lock, one comparison a module.

    One that was killed is gone on with at the same epoch and owner only, one that is finished never. Raises AwayError
    when another comparison of the module is at work.
    """

    def __init__(self, move: Move, own: Ownership, fresh: bool) -> None:
        if not move.source.value("diff_installed"):  # the move was created by an earlier version of the kit
            move.source.run("install_source")
        self._module = move.module.name
        self._connection = move.source.connect()
        self._lock = threading.Lock()
        who = {"module": move.module.name, "owner": own.owner, "epoch": own.epoch}
        try:
            self._take(who)
            self._run = None if fresh else self._value("diff_unfinished", who)
            if self._run is None:
                with self._connection.transaction():
                    self._connection.execute(statement("diff_drop_unfinished"), who)
                    self._run = self._value("diff_begin", who)
            self._states = self._load()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(psycopg.Error):  # or the next diff would meet a session that is just ending
            self._connection.execute(statement("diff_let_go"), {"module": self._module})
        self._connection.close()

    def _take(self, who: dict[str, object]) -> None:
        try:
            with self._connection.transaction():
                self._connection.execute(statement("wait_at_most", milliseconds=sql.Literal(LOCK_MS)))
                self._connection.execute(statement("diff_lock"), who)
        except psycopg.errors.LockNotAvailable:
            raise AwayError(f"another diff of {self._module} is at work; wait for it or end it") from None

    def _value(self, name: str, parameters: dict[str, object]) -> object:
        found = self._connection.execute(statement(name), parameters).fetchone()
        return next(iter(found.values())) if found else None

    def _load(self) -> dict[str, TableState]:
        found = {}
        for row in self._connection.execute(statement("diff_tables"), {"run": self._run}):
            kept = [tuple(key) for key in row.pop("kept")]
            # With more differences than are kept, not all could be judged again: that table begins anew.
            if row["differences"] <= len(kept):
                position = tuple(row.pop("position") or ()) or None
                found[row["table"]] = TableState(**row, position=position, kept=kept)
        return found

    def state(self, table: str) -> TableState:
        return self._states.get(table) or TableState(table)

    def checkpoint(self, state: TableState, anew: bool = False) -> None:
        """Keep how far a table has come. anew: the differences kept so far are to be forgotten.

        Raises StranglerError when the move was cancelled.
        """
        try:
            self._checkpoint(state, anew)
        except (psycopg.errors.UndefinedTable, psycopg.errors.ForeignKeyViolation):
            raise StranglerError(f"the move of {self._module} was cancelled while it was compared") from None

    def _checkpoint(self, state: TableState, anew: bool) -> None:
        with self._lock, self._connection.transaction():
            where = {"run": self._run, "table": state.table}
            self._connection.execute(
                statement("diff_checkpoint"),
                {**where, "position": list(state.position) if state.position else None, "done": state.done,
                 "rows": state.rows, "differences": state.differences},
            )  # fmt: skip
            if anew:
                self._connection.execute(statement("diff_forget_rows"), where)
                state.stored = 0
            if state.new:
                rows = [{**where, "key": list(one.values), "kind": one.kind} for one in state.new]
                self._connection.cursor().executemany(statement("diff_keep_row"), rows)
                state.stored += len(rows)
                state.new = []

    def finish(self) -> None:
        with self._lock:
            self._connection.execute(statement("diff_finish"), {"run": self._run})
