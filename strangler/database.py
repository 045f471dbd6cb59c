"""A thin connector: one autocommit connection to a site's database, on which named statements run."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from strangler.errors import AwayError, NotYetError
from strangler.sql import changes, statement

LOCK_TIMEOUT_MS = 300
"""No command of the kit makes an application wait longer than this for a lock it is itself waiting for."""
PATIENCE_SECONDS = 60.0

OPTIONS = (
    f"-c lock_timeout={LOCK_TIMEOUT_MS}"
    # What a killed controller was at does not go on without it for longer than this.
    " -c client_connection_check_interval=1s"
    # Whatever the database's own settings: ours are for reading.
    " -c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC -c client_encoding=UTF8 -c statement_timeout=0"
)
OWN_PATH = " -c search_path=pg_catalog"
"""So that what the catalogue answers (types, constraints, triggers) names everything with its schema."""

T = TypeVar("T")


@dataclass(frozen=True)
class Planned:
    """A statement that a dry run did not run."""

    site: str
    text: str


class Database:
    """One site's database. With a `plan`, statements that change something are only noted there.

    Raises AwayError when it cannot be reached.
    """

    def __init__(self, site: str, dsn: str, plan: list[Planned] | None = None, options: str = OWN_PATH) -> None:
        self.site = site
        self.dsn = dsn
        self.plan = plan
        self._options = options
        self.connection = self.connect()

    def connect(self) -> psycopg.Connection[dict[str, Any]]:
        """Another connection to the same database."""
        try:
            connection = psycopg.connect(
                self.dsn, autocommit=True, row_factory=dict_row, connect_timeout=5, application_name="strangler",
                options=OPTIONS + self._options,
            )  # fmt: skip
            connection.execute(statement("send_autovacuum_away"))
        except psycopg.OperationalError as error:
            detail = str(error).strip().splitlines()[-1]
            raise AwayError(f"cannot reach the database of {self.site}: {detail}; check its dsn") from None
        return connection

    def run(
        self, name: str, parameters: dict[str, Any] | None = None, /, **pieces: sql.Composable
    ) -> list[dict[str, Any]]:
        """Run a named statement; its rows, if it has any."""
        query = statement(name, **pieces)
        if self.plan is not None and changes(name):
            self._note(psycopg.ClientCursor(self.connection).mogrify(query, parameters))
            return []
        cursor = self.connection.execute(query, parameters)
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

    def _note(self, text: str) -> None:
        assert self.plan is not None
        self.plan.append(Planned(self.site, text.rstrip("; \n") + ";"))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.plan is not None:
            before = len(self.plan)
            yield
            if len(self.plan) > before:
                self.plan.insert(before, Planned(self.site, "BEGIN;"))
                self._note("COMMIT")
            return
        with self.connection.transaction():
            yield

    def patiently(self, what: str, action: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
        """Do what needs a lock: give up after LOCK_TIMEOUT_MS, so that nobody queues behind us for long, and try again.

        Raises NotYetError after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                return action()
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                if time.monotonic() > deadline:
                    raise NotYetError(
                        f"{self.site}: no lock to {what} within {seconds:.0f} s; "
                        "end the long transaction (pg_stat_activity shows it) and run this again; if it is "
                        "autovacuum, GRANT SET ON PARAMETER deadlock_timeout TO the kit's user, and it gives way"
                    ) from None
            time.sleep(random.uniform(0.05, 0.5))  # noqa: S311

    def close(self) -> None:
        self.connection.close()
