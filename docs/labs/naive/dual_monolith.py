"""The monolith, writing messages to a second database too (SECOND_DATABASE_URL), right after each commit."""

from __future__ import annotations

import logging
import os
from typing import Any

from flask import Flask
from sqlalchemy import create_engine, delete, event
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from forum.database import psycopg_url
from monolith.app import create_app as create_monolith
from monolith.models import Message

log = logging.getLogger("monolith.dual")
COLUMNS = [column.name for column in Message.__table__.columns]


def create_app() -> Flask:
    app = create_monolith()
    second = create_engine(
        psycopg_url(os.environ["SECOND_DATABASE_URL"]), pool_pre_ping=True, connect_args={"connect_timeout": 2}
    )

    @event.listens_for(Session, "after_flush")
    def remember(session: Session, _: Any) -> None:
        changed = session.info.setdefault("changed", {})
        changed |= {row: False for row in (*session.new, *session.dirty) if isinstance(row, Message)}
        changed |= {row: True for row in session.deleted if isinstance(row, Message)}

    @event.listens_for(Session, "after_rollback")
    def forget(session: Session) -> None:
        session.info.pop("changed", None)

    @event.listens_for(Session, "after_commit")
    def write_again(session: Session) -> None:
        for row, deleted in session.info.pop("changed", {}).items():
            values = {name: vars(row)[name] for name in COLUMNS if name in vars(row)}
            put = insert(Message).values(values).on_conflict_do_update(index_elements=["id"], set_=values)
            try:
                with second.begin() as connection:
                    connection.execute(delete(Message).where(Message.id == row.id) if deleted else put)
            except SQLAlchemyError as error:
                log.warning("message %s is in one database only: %s", row.id, error)

    return app
