"""Reading a module's ownership row through the application's own session (DESIGN: any path leads to the owner)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from strangler.config import Module
from strangler.fence import sqlstate

UNDEFINED_TABLE = "42P01"

_INSTALLED = "SELECT to_regclass('strangler.ownership') IS NOT NULL"
_ROW = "SELECT owner, epoch FROM strangler.ownership WHERE module = %(module)s"


@dataclass(frozen=True)
class Ownership:
    """Who owns a module. `epoch` counts the switches; 0 means that no move was ever created."""

    owner: str
    epoch: int


class Session(Protocol):
    """A SQLAlchemy Session, scoped_session or Connection, or a psycopg Connection."""

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


def execute(session: Any, sql: str, parameters: Mapping[str, object] | None = None) -> tuple[Any, ...] | None:
    """The first row of `sql` (psycopg parameters) in the session's current transaction."""
    if isinstance(session, psycopg.Connection):
        cursor = session.cursor(row_factory=tuple_row)  # whatever the application's own rows look like
        return cursor.execute(sql, parameters).fetchone()  # type: ignore[arg-type, unused-ignore]
    connection = session if hasattr(session, "exec_driver_sql") else session.connection()
    row = connection.exec_driver_sql(sql, dict(parameters or {})).first()
    return None if row is None else tuple(row)


def is_idle(session: Any) -> bool:
    """Whether no transaction has begun."""
    if isinstance(session, psycopg.Connection):
        return session.info.transaction_status == TransactionStatus.IDLE
    return not session.in_transaction()


class OwnershipReader:
    """Reads ownership rows with one query a request, whether or not the kit has been installed in the database.

    Before the first move there is no schema `strangler`: then the module's source owns it. One serves all
    threads.
    """

    def __init__(self) -> None:
        self._installed = False

    def read(self, session: Any, module: Module) -> Ownership:
        if not self._installed:
            row = execute(session, _INSTALLED)
            if row is None or not row[0]:
                return Ownership(module.source, 0)
            self._installed = True
        try:
            row = execute(session, _ROW, {"module": module.name})
        except Exception as error:
            if sqlstate(error) != UNDEFINED_TABLE:  # gone again: the last move was cancelled
                raise
            session.rollback()
            self._installed = False
            return self.read(session, module)
        return Ownership(*row) if row else Ownership(module.source, 0)
