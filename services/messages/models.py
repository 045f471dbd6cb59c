"""The tables of messages (made by `services/messages/migrations`). Users and topics are elsewhere: ids, no keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, MetaData, Text, func
from sqlalchemy.orm import DeclarativeBase, Mapped, Unmapped, mapped_column

from forum.archive import imports_table
from forum.events import inbox_table, outbox_table, parked_table
from forum.idempotency import idempotency_table
from forum.search import search_column, search_index


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={"ix": "%(table_name)s_%(column_0_N_name)s_idx"})
    type_annotation_map = {int: BigInteger, str: Text, datetime: DateTime(timezone=True)}  # noqa: RUF012


def _id() -> Mapped[int]:
    return mapped_column(BigInteger, Identity(always=False), primary_key=True)


def _now() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


class Message(Base):
    __tablename__ = "messages"
    __table_args__ = (
        Index("messages_topic_idx", "topic_id", "id", postgresql_include=["created_at"]),
        search_index("messages"),
    )

    id: Mapped[int] = _id()
    topic_id: Mapped[int]
    author_id: Mapped[int | None] = mapped_column(index=True)
    reply_to: Mapped[int | None] = mapped_column(ForeignKey("messages.id", ondelete="SET NULL"), index=True)
    body: Mapped[str]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    search: Unmapped[Any] = search_column("body")


class MessagesCounted(Base):
    """How often a topic's messages were counted (forum/events/counting.py)."""

    __tablename__ = "messages_counted"

    topic_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int]


messages_idempotency = idempotency_table(Base.metadata, "messages")
messages_inbox = inbox_table(Base.metadata, "messages")
messages_parked = parked_table(Base.metadata, "messages")
messages_imports = imports_table(Base.metadata)
outbox = outbox_table(Base.metadata)
