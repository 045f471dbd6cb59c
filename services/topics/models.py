"""The tables of topics (made by `services/topics/migrations`). Users are elsewhere: ids, no keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, MetaData, Text, false, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Unmapped, mapped_column

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


class Topic(Base):
    __tablename__ = "topics"
    __table_args__ = (
        Index("topics_activity_idx", "pinned", "last_activity_at", "id"),
        search_index("topics"),
    )

    id: Mapped[int] = _id()
    author_id: Mapped[int | None] = mapped_column(index=True)
    title: Mapped[str]
    locked: Mapped[bool] = mapped_column(server_default=false())
    pinned: Mapped[bool] = mapped_column(server_default=false())
    message_count: Mapped[int] = mapped_column(server_default=text("0"))
    last_activity_at: Mapped[datetime] = _now()
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    search: Unmapped[Any] = search_column("title")
    counted: Mapped[int] = mapped_column(server_default=text("0"))
    """The version of the count that `message_count` and `last_activity_at` are from (forum/events/counting.py)."""


class TopicRead(Base):
    """How far a user has read a topic."""

    __tablename__ = "topics_reads"

    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    topic_id: Mapped[int] = mapped_column(ForeignKey("topics.id", ondelete="CASCADE"), primary_key=True, index=True)
    message_id: Mapped[int]
    until: Mapped[datetime]


topics_idempotency = idempotency_table(Base.metadata, "topics")
topics_inbox = inbox_table(Base.metadata, "topics")
topics_parked = parked_table(Base.metadata, "topics")
outbox = outbox_table(Base.metadata)
