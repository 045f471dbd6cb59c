"""The database of an application: engine, and a session for each request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Flask, g
from flask.globals import app_ctx
from psycopg import Connection as DriverConnection
from sqlalchemy import ClauseElement, Connection, create_engine, make_url
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import PoolProxiedConnection

from forum.settings import SettingsError, StoreSettings
from strangler.recorder import record

_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]

STATEMENT_SECONDS = 15
"""No request waits longer for one statement."""


AnyConnection = Connection | DriverConnection[Any]


class Statement:
    """A SELECT of columns that is put together once: to do so takes longer than to run it."""

    def __init__(self, select: ClauseElement) -> None:
        compiled = select.compile(dialect=_DIALECT)
        self._sql, self._values = str(compiled), compiled.params

    def rows(self, connection: AnyConnection, **values: object) -> Sequence[tuple[Any, ...]]:
        """The rows as the driver gives them. values: for the bindparams, by their names."""
        if isinstance(connection, DriverConnection):
            return connection.execute(self._sql, {**self._values, **values}).fetchall()
        result = connection.exec_driver_sql(self._sql, {**self._values, **values})
        found: Sequence[tuple[Any, ...]] = result.cursor.fetchall()
        result.close()
        return found


class Database:
    """`session` belongs to the current app context, so to the request: rolled back and given back at its end."""

    def __init__(self, url: str, connections: int = 8, application_name: str = "forum") -> None:
        """Raises SettingsError when `url` is not one. Does not connect yet."""
        self.engine = create_engine(
            psycopg_url(url),
            pool_size=connections,
            max_overflow=2,
            pool_timeout=10,
            hide_parameters=True,  # an error's message is logged, and parameters are people's names and addresses
            pool_pre_ping=True,  # a connection that died with its server is replaced before it can fail a request
            connect_args={
                "connect_timeout": 3,
                "application_name": application_name,
                "options": f"-c statement_timeout={STATEMENT_SECONDS}s",
            },
        )
        record(self.engine)  # what it runs, for `strangler analyze`, when STRANGLER_RECORD names a file
        self.session: scoped_session[Session] = scoped_session(
            sessionmaker(self.engine, expire_on_commit=False),
            scopefunc=lambda: id(app_ctx._get_current_object()),  # type: ignore[attr-defined]
        )

    @classmethod
    def of(cls, settings: StoreSettings, application_name: str = "forum") -> Database:
        return cls(settings.database_url.get_secret_value(), settings.threads, application_name)

    def init_app(self, app: Flask) -> None:
        app.teardown_appcontext(self.give_back)

    def reading(self) -> DriverConnection[Any]:
        """A connection, in a transaction, until the request's end or `give_back`: to do nothing with it but read.

        The driver's own: for a page SQLAlchemy's part would take as long as PostgreSQL's. Raises SQLAlchemyError.
        """
        if "reading" not in g:
            g.reading = self.engine.raw_connection()
        connection: DriverConnection[Any] = g.reading.driver_connection
        return connection

    def give_back(self, _: object = None) -> None:
        """End the request's transactions, and give back their connections."""
        self.session.remove()  # rolls back what was not committed
        reading: PoolProxiedConnection | None = g.pop("reading", None)
        if reading is None:
            return
        if getattr(reading.driver_connection, "broken", False):
            reading.invalidate()
        reading.close()  # rolls back


def psycopg_url(url: str) -> str:
    """The URL that SQLAlchemy wants of the one that everyone else writes. Raises SettingsError."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError("DATABASE_URL: must be postgresql://user:password@host:port/database") from None
    if parsed.get_backend_name() != "postgresql":
        raise SettingsError("DATABASE_URL: must start with postgresql://")
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
