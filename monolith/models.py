"""The tables of the forum, all in one database, tied together as monoliths are: foreign keys and joins across modules.

Alembic makes them (`monolith/migrations`). A foreign key that crosses modules goes when one of the two is moved, so no
view may depend on it, and joins to authors are outer joins.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Text,
    false,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Unmapped, mapped_column, relationship

from forum.archive import imports_table
from forum.events import inbox_table, outbox_table, parked_table
from forum.idempotency import idempotency_table
from forum.search import search_column, search_index


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )
    type_annotation_map = {int: BigInteger, str: Text, datetime: DateTime(timezone=True)}  # noqa: RUF012


def _id() -> Mapped[int]:
    return mapped_column(BigInteger, Identity(always=False), primary_key=True)


def _now() -> Mapped[datetime]:
    return mapped_column(DateTime(timezone=True), server_default=func.now())


def _to(column: str, ondelete: str, **options: Any) -> Mapped[Any]:
    return mapped_column(BigInteger, ForeignKey(column, ondelete=ondelete), **options)


# The database takes care of the rows that hang on a deleted one, and nothing is loaded unseen: `lazy="raise"`.
_MANY: dict[str, Any] = {"lazy": "raise", "passive_deletes": "all"}


class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        Index("users_username_key", func.lower(text("username")), unique=True),
        Index("users_email_key", func.lower(text("email")), unique=True),
        CheckConstraint("role IN ('member', 'moderator')", name="role"),
    )

    id: Mapped[int] = _id()
    username: Mapped[str]
    display_name: Mapped[str]
    email: Mapped[str]
    bio: Mapped[str] = mapped_column(server_default="")
    role: Mapped[str] = mapped_column(server_default="member")
    password_hash: Mapped[str]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()

    sessions: Mapped[list[Session]] = relationship(back_populates="user", **_MANY)
    topics: Mapped[list[Topic]] = relationship(back_populates="author", **_MANY)
    messages: Mapped[list[Message]] = relationship(back_populates="author", **_MANY)


class Session(Base):
    """One refresh token. A log-in begins a family; each refresh adds a member and retires the one before."""

    __tablename__ = "sessions"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = _to("users.id", "CASCADE", index=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    family: Mapped[UUID] = mapped_column(index=True)
    created_at: Mapped[datetime] = _now()
    expires_at: Mapped[datetime] = mapped_column(index=True)
    rotated_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(back_populates="sessions", lazy="raise")


class Topic(Base):
    __tablename__ = "topics"
    __table_args__ = (
        Index("topics_activity_idx", "pinned", "last_activity_at", "id"),
        search_index("topics"),
    )

    id: Mapped[int] = _id()
    author_id: Mapped[int | None] = _to("users.id", "SET NULL", index=True)
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

    author: Mapped[User | None] = relationship(back_populates="topics", lazy="raise")
    messages: Mapped[list[Message]] = relationship(back_populates="topic", **_MANY)


class TopicRead(Base):
    """How far a user has read a topic."""

    __tablename__ = "topics_reads"

    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    topic_id: Mapped[int] = _to("topics.id", "CASCADE", primary_key=True, index=True)
    message_id: Mapped[int]
    until: Mapped[datetime]


class Message(Base):
    __tablename__ = "messages"
    __table_args__ = (
        Index("messages_topic_idx", "topic_id", "id", postgresql_include=["created_at"]),
        search_index("messages"),
    )

    id: Mapped[int] = _id()
    topic_id: Mapped[int] = _to("topics.id", "CASCADE")
    author_id: Mapped[int | None] = _to("users.id", "SET NULL", index=True)
    reply_to: Mapped[int | None] = _to("messages.id", "SET NULL", index=True)
    body: Mapped[str]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    search: Unmapped[Any] = search_column("body")

    topic: Mapped[Topic] = relationship(back_populates="messages", lazy="raise")
    author: Mapped[User | None] = relationship(back_populates="messages", lazy="raise")


class MessagesCounted(Base):
    """How often a topic's messages were counted (forum/events/counting.py)."""

    __tablename__ = "messages_counted"

    topic_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    version: Mapped[int]


users_idempotency = idempotency_table(Base.metadata, "users")
topics_idempotency = idempotency_table(Base.metadata, "topics")
messages_idempotency = idempotency_table(Base.metadata, "messages")
topics_inbox = inbox_table(Base.metadata, "topics")
messages_inbox = inbox_table(Base.metadata, "messages")
topics_parked = parked_table(Base.metadata, "topics")
messages_parked = parked_table(Base.metadata, "messages")
messages_imports = imports_table(Base.metadata)
outbox = outbox_table(Base.metadata)
