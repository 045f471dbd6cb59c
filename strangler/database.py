"""A thin connector: one autocommit connection to a site's database, on which named statements run."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from strangler.errors import AwayError, NotYetError
from strangler.sql import statement

LOCK_TIMEOUT = "300ms"
"""No command of the kit makes an application wait longer than this for a lock it is itself waiting for."""
PATIENCE_SECONDS = 60.0

T = TypeVar("T")


class Database:
    """One site's database. Raises AwayError when it cannot be reached."""

    def __init__(self, site: str, dsn: str) -> None:
        self.site = site
        self.dsn = dsn
        self.connection = self.connect()

    def connect(self) -> psycopg.Connection[dict[str, Any]]:
        """Another connection to the same database."""
        try:
            return psycopg.connect(
                self.dsn, autocommit=True, row_factory=dict_row, connect_timeout=5, application_name="strangler",
                options=f"-c lock_timeout={LOCK_TIMEOUT}",
            )  # fmt: skip
        except psycopg.OperationalError as error:
            detail = str(error).strip().splitlines()[-1]
            raise AwayError(f"cannot reach the database of {self.site}: {detail}; check its dsn") from None

    def run(
        self, name: str, parameters: dict[str, Any] | None = None, /, **pieces: sql.Composable
    ) -> list[dict[str, Any]]:
        """Run a named statement; its rows, if it has any."""
        cursor = self.connection.execute(statement(name, **pieces), parameters)
        return cursor.fetchall() if cursor.description else []

    def one(
        self, name: str, parameters: dict[str, Any] | None = None, /, **pieces: sql.Composable
    ) -> dict[str, Any] | None:
        """The first row of a named statement."""
        rows = self.run(name, parameters, **pieces)
        return rows[0] if rows else None

    def value(self, name: str, parameters: dict[str, Any] | None = None, /, **pieces: sql.Composable) -> Any:
        """The first column of the first row."""
        row = self.one(name, parameters, **pieces)
        return None if row is None else next(iter(row.values()))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.connection.transaction():
            yield

    def patiently(self, what: str, action: Callable[[], T]) -> T:
        """Do what needs a lock: give up after LOCK_TIMEOUT, so that nobody queues behind us for long, and try again.

        Raises NotYetError after PATIENCE_SECONDS.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return action()
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                if time.monotonic() > deadline:
                    raise NotYetError(
                        f"{self.site}: no lock to {what} within {PATIENCE_SECONDS:.0f} s; "
                        "end the long transaction (pg_stat_activity shows it) and run this again"
                    ) from None
            time.sleep(random.uniform(0.05, 0.5))  # noqa: S311

    def close(self) -> None:
        self.connection.close()
