"""What an operator does to events: look at those that were parked, try or drop them, publish again what was published.

All of it is rows: what is to be handled again goes through the outbox like any other event, so the worker does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, Engine, text


@dataclass(frozen=True)
class Parked:
    module: str
    event_id: UUID
    type: str
    payload: str
    at: datetime
    error: str
    deliveries: int
    parked_at: datetime


def parked(engine: Engine, modules: Sequence[str]) -> list[Parked]:
    """The oldest first."""
    columns = "event_id, type, payload, at, error, deliveries, parked_at"
    with engine.connect() as connection:
        return [
            Parked(module, *row)
            for module in modules
            for row in connection.execute(text(f"SELECT {columns} FROM {module}_parked ORDER BY parked_at, event_id"))  # noqa: S608
        ]


def retry(engine: Engine, modules: Sequence[str], event_ids: Sequence[UUID] | None) -> int:
    """Publish parked events again, as if their module had never seen them; None: all. How many.

    Raises DBAPIError; the fence's when a module has another owner.
    """
    with engine.begin() as connection:
        return sum(_retry(connection, module, event_ids) for module in modules)


def _retry(connection: Connection, module: str, event_ids: Sequence[UUID] | None) -> int:
    statement = text(
        f"WITH taken AS (DELETE FROM {module}_parked WHERE {_WANTED} RETURNING event_id, type, payload),"  # noqa: S608
        f" forgotten AS (DELETE FROM {module}_inbox WHERE event_id IN (SELECT event_id FROM taken))"
        " INSERT INTO outbox (event_id, type, payload) SELECT event_id, type, CAST(payload AS jsonb) FROM taken"
    )
    return connection.execute(statement, _chosen(event_ids)).rowcount


def drop(engine: Engine, modules: Sequence[str], event_ids: Sequence[UUID] | None) -> int:
    """Delete parked events, which nobody will ever handle then; None: all. How many. Raises as `retry`."""
    with engine.begin() as connection:
        return sum(
            connection.execute(
                text(f"DELETE FROM {module}_parked WHERE {_WANTED}"),  # noqa: S608
                _chosen(event_ids),
            ).rowcount
            for module in modules
        )


_WANTED = "CAST(:event_ids AS uuid[]) IS NULL OR event_id = ANY (CAST(:event_ids AS uuid[]))"


def _chosen(event_ids: Sequence[UUID] | None) -> dict[str, list[UUID] | None]:
    return {"event_ids": None if event_ids is None else list(event_ids)}


def replay(engine: Engine, since: datetime, keep: timedelta) -> int:
    """Publish again what was written to the outbox since then and is still there. How many events.

    Not what is older than `keep`: inboxes remember twice as long, so that they know everything that comes so.
    """
    statement = text(
        "UPDATE outbox SET published_at = NULL"
        " WHERE published_at IS NOT NULL AND created_at >= :since AND created_at > now() - :keep"
    )
    with engine.begin() as connection:
        return connection.execute(statement, {"since": since, "keep": keep}).rowcount
