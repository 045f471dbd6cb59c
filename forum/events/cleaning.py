"""Rows that are kept for a while and then deleted, a few at a time, by whoever owns them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from forum.events.relay import KEEP
from strangler.fence import is_fenced

BATCH = 500
PAUSE = 600.0  # seconds between rounds


@dataclass(frozen=True)
class Expiry:
    """Rows of `table` go when `column` is older than `keep`. `module` owns the table; None: the database does."""

    table: str
    column: str
    keep: timedelta = KEEP
    module: str | None = None

    @classmethod
    def idempotency(cls, module: str, keep: timedelta = KEEP) -> Expiry:
        return cls(f"{module}_idempotency", "created_at", keep, module)

    @classmethod
    def inbox(cls, module: str, keep: timedelta = KEEP) -> Expiry:
        """Twice as long as the outbox: what a relay may publish again, an inbox must still know."""
        return cls(f"{module}_inbox", "handled_at", 2 * keep, module)

    @classmethod
    def outbox(cls, keep: timedelta = KEEP) -> Expiry:
        """Rows not yet published stay: their `published_at` is null."""
        return cls("outbox", "published_at", keep)


class Cleaner:
    """Deletes what has expired. `owns` says whether this site owns a module now."""

    def __init__(self, engine: Engine, owns: Callable[[str], bool], expiries: Sequence[Expiry]) -> None:
        self._engine = engine
        self._owns = owns
        self._expiries = list(expiries)

    def step(self) -> float:
        """One batch of each. Seconds after which to call again."""
        more = False
        for expiry in self._expiries:
            if expiry.module is None or self._owns(expiry.module):
                more |= self._delete(expiry) == BATCH
        return 0.1 if more else PAUSE

    def _delete(self, expiry: Expiry) -> int:
        """In short transactions: a switch waits for those in flight."""
        statement = text(
            f"DELETE FROM {expiry.table} WHERE ctid = ANY (ARRAY("  # noqa: S608
            f"SELECT ctid FROM {expiry.table} WHERE {expiry.column} < now() - :keep LIMIT {BATCH}))"
        )
        try:
            with self._engine.begin() as connection:
                return connection.execute(statement, {"keep": expiry.keep}).rowcount
        except DBAPIError as error:
            if is_fenced(error):
                return 0
            raise
