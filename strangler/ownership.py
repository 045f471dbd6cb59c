"""Reading a module's ownership row through the application's own session (DESIGN: any path leads to the owner)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from strangler.config import Module
from strangler.fence import sqlstate

UNDEFINED_TABLE = "42P01"

_INSTALLED = "SELECT to_regclass('strangler.ownership') IS NOT NULL, pg_current_snapshot()::text"
_ROWS = "SELECT module, owner, epoch, pg_current_snapshot()::text FROM strangler.ownership"


@dataclass(frozen=True)
class Ownership:
    """Who owns a module. `epoch` counts the switches; 0 means that no move was ever created."""

    owner: str
    epoch: int


class Session(Protocol):
    """A SQLAlchemy Session, scoped_session or Connection, or a psycopg Connection.

    One that has a method `looked` is told by each look, as text, which transactions' work it saw. While that stays the
    same nothing has been committed in the whole cluster: what was read after a look may be shown again after any other
    that saw the same (unless a server forgets commits that were seen: synchronous_commit). https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
    """

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


def execute(session: Any, sql: str) -> Sequence[Any]:
    """The rows of `sql` in the session's current transaction."""
    if isinstance(session, psycopg.Connection):
        cursor = session.cursor(row_factory=tuple_row)  # whatever the application's own rows look like
        return cursor.execute(sql).fetchall()  # type: ignore[arg-type, unused-ignore]
    connection = session if hasattr(session, "exec_driver_sql") else session.connection()
    found: Sequence[Any] = connection.exec_driver_sql(sql).fetchall()
    return found


def is_idle(session: Any) -> bool:
    """Whether no transaction has begun."""
    if isinstance(session, psycopg.Connection):
        return session.info.transaction_status == TransactionStatus.IDLE
    return not session.in_transaction()


class OwnershipReader:
    """Reads ownership rows with one query, whether or not the kit has been installed in the database.

    Before the first move there is no schema `strangler`: then the module's source owns it. One serves all
    threads.
    """

    def __init__(self) -> None:
        self._installed = False

    def read(self, session: Any, module: Module) -> Ownership:
        return self.read_all(session, [module])[module.name]

    def read_all(self, session: Any, modules: Iterable[Module]) -> dict[str, Ownership]:
        """Of each module by its name. The table is a row for each module that ever moved, so it is read whole."""
        found = self._rows(session)
        if found and (looked := getattr(session, "looked", None)) is not None:
            looked(found[0][-1])
        rows = {row[0]: Ownership(*row[1:3]) for row in found}
        return {module.name: rows.get(module.name) or Ownership(module.source, 0) for module in modules}

    def _rows(self, session: Any) -> Sequence[Any]:
        """With the snapshot at the end of each. Without the schema one row of no module."""
        if not self._installed:
            installed, snapshot = execute(session, _INSTALLED)[0]
            if not installed:
                return [(None, "", 0, snapshot)]
            self._installed = True
        try:
            return execute(session, _ROWS)
        except Exception as error:
            if sqlstate(error) != UNDEFINED_TABLE:  # gone again: the last move was cancelled
                raise
            session.rollback()
            self._installed = False
            return self._rows(session)
