"""The tables of users (made by `services/users/migrations`)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, MetaData, Text, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from forum.events import outbox_table
from forum.idempotency import idempotency_table


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={"ix": "%(table_name)s_%(column_0_N_name)s_idx"})
    type_annotation_map = {int: BigInteger, str: Text, datetime: DateTime(timezone=True)}  # noqa: RUF012


def _id() -> Mapped[int]:
    return mapped_column(BigInteger, Identity(always=False), primary_key=True)


def _now() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        Index("users_username_key", func.lower(text("username")), unique=True),
        Index("users_email_key", func.lower(text("email")), unique=True),
        CheckConstraint("role IN ('member', 'moderator')", name="users_role_check"),
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


class Session(Base):
    """One refresh token. A log-in begins a family; each refresh adds a member and retires the one before."""

    __tablename__ = "sessions"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    family: Mapped[UUID] = mapped_column(index=True)
    created_at: Mapped[datetime] = _now()
    expires_at: Mapped[datetime] = mapped_column(index=True)
    rotated_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


users_idempotency = idempotency_table(Base.metadata, "users")
outbox = outbox_table(Base.metadata)
