"""Notes what an application really does to its database, for `strangler analyze`.

    from strangler.recorder import record
    record()     # does nothing unless $STRANGLER_RECORD names a file

in the application, before its first request; then run its tests, or some load, and read the file with
`strangler analyze --recording FILE`. For each statement, without its values: where in the code it came from and how
often it ran; for each kind of transaction: which statements it held. Nothing is parsed here.

Covered: every engine of SQLAlchemy, Flask-SQLAlchemy and SQLAlchemy's asyncio (`record`), and psycopg 3 by itself
(`RecordedConnection`). Not covered: psycopg's AsyncConnection by itself, psycopg 2 by itself, asyncpg by itself.

Every line of the file is a JSON object of one of three kinds; unknown keys are for later versions:

    {"statement": id, "sql": text}                                   before its first use, by each process
    {"ran": id, "at": "file.py:7", "count": 3}                       since the last such line of this process
    {"transaction": [[id, "file.py:7"], ...], "end": "commit", "count": 2}
"""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from strangler.normalise import normalise
from strangler.place import place

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

VARIABLE = "STRANGLER_RECORD"
FLUSH_SECONDS = 1.0
"""What a killed process loses: the counts of this long, of statements and transactions that are in the file already."""
MOST_USES = 300
"""Different statements of one transaction that are kept; `"cut": true` says that there were more."""
MOST_NEW = 200
"""Statements that wait for the end of their transaction to be written."""
MOST_SEEN = 20_000
"""Statements and kinds of transaction that a process remembers to have written."""

log = logging.getLogger(__name__)
End = Literal["commit", "rollback"]
Use = tuple[str, str]
"""A statement's id and the place in the code."""
Unit = Counter[Use]
"""One transaction so far."""


class Recorder:
    """Appends to one file, from all threads of this process and beside other processes."""

    def __init__(self, path: str | Path) -> None:
        """Raises OSError when the file cannot be opened for appending."""
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._forget()
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.flush)

    def _forget(self) -> None:
        """At the start, and in a forked child: what is not written yet is for the parent to write."""
        self._lock = threading.Lock()
        self._seen: set[object] = set()
        self._ran: Counter[Use] = Counter()
        self._transactions: Counter[tuple[frozenset[Use], End, bool]] = Counter()
        self._new: list[str] = []
        self._flushed = time.monotonic()

    def note(self, unit: Unit, statement: str) -> None:
        """A statement of the transaction `unit` is about to run; the code to name is up the stack."""
        number, text = _identified(statement)
        if number not in self._seen:
            with self._lock:
                self._seen.add(number)
                self._new.append(_line({"statement": number, "sql": text}))
                if len(self._new) >= MOST_NEW:
                    self._write()
        use = (number, place())
        if use in unit or len(unit) < MOST_USES:
            unit[use] += 1
        else:
            unit["", ""] += 1

    def end(self, unit: Unit, how: End) -> None:
        """The transaction is over; `unit` is empty afterwards. Never raises: the application goes first."""
        if not unit:
            return
        cut = unit.pop(("", ""), 0) > 0
        kind = (frozenset(unit), how, cut)
        with self._lock:
            self._ran.update(unit)
            self._transactions[kind] += 1
            due = kind not in self._seen or time.monotonic() - self._flushed > FLUSH_SECONDS
            self._seen.add(kind)
            if due:
                self._write()
        unit.clear()

    def flush(self) -> None:
        """Write what is not written yet. Called at the end of the process too."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        lines = self._new
        lines += [_line({"ran": use[0], "at": use[1], "count": count}) for use, count in self._ran.items()]
        for (uses, how, cut), count in self._transactions.items():
            more = {"cut": True} if cut else {}
            lines.append(_line({"transaction": sorted(uses), "end": how, "count": count, **more}))
        if lines and self._file >= 0:
            self._append(("\n" + "".join(lines)).encode())  # the empty line keeps half a line of a killed one apart
        self._new = []
        self._ran.clear()
        self._transactions.clear()
        self._flushed = time.monotonic()
        if len(self._seen) > MOST_SEEN:
            self._seen.clear()

    def _append(self, data: bytes) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                while data:
                    data = data[os.write(self._file, data) :]
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except OSError as error:
            log.warning("nothing is recorded any more: %s", error)
            os.close(self._file)
            self._file = -1

    # --- SQLAlchemy's events ------------------------------------------------------------------------------------------

    def on_statement(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        info = connection.info
        unit: Unit | None = info.get(VARIABLE)
        if unit is None:
            unit = info[VARIABLE] = Counter()
        first = not unit
        self.note(unit, statement)
        if first and getattr(connection.connection.dbapi_connection, "autocommit", False) is True:
            self.end(unit, "commit")

    def on_begin(self, connection: Connection, *_: Any) -> None:
        self._end_of(connection, "rollback")

    def on_commit(self, connection: Connection, *_: Any) -> None:
        self._end_of(connection, "commit")

    def on_rollback(self, connection: Connection, *_: Any) -> None:
        self._end_of(connection, "rollback")

    def _end_of(self, connection: Connection, how: End) -> None:
        if not connection.closed and not connection.invalidated:
            self.end(connection.info.setdefault(VARIABLE, Counter()), how)


def record(engine: Engine | type[Engine] | None = None, path: str | Path | None = None) -> Recorder | None:
    """Record the statements of `engine`, or of every engine, in `path` or the file that $STRANGLER_RECORD names.

    Does nothing and answers None when neither names a file. Again with the same engine it changes nothing. Of an
    AsyncEngine give its `sync_engine`. Raises OSError when the file cannot be written.
    """
    recorder = recorder_of(path)
    if recorder is None:
        return None
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    target = engine or Engine
    hooks: dict[str, Callable[..., None]] = {
        "before_cursor_execute": recorder.on_statement,
        "begin": recorder.on_begin,
        "begin_twophase": recorder.on_begin,
        "commit": recorder.on_commit,
        "commit_twophase": recorder.on_commit,
        "rollback": recorder.on_rollback,
        "rollback_twophase": recorder.on_rollback,
    }
    for name, hook in hooks.items():
        if not event.contains(target, name, hook):
            event.listen(target, name, hook)
    return recorder


def recorder_of(path: str | Path | None = None) -> Recorder | None:
    """The process's one recorder for `path` or $STRANGLER_RECORD; None when neither names a file."""
    name = str(path or os.environ.get(VARIABLE, ""))
    return _recorder(str(Path(name).absolute())) if name else None


