"""Tables of the events: the outbox (one per database, stays with it); a module's inbox and parked events (move)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Engine,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session, scoped_session

from forum import tracing
from forum.database import Reading

_EMIT = text(
    "INSERT INTO outbox (event_id, type, payload, traceparent)"
    " VALUES (:event_id, :type, CAST(:payload AS jsonb), :traceparent)"
)
_DRAINED = "SELECT NOT EXISTS (SELECT FROM outbox WHERE published_at IS NULL)"


def outbox_table(metadata: MetaData) -> Table:
    """The definition of `outbox`, for a model's metadata."""
    table = Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(always=False), primary_key=True),
        Column("event_id", Uuid, nullable=False),
        Column("type", Text, nullable=False),
        Column("payload", JSONB, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("published_at", DateTime(timezone=True), nullable=True),
        Column("traceparent", Text, nullable=True),
    )
    Index("outbox_waiting", table.c.id, postgresql_where=table.c.published_at.is_(None))
    Index("outbox_published", table.c.published_at)
    return table


def inbox_table(metadata: MetaData, module: str) -> Table:
    """The definition of `MODULE_inbox`, for a model's metadata."""
    return Table(
        f"{module}_inbox",
        metadata,
        Column("event_id", Uuid, primary_key=True),
        Column("handled_at", DateTime(timezone=True), nullable=False, server_default=func.now(), index=True),
    )


def parked_table(metadata: MetaData, module: str) -> Table:
    """The definition of `MODULE_parked`: events that their handler could not cope with, until an operator decides.

    The payload is text: what jsonb would refuse must be kept, too.
    """
    return Table(
        f"{module}_parked",
        metadata,
        Column("event_id", Uuid, primary_key=True),
        Column("type", Text, nullable=False),
        Column("payload", Text, nullable=False),
        Column("at", DateTime(timezone=True), nullable=False),
        Column("error", Text, nullable=False),
        Column("deliveries", Integer, nullable=False),
        Column("parked_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )


def emit(session: Session | scoped_session[Session], type_: str, *payloads: Mapping[str, Any]) -> None:
    """Tell the other modules: published after the session's transaction commits, never if it does not.

    Each of `payloads` is an event. They must be JSON: ids as integers, times as RFC 3339 text.
    """
    more = {"type": type_, "traceparent": tracing.traceparent()}
    rows = [{"event_id": uuid4(), "payload": json.dumps(payload), **more} for payload in payloads]
    if rows:
        session.execute(_EMIT, rows)


def drained(engine: Engine) -> bool:
    """Whether every committed event of this database has been published. Raises as Reading.exec_driver_sql."""
    with closing(Reading(engine)) as reading:
        return reading.exec_driver_sql(_DRAINED).fetchone() == (True,)
