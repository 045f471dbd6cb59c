"""The database of an application: engine, and a session for each request."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import ContextVar
from math import inf
from typing import Any, TypeVar, cast

from flask import Flask, g
from flask.globals import app_ctx
from psycopg import Connection as DriverConnection
from psycopg import Cursor, OperationalError
from sqlalchemy import ClauseElement, Connection, Engine, create_engine, event, make_url
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import PoolProxiedConnection

from forum.settings import SettingsError, StoreSettings
from strangler.recorder import RecordedConnection, recorder_of

_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]

STATEMENT_SECONDS = 15
"""No request waits longer for one statement."""
KEPT = 256
"""How much is kept of what was read while nothing is written."""
Found = dict[tuple[object, ...], Any]
Value = TypeVar("Value")

_trusting: ContextVar[bool] = ContextVar("trusting", default=False)


class Reading:
    """What somebody reads by who does nothing else: each statement has a snapshot of its own, and no transaction.

    The driver's own connection: for a page SQLAlchemy's part would take as long as PostgreSQL's, and so would BEGIN,
    ROLLBACK and a look whether the server is still there. If it is not, what was asked is asked again, once.
    """

    def __init__(self, engine: Engine, kept: Callable[[str], Found | None] = lambda _: None) -> None:
        """kept: what was found by who had seen a state; None when nothing may be kept."""
        self._engine, self._kept = engine, kept
        self._taken: PoolProxiedConnection | None = None
        self.state = ""
        """What the request's look at the owner saw; "" as long as it has not looked."""

    def looked(self, snapshot: str) -> None:
        """See strangler.ownership.Session."""
        self.state = snapshot

    def kept(self) -> Found | None:
        """What was found by who had seen the same state: it is as new as that or newer. None: nothing may be kept."""
        return self._kept(self.state) if self.state else None

    def exec_driver_sql(self, sql: str, values: Mapping[str, object] | None = None) -> Cursor[Any]:
        """Raises psycopg.Error, and SQLAlchemyError when no connection can be had."""
        connection = self._connection(trusting=True)
        try:
            return connection.execute(sql, values)
        except OperationalError:
            if not connection.broken:
                raise
        self.close()
        self.state = ""  # another server may answer now
        return self._connection(trusting=False).execute(sql, values)

    def close(self) -> None:
        """Give the connection back until something is asked again."""
        if self._taken is None:
            return
        connection = _driver(self._taken)
        if connection.broken:
            self._taken.invalidate()
        else:
            connection.autocommit = False
        self._taken.close()
        self._taken = None

    commit = rollback = close

    def in_transaction(self) -> bool:
        return False

    def _connection(self, trusting: bool) -> DriverConnection[Any]:
        if self._taken is None:
            token = _trusting.set(trusting)
            try:
                self._taken = self._engine.raw_connection()
            finally:
                _trusting.reset(token)
            _driver(self._taken).autocommit = True
        return _driver(self._taken)


def _driver(pooled: PoolProxiedConnection) -> DriverConnection[Any]:
    return cast(DriverConnection[Any], pooled.driver_connection)


AnyConnection = Connection | Reading


def once(
    connection: AnyConnection, find: Callable[[], Value], *key: Hashable,
    seconds: float = inf, keep: Callable[[Value], bool] = lambda _: True,
) -> Value:  # fmt: skip
    """What was found for `key` before, if nothing has been written since: the request's look at the owner saw that.

    seconds: for how long, since part of it comes from elsewhere. keep: whether it is small enough.
    """
    kept = connection.kept() if isinstance(connection, Reading) else None
    if kept is None:
        return find()
    place = time.monotonic() // seconds, *key
    if (before := kept.get(place)) is not None:
        return cast(Value, before)
    found = find()
    if keep(found):
        if len(kept) >= KEPT:
            kept.clear()
        kept[place] = found
    return found


class Statement:
    """A SELECT of columns that is put together once: to do so takes longer than to run it."""

    def __init__(self, select: ClauseElement) -> None:
        compiled = select.compile(dialect=_DIALECT)
        self._sql, self._values = str(compiled), compiled.params

    def rows(self, connection: AnyConnection, **values: object) -> Sequence[tuple[Any, ...]]:
        """The rows as the driver gives them. values: for the bindparams, by their names."""
        result = connection.exec_driver_sql(self._sql, {**self._values, **values})
        if isinstance(result, Cursor):
            return result.fetchall()
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
            connect_args={
                "connect_timeout": 3,
                "application_name": application_name,
                "options": f"-c statement_timeout={STATEMENT_SECONDS}s",
            },
        )
        event.listen(self.engine, "checkout", self._ping)
        self.recorded = recorder_of() is not None  # STRANGLER_RECORD names a file for `strangler analyze`
        if self.recorded:
            event.listen(self.engine, "do_connect", _connect_recorded)
        self.session: scoped_session[Session] = scoped_session(
            sessionmaker(self.engine, expire_on_commit=False),
            scopefunc=lambda: id(app_ctx._get_current_object()),  # type: ignore[attr-defined]
        )

        self._kept: tuple[str, Found] = ("", {})

    def kept(self, state: str) -> Found | None:
        """See Reading."""
        if self.recorded:  # every read is to be seen
            return None
        kept = self._kept
        if kept[0] != state:
            kept = self._kept = state, {}
        return kept[1]

    @classmethod
    def of(cls, settings: StoreSettings, application_name: str = "forum") -> Database:
        return cls(settings.database_url.get_secret_value(), settings.threads, application_name)

    def init_app(self, app: Flask) -> None:
        app.teardown_appcontext(self.give_back)

    def reading(self) -> Reading:
        """The request's, until its end or `give_back`."""
        if "reading" not in g:
            g.reading = Reading(self.engine, self.kept)
        found: Reading = g.reading
        return found

    def let_go(self) -> None:
        """Commit, and hold no connection, until the request goes on."""
        if self.session.registry.has():
            self.session.commit()
        self.reading().close()

    def give_back(self, _: object = None) -> None:
        """End the request's transactions, and give back their connections."""
        self.session.remove()  # rolls back what was not committed
        reading: Reading | None = g.pop("reading", None)
        if reading is not None:
            reading.close()

    def _ping(self, connection: DBAPIConnection, *_: object) -> None:
        """A connection that died with its server is replaced before it can fail a request.

        https://docs.sqlalchemy.org/en/20/core/pooling.html#custom-legacy-pessimistic-ping
        """
        if _trusting.get():
            return
        try:
            self.engine.dialect.do_ping(connection)
        except OperationalError:
            raise InvalidatePoolError from None


def _connect_recorded(_dialect: Any, _record: Any, words: list[Any], named: dict[str, Any]) -> RecordedConnection:
    return RecordedConnection.connect(*words, **named)


def psycopg_url(url: str) -> str:
    """The URL that SQLAlchemy wants of the one that everyone else writes. Raises SettingsError."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError("DATABASE_URL: must be postgresql://user:password@host:port/database") from None
    if parsed.get_backend_name() != "postgresql":
        raise SettingsError("DATABASE_URL: must start with postgresql://")
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