_recorder = cache(Recorder)


@lru_cache(maxsize=2000)
def _identified_short(statement: str) -> tuple[str, str]:
    text = normalise(statement)
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest(), text


def _identified(statement: str) -> tuple[str, str]:
    long = len(statement) > 10_000  # one that is not kept in memory
    return _identified_short.__wrapped__(statement) if long else _identified_short(statement)


def _line(data: dict[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":")) + "\n"


# --- psycopg by itself -----------------------------------------------------------------------------------------------


class _Noting:
    """Notes what a cursor is told to run."""

    connection: psycopg.Connection[Any]

    def _note(self, query: Any) -> None:
        if isinstance(self.connection, RecordedConnection):
            self.connection.note(query)


class RecordedCursor(_Noting, psycopg.Cursor[Any]):
    def execute(self, query: Any, *args: Any, **kwargs: Any) -> RecordedCursor:
        self._note(query)
        super().execute(query, *args, **kwargs)
        return self

    def executemany(self, query: Any, *args: Any, **kwargs: Any) -> None:
        self._note(query)
        super().executemany(query, *args, **kwargs)

    def stream(self, query: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        self._note(query)
        return super().stream(query, *args, **kwargs)

    @contextmanager
    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Iterator[psycopg.Copy]:
        self._note(statement)
        with super().copy(statement, *args, **kwargs) as copy:
            yield copy


class RecordedServerCursor(_Noting, psycopg.ServerCursor[Any]):
    def execute(self, query: Any, *args: Any, **kwargs: Any) -> RecordedServerCursor:
        self._note(query)
        super().execute(query, *args, **kwargs)
        return self


class RecordedConnection(psycopg.Connection[Any]):
    """psycopg's connection, recorded: `RecordedConnection.connect(...)`, or `connection_class=` of a pool.

    Just a connection when $STRANGLER_RECORD names no file. A transaction ended by hand, with `execute("COMMIT")`, is
    seen as one with the next.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recorder = recorder_of()
        self._unit: Unit = Counter()
        if self._recorder is not None:
            self.cursor_factory = RecordedCursor
            self.server_cursor_factory = RecordedServerCursor

    def note(self, query: str | bytes | sql.Composable) -> None:
        """A cursor of this connection is about to run `query`."""
        if self._recorder is None:
            return
        if isinstance(query, sql.Composable):
            query = query.as_string(self)
        self._recorder.note(self._unit, query if isinstance(query, str) else query.decode("utf-8", "replace"))
        if self.autocommit and self.info.transaction_status == TransactionStatus.IDLE:
            self._over("commit")

    def _over(self, how: End) -> None:
        if self._recorder is not None:
            self._recorder.end(self._unit, how)

    def commit(self) -> None:
        super().commit()
        self._over("commit")

    def rollback(self) -> None:
        super().rollback()
        self._over("rollback")

    def close(self) -> None:
        super().close()
        self._over("rollback")

    @contextmanager
    def transaction(self, *args: Any, **kwargs: Any) -> Iterator[psycopg.Transaction]:
        outermost = self.info.transaction_status == TransactionStatus.IDLE
        how: End = "rollback"
        try:
            with super().transaction(*args, **kwargs) as transaction:
                yield transaction
            if transaction.status == transaction.Status.COMMITTED:
                how = "commit"
        finally:
            if outermost:
                self._over(how)
